//! A reader of mappings that knows the field table: it reports unknown, missing and malformed fields with their place
//! and goes on with the default, so that one pass finds everything. Which sections exist is not known here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use model::Weight;
use model::objective::Ratio;
use model::strategy::{Amount, Condition};

use crate::diagnostic::{Problem, Sink};
use crate::fields;
use crate::node::{Entry, Map, Node, Scalar, Span, Value};
use crate::shape::{Elsewhere, Key, Object, Shape};
use crate::values;

/// What all readers of one environment share.
pub(crate) struct Context<'a> {
    pub(crate) sink: &'a Sink<'a>,
    /// The base alone, which environments may still complete: missing fields are no error yet.
    pub(crate) partial: bool,
}

/// A mapping that is being read. An absent one reads as empty, so that its defaults apply.
pub(crate) struct Mapping<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) object: &'static Object,
    map: Option<&'a Map>,
    /// Where a missing field is reported.
    pub(crate) at: Span,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Mapping<'a> {
    /// Opens a mapping and reports its unknown fields. A value that is no mapping is reported and reads as empty.
    pub(crate) fn open(context: &'a Context<'a>, object: &'static Object, node: &'a Node, at: &Span) -> Self {
        let mapping =
            Self { context, object, map: node.map(), at: at.clone(), asked: RefCell::new(BTreeSet::new()) };
        match &node.value {
            Value::Map(map) => {
                for entry in &map.entries {
                    if object.field(&entry.key).is_none() {
                        context.sink.error(&entry.key_span, unknown(object, &entry.key));
                    }
                }
            }
            Value::Null => {}
            Value::Scalar(_) | Value::List(_) => mismatch(context, node, "a mapping"),
        }
        mapping
    }

    /// A mapping that is not there: every field has its default.
    pub(crate) fn absent(context: &'a Context<'a>, object: &'static Object, at: &Span) -> Self {
        Self { context, object, map: None, at: at.clone(), asked: RefCell::new(BTreeSet::new()) }
    }

    pub(crate) fn error(&self, span: &Span, problem: Problem) {
        self.context.sink.error(span, problem);
    }

    /// The field as it was written; `None` when it is absent or null.
    pub(crate) fn entry(&self, name: &'static str) -> Option<&'a Entry> {
        debug_assert!(
            self.object.field(name).is_some(),
            "{name} is not in the table of {}",
            self.object.path
        );
        self.asked.borrow_mut().insert(name);
        let entry = self.map.and_then(|map| map.get(name)).filter(|entry| !entry.value.is_null());
        let required = self.object.field(name).is_some_and(|field| field.required);
        if entry.is_none() && required && !self.context.partial {
            self.missing(name);
        }
        entry
    }

    fn missing(&self, name: &str) {
        let null = self.map.and_then(|map| map.get(name));
        let (span, message) = match null {
            Some(entry) => (&entry.key_span, format!("`{name}` has no value")),
            None => (&self.at, format!("`{name}` is missing")),
        };
        let help = match name {
            "service" => "name the service: `service: shop`".to_owned(),
            "run" => "say what to start: `run: ./shop --flag`".to_owned(),
            _ => format!("add `{name}`"),
        };
        self.error(span, Problem::new(message).help(help));
    }

    /// Whether it holds fields that are not in the table; they were reported when it was opened.
    pub(crate) fn has_unknown(&self) -> bool {
        let entries = self.map.map(|map| map.entries.as_slice()).unwrap_or_default();
        entries.iter().any(|entry| self.object.field(&entry.key).is_none())
    }

    /// Where a field stands; the mapping's place when it is absent.
    pub(crate) fn place(&self, name: &'static str) -> Span {
        self.entry(name).map_or_else(|| self.at.clone(), |entry| entry.value.span.clone())
    }

    /// Reads a scalar field, or else its default; reports and goes on with the default when it is malformed.
    pub(crate) fn read<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&Scalar, &Shape) -> Result<T, Problem>,
    ) -> Option<T> {
        let entry = self.entry(name);
        let field = self.object.field(name)?;
        if let Some(entry) = entry {
            match entry.value.scalar() {
                None => mismatch(self.context, &entry.value, field.shape.expected()),
                Some(scalar) => match parse(scalar, &field.shape) {
                    Ok(value) => return Some(value),
                    Err(problem) => self.error(&entry.value.span, named(name, problem)),
                },
            }
        }
        field.default.and_then(|default| parse(&Scalar::plain(default), &field.shape).ok())
    }

    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        self.read(name, |scalar, _| values::text(scalar))
    }

    pub(crate) fn path(&self, name: &'static str) -> Option<String> {
        self.read(name, |scalar, _| values::path(scalar))
    }

    pub(crate) fn integer(&self, name: &'static str) -> Option<i64> {
        self.read(name, |scalar, shape| {
            let Shape::Integer { min, max } = shape else {
                return values::integer(scalar, i64::MIN, i64::MAX);
            };
            values::integer(scalar, *min, *max)
        })
    }

    /// A whole number whose bounds in the table are those of a `u32` or closer.
    pub(crate) fn count(&self, name: &'static str) -> Option<u32> {
        self.integer(name).and_then(|number| u32::try_from(number).ok())
    }

    pub(crate) fn number(&self, name: &'static str) -> Option<f64> {
        self.read(name, |scalar, shape| {
            let Shape::Number { min, max, open } = shape else {
                return values::number(scalar, f64::MIN, f64::MAX, false);
            };
            values::number(scalar, *min, *max, *open)
        })
    }

    pub(crate) fn duration(&self, name: &'static str) -> Duration {
        self.optional_duration(name).unwrap_or_default()
    }

    pub(crate) fn optional_duration(&self, name: &'static str) -> Option<Duration> {
        self.read(name, |scalar, shape| {
            values::duration(scalar, matches!(shape, Shape::Duration { positive: true }))
        })
    }

    pub(crate) fn bytes(&self, name: &'static str) -> Option<u64> {
        self.read(name, |scalar, shape| {
            values::bytes(scalar, if let Shape::Bytes { min } = shape { *min } else { 0 })
        })
    }

    pub(crate) fn cpu(&self, name: &'static str) -> Option<u32> {
        self.read(name, |scalar, _| values::cpu(scalar))
    }

    pub(crate) fn percent(&self, name: &'static str) -> Option<Weight> {
        self.read(name, |scalar, _| values::percent(scalar))
    }

    pub(crate) fn ratio(&self, name: &'static str) -> Option<Ratio> {
        self.read(name, |scalar, _| values::ratio(&scalar.text))
    }

    pub(crate) fn amount(&self, name: &'static str) -> Option<Amount> {
        self.read(name, |scalar, _| values::amount(scalar))
    }

    pub(crate) fn condition(&self, name: &'static str) -> Option<Condition> {
        self.read(name, |scalar, _| values::condition(scalar))
    }

    pub(crate) fn choice(&self, name: &'static str, not_yet: &[&str]) -> Option<&'static str> {
        self.read(name, |scalar, shape| {
            let Shape::Choice(choices) = shape else { return Ok("") };
            values::choice(scalar, choices, not_yet)
        })
    }

    /// A field that is `true` or `false`.
    pub(crate) fn flag(&self, name: &'static str) -> Option<bool> {
        self.read(name, |scalar, _| match (scalar.text.as_str(), scalar.quoted) {
            ("true", false) => Ok(true),
            ("false", false) => Ok(false),
            _ => Err(Problem::new(format!("expected `true` or `false`, found `{}`", scalar.text))),
        })
    }

    /// Whether a field that can only be `true` is there.
    pub(crate) fn is_true(&self, name: &'static str) -> bool {
        let parse = |scalar: &Scalar, _: &Shape| {
            if scalar.text == "true" && !scalar.quoted {
                return Ok(());
            }
            Err(Problem::new(format!("expected `true`, found `{}`", scalar.text))
                .help("write `true` or remove it"))
        };
        self.read(name, parse).is_some()
    }

    /// A mapping inside this one; an absent one reads as empty.
    pub(crate) fn child(&self, name: &'static str, object: &'static Object) -> Mapping<'a> {
        match self.entry(name) {
            Some(entry) => Mapping::open(self.context, object, &entry.value, &entry.key_span),
            None => Mapping::absent(self.context, object, &self.at),
        }
    }

    /// The items of a list; `None` when it is absent or no list. Too many are reported.
    pub(crate) fn list(&self, name: &'static str) -> Option<&'a [Node]> {
        let entry = self.entry(name)?;
        let Value::List(items) = &entry.value.value else {
            mismatch(self.context, &entry.value, "a list");
            return None;
        };
        if let Some(Shape::List { max, .. }) = self.object.field(name).map(|field| &field.shape)
            && items.len() > *max
        {
            let message = format!("`{name}` has {} entries; the most is {max}", items.len());
            self.error(&entry.key_span, Problem::new(message));
        }
        Some(items)
    }

    /// A list of scalars, each read by `parse`; what is malformed is reported and left out.
    pub(crate) fn scalars<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&Scalar) -> Result<T, Problem>,
    ) -> Option<Vec<T>> {
        let items = self.list(name)?;
        let read = items.iter().filter_map(|item| scalar_in(self.context, item, expected, &parse));
        Some(read.collect())
    }

    /// The entries of a mapping from names of one's own, with sound names and values.
    pub(crate) fn entries(&self, name: &'static str) -> &'a [Entry] {
        let Some(entry) = self.entry(name) else { return &[] };
        let Some(map) = entry.value.map() else {
            mismatch(self.context, &entry.value, "a mapping");
            return &[];
        };
        let shape = self.object.field(name).map(|field| &field.shape);
        let Some(Shape::MapOf { key, max, .. } | Shape::NoneOr(Shape::MapOf { key, max, .. })) = shape else {
            return &map.entries;
        };
        if map.entries.len() > *max {
            let message = format!("`{name}` has {} entries; the most is {max}", map.entries.len());
            self.error(&entry.key_span, Problem::new(message));
        }
        for entry in &map.entries {
            if *key == Key::Variable && !values::is_variable(&entry.key) {
                let problem =
                    Problem::new(format!("`{}` is not the name of an environment variable", entry.key));
                let help = "use letters, digits and `_`, starting with a letter or `_`";
                self.error(&entry.key_span, problem.help(help));
            }
        }
        &map.entries
    }

    /// Ends the reading. Every field of the table must have been asked for, or the reader forgot one.
    pub(crate) fn finish(self) {
        let asked = self.asked.into_inner();
        debug_assert!(
            self.object.fields.iter().all(|field| asked.contains(field.name)),
            "{}: the reader never asked for all of the table's fields, only for {asked:?}",
            self.object.path
        );
    }
}

