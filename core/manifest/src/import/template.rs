//! The metrics and arguments of Argo's analysis templates.

use std::collections::{BTreeMap, BTreeSet};

use model::placeholder::{self, Filling, KNOWN};
use serde_json::{Map, Value, json};

use super::Notes;
use super::words::{Part, number, seconds};

/// What an argument stands for.
#[derive(Clone)]
pub(super) enum Argument {
    /// A value of its own.
    Literal(String),
    /// An argument that every analysis has.
    Known(&'static str),
    /// Whoever uses the template says it.
    Open,
}

/// One template: its metrics, not yet with the values of arguments, and the server that they ask.
pub(super) struct Template {
    path: String,
    metrics: Vec<Map<String, Value>>,
    arguments: BTreeMap<String, Argument>,
    addresses: BTreeSet<String>,
}

/// Words that mean the same in both.
const SAME: [&str; 4] = ["count", "failureLimit", "inconclusiveLimit", "consecutiveErrorLimit"];

impl Template {
    pub(super) fn read(part: &Part<'_>, notes: &mut Notes) -> Self {
        let mut read = Self {
            path: part.path.clone(),
            metrics: vec![],
            arguments: BTreeMap::new(),
            addresses: BTreeSet::new(),
        };
        let Some(spec) = part.child("spec") else {
            notes.add(part, "it has no `spec`");
            return read;
        };
        notes.others(&spec, &["metrics", "args", "dryRun"]);
        read.arguments = arguments(&spec, notes);
        let dry: Vec<String> =
            spec.items("dryRun").iter().filter_map(|item| item.text("metricName")).collect();
        for item in spec.items("metrics") {
            let Some(mut metric) = read.metric(&item, notes) else { continue };
            let name = item.text("name").unwrap_or_default();
            // Argo takes a pattern; these are the forms that are in use.
            if dry.iter().any(|pattern| *pattern == name || pattern == ".*") {
                metric.insert("dryRun".to_owned(), json!(true));
            }
            read.metrics.push(metric);
        }
        read
    }

