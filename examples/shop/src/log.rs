//! Log lines: one JSON object per line on stdout, written whole.

use std::io::Write as _;

use serde_json::{Map, Value, json};

/// Writes one line. A log that cannot be written is no reason to stop serving.
pub(crate) fn write(level: &str, event: &str, fields: &Value) {
    let mut line = Map::new();
    line.insert("level".into(), level.into());
    line.insert("event".into(), event.into());
    if let Value::Object(fields) = fields {
        line.extend(fields.clone());
    }
    let _ = std::io::stdout().write_all(format!("{}\n", Value::Object(line)).as_bytes());
    let _ = std::io::stdout().flush();
}

pub(crate) fn info(event: &str, fields: &Value) {
    write("info", event, fields);
}

pub(crate) fn error(event: &str, message: &str) {
    write("error", event, &json!({ "message": message }));
}
