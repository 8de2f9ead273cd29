//! What a query may cost before anything is made of it: its text is looked over once, without a grammar, and refused when
//! it nests too deep for the stack of whoever parses it, or when its regular expressions would take too much memory.

use std::borrow::Cow;
use std::ops::Range;

use promql_parser::util::unquote_string;
use regex::{Regex, RegexBuilder};

use crate::Error;

/// The longest query, in bytes.
pub const LONGEST: usize = 64 * 1024;
/// How many operators and open brackets may follow each other: each one may be a level for the parser.
const MOST_LEVELS: usize = 1024;
/// How many regular expressions a query may have.
const MOST_REGEXES: usize = 128;
/// How large all compiled regular expressions may be together, in bytes.
const LARGEST_REGEXES: usize = 16 << 20;
/// How large one may be, in bytes.
const LARGEST_REGEX: usize = 1 << 20;
/// How large what a regular expression remembers of its work may grow, in bytes.
const LARGEST_MEMORY: usize = 256 << 10;

/// Looks a query over, and gives it as the parser shall have it: an `offset 0s`, which it takes for an error, is blank.
///
/// # Errors
/// What is too much of it, or the regular expression that is none.
pub(crate) fn checked(text: &str) -> Result<Cow<'_, str>, Error> {
    if text.len() > LONGEST {
        return Err(Error::TooMuch(format!("the query has {} bytes; the most is {LONGEST}", text.len())));
    }
    let mut text = Cow::Borrowed(text);
    for offset in look_over(&text)? {
        let blank = " ".repeat(offset.len());
        text.to_mut().replace_range(offset, &blank);
    }
    Ok(text)
}

/// Where an offset of zero stands.
fn look_over(text: &str) -> Result<Vec<Range<usize>>, Error> {
    let mut offsets = Vec::new();
    let mut levels = 0usize;
    let mut regexes: Vec<String> = Vec::new();
    let mut rest = text;
    let mut matches_regex = false;
    while let Some(c) = rest.chars().next() {
        if matches!(c, '"' | '\'' | '`') {
            let Some(length) = quoted(rest) else { break };
            let (quoted, after) = rest.split_at(length);
            check_bytes(quoted)?;
            if matches_regex {
                regexes.extend(unquote_string(quoted));
            }
            (matches_regex, rest) = (false, after);
            continue;
        }
        if c == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        if !c.is_whitespace() {
            matches_regex = rest.starts_with("=~") || rest.starts_with("!~") || (matches_regex && c == '~');
        }
        levels = match c {
            ')' | ']' => levels.saturating_sub(1),
            '(' | '[' | '+' | '-' | '*' | '/' | '%' | '^' | '<' | '>' | '=' | '!' => levels + 1,
            _ if c.is_alphabetic() => {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':')));
                let (word, after) = rest.split_at(length.unwrap_or(rest.len()));
                levels += usize::from(is_operator(word));
                if word.eq_ignore_ascii_case("offset")
                    && let Some(length) = zero(after)
                {
                    let start = text.len() - rest.len();
                    offsets.push(start..start + word.len() + length);
                }
                rest = after;
                continue;
            }
            _ => levels,
        };
        if levels > MOST_LEVELS {
            let what = format!("the query has more than {MOST_LEVELS} operators and open brackets");
            return Err(Error::TooMuch(what));
        }
        rest = &rest[c.len_utf8()..];
    }
    check_regexes(&regexes)?;
    Ok(offsets)
}

/// How far a duration of zero reaches that stands at the start, after blanks.
fn zero(text: &str) -> Option<usize> {
    let start = text.trim_start();
    let start = start.strip_prefix(['-', '+']).unwrap_or(start);
    let length = start.find(|c: char| !(c.is_alphanumeric() || c == '.')).unwrap_or(start.len());
    let zero = start[..length]
        .split(|c: char| !c.is_ascii_digit())
        .all(|digits| digits.bytes().all(|digit| digit == b'0'));
    let mut units =
        start[..length].split(|c: char| c.is_ascii_digit() || c == '.').filter(|unit| !unit.is_empty());
    let known = units.all(|unit| matches!(unit, "ms" | "s" | "m" | "h" | "d" | "w" | "y"));
    (zero && known && start.starts_with('0')).then(|| text.len() - start.len() + length)
}