/// Reads one scalar that stands in a list or in a mapping of one's own.
pub(crate) fn scalar_in<T>(
    context: &Context<'_>,
    node: &Node,
    expected: &str,
    parse: impl Fn(&Scalar) -> Result<T, Problem>,
) -> Option<T> {
    let Some(scalar) = node.scalar() else {
        mismatch(context, node, expected);
        return None;
    };
    match parse(scalar) {
        Ok(value) => Some(value),
        Err(problem) => {
            context.sink.error(&node.span, problem);
            None
        }
    }
}

/// Reports a value of the wrong form.
pub(crate) fn mismatch(context: &Context<'_>, node: &Node, expected: &str) {
    context.sink.error(&node.span, Problem::new(format!("expected {expected}, found {}", node.kind())));
}

/// Says which field a value belongs to where the message does not show it.
fn named(name: &str, problem: Problem) -> Problem {
    Problem { message: format!("`{name}`: {}", problem.message), ..problem }
}

/// What to say about a field that is not in the table.
fn unknown(object: &'static Object, key: &str) -> Problem {
    let place = if object.path.is_empty() { String::new() } else { format!(" in `{}`", object.path) };
    let problem = Problem::new(format!("unknown field `{key}`{place}"));
    if let Some((word, elsewhere)) = object.elsewhere.iter().find(|(word, _)| word.eq_ignore_ascii_case(key))
    {
        return match elsewhere {
            Elsewhere::Use(instead) => problem.help(format!("did you mean `{instead}`?")),
            Elsewhere::NotYet(help) => {
                let verdict = if help.contains("not supported yet") {
                    "is not supported yet"
                } else {
                    "has no place here"
                };
                Problem::new(format!("`{word}` {verdict}")).help(*help)
            }
        };
    }
    if let Some(close) = values::closest(key, object.fields.iter().map(|field| field.name)) {
        return problem.help(format!("did you mean `{close}`?"));
    }
    let mut paths = Vec::new();
    find_path(&fields::ROOT, key, &mut paths);
    if let Some(path) = paths.first() {
        return problem.help(format!("it belongs to `{path}`"));
    }
    let known = object.fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
    problem.help(format!("the fields are {known}"))
}

/// Where the vocabulary has a field of this name: `route.hosts`.
fn find_path(object: &'static Object, key: &str, found: &mut Vec<String>) {
    for field in object.fields {
        if field.name == key {
            let dot = if object.path.is_empty() { "" } else { "." };
            found.push(format!("{}{dot}{}", object.path, field.name));
        }
        find_in(&field.shape, key, found);
    }
}

fn find_in(shape: &'static Shape, key: &str, found: &mut Vec<String>) {
    match shape {
        Shape::Object(child) | Shape::TextOr(child) | Shape::WrittenOr(child) | Shape::FalseOr(child) => {
            find_path(child, key, found)
        }
        Shape::List { item: inner, .. } | Shape::MapOf { value: inner, .. } | Shape::NoneOr(inner) => {
            find_in(inner, key, found)
        }
        Shape::Text
        | Shape::Written
        | Shape::Integer { .. }
        | Shape::Number { .. }
        | Shape::True
        | Shape::Bool
        | Shape::Duration { .. }
        | Shape::Bytes { .. }
        | Shape::Cpu
        | Shape::Percent
        | Shape::Amount
        | Shape::Condition
        | Shape::Path
        | Shape::Words
        | Shape::Ratio
        | Shape::Choice(_) => {}
    }
}
