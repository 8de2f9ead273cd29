//! Rules of alerts back in the manifest's vocabulary, the ready-made ones written out.

use model::alert::{Condition, Declared, Labels, ReadyMade, Rule, Threshold};
use serde_json::{Map, Value, json};

use super::{number, put, time};

/// What is in force, also where nothing was declared.
pub(super) fn alerts(declared: &Declared) -> Value {
    if declared.none {
        return json!("none");
    }
    let rules = declared.rules();
    let off = declared.off.iter().map(|which: &ReadyMade| (which.name().to_owned(), json!(false)));
    let all = rules.iter().map(|it| (it.name.clone(), rule(it))).chain(off);
    Value::Object(all.collect::<Map<_, _>>())
}

fn rule(rule: &Rule) -> Value {
    let mut map = Map::new();
    match &rule.condition {
        Condition::Expr(expr) => put(&mut map, "expr", Some(json!(expr))),
        Condition::ReadyMade { threshold, .. } => put(&mut map, "threshold", threshold.map(written)),
    }
    map.insert("for".to_owned(), json!(time(rule.hold)));
    map.insert("keepFiringFor".to_owned(), json!(time(rule.keep_firing)));
    map.insert("severity".to_owned(), json!(rule.severity.name()));
    put(&mut map, "runbook", rule.runbook.as_ref().map(|name| json!(name)));
    put(&mut map, "labels", (!rule.labels.is_empty()).then(|| json!(rule.labels)));
    // What the product says by itself would be a page of words.
    let usual = match &rule.condition {
        Condition::ReadyMade { which, .. } => which.rule().annotations,
        Condition::Expr(_) => Labels::new(),
    };
    let annotations: Labels = rule
        .annotations
        .iter()
        .filter(|(name, text)| usual.get(*name) != Some(text))
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect();
    put(&mut map, "annotations", (!annotations.is_empty()).then(|| json!(annotations)));
    Value::Object(map)
}

fn written(threshold: Threshold) -> Value {
    match threshold {
        Threshold::Share(share) => json!(share.to_string()),
        Threshold::Times(thousandths) => number(f64::from(thousandths) / 1_000.0),
        Threshold::Time(length) => json!(time(length)),
    }
}