fn is_operator(word: &str) -> bool {
    ["and", "or", "unless", "atan2"].iter().any(|operator| word.eq_ignore_ascii_case(operator))
}

/// How long the quoted text at the start is, quotes included; `None` when it does not end.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The parser reads `\xff` as a character, where Prometheus means a byte. Nobody shall get an answer to another question.
fn check_bytes(quoted: &str) -> Result<(), Error> {
    if quoted.starts_with('`') {
        return Ok(());
    }
    let mut rest = quoted;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        let byte = match escape.as_bytes() {
            [b'x', digits @ ..] => digits.first().is_some_and(|digit| !(b'0'..=b'7').contains(digit)),
            [b'2' | b'3', ..] => true,
            _ => false,
        };
        if byte {
            let shown: String = rest[at..].chars().take(4).collect();
            return Err(Error::Refused(format!("the byte {shown} in a text, where it may be no UTF-8,")));
        }
        rest = escape.get(escape.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    Ok(())
}

/// All of them fit into the memory for all of them.
fn check_regexes(regexes: &[String]) -> Result<(), Error> {
    if regexes.len() > MOST_REGEXES {
        let what = format!("{} regular expressions; the most is {MOST_REGEXES}", regexes.len());
        return Err(Error::TooMuch(format!("the query has {what}")));
    }
    let each = LARGEST_REGEX.min(LARGEST_REGEXES / regexes.len().max(1));
    regexes.iter().try_for_each(|regex| compiled(regex, each).map(drop))
}

/// A regular expression that has to match the whole value, newlines included, as Prometheus 3 does.
///
/// # Errors
/// When it is none, or too large.
pub(crate) fn anchored(text: &str) -> Result<Regex, Error> {
    compiled(text, LARGEST_REGEX)
}

fn compiled(text: &str, bytes: usize) -> Result<Regex, Error> {
    let built =
        RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(bytes).dfa_size_limit(LARGEST_MEMORY).build();
    built.map_err(|error| {
        let shown: String = text.chars().take(60).collect();
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return Error::TooMuch(format!("the regular expression {shown:?} takes more than {bytes} bytes"));
        }
        Error::Syntax(format!("the regular expression {shown:?}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_overflow_the_stack_or_the_memory_is_refused_by_what_it_is() {
        let refused = |text: String, why: &str| {
            let error = checked(&text).unwrap_err();
            assert!(matches!(error, Error::TooMuch(_)) && error.to_string().contains(why), "{error}");
        };
        refused("(".repeat(60_000), "1024 operators and open brackets");
        refused("1 or ".repeat(2_000), "1024 operators");
        refused("1*".repeat(30_000), "1024 operators");
        refused("- ".repeat(30_000), "1024 operators");
        refused("x".repeat(LONGEST + 1), "65536");
        refused(format!("{{{}}}", r#"a=~"\\w{9}","#.repeat(200)), "200 regular expressions");
        refused(r#"{a=~"\\w{1000}"}"#.to_owned(), "takes more than");
        refused(format!("{{{}}}", r#"a=~ "\\w{40}","#.repeat(100)), "takes more than");
    }

    #[test]
    fn an_offset_of_zero_is_none() {
        for (said, read) in [
            ("m offset 0s", "m"),
            ("m offset -0h0m", "m"),
            ("sum(m[5m] OFFSET\n0ms) + 1", "sum(m[5m]           ) + 1"),
            ("m offset 0", "m"),
        ] {
            assert_eq!(checked(said).unwrap().trim_end(), read);
        }
        for other in
            ["m offset 10s", "m offset 0x5", "m{a=\"offset 0s\"}", "offset", "m offset", "m offset 0s1"]
        {
            assert_eq!(checked(other).unwrap(), other);
        }
    }

    #[test]
    fn what_stands_in_texts_and_comments_does_not_count() {
        assert!(checked(&format!("x{{a=\"{}\"}} # {}", "(".repeat(3000), "*".repeat(3000))).is_ok());
        assert!(checked(r#"x{a=~"it's (a|b).*", b!~'.+"', c=~`\d+`}"#).is_ok());
        assert!(checked(r#"x{a="\\xff"}"#).is_ok());
        assert!(matches!(checked(r#"x{a="\xff"}"#), Err(Error::Refused(_))));
        assert!(matches!(checked(r#"x{a=~"("}"#), Err(Error::Syntax(_))));
    }
}
