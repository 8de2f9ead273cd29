//! The one place that touches the YAML library: text in, [`Node`]s out. Refuses what a manifest has no use for
//! (several documents, custom tags, keys that are not scalars) and what could eat the machine (size, depth, aliases
//! that expand without end). A parser of events is used rather than a deserializer because the text of scalars must
//! survive as written and every duplicate key must be reported, not only the first.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use crate::diagnostic::{Problem, Sink};
use crate::node::{Entry, Map, Node, Scalar, Span, Value};

/// The largest manifest in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 32;
/// The most keys in one mapping.
const MAX_KEYS: usize = 1000;
/// The most values, those behind aliases counted each time they are used.
const MAX_NODES: usize = 50_000;

/// Reads the one document of a text. `None` after an error that was reported; also for an empty document, which
/// is reported too.
pub(crate) fn parse(text: &str, sink: &Sink<'_>) -> Option<Node> {
    if text.len() > MAX_BYTES {
        let message = format!("the manifest is {} bytes long; the most is {MAX_BYTES}", text.len());
        sink.error(&(0..0), Problem::new(message).help("move data into files of the artifact"));
        return None;
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: 4 * MAX_DEPTH,
        block_nesting_limit: 4 * MAX_DEPTH,
    };
    let mut composer = Composer {
        text,
        sink,
        parser: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    composer.document().ok()
}

/// It was reported; there is no tree.
struct Reported;

struct Composer<'a, 's> {
    text: &'a str,
    sink: &'s Sink<'a>,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
}

/// A node that has a name, with what it costs to use it again.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl<'a> Composer<'a, '_> {
    fn document(&mut self) -> Result<Node, Reported> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            #[allow(clippy::wildcard_enum_match_arm)]
            match event {
                Event::DocumentStart(..) if root.is_some() => {
                    let help = "environments are declared under `environments:` in the same document";
                    let problem =
                        Problem::new("a manifest is one YAML document, and here starts a second one");
                    self.sink.error(&span, problem.help(help));
                    return Err(Reported);
                }
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        match root {
            Some(node) if !node.is_null() => Ok(node),
            Some(_) | None => {
                self.sink.error(&(0..0), Problem::new("the manifest is empty").help(SMALLEST));
                Err(Reported)
            }
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Reported> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let span = byte(span.start)..byte(span.end);
                Ok(Some((event, span)))
            }
            Some(Err(error)) => {
                self.refuse(&error);
                Err(Reported)
            }
        }
    }

    /// The node that an event begins.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Reported> {
        self.count(1, depth, &span)?;
        let before = self.nodes;
        // Every event that begins a node is named; the library's list of events is open.
        #[allow(clippy::wildcard_enum_match_arm)]
        let (node, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, &span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let string = self.tag(tag.as_deref(), &span) == Some("str");
                let plain = style == ScalarStyle::Plain && !string;
                let value = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar(Scalar { text: text.into_owned(), quoted: !plain })
                };
                (Node { span, value }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), &span);
                (self.list(span, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), &span);
                (self.mapping(span, depth)?, anchor)
            }
            _ => {
                self.sink.error(&span, Problem::new("a value is missing here"));
                return Err(Reported);
            }
        };
        if anchor > 0 {
            let depth = depth_of(&node);
            let nodes = self.nodes - before + 1;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: &Span, depth: usize) -> Result<Node, Reported> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            self.sink.error(span, Problem::new("this alias stands inside the value that it refers to"));
            return Err(Reported);
        };
        let (nodes, deepest, node) = (anchored.nodes, depth + anchored.depth, anchored.node.clone());
        self.count(nodes, deepest, span)?;
        Ok(node)
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, Reported> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                return Ok(Node { span: start.start..span.end.max(start.end), value: Value::List(items) });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        Err(Reported)
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<Node, Reported> {
        let mut map = Map::default();
        let mut merged = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                for parent in merged {
                    inherit(&mut map, parent);
                }
                return Ok(Node { span: start.start..span.end.max(start.end), value: Value::Map(map) });
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, span, depth + 1)?;
            let Some((event, span)) = self.next()? else { break };
            let value = self.node(event, span, depth + 1)?;
            if merge {
                self.merge(value, &mut merged);
            } else if map.entries.len() >= MAX_KEYS {
                let message = format!("this mapping has more than {MAX_KEYS} keys");
                self.sink
                    .error(&key.span, Problem::new(message).help("move data into files of the artifact"));
                return Err(Reported);
            } else {
                self.entry(&mut map, key, value);
            }
        }
        Err(Reported)
    }

    fn entry(&self, map: &mut Map, key: Node, value: Node) {
        let key_span = key.span;
        let name = match key.value {
            Value::Scalar(scalar) => scalar.text,
            Value::Null => self.text.get(key_span.clone()).unwrap_or_default().to_owned(),
            Value::List(_) | Value::Map(_) => {
                let help =
                    "write one word before the colon; put a value that starts with `{` or `[` in quotes";
                self.sink.error(&key_span, Problem::new("a key must be a single word").help(help));
                return;
            }
        };
        if let Some(first) = map.get(&name) {
            let problem = Problem::new(format!("`{name}` stands twice in the same mapping"));
            self.sink.error_with(
                &key_span,
                problem.help("remove one of the two, or merge them"),
                &first.key_span,
                "the first one",
            );
            return;
        }
        map.entries.push(Entry { key: name, key_span, value });
    }

    /// `<<: *base` and `<<: [*a, *b]`: what stands in the mapping itself wins.
    fn merge(&self, value: Node, merged: &mut Vec<Map>) {
        let span = value.span;
        match value.value {
            Value::Map(map) => merged.push(map),
            Value::List(items) => {
                for item in items {
                    self.merge(item, merged);
                }
            }
            Value::Null | Value::Scalar(_) => {
                self.sink.error(&span, Problem::new("`<<` merges a mapping: write `<<: *name`"));
            }
        }
    }

    /// The name of a core tag; any other tag is an error.
    fn tag(&self, tag: Option<&Tag>, span: &Span) -> Option<&'static str> {
        let tag = tag?;
        if tag.is_yaml_core_schema_tag("str") {
            return Some("str");
        }
        if tag.is_custom() {
            let problem = Problem::new("a manifest has no YAML tags of its own");
            self.sink.error(
                span,
                problem.help("remove the word that starts with `!`, or put the value in quotes"),
            );
        }
        None
    }

    fn count(&mut self, nodes: usize, depth: usize, span: &Span) -> Result<(), Reported> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let problem = Problem::new(format!("the manifest holds more than {MAX_NODES} values"));
            self.sink.error(span, problem.help("a value behind an alias counts each time it is used"));
            return Err(Reported);
        }
        if depth > MAX_DEPTH {
            let message = format!("the manifest is nested more than {MAX_DEPTH} levels deep");
            self.sink.error(span, Problem::new(message));
            return Err(Reported);
        }
        Ok(())
    }

    /// Where a tab stands before the first word of a line.
    fn tab_in_indentation(&self, line_start: usize) -> Option<usize> {
        let line = self.text[line_start..].lines().next()?;
        let indent = &line[..line.len() - line.trim_start().len()];
        Some(line_start + indent.find('\t')?)
    }

    /// The same of the line below: a plain value may go on there, so the library, which found a tab, stops at the value.
    fn tab_below(&self, at: usize, error: &ScanError) -> Option<usize> {
        let (rest, _) = self.text[at..].split_once('\n').filter(|_| error.info().contains("tab"))?;
        self.tab_in_indentation(at + rest.len() + 1)
    }

    /// Reports what the YAML library says, with help for the customary traps.
    fn refuse(&self, error: &ScanError) {
        let at = self.text.floor_char_boundary(byte(*error.marker()));
        let line_start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        let mut problem = Problem::new(format!("this is not YAML: {}", error.info().replace('\n', " ")));
        let mut span = at..self.text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        if let Some(tab) = self.tab_in_indentation(line_start).or_else(|| self.tab_below(at, error)) {
            span = tab..tab + 1;
            problem =
                Problem::new("this is not YAML: a tab stands in the indentation").help("indent with spaces");
        } else if let Some(mark) = self.text[at..].chars().next().filter(|c| "*&@`%!".contains(*c)) {
            problem = problem.help(format!("put a value that starts with `{mark}` in quotes"));
        } else if line.contains(": ") && line.matches(": ").count() > 1 {
            problem = problem.help("put a value that holds `: ` in quotes");
        } else {
            problem = problem.help("check the indentation and the quotes of this line and the one before");
        }
        self.sink.error(&span, problem);
    }
}

/// What to write into an empty file.
pub(crate) const SMALLEST: &str = "the smallest manifest is two lines: `service: shop` and `run: ./shop`";

fn inherit(map: &mut Map, parent: Map) {
    for entry in parent.entries {
        if map.get(&entry.key).is_none() {
            map.entries.push(entry);
        }
    }
}

fn depth_of(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Map(map) => 1 + map.entries.iter().map(|entry| depth_of(&entry.value)).max().unwrap_or(0),
    }
}

/// The byte of a marker; the library knows it for a text that it was given whole.
fn byte(marker: granit_parser::Marker) -> usize {
    marker.byte_offset().unwrap_or_else(|| marker.index())
}
