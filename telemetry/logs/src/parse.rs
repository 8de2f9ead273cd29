//! What a line says of itself: level, message, kind of error, trace, time. Pure. Does not live here: joining lines
//! (`join`), and keeping them.

use std::borrow::Cow;

use crate::fields::{self, Form, Scalar};
use crate::level::Level;

/// The longest message, kind of error or trace that is kept beside the line itself.
pub(crate) const LONGEST: usize = 1024;
/// How far into a line of text its level is looked for, in bytes.
const LOOK: usize = 120;

/// What a line says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// How grave it is.
    pub(crate) level: Option<Level>,
    /// What happened; the line itself when it has no field for that.
    pub(crate) message: String,
    /// The kind of error.
    pub(crate) error_type: Option<String>,
    /// The stack trace, when it has a field of its own.
    pub(crate) stack: Option<String>,
    /// The trace that it belongs to.
    pub(crate) trace: Option<String>,
    /// The span.
    pub(crate) span: Option<String>,
    /// When it happened, in microseconds since 1970, if it says so with a zone.
    pub(crate) at: Option<i64>,
}

/// What a field means.
#[derive(Clone, Copy)]
enum Meaning {
    Level,
    Message,
    Error,
    Stack,
    Trace,
    Span,
    Time,
}

fn meaning(path: &str) -> Option<Meaning> {
    Some(match path {
        "level" | "severity" | "levelname" | "lvl" | "log.level" | "loglevel" | "severityText"
        | "severity_text" | "Level" | "@l" => Meaning::Level,
        "message" | "msg" | "fields.message" | "event" | "body" | "Message" | "@m" => Meaning::Message,
        "error.type" | "exception.type" | "error.kind" | "err.type" | "exc_type" | "error.name"
        | "err.name" | "exception.class" => Meaning::Error,
        "stack"
        | "stacktrace"
        | "stack_trace"
        | "error.stack"
        | "err.stack"
        | "error.stack_trace"
        | "exception.stacktrace"
        | "exc_info"
        | "exception" => Meaning::Stack,
        "trace_id" | "traceId" | "traceID" | "trace.id" | "dd.trace_id" | "TraceId" => Meaning::Trace,
        "span_id" | "spanId" | "spanID" | "span.id" | "dd.span_id" | "SpanId" => Meaning::Span,
        "timestamp" | "time" | "ts" | "@timestamp" | "datetime" | "@t" | "Timestamp" => Meaning::Time,
        _ => return None,
    })
}

/// Under which name a field is handed on; `None` when the record has it itself, however it is written.
pub(crate) fn handed_on(path: &str) -> Option<&str> {
    match meaning(path) {
        Some(Meaning::Stack) => Some("exception.stacktrace"),
        Some(
            Meaning::Level
            | Meaning::Message
            | Meaning::Error
            | Meaning::Trace
            | Meaning::Span
            | Meaning::Time,
        ) => None,
        None => Some(path),
    }
}

/// Reads a record's line. `each` sees every field on the way.
pub(crate) fn parse(line: &str, mut each: impl FnMut(&str, &Scalar<'_>)) -> Parsed {
    let mut parsed = Parsed::default();
    let form = fields::walk(line, &mut |path, value| {
        each(path, &value);
        if let Some(meaning) = meaning(path) {
            take(&mut parsed, meaning, &value);
        }
    });
    if form == Form::Text {
        // What an object gave before it broke off is no witness.
        parsed = Parsed::default();
        text(line, &mut parsed);
    }
    if parsed.message.is_empty() {
        parsed.message = cut(line).into_owned();
    }
    if parsed.level.is_none() && (parsed.error_type.is_some() || parsed.stack.is_some()) {
        parsed.level = Some(Level::Error);
    }
    parsed
}

fn take(parsed: &mut Parsed, meaning: Meaning, value: &Scalar<'_>) {
    let fill = |place: &mut Option<String>| {
        if place.is_none() {
            *place = Some(cut(&value.text()).into_owned()).filter(|text| !text.is_empty());
        }
    };
    match (meaning, value) {
        (Meaning::Level, Scalar::Text(word)) => parsed.level = parsed.level.or(Level::of_word(word.trim())),
        (Meaning::Level, Scalar::Whole(number)) => {
            parsed.level = parsed.level.or(Level::of_number(*number as f64));
        }
        (Meaning::Level, Scalar::Number(_) | Scalar::Bool(_)) => {}
        (Meaning::Message, _) if parsed.message.is_empty() => {
            parsed.message = cut(&value.text()).into_owned()
        }
        (Meaning::Message, _) => {}
        (Meaning::Error, _) => fill(&mut parsed.error_type),
        (Meaning::Stack, Scalar::Text(stack)) => {
            if parsed.stack.is_none() && stack.contains('\n') {
                parsed.stack = Some(stack.chars().take(8 * LONGEST).collect());
            }
        }
        (Meaning::Stack, _) => {}
        (Meaning::Trace, _) => fill(&mut parsed.trace),
        (Meaning::Span, _) => fill(&mut parsed.span),
        (Meaning::Time, _) => parsed.at = parsed.at.or_else(|| time(value)),
    }
}

fn cut(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(crate::shorter(text, LONGEST))
}

/// A moment with a zone, or a number that can only be seconds, milliseconds, microseconds or nanoseconds of this age.
fn time(value: &Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Text(text) => text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_microsecond)
            .or_else(|| text.parse::<f64>().ok().and_then(of_age)),
        Scalar::Whole(number) => of_age(*number as f64),
        Scalar::Number(number) => of_age(*number),
        Scalar::Bool(_) => None,
    }
}

