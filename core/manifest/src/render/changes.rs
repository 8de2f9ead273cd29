//! When and by whom a service may be changed, back in the manifest's vocabulary.

use model::change::{Approvals, Changes, Freeze, When};
use serde_json::{Map, Value, json};

use super::{put, time};

pub(super) fn changes(changes: &Changes) -> Option<Value> {
    let mut map = Map::new();
    let freezes: Vec<Value> = changes.freeze.iter().map(freeze).collect();
    put(&mut map, "freeze", (!freezes.is_empty()).then(|| json!(freezes)));
    put(&mut map, "approvals", changes.approvals.as_ref().map(approvals));
    (!map.is_empty()).then_some(Value::Object(map))
}

fn freeze(freeze: &Freeze) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), json!(freeze.name));
    match &freeze.when {
        When::Once { from, to } => {
            map.insert("from".to_owned(), json!(from.to_string()));
            map.insert("to".to_owned(), json!(to.to_string()));
        }
        When::Weekly { from, to } => {
            map.insert("weekly".to_owned(), json!({"from": from.to_string(), "to": to.to_string()}));
        }
    }
    map.insert("timeZone".to_owned(), json!(freeze.zone));
    put(&mut map, "reason", freeze.reason.as_ref().map(|reason| json!(reason)));
    Value::Object(map)
}

fn approvals(approvals: &Approvals) -> Value {
    let mut map = Map::new();
    map.insert("required".to_owned(), json!(approvals.required));
    put(&mut map, "approvers", (!approvals.approvers.is_empty()).then(|| json!(approvals.approvers)));
    map.insert("expires".to_owned(), json!(time(approvals.expires)));
    Value::Object(map)
}
