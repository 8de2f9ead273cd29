//! Lines that belong to one record: stack traces of Java, JavaScript, Python, panics of Rust and Go. Pure. Does not live
//! here: what a record says (`parse`).

use std::ops::Range;

/// A record never grows beyond so many lines.
pub(crate) const MOST_LINES: usize = 500;

/// Lines that are one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Which lines.
    pub(crate) lines: Range<usize>,
    /// Whether a line that follows could still belong to it.
    pub(crate) open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One line, or frames that begin with `at`.
    Frames,
    /// Inside a traceback.
    Python,
    /// Behind its last line: what it happened in may follow.
    PythonEnd,
    RustHead,
    Rust,
    Go,
    /// Inside a key or certificate: it is taken out whole, or not at all.
    Pem,
}

/// Joins lines to records. Every line is in exactly one group, in order.
pub(crate) fn groups(lines: &[&str]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut from = 0;
    while from < lines.len() {
        let (mut kind, mut until) = (begins(lines[from]), from + 1);
        while until < lines.len() && until - from < MOST_LINES {
            match continues(kind, &lines[until..]) {
                Some(next) => (kind, until) = (Some(next), until + 1),
                None => break,
            }
        }
        let open = kind.is_some() && until == lines.len() && until - from < MOST_LINES;
        groups.push(Group { lines: from..until, open });
        from = until;
    }
    groups
}

fn begins(line: &str) -> Option<Kind> {
    if line.starts_with('{') {
        return None;
    }
    if line.contains("-----BEGIN ") && !line.contains("-----END ") {
        return Some(Kind::Pem);
    }
    if line.contains("Traceback (most recent call last):") {
        return Some(Kind::Python);
    }
    if line.starts_with("thread '") && line.contains("panicked at ") {
        return Some(if line.ends_with(':') { Kind::RustHead } else { Kind::Rust });
    }
    if line.starts_with("panic: ") || line.starts_with("fatal error: ") || line.starts_with("goroutine ") {
        return Some(Kind::Go);
    }
    (is_frame(line) || class(line).is_some()).then_some(Kind::Frames)
}

fn is_frame(line: &str) -> bool {
    let inside = line.trim_start();
    let indented = inside.len() < line.len();
    indented && (inside.starts_with("at ") || inside.starts_with("Suppressed: "))
        || inside.starts_with("Caused by: ")
        || indented
            && inside.starts_with("... ")
            && (inside.ends_with(" more") || inside.ends_with(" omitted"))
}

/// The kind that a record has with this next line, if the line belongs to it.
fn continues(kind: Option<Kind>, next: &[&str]) -> Option<Kind> {
    let line = *next.first()?;
    let indented = line.starts_with([' ', '\t']);
    match kind {
        None | Some(Kind::Frames) => (is_frame(line) && !line.starts_with('{')).then_some(Kind::Frames),
        Some(Kind::Python) if indented => Some(Kind::Python),
        Some(Kind::Python) => (!line.is_empty()).then_some(Kind::PythonEnd),
        Some(Kind::PythonEnd) => {
            let chained = |line: &str| {
                line.starts_with("During handling of the above exception")
                    || line.starts_with("The above exception was")
            };
            match line {
                "" => next
                    .get(1)
                    .is_some_and(|line| chained(line) || line.starts_with("Traceback "))
                    .then_some(Kind::PythonEnd),
                line if chained(line) => Some(Kind::PythonEnd),
                line if line.starts_with("Traceback ") => Some(Kind::Python),
                _ => None,
            }
        }
        Some(Kind::RustHead) => Some(Kind::Rust),
        Some(Kind::Pem) if line.contains("-----END ") => Some(Kind::Frames),
        Some(Kind::Pem) => Some(Kind::Pem),
        Some(Kind::Rust) => {
            let of_rust = line.starts_with("note: ") || line == "stack backtrace:";
            (of_rust || indented).then_some(Kind::Rust)
        }
        Some(Kind::Go) => {
            let of_go = ["goroutine ", "created by ", "[signal ", "exit status ", "\t"]
                .iter()
                .any(|begin| line.starts_with(begin));
            let call = line.ends_with(')') && line.contains('(') && !line.contains(' ');
            (of_go || call || line.is_empty()).then_some(Kind::Go)
        }
    }
}

