//! What a query may cost before anything is made of it: its text is looked over once, without a grammar, and refused when
//! it nests too deep for the stack of whoever parses it, or when its regular expressions would take too much memory.

use std::borrow::Cow;
use std::ops::Range;

use promql_parser::util::unquote_string;
use regex::{Regex, RegexBuilder};

use crate::Error;
use crate::eval::FARTHEST;

/// The longest query, in bytes.
pub const LONGEST: usize = 64 * 1024;
/// How many operators and open brackets may follow each other: each one may be a level for the parser.
const MOST_LEVELS: usize = 1024;
/// How many regular expressions a query may have.
const MOST_REGEXES: usize = 128;
/// The longest duration, in seconds.
const MOST_SECONDS: f64 = FARTHEST as f64 / 1000.0;
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
    let mut wants_duration = false;
    while let Some(c) = rest.chars().next() {
        if matches!(c, '"' | '\'' | '`') {
            let Some(length) = quoted(rest) else { break };
            let (quoted, after) = rest.split_at(length);
            check_bytes(quoted)?;
            if matches_regex {
                regexes.extend(unquote_string(quoted));
            }
            (matches_regex, wants_duration, rest) = (false, false, after);
            continue;
        }
        if c == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        if !c.is_whitespace() {
            matches_regex = rest.starts_with("=~") || rest.starts_with("!~") || (matches_regex && c == '~');
        }
        if c.is_ascii_digit() || c == '.' {
            let (number, after) = rest.split_at(number_length(rest));
            check_number(number, wants_duration)?;
            (wants_duration, rest) = (false, after);
            continue;
        }
        let wanted_duration = wants_duration;
        wants_duration =
            matches!(c, '[' | ':') || (wants_duration && (c.is_whitespace() || matches!(c, '+' | '-')));
        levels = match c {
            ')' | ']' => levels.saturating_sub(1),
            '(' | '[' | '+' | '-' | '*' | '/' | '%' | '^' | '<' | '>' | '=' | '!' => levels + 1,
            _ if c.is_alphabetic() => {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':')));
                let (word, after) = rest.split_at(length.unwrap_or(rest.len()));
                levels += usize::from(is_operator(word));
                if wanted_duration && is_not_finite(word) {
                    return Err(Error::Syntax(format!("{word} is not a duration")));
                }
                wants_duration = word.eq_ignore_ascii_case("offset");
                if let Some(length) = zero(after).filter(|_| wants_duration) {
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

/// How long the number or duration at the start is.
fn number_length(text: &str) -> usize {
    let mut before = ' ';
    let ends = |c: char| {
        let exponent = matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !text.starts_with("0x");
        before = c;
        !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent)
    };
    text.find(ends).unwrap_or(text.len())
}

/// The parser ends the process over a duration that is a number too large for it, and passes over a part of one that is too
/// large.
fn check_number(number: &str, is_duration: bool) -> Result<(), Error> {
    let too_long = || Error::Syntax(format!("the duration {number} is too long"));
    let has_unit = !number.starts_with("0x") && number.ends_with(['s', 'm', 'h', 'd', 'w', 'y']);
    if has_unit {
        let parts = number.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        return if parts.clone().all(|digits| digits.parse::<u32>().is_ok()) {
            Ok(())
        } else {
            Err(too_long())
        };
    }
    let hex = number.strip_prefix("0x").or_else(|| number.strip_prefix("0X"));
    let seconds = match hex {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap_or_default() as f64,
        None => number.parse().unwrap_or_default(),
    };
    if is_duration && !(0.0..=MOST_SECONDS).contains(&seconds) {
        return Err(too_long());
    }
    Ok(())
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

fn is_not_finite(word: &str) -> bool {
    ["inf", "nan"].iter().any(|number| word.eq_ignore_ascii_case(number))
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
    fn a_duration_that_the_parser_cannot_hold_is_refused_before_it_ends_the_process() {
        for text in [
            "m[1e300]",
            "m[5m:1e20]",
            "m[ 0x7fffffffffffffff ]",
            "m offset 1e300",
            "m offset - 1e300",
            "m offset 1e+300",
            "m[5000000000ms]",
            "m[1h5000000000ms]",
            "5000000000s",
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.to_string().contains("is too long"), "{text}: {error}");
        }
        for text in [
            "1e300",
            "m[5m:1m] + 1e300",
            "m[1e9]",
            "a:b:c + 1e300",
            "m offset 1e9",
            "0x5s + .5e+300",
            "m == 1e300",
        ] {
            assert!(checked(text).is_ok(), "{text}");
        }
        // Whatever else stands where a duration should: an error, not the end.
        for text in [
            "m[Inf]",
            "m[NaN]",
            "m[-5]",
            "m offset Inf",
            "m offset -Inf",
            "m offset NaN",
            "m @ 1e300",
            "m @ Inf",
            "m @ NaN",
            "m @ -1e300",
            "m[5x]",
            "m[0x]",
            "x[5m:1x]",
        ] {
            let _ = crate::read(text);
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
