//! Overlays: mappings merge deeply, lists and scalars replace, `null` removes. Trees are merged before anything is
//! read, so each value keeps the place where it was written.

use crate::node::{Entry, Map, Node, Scalar, Value};
use crate::service;

/// The base with an environment's overlay applied.
pub(crate) fn apply(base: &Node, overlay: &Node) -> Node {
    // `staging:` with nothing below it changes nothing.
    if overlay.is_null() { base.clone() } else { merge(base, overlay, Place::Root) }
}

/// Where two mappings are alternatives rather than parts of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Health,
    Probe,
    Secrets,
    Rollout,
    Canary,
    Affinity,
    Else,
}

impl Place {
    fn of(self, key: &str) -> Self {
        match (self, key) {
            (Self::Root, "health") => Self::Health,
            (Self::Root, "secrets") => Self::Secrets,
            (Self::Root, "rollout") => Self::Rollout,
            (Self::Health, _) => Self::Probe,
            (Self::Rollout, "canary") => Self::Canary,
            (Self::Canary, "sessionAffinity") => Self::Affinity,
            (
                Self::Root
                | Self::Probe
                | Self::Secrets
                | Self::Rollout
                | Self::Canary
                | Self::Affinity
                | Self::Else,
                _,
            ) => Self::Else,
        }
    }
}

fn merge(base: &Node, overlay: &Node, place: Place) -> Node {
    let (Value::Map(below), Value::Map(above)) = (&base.value, &overlay.value) else {
        return without_nulls(overlay);
    };
    let mut merged = below.clone();
    // A probe asks in one way, and users are known by one thing: naming another one replaces it.
    let alternatives = match place {
        Place::Probe => Some(["http", "tcp"]),
        Place::Affinity => Some(["cookie", "header"]),
        Place::Root | Place::Health | Place::Secrets | Place::Rollout | Place::Canary | Place::Else => None,
    };
    for [given, replaced] in alternatives.into_iter().flat_map(|[a, b]| [[a, b], [b, a]]) {
        if above.get(given).is_some_and(|entry| !entry.value.is_null()) && above.get(replaced).is_none() {
            merged.remove(replaced);
        }
    }
    for entry in &above.entries {
        let value = match merged.get(&entry.key) {
            Some(below) if place == Place::Root && entry.key == "run" => run(&below.value, &entry.value),
            // A secret comes from one place: its source is replaced whole.
            Some(below) if place != Place::Secrets => merge(&below.value, &entry.value, place.of(&entry.key)),
            Some(_) | None => without_nulls(&entry.value),
        };
        put(&mut merged, entry, value);
    }
    Node { span: base.span.clone(), value: Value::Map(merged) }
}

/// Replaces in place, so that the base's order stays; a null removes.
fn put(map: &mut Map, entry: &Entry, value: Node) {
    if value.is_null() {
        map.remove(&entry.key);
        return;
    }
    let merged = value.span != entry.value.span;
    match map.entries.iter_mut().find(|known| known.key == entry.key) {
        Some(known) => {
            if !merged {
                known.key_span = entry.key_span.clone();
            }
            known.value = value;
        }
        None => map.entries.push(Entry { value, ..entry.clone() }),
    }
}

/// A base's command line counts as `command` and `args` when the overlay changes only a part of `run`.
fn run(base: &Node, overlay: &Node) -> Node {
    let (Value::Scalar(line), Value::Map(_)) = (&base.value, &overlay.value) else {
        return merge(base, overlay, Place::Else);
    };
    let Some(words) = service::split(&line.text).filter(|words| !words.is_empty()) else {
        return without_nulls(overlay);
    };
    let word = |text: &String| Node {
        span: base.span.clone(),
        value: Value::Scalar(Scalar { text: text.clone(), quoted: true }),
    };
    let entry = |key: &str, value: Node| Entry { key: key.to_owned(), key_span: base.span.clone(), value };
    let args = Node { span: base.span.clone(), value: Value::List(words.iter().skip(1).map(word).collect()) };
    let entries = words.first().map(|command| entry("command", word(command))).into_iter();
    let map = Map { entries: entries.chain([entry("args", args)]).collect() };
    merge(&Node { span: base.span.clone(), value: Value::Map(map) }, overlay, Place::Else)
}

fn without_nulls(node: &Node) -> Node {
    match &node.value {
        Value::Map(map) => {
            let kept = map.entries.iter().filter(|entry| !entry.value.is_null());
            let entries =
                kept.map(|entry| Entry { value: without_nulls(&entry.value), ..entry.clone() }).collect();
            Node { span: node.span.clone(), value: Value::Map(Map { entries }) }
        }
        Value::Null | Value::Scalar(_) | Value::List(_) => node.clone(),
    }
}
