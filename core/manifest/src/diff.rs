//! What differs between two effective configurations, field by field in the manifest's vocabulary.

use std::collections::BTreeMap;

use model::Spec;
use serde::Serialize;
use serde_json::Value;

use crate::render::effective;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The field: `rollout.canary.steps[0].setWeight`.
    pub path: String,
    /// Its value on the left; `None` when it is not there.
    pub left: Option<String>,
    /// Its value on the right; `None` when it is not there.
    pub right: Option<String>,
}

/// Every field whose value differs, by path. The environments' names are not compared.
pub fn diff(a: &Spec, b: &Spec) -> Vec<Difference> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    flatten(&effective(a), "", &mut left);
    flatten(&effective(b), "", &mut right);
    let in_left: BTreeMap<_, _> = left.iter().cloned().collect();
    let in_right: BTreeMap<_, _> = right.iter().cloned().collect();
    let only_right = right.iter().filter(|(path, _)| !in_left.contains_key(path));
    left.iter()
        .chain(only_right)
        .map(|(path, _)| Difference {
            path: path.clone(),
            left: in_left.get(path).cloned(),
            right: in_right.get(path).cloned(),
        })
        .filter(|difference| difference.left != difference.right)
        .collect()
}

/// Leaves by path, in the order of the manifest. A key that is no plain word stands in brackets and quotes.
fn flatten(value: &Value, path: &str, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let step = match (path.is_empty(), plain) {
                    (true, true) => key.clone(),
                    (false, true) => format!(".{key}"),
                    (_, false) => format!("[{key:?}]"),
                };
                flatten(value, &format!("{path}{step}"), leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                flatten(item, &format!("{path}[{index}]"), leaves);
            }
        }
        Value::String(text) => leaves.push((path.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            leaves.push((path.to_owned(), value.to_string()));
        }
    }
}
