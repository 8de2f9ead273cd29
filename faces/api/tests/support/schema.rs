//! Checks values against the schemas of the OpenAPI document. It knows the words that the document uses, and refuses
//! any other: nothing is passed by.

use serde_json::Value;

/// What in `value` does not fit the schema of this name.
pub(crate) fn unfit(name: &str, value: &Value) -> Vec<String> {
    let document: Value = serde_json::from_str(api::OPENAPI).unwrap();
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "no schema {name}");
    let mut found = Vec::new();
    check(&document, schema, value, name, &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (word, wanted) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "description" | "format" => true,
            "$ref" => {
                let pointer = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                check(document, document.pointer(pointer).unwrap(), value, at, found);
                true
            }
            "anyOf" => wanted.as_array().unwrap().iter().any(|schema| {
                let mut problems = Vec::new();
                check(document, schema, value, at, &mut problems);
                problems.is_empty()
            }),
            "type" => match wanted.as_array() {
                Some(types) => types.iter().any(|one| is(value, one.as_str().unwrap())),
                None => is(value, wanted.as_str().unwrap()),
            },
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|value| value >= wanted.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|value| value.len() as u64 >= wanted.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|value| value.len() as u64 <= wanted.as_u64().unwrap()),
            "required" => {
                wanted.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())
            }
            "additionalProperties" => {
                let is_known = |key: &str| schema["properties"].get(key).is_some();
                let others = value.as_object().into_iter().flatten().filter(|(key, _)| !is_known(key));
                let others: Vec<_> = others.collect();
                if *wanted != Value::Bool(false) {
                    for (key, value) in &others {
                        check(document, wanted, value, &format!("{at}.{key}"), found);
                    }
                }
                *wanted != Value::Bool(false) || others.is_empty()
            }
            "properties" => {
                for (key, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        check(document, schema, value, &format!("{at}.{key}"), found);
                    }
                }
                true
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, wanted, value, &format!("{at}[{index}]"), found);
                }
                true
            }
            other => panic!("{at}: the check does not know `{other}`"),
        };
        if !fits {
            found.push(format!("{at}: {value} is not {word} {wanted}"));
        }
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}
