//! The JSON Schema for editors, made from the same table that the reader uses.

use serde_json::{Map, Value, json};

use crate::fields::{METRIC, NOT_IN_OVERLAYS, OVERLAY, ROOT};
use crate::shape::{Field, Key, Object, Shape};

/// The JSON Schema (2020-12) of a manifest.
pub fn schema() -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("shipshape.yaml"));
    if let Value::Object(root) = object(&ROOT, |_| true, true) {
        schema.extend(root);
    }
    // `run` may be left to the environments, when each of them supplies it.
    schema.insert("required".to_owned(), json!(["service"]));
    schema.insert("anyOf".to_owned(), json!([{"required": ["run"]}, {"required": ["environments"]}]));
    let overlay = object(&ROOT, |field| !NOT_IN_OVERLAYS.contains(&field.name), false);
    let metric = object(&METRIC, |_| true, true);
    schema.insert("$defs".to_owned(), json!({"overlay": overlay, "metric": metric}));
    Value::Object(schema)
}

fn object(object: &'static Object, keep: impl Fn(&Field) -> bool, complete: bool) -> Value {
    let fields: Vec<&Field> = object.fields.iter().filter(|field| keep(field)).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), property(field, complete))).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("description".to_owned(), json!(object.about));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if complete && !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    Value::Object(schema)
}

/// A field may be null where it may be absent; in an overlay, null removes what the base says.
fn property(field: &Field, complete: bool) -> Value {
    let mut schema = shape(&field.shape, complete);
    if !(complete && field.required) {
        schema = json!({"anyOf": [schema, {"type": "null"}]});
    }
    if let Value::Object(map) = &mut schema {
        map.insert("description".to_owned(), json!(field.about));
        if let Some(default) = field.default {
            map.insert("default".to_owned(), default_value(&field.shape, default));
        }
    }
    schema
}

fn default_value(shape: &Shape, default: &str) -> Value {
    match shape {
        Shape::Integer { .. } | Shape::Number { .. } | Shape::Amount | Shape::Bool => {
            serde_json::from_str(default).unwrap_or_else(|_| json!(default))
        }
        Shape::Text
        | Shape::Written
        | Shape::True
        | Shape::Duration { .. }
        | Shape::Bytes { .. }
        | Shape::Cpu
        | Shape::Percent
        | Shape::Condition
        | Shape::Path
        | Shape::Choice(_)
        | Shape::Object(_)
        | Shape::MapOf { .. }
        | Shape::List { .. }
        | Shape::TextOr(_)
        | Shape::WrittenOr(_)
        | Shape::FalseOr(_)
        | Shape::NoneOr(_)
        | Shape::Ratio
        | Shape::Words => json!(default),
    }
}

fn shape(shape: &Shape, complete: bool) -> Value {
    match shape {
        Shape::Text => json!({"type": "string", "minLength": 1}),
        Shape::Written => json!({"type": ["string", "number", "boolean"]}),
        Shape::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Number { min, max, open: true } => {
            json!({"type": "number", "exclusiveMinimum": min, "exclusiveMaximum": max})
        }
        Shape::Number { min, max, open: false } => json!({"type": "number", "minimum": min, "maximum": max}),
        Shape::True => json!({"const": true}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Duration { positive } => duration(*positive),
        Shape::Bytes { .. } => json!({
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$", "minLength": 1},
                {"type": "integer", "minimum": 0},
            ],
        }),
        Shape::Cpu => json!({
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]*(\.[0-9]+)?m?$", "minLength": 1},
                {"type": "number", "exclusiveMinimum": 0},
            ],
        }),
        Shape::Percent => json!({"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, percentage()]}),
        Shape::Amount => json!({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 100}, percentage()]}),
        // An expression where a question is asked, one comparison elsewhere: both speak of the result.
        Shape::Condition => json!({"type": "string", "pattern": "result", "maxLength": condition::LONGEST}),
        Shape::Path => json!({"type": "string", "pattern": r"^/[^\s#]*$"}),
        Shape::Choice(choices) => json!({"enum": choices}),
        Shape::Object(child) if std::ptr::eq(*child, &raw const OVERLAY) => {
            json!({"$ref": "#/$defs/overlay"})
        }
        // Rules stand in many places, always in lists, which are complete.
        Shape::Object(child) if std::ptr::eq(*child, &raw const METRIC) => json!({"$ref": "#/$defs/metric"}),
        Shape::Object(child) => object(child, |_| true, complete),
        Shape::MapOf { key, value, max } => map_of(*key, value, *max, complete),
        Shape::List { item, max } => {
            // A list replaces the base's list whole, so its items are complete even in an overlay.
            json!({"type": "array", "items": self::shape(item, true), "maxItems": max})
        }
        Shape::TextOr(child) => {
            json!({"anyOf": [{"type": "string", "minLength": 1}, object(child, |_| true, complete)]})
        }
        Shape::WrittenOr(child) => {
            json!({"anyOf": [{"type": ["string", "number", "boolean"]}, object(child, |_| true, complete)]})
        }
        Shape::Words => json!({"anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1},
        ]}),
        Shape::Ratio => json!({"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,4})?0*%$"}),
        Shape::NoneOr(inner) => json!({"anyOf": [{"const": "none"}, self::shape(inner, complete)]}),
        Shape::FalseOr(child) => json!({"anyOf": [{"const": false}, object(child, |_| true, complete)]}),
    }
}