    fn metric(&mut self, part: &Part<'_>, notes: &mut Notes) -> Option<Map<String, Value>> {
        let mut metric = Map::new();
        metric.insert("name".to_owned(), json!(part.text("name")?));
        let known = ["name", "interval", "successCondition", "failureCondition", "provider"];
        notes.others(part, &[known.as_slice(), SAME.as_slice()].concat());
        let provider = part.child("provider")?;
        if let Some(prometheus) = provider.child("prometheus") {
            notes.others(&prometheus, &["address", "query", "timeout"]);
            self.addresses.extend(prometheus.text("address"));
            let query = prometheus.text("query")?;
            let promql = match prometheus.text("timeout") {
                Some(time) => json!({"query": query, "timeout": seconds(&time)}),
                None => json!(query),
            };
            metric.insert("promql".to_owned(), promql);
            conditions(part, &mut metric);
        } else if let Some(web) = provider.child("web") {
            notes.others(&web, &["url", "method", "timeoutSeconds"]);
            let mut http = Map::new();
            http.insert("url".to_owned(), json!(web.text("url")?));
            http.extend(web.text("method").map(|method| ("method".to_owned(), json!(method))));
            http.extend(web.text("timeoutSeconds").map(|time| ("timeout".to_owned(), json!(seconds(&time)))));
            metric.insert("http".to_owned(), Value::Object(http));
            for name in
                ["successCondition", "failureCondition"].into_iter().filter(|name| part.text(name).is_some())
            {
                notes.0.push(format!(
                    "{}.{name}: the status of an answer decides here, not what its body says",
                    part.path
                ));
            }
        } else {
            let names: Vec<&str> = provider.names().collect();
            notes.add(
                part,
                &format!("the provider `{}` has no place here: the metric is left out", names.join(", ")),
            );
            return None;
        }
        if let Some(time) = part.text("interval") {
            metric.insert("interval".to_owned(), json!(seconds(&time)));
        }
        for name in SAME {
            metric.extend(part.text(name).map(|text| (name.to_owned(), number(&text))));
        }
        Some(metric)
    }
}

/// Taken as they stand: one that cannot be read here has to be put right by somebody, and the manifest's reader says how.
fn conditions(part: &Part<'_>, metric: &mut Map<String, Value>) {
    for name in ["successCondition", "failureCondition"] {
        metric.extend(part.text(name).map(|text| (name.to_owned(), json!(text))));
    }
}

/// The arguments of a template, or of who uses it.
pub(super) fn arguments(part: &Part<'_>, notes: &mut Notes) -> BTreeMap<String, Argument> {
    let mut read = BTreeMap::new();
    for item in part.items("args") {
        let Some(name) = item.text("name") else { continue };
        let from = item.child("valueFrom");
        let argument =
            match (item.text("value"), from.as_ref().and_then(|it| it.text("podTemplateHashValue"))) {
                (Some(value), _) => Argument::Literal(value),
                (None, Some(which)) if which == "Latest" => Argument::Known("version"),
                (None, Some(_)) => Argument::Known("stable"),
                (None, None) => {
                    if let Some(from) = from {
                        let names: Vec<&str> = from.names().collect();
                        notes.add(
                            &item,
                            &format!("`{name}` comes from `{}`: write its value", names.join(", ")),
                        );
                    }
                    Argument::Open
                }
            };
        read.insert(name, argument);
    }
    read
}

/// The rules of these templates under `metrics`, with their `args`; the server that they ask goes to the root.
pub(super) fn analysis(
    templates: &[&Template],
    given: &BTreeMap<String, Argument>,
    root: &mut Map<String, Value>,
    notes: &mut Notes,
) -> Value {
    let mut arguments = BTreeMap::new();
    for template in templates {
        arguments.extend(template.arguments.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    let said = given.iter().filter(|(_, value)| !matches!(value, Argument::Open));
    arguments.extend(said.map(|(name, value)| (name.clone(), value.clone())));
    let mut used = BTreeSet::new();
    let mut metrics = Vec::new();
    for template in templates {
        for metric in &template.metrics {
            metrics.push(Value::Object(renamed(metric, &arguments, &mut used, &template.path, notes)));
        }
        for address in &template.addresses {
            server(address, root, &template.path, notes);
        }
    }
    let mut args = Vec::new();
    for name in used {
        match arguments.get(&name) {
            Some(Argument::Literal(value)) => args.push(json!({"name": own(&name), "value": value})),
            Some(Argument::Known(_)) => {}
            Some(Argument::Open) | None => {
                let paths: Vec<&str> = templates.iter().map(|template| template.path.as_str()).collect();
                notes.0.push(format!(
                    "{}: the argument `{name}` has no value: write it under `args`",
                    paths.join(", ")
                ));
                args.push(json!({"name": own(&name), "value": ""}));
            }
        }
    }
    let mut section = Map::new();
    if !args.is_empty() {
        section.insert("args".to_owned(), Value::Array(args));
    }
    section.insert("metrics".to_owned(), Value::Array(metrics));
    Value::Object(section)
}

/// Every analysis has arguments of these names already.
fn own(name: &str) -> String {
    if KNOWN.contains(&name) { format!("{name}-arg") } else { name.to_owned() }
}

/// A metric whose query names arguments as they are called here.
fn renamed(
    metric: &Map<String, Value>,
    arguments: &BTreeMap<String, Argument>,
    used: &mut BTreeSet<String>,
    path: &str,
    notes: &mut Notes,
) -> Map<String, Value> {
    let mut metric = metric.clone();
    let Some(promql) = metric.get_mut("promql") else { return metric };
    let query = match promql {
        Value::Object(map) => map.get_mut("query"),
        text @ Value::String(_) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    let Some(Value::String(query)) = query else { return metric };
    let names = std::cell::RefCell::new(BTreeSet::new());
    let looked = placeholder::fill(query, |name| {
        names.borrow_mut().insert(name.to_owned());
        Filling::Later
    });
    match looked {
        Ok(uniform) => {
            *query = uniform;
            for name in names.into_inner() {
                let to = match arguments.get(&name) {
                    Some(Argument::Known(known)) => (*known).to_owned(),
                    Some(Argument::Literal(_) | Argument::Open) | None => own(&name),
                };
                // A mark that no query holds keeps a new name from being renamed again.
                *query = query.replace(&format!("{{{{args.{name}}}}}"), &format!("{{\u{1}args.{to}}}}}"));
                used.insert(name);
            }
            *query = query.replace("{\u{1}args.", "{{args.");
        }
        Err(error) => notes.0.push(format!("{path}: {error}: `{query}`")),
    }
    metric
}

fn server(address: &str, root: &mut Map<String, Value>, path: &str, notes: &mut Notes) {
    let metrics =
        root.entry("metrics").or_insert_with(|| json!({"provider": "prometheus", "address": address}));
    if metrics["address"] != json!(address) {
        let what = "a manifest has one server";
        notes.0.push(format!("{path}: the address {address}: {what}, and that is {}", metrics["address"]));
    }
}