/// The exception that a record of text tells of: its kind and its message.
pub(crate) fn exception(text: &str) -> Option<(&str, &str)> {
    let first = text.lines().next()?;
    if text.contains("Traceback (most recent call last):") {
        let last = text.lines().rev().find(|line| !line.is_empty() && !line.starts_with([' ', '\t']))?;
        let (kind, message) = last.split_once(": ").unwrap_or((last, ""));
        let is_name = kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
        return is_name.then_some((kind, if message.is_empty() { kind } else { message }));
    }
    if first.starts_with("thread '") && first.contains("panicked at ") {
        let message = if first.ends_with(':') { text.lines().nth(1).unwrap_or(first) } else { first };
        return Some(("panic", message));
    }
    if let Some(message) = first.strip_prefix("panic: ").or_else(|| first.strip_prefix("fatal error: ")) {
        return Some(("panic", message));
    }
    let has_frames = text.lines().skip(1).any(is_frame);
    let (at, name) = class(first)?;
    let whole = at == 0 || first[..at].trim_end().ends_with('"') || first.starts_with("Uncaught ");
    if !has_frames && !whole {
        return None;
    }
    let message = first[at + name.len()..].trim_start_matches(':').trim();
    Some((name, if message.is_empty() { name } else { message }))
}

/// The first word that is the name of an exception's class, and where it stands.
fn class(line: &str) -> Option<(usize, &str)> {
    let head = crate::shorter(line, 400);
    if !head.contains("Exception") && !head.contains("Error") {
        return None;
    }
    let mut from = 0;
    for word in head.split(' ') {
        let at = from;
        from += word.len() + 1;
        let name = word.strip_suffix(':').unwrap_or(word);
        let last = name.rsplit(['.', '$', ':']).next().unwrap_or(name);
        let named = last.ends_with("Exception") || last.ends_with("Error");
        let shaped = last.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b':'));
        let told = word.ends_with(':') || at + word.len() == head.len();
        if named && shaped && told {
            return Some((at, name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(text: &str) -> Vec<usize> {
        let lines: Vec<&str> = text.split('\n').collect();
        groups(&lines).into_iter().map(|group| group.lines.len()).collect()
    }

    const JAVA: &str = "java.lang.IllegalStateException: no pool\n\tat shop.Cart.add(Cart.java:12)\n\tat shop.Main.main(Main.java:3)\nCaused by: java.io.IOException: gone\n\t... 2 more";
    const PYTHON: &str = "Traceback (most recent call last):\n  File \"a.py\", line 3, in f\n    g()\nKeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 5, in <module>\n    f()\nshop.errors.CartError: no cart";
    const RUST: &str = "thread 'main' (12) panicked at src/main.rs:2:5:\nindex out of bounds\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/x/panicking.rs:1\nnote: Some details are omitted";
    const GO: &str = "panic: runtime error: index out of range [3]\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:8 +0x1d\nexit status 2";

    #[test]
    fn stack_traces_are_one_record_and_their_neighbours_are_not_in_it() {
        for trace in [JAVA, PYTHON, RUST, GO] {
            let lines = trace.split('\n').count();
            let text = format!("INFO before\n{trace}\nINFO after\n{{\"level\":\"info\"}}");
            assert_eq!(sizes(&text), [1, lines, 1, 1], "{trace}");
        }
        assert_eq!(sizes("a\nb\n  indented prose\nc"), [1, 1, 1, 1]);
    }

    #[test]
    fn exceptions_have_a_kind_and_a_message() {
        assert_eq!(exception(JAVA), Some(("java.lang.IllegalStateException", "no pool")));
        assert_eq!(exception(PYTHON), Some(("shop.errors.CartError", "no cart")));
        assert_eq!(exception(RUST), Some(("panic", "index out of bounds")));
        assert_eq!(exception(GO), Some(("panic", "runtime error: index out of range [3]")));
        assert_eq!(
            exception("TypeError: x is not a function\n    at f (a.js:1:2)"),
            Some(("TypeError", "x is not a function"))
        );
        assert_eq!(
            exception("Exception in thread \"main\" java.lang.Error: x\n\tat a.B.c(B.java:1)"),
            Some(("java.lang.Error", "x"))
        );
        assert_eq!(exception("No Error: all is well, and Exceptions are rare"), None);
        assert_eq!(exception("GET /Exception 200"), None);
    }

    #[test]
    fn a_record_has_a_last_line() {
        let endless = vec!["\tat a.b.c(D.java:1)"; 3 * MOST_LINES];
        let all = groups(&endless);
        assert!(all.iter().all(|group| group.lines.len() <= MOST_LINES));
        assert!(groups(&["ValueError: x"])[0].open);
        assert!(!groups(&["plain"])[0].open);
    }

    proptest! {
        #[test]
        fn every_line_is_in_one_group(lines in proptest::collection::vec("(\tat x|panic: |Traceback \\(most recent call last\\):|E|\\{|  f|)[a-zA-Z: ]{0,8}", 0..60)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut next = 0;
            for group in groups(&lines) {
                prop_assert_eq!(group.lines.start, next);
                prop_assert!(!group.lines.is_empty());
                next = group.lines.end;
            }
            prop_assert_eq!(next, lines.len());
            for line in lines {
                let _ = exception(line);
            }
        }
    }
}
