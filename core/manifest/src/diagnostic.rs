//! What is wrong with a manifest, where, and what to do next; and how that is shown to people and programs.

use std::cell::RefCell;
use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::{Serialize, Serializer};

use crate::node::Span;

/// More than so many diagnostics help nobody.
const MAX_DIAGNOSTICS: usize = 100;
/// Longer excerpts, in bytes, are not shown: a line of a megabyte says nothing.
const MAX_SHOWN: usize = 16 * 1024;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The manifest cannot be used.
    Error,
    /// The manifest can be used, but probably does not do what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The place in the text in bytes.
    #[serde(serialize_with = "span_as_object")]
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// A second place that has to do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
}

/// A second place that has to do with a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The place in the text in bytes.
    #[serde(serialize_with = "span_as_object")]
    pub span: Span,
    /// What stands there.
    pub label: String,
}

fn span_as_object<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Bytes {
        start: usize,
        end: usize,
    }
    Bytes { start: span.start, end: span.end }.serialize(serializer)
}

/// Everything that is wrong with a manifest, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Literal secrets in the text: never shown.
    #[serde(skip)]
    masked: Vec<Span>,
}

impl Diagnostics {
    /// The diagnostics, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Shows each with its place, the offending text underlined and the way out. `text` is the manifest that was
    /// parsed. Values that look like secrets are masked.
    pub fn render(&self, file_name: &str, text: &str, colour: bool) -> String {
        let text = self.mask(text);
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(120);
        let mut shown = String::new();
        for diagnostic in &self.list {
            let level = match diagnostic.severity {
                Severity::Error => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let title = level.primary_title(diagnostic.message.as_str());
            let mut group: Group<'_> = match snippet(&text, diagnostic) {
                Some(snippet) => title.element(snippet.path(file_name)),
                None => {
                    let origin = Origin::path(file_name).line(diagnostic.line).char_column(diagnostic.column);
                    title.element(origin)
                }
            };
            if let Some(help) = &diagnostic.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            shown.push_str(&renderer.render(&[group]));
            shown.push_str("\n\n");
        }
        shown
    }

    /// The text with every literal secret overwritten, byte for byte so that places stay true.
    fn mask(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for span in &self.masked {
            for byte in bytes.get_mut(span.clone()).into_iter().flatten() {
                if *byte != b'\n' && *byte != b'\r' {
                    *byte = b'*';
                }
            }
        }
        String::from_utf8(bytes).unwrap_or_default()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}: {}", diagnostic.line, diagnostic.column, diagnostic.message)?;
            if let Some(help) = &diagnostic.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A problem without its place: what a reader of one value reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Collects problems while a manifest is read. The same problem at the same place counts once, however many
/// environments inherit it.
pub(crate) struct Sink<'a> {
    text: &'a str,
    found: RefCell<Diagnostics>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, found: RefCell::default() }
    }

    pub(crate) fn error(&self, span: &Span, problem: Problem) {
        self.push(Severity::Error, span, problem, None);
    }

    pub(crate) fn warning(&self, span: &Span, problem: Problem) {
        self.push(Severity::Warning, span, problem, None);
    }

    pub(crate) fn error_with(&self, span: &Span, problem: Problem, other: &Span, label: &str) {
        let span_of_other = clip(self.text, other);
        let (line, column) = position(self.text, span_of_other.start);
        let related = Related { line, column, span: span_of_other, label: label.to_owned() };
        self.push(Severity::Error, span, problem, Some(related));
    }

    /// Hides a literal secret from everything that shows the text.
    pub(crate) fn mask(&self, span: &Span) {
        self.found.borrow_mut().masked.push(span.clone());
    }

    fn push(&self, severity: Severity, span: &Span, problem: Problem, related: Option<Related>) {
        let span = clip(self.text, span);
        let mut found = self.found.borrow_mut();
        let known = found.list.iter().any(|d| d.span == span && d.message == problem.message);
        if known || found.list.len() >= MAX_DIAGNOSTICS {
            return;
        }
        let (line, column) = position(self.text, span.start);
        let Problem { message, help } = problem;
        found.list.push(Diagnostic { severity, line, column, span, message, help, related });
    }

    pub(crate) fn finish(self) -> Diagnostics {
        let mut found = self.found.into_inner();
        found.list.sort_by_key(|d| (d.span.start, d.severity));
        found
    }
}

/// The span inside the text, on character boundaries.
fn clip(text: &str, span: &Span) -> Span {
    let start = text.floor_char_boundary(span.start);
    start..text.ceil_char_boundary(span.end).max(start)
}

/// The lines that a diagnostic is about, underlined; `None` when they are too long to be read.
fn snippet<'a>(text: &'a str, diagnostic: &'a Diagnostic) -> Option<Snippet<'a, Annotation<'a>>> {
    let primary = first_line(text, &diagnostic.span);
    let related = diagnostic.related.as_ref().map(|related| (first_line(text, &related.span), related));
    let other = related.as_ref().map_or_else(|| primary.clone(), |(span, _)| span.clone());
    let first = primary.start.min(other.start);
    let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let last = primary.end.max(other.end);
    let end = text[last..].find('\n').map_or(text.len(), |length| last + length);
    if end - start > MAX_SHOWN {
        return None;
    }
    let inside = |span: Span| span.start - start..span.end - start;
    let line =
        diagnostic.related.as_ref().map_or(diagnostic.line, |related| related.line.min(diagnostic.line));
    let snippet = Snippet::source(&text[start..end])
        .line_start(line)
        .annotation(AnnotationKind::Primary.span(inside(primary)));
    Some(match related {
        Some((span, related)) => {
            snippet.annotation(AnnotationKind::Context.span(inside(span)).label(related.label.as_str()))
        }
        None => snippet,
    })
}

/// The part of a span on its first line that is worth underlining: a block is shown by its beginning.
fn first_line(text: &str, span: &Span) -> Span {
    let span = clip(text, span);
    let length = text[span.clone()].lines().next().map_or(0, |line| line.trim_end().len());
    span.start..span.start + length
}

/// Line and column of a byte, both from 1, the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..byte];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
