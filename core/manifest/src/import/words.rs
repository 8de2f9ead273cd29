//! A foreign document, part by part, each with its path. Nothing is known here of what the words mean.

use serde_json::{Map, Value, json};

use crate::node::{self, Node};

/// A part of a document.
pub(super) struct Part<'a> {
    pub(super) path: String,
    node: &'a Node,
}

impl<'a> Part<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { path: String::new(), node }
    }

    /// The same, with this path.
    pub(super) fn called(self, path: String) -> Self {
        Self { path, ..self }
    }

    /// The same once more.
    pub(super) fn same(&self) -> Self {
        Self { path: self.path.clone(), node: self.node }
    }

    /// Where it begins, in bytes of its document.
    pub(super) fn start(&self) -> usize {
        self.node.span.start
    }

    /// Where a field of it begins.
    pub(super) fn key_start(&self, name: &str) -> Option<usize> {
        Some(self.node.map()?.get(name)?.key_span.start)
    }

    fn at(&self, name: &str) -> Option<&'a Node> {
        let entry = self.node.map()?.get(name)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let entries = self.node.map().map(|map| map.entries.as_slice()).unwrap_or_default();
        entries.iter().map(|entry| entry.key.as_str())
    }

    /// A mapping inside this one.
    pub(super) fn child(&self, name: &str) -> Option<Part<'a>> {
        let node = self.at(name).filter(|node| node.map().is_some())?;
        Some(Part { path: format!("{}.{name}", self.path), node })
    }

    /// The items of a list inside this one.
    pub(super) fn items(&self, name: &str) -> Vec<Part<'a>> {
        let Some(node::Value::List(items)) = self.at(name).map(|node| &node.value) else { return vec![] };
        let path = |index| format!("{}.{name}[{index}]", self.path);
        items.iter().enumerate().map(|(index, node)| Part { path: path(index), node }).collect()
    }

    /// A single value, as written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.at(name)?.scalar().map(|scalar| scalar.text.trim().to_owned())
    }

    /// The part itself, where it is a single value.
    pub(super) fn itself(&self) -> Option<String> {
        self.node.scalar().map(|scalar| scalar.text.trim().to_owned())
    }

    /// All of it, as data.
    pub(super) fn value(&self) -> Value {
        value(self.node)
    }
}

fn value(node: &Node) -> Value {
    match &node.value {
        node::Value::Null => Value::Null,
        node::Value::Scalar(scalar) if scalar.quoted => json!(scalar.text),
        node::Value::Scalar(scalar) => number(&scalar.text),
        node::Value::List(items) => Value::Array(items.iter().map(value).collect()),
        node::Value::Map(map) => {
            let entries = map.entries.iter().map(|entry| (entry.key.clone(), value(&entry.value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// A number or a truth where the text is one.
pub(super) fn number(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(read @ (Value::Number(_) | Value::Bool(_))) => read,
        Ok(Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_)) | Err(_) => json!(text),
    }
}

/// A duration: Argo takes a bare number for seconds.
pub(super) fn seconds(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_digit()) { format!("{text}s") } else { text.to_owned() }
}