fn of_age(number: f64) -> Option<i64> {
    // 2001 to 2128 in each unit; the ranges do not touch.
    let scale = match number {
        1e9..5e9 => 1e6,
        1e12..5e12 => 1e3,
        1e15..5e15 => 1.0,
        1e18..5e18 => 1e-3,
        _ => return None,
    };
    Some((number * scale) as i64)
}

/// A line of text: its level stands near its beginning as a word in capitals, in brackets, or before a colon; a stack
/// trace and a panic are errors.
fn text(line: &str, parsed: &mut Parsed) {
    let first = line.lines().next().unwrap_or_default();
    parsed.at = first.split_whitespace().next().and_then(|word| {
        let word = word.trim_matches(['[', ']']);
        word.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
    });
    parsed.level = level_of_text(first);
    if let Some((kind, message)) = crate::join::exception(line) {
        parsed.error_type = Some(cut(kind).into_owned());
        if parsed.level.is_none_or(|level| level < Level::Error) {
            parsed.level = Some(Level::Error);
        }
        parsed.message = cut(message).into_owned();
        parsed.stack = line.contains('\n').then(|| line.to_owned());
    }
}

fn level_of_text(line: &str) -> Option<Level> {
    let head = crate::shorter(line, LOOK);
    // klog and glog: `E0102 15:04:05.000000`.
    let mut bytes = head.bytes();
    if let (Some(letter), true) =
        (bytes.next(), bytes.clone().take(4).filter(u8::is_ascii_digit).count() == 4)
        && bytes.nth(4) == Some(b' ')
    {
        match letter {
            b'I' => return Some(Level::Info),
            b'W' => return Some(Level::Warn),
            b'E' => return Some(Level::Error),
            b'F' => return Some(Level::Fatal),
            _ => {}
        }
    }
    for word in head.split(|c: char| !c.is_ascii_alphanumeric()) {
        if !(3..=9).contains(&word.len()) || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
            continue;
        }
        let Some(level) = Level::of_word(word) else { continue };
        let begin = word.as_ptr().addr() - head.as_ptr().addr();
        let end = begin + word.len();
        let before = head[..begin].chars().next_back();
        let behind = head[end..].chars().next();
        let in_brackets = matches!(before, Some('[' | '<' | '(')) && matches!(behind, Some(']' | '>' | ')'));
        let in_capitals = word.bytes().all(|b| b.is_ascii_uppercase()) && word != "LOG";
        let opens = begin == 0 && behind == Some(':');
        if in_brackets || opens || in_capitals {
            return Some(level);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Parsed {
        parse(line, |_, _| {})
    }

    #[test]
    fn the_common_names_of_loggers_are_understood() {
        let cases = [
            (r#"{"level":"error","msg":"no","error.type":"Io","trace_id":"abc"}"#, Level::Error),
            (
                r#"{"severity":"ERROR","message":"no","exception":{"type":"Io"},"traceId":"abc"}"#,
                Level::Error,
            ),
            (
                r#"{"levelname":"CRITICAL","message":"no","error":{"kind":"Io"},"dd.trace_id":"abc"}"#,
                Level::Fatal,
            ),
            (r#"{"level":50,"msg":"no","err":{"type":"Io"},"trace":{"id":"abc"}}"#, Level::Error),
            (r#"level=warn msg=no error.type=Io trace_id=abc"#, Level::Warn),
        ];
        for (line, level) in cases {
            let parsed = of(line);
            assert_eq!(
                (
                    parsed.level,
                    parsed.message.as_str(),
                    parsed.error_type.as_deref(),
                    parsed.trace.as_deref()
                ),
                (Some(level), "no", Some("Io"), Some("abc")),
                "{line}"
            );
        }
        assert_eq!(of(r#"{"error.type":"Io"}"#).level, Some(Level::Error));
    }

    #[test]
    fn a_line_of_text_has_a_level_only_when_it_clearly_says_so() {
        let cases = [
            ("2026-01-02T03:04:05Z ERROR shop: no", Some(Level::Error)),
            ("2026-01-02 03:04:05,123 WARNING root no", Some(Level::Warn)),
            ("[error] 1234#0: no", Some(Level::Error)),
            ("error: no such file", Some(Level::Error)),
            ("E0102 15:04:05.000000 1 main.go:1] no", Some(Level::Error)),
            ("no errors were found, and info is cheap", None),
            ("an error occurred", None),
            ("GET /error 200", None),
            ("", None),
            ("ä€😀 INFO fine", Some(Level::Info)),
        ];
        for (line, level) in cases {
            assert_eq!(of(line).level, level, "{line}");
        }
    }

    #[test]
    fn times_need_a_zone_or_a_unit_that_can_be_told() {
        let expected = Some(1_767_323_045_000_000);
        for line in [
            r#"{"timestamp":"2026-01-02T03:04:05Z"}"#,
            r#"{"time":1767323045}"#,
            r#"{"time":1767323045000}"#,
            r#"{"ts":1767323045.0}"#,
            r#"{"@timestamp":"2026-01-02T04:04:05+01:00"}"#,
            "2026-01-02T03:04:05Z INFO x",
        ] {
            assert_eq!(of(line).at, expected, "{line}");
        }
        assert_eq!(of(r#"{"time":"2026-01-02 03:04:05"}"#).at, None);
        assert_eq!(of(r#"{"time":12}"#).at, None);
    }
}
