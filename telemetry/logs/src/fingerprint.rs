//! Which errors are the same: kind, and the top frames of the trace or else the message, without what differs each time. Pure.
//! Does not live here: when each was seen (`inbox`).

use crate::bloom;
use crate::level::Level;
use crate::parse::Parsed;

/// How many frames tell two errors apart.
const FRAMES: usize = 5;
/// How much of a normalized text counts.
const LONGEST: usize = 300;

/// An error by which others are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Sixteen hexadecimal digits.
    pub(crate) id: String,
    pub(crate) kind: String,
    /// The message without what differs each time.
    pub(crate) title: String,
}

/// The fingerprint of a record, if it is an error.
pub(crate) fn of(parsed: &Parsed) -> Option<Fingerprint> {
    let is_error = parsed.level.is_some_and(|level| level >= Level::Error) || parsed.error_type.is_some();
    if !is_error {
        return None;
    }
    let kind = parsed.error_type.clone().unwrap_or_else(|| "error".to_owned());
    let title = normalized(&parsed.message);
    let frames = parsed.stack.as_deref().map(frames).unwrap_or_default();
    let by = if frames.is_empty() { &title } else { &frames };
    let id = format!("{:016x}", bloom::hash(bloom::hash(2, kind.as_bytes()), by.as_bytes()));
    Some(Fingerprint { id, kind, title })
}

/// The functions nearest to the error, without lines and addresses.
fn frames(stack: &str) -> String {
    let is_python = stack.contains("Traceback (most recent call last):");
    let frame = |line: &str| -> Option<String> {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("File \"") {
            let (path, rest) = rest.split_once('"')?;
            let function = rest.rsplit(" in ").next().unwrap_or_default();
            return Some(format!("{}:{function}", path.rsplit('/').next().unwrap_or(path)));
        }
        if let Some(rest) = line.strip_prefix("at ") {
            // Rust writes there in which file, behind the function.
            if rest.starts_with(['/', '.']) {
                return None;
            }
            return Some(normalized(rest.split('(').next().unwrap_or(rest)));
        }
        // Rust numbers its frames; Go writes a call.
        if let Some((number, function)) = line.split_once(": ")
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Some(normalized(function));
        }
        let call = line.ends_with(')') && line.contains('(') && !line.contains(' ');
        call.then(|| normalized(line.split('(').next().unwrap_or(line)))
    };
    let all: Vec<String> = stack.lines().filter_map(frame).collect();
    // Python writes the frame nearest to the error last.
    let near: Vec<&str> = if is_python {
        all.iter().rev().take(FRAMES).map(String::as_str).collect()
    } else {
        all.iter().take(FRAMES).map(String::as_str).collect()
    };
    near.join("\n")
}

/// A text without quoted parts, numbers and ids.
pub(crate) fn normalized(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut title = String::new();
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        if title.len() >= LONGEST {
            break;
        }
        let quote =
            matches!(next, '"' | '`') || next == '\'' && !title.ends_with(|c: char| c.is_alphanumeric());
        if quote && let Some(end) = rest[1..].find(next) {
            title.extend([next, '*', next]);
            rest = &rest[end + 2..];
            continue;
        }
        if next.is_alphanumeric() || next == '_' {
            let inside = |c: char| c.is_alphanumeric() || c == '_';
            let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
            title.push_str(&word(&rest[..end]));
            rest = &rest[end..];
            // The parts of a number, an address or an id are one.
            while title.ends_with(['#']) && rest.starts_with(['-', '.', ':']) {
                let behind = &rest[1..];
                let end = behind.find(|c| !inside(c)).unwrap_or(behind.len());
                if end == 0 || word(&behind[..end]) != "#" {
                    break;
                }
                rest = &behind[end..];
            }
            continue;
        }
        title.push(next);
        rest = &rest[next.len_utf8()..];
    }
    title.trim().to_owned()
}

/// A word, with its numbers taken out; an id is nothing but a number.
fn word(word: &str) -> String {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit()) || word.starts_with("0x");
    if digits > 0 && (hexadecimal || digits * 3 >= word.len() || word.len() >= 20) {
        return "#".to_owned();
    }
    let mut clean = String::new();
    for letter in word.chars() {
        if !letter.is_ascii_digit() {
            clean.push(letter);
        } else if !clean.ends_with('#') {
            clean.push('#');
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn id(line: &str) -> String {
        of(&parse(line, |_, _| {})).unwrap().id
    }

    #[test]
    fn what_differs_each_time_makes_no_other_error() {
        let same = [
            [
                r#"{"level":"error","error.type":"Io","msg":"order 123 of 'ann' at 10.0.0.1:80 failed"}"#,
                r#"{"level":"error","error.type":"Io","msg":"order 9 of 'bob' at 10.1.0.27:8080 failed","x":1}"#,
            ],
            [
                "ERROR no cart 550e8400-e29b-41d4-a716-446655440000",
                "ERROR no cart 123e4567-e89b-12d3-a456-426614174000",
            ],
            [
                "java.lang.IllegalStateException: pool 3\n\tat a.B.c(B.java:12)\n\tat a.D$1.e(D.java:1)",
                "java.lang.IllegalStateException: other words\n\tat a.B.c(B.java:14)\n\tat a.D$2.e(D.java:1)",
            ],
            [
                "thread 'main' (1) panicked at src/main.rs:2:5:\nindex 3\nstack backtrace:\n   0: core::x\n             at /rustc/a/b.rs:1",
                "thread 'x' (2) panicked at src/main.rs:9:5:\nindex 99\nstack backtrace:\n   0: core::x\n             at /rustc/c/b.rs:7",
            ],
        ];
        for [one, other] in same {
            assert_eq!(id(one), id(other), "{one}");
        }
    }

    #[test]
    fn other_kinds_frames_and_messages_are_other_errors() {
        let all = [
            id(r#"{"level":"error","error.type":"Io","msg":"no"}"#),
            id(r#"{"level":"error","error.type":"Net","msg":"no"}"#),
            id(r#"{"level":"error","error.type":"Io","msg":"yes"}"#),
            id("Traceback (most recent call last):\n  File \"a.py\", line 3, in f\nKeyError: 'x'"),
            id("Traceback (most recent call last):\n  File \"a.py\", line 3, in g\nKeyError: 'x'"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(of(&parse("INFO all is well", |_, _| {})), None);
    }

    #[test]
    fn a_title_reads_like_the_message() {
        assert_eq!(normalized("can't read \"x y\" from 10.0.0.1:80 in 12ms"), "can't read \"*\" from # in #");
        assert_eq!(normalized("user7 saw http2 and é"), "user# saw http# and é");
    }
}