fn duration(positive: bool) -> Value {
    let words =
        json!({"type": "string", "pattern": "^([0-9]+(h|ms|m|s|us))+$", "examples": ["30s", "5m", "1h30m"]});
    if positive { words } else { json!({"anyOf": [words, {"const": 0}, {"const": "0"}]}) }
}

fn percentage() -> Value {
    json!({"type": "string", "pattern": r"^[0-9]*(\.[0-9]+)?%$"})
}

fn map_of(key: Key, value: &'static Shape, max: usize, complete: bool) -> Value {
    let mut values = shape(value, true);
    if !complete || key == Key::Label {
        values = json!({"anyOf": [values, {"type": "null"}]});
    }
    let mut schema = json!({"type": "object", "additionalProperties": values, "maxProperties": max});
    let pattern = match key {
        Key::Variable => Some("^[A-Za-z_][A-Za-z0-9_]*$"),
        Key::Label => Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        Key::Title => None,
    };
    if let (Some(pattern), Value::Object(map)) = (pattern, &mut schema) {
        map.insert("propertyNames".to_owned(), json!({"pattern": pattern}));
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Manifest;
    use crate::render::effective;

    const FULL: &str = include_str!("../tests/full.yaml");

    /// The one definition of a rule, wherever it stands, with the path that its fields have here.
    fn resolved<'a>(item: &'a Value, root: &'a Value, path: String) -> (&'a Value, String) {
        match item["$ref"].as_str() {
            Some("#/$defs/metric") => (&root["$defs"]["metric"], "metric".to_owned()),
            Some(_) | None => (item, path),
        }
    }

    /// The alternatives of a schema, itself included.
    fn alternatives(schema: &Value) -> Vec<&Value> {
        let more = schema["anyOf"].as_array().into_iter().flatten().flat_map(alternatives);
        std::iter::once(schema).chain(more).collect()
    }

    /// The path of every field of the schema; names of one's own are `*`.
    fn known(schema: &Value, root: &Value, path: &str, found: &mut BTreeSet<String>) {
        for schema in alternatives(schema) {
            for (name, child) in schema["properties"].as_object().into_iter().flatten() {
                found.insert(format!("{path}.{name}"));
                known(child, root, &format!("{path}.{name}"), found);
            }
            if schema["additionalProperties"].is_object() {
                known(&schema["additionalProperties"], root, &format!("{path}.*"), found);
            }
            if schema["items"].is_object() {
                let (item, path) = resolved(&schema["items"], root, format!("{path}[]"));
                known(item, root, &path, found);
            }
        }
    }

    /// The path of every field of a value, by the schema that describes it.
    fn used(value: &Value, schema: &Value, root: &Value, path: &str, found: &mut BTreeSet<String>) {
        let all = alternatives(schema);
        if let Value::Object(map) = value {
            let object = all.iter().find(|schema| schema["type"] == "object").expect(path);
            for (key, value) in map {
                let known = object["properties"].get(key);
                let child = known.unwrap_or(&object["additionalProperties"]);
                assert!(child.is_object(), "the schema does not know {path}.{key}");
                let path = format!("{path}.{}", if known.is_some() { key } else { "*" });
                used(value, child, root, &path, found);
                found.insert(path);
            }
        }
        if let Value::Array(items) = value {
            let list = all.iter().find(|schema| schema["type"] == "array").expect(path);
            let (schema, path) = resolved(&list["items"], root, format!("{path}[]"));
            items.iter().for_each(|item| used(item, schema, root, &path, found));
        }
    }

    #[test]
    fn parser_and_schema_know_the_same_fields() {
        let schema = schema();
        let mut in_schema = BTreeSet::new();
        known(&schema, &schema, "", &mut in_schema);
        let mut in_specs = BTreeSet::new();
        for spec in Manifest::parse(FULL).unwrap().specs().values() {
            used(&effective(spec), &schema, &schema, "", &mut in_specs);
        }
        in_specs.retain(|path| !path.ends_with(".*"));
        in_schema.remove(".environments");
        // Arguments are in the queries by then.
        in_schema.retain(|path| !path.contains("nalysis.args"));
        assert_eq!(in_schema, in_specs);
        assert!(in_schema.len() > 70);
    }

    #[test]
    fn every_default_in_the_table_is_one_that_its_reader_accepts() {
        // A malformed default would silently become zero or empty in the two-line manifest.
        let manifest =
            Manifest::parse("service: a\nrun: b\nrollout: {analysis: {judge: {promotion: evidence}}}")
                .unwrap();
        let text = crate::render(manifest.specs().values().next().unwrap());
        let read = Manifest::parse(&text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
        assert!(read.warnings().is_empty());
    }
}
