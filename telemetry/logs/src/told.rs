//! What a record's line says, for whoever hands it on. Does not live here: how lines are understood (`parse`).

use crate::fields::Scalar;
use crate::parse::{LONGEST, handed_on, parse};

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Bool(bool),
}

/// What a line says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// What happened; the line itself when it has no field for that.
    pub message: String,
    /// The kind of error.
    pub error_type: Option<String>,
    /// The trace that it belongs to.
    pub trace: Option<String>,
    /// The span.
    pub span: Option<String>,
    /// All other fields, by their paths, in order; the elements of a list share one.
    pub fields: Vec<(String, Value)>,
}

/// Reads a record's line.
pub fn told(line: &str) -> Told {
    let mut fields = Vec::new();
    let parsed = parse(line, |path, value| {
        let Some(path) = handed_on(path) else { return };
        let value = match value {
            Scalar::Text(text) => Value::Text(text.clone().into_owned()),
            Scalar::Whole(number) => Value::Whole(*number),
            Scalar::Number(number) => Value::Number(*number),
            Scalar::Bool(value) => Value::Bool(*value),
        };
        fields.push((path.to_owned(), value));
    });
    // A text is its own message, and so is an object without one, or with one that is longer than what is kept beside the line.
    let is_text = fields.is_empty() && parsed.error_type.is_none() && parsed.trace.is_none();
    let whole = is_text || parsed.message.len() + 4 >= LONGEST || line.starts_with(parsed.message.as_str());
    let message = if whole { line.to_owned() } else { parsed.message };
    Told { message, error_type: parsed.error_type, trace: parsed.trace, span: parsed.span, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_object_says_is_taken_apart_and_a_text_is_its_own_message() {
        let line = r#"{"level":"error","msg":"no","error.type":"Io","trace_id":"ab","user":{"id":7},"ok":true,"t":1.5}"#;
        let found = told(line);
        assert_eq!((found.message.as_str(), found.error_type.as_deref()), ("no", Some("Io")));
        let fields = [("user.id", Value::Whole(7)), ("ok", Value::Bool(true)), ("t", Value::Number(1.5))];
        assert_eq!(found.fields, fields.map(|(path, value)| (path.to_owned(), value)));
        assert_eq!(told("INFO all is well").message, "INFO all is well");
        let stack = told(r#"{"msg":"no","stack":"x\n at y"}"#).fields;
        assert_eq!(stack, [("exception.stacktrace".to_owned(), Value::Text("x\n at y".to_owned()))]);
        let long = format!(r#"{{"msg":"{}","a":1}}"#, "x".repeat(2000));
        assert_eq!(told(&long).message, long, "nothing is cut off");
    }
}
