//! Taking secrets out of lines, before anything else sees them: values that are known, in whatever way they were escaped, and
//! what looks like a credential (`credentials`). Does not live here: who knows the values.

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use crate::credentials::Credentials;
use crate::unescape::{self, Layer};

/// What stands where a secret stood.
pub const MARK: &str = "[redacted]";
/// A shorter value is no secret: taking it out would leave nothing to read, and it could be guessed from the gaps.
const SHORTEST: usize = 4;
/// From this length on a value is looked for in other alphabets, and the lines of a value on their own.
const SHORTEST_PART: usize = 8;

/// The largest automaton that a pattern of the team may become, in bytes.
const LARGEST: usize = 1 << 20;

/// A pattern of the team, for [`Redactor::new`].
///
/// # Errors
/// When it is none, or too large to be run over every line.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(text).size_limit(LARGEST).build();
    built.map_err(|error| format!("the pattern {text} cannot be used: {error}"))
}

/// Takes secrets out of lines.
#[derive(Debug)]
pub struct Redactor {
    known: Option<AhoCorasick>,
    credentials: Credentials,
    more: Vec<Regex>,
}

impl Redactor {
    /// Takes out these values, and what these patterns match: their first group, or all of it when they have none.
    ///
    /// # Errors
    /// When there are too many or too long values to look for.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        patterns: impl IntoIterator<Item = Regex>,
    ) -> Result<Self, String> {
        let mut needles: Vec<Vec<u8>> = secrets.into_iter().flat_map(needles).collect();
        needles.sort();
        needles.dedup();
        let known = if needles.is_empty() {
            None
        } else {
            let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&needles);
            Some(built.map_err(|error| format!("the secrets cannot be looked for: {error}"))?)
        };
        Ok(Self { known, credentials: Credentials::new()?, more: patterns.into_iter().collect() })
    }

    /// The line without secrets.
    pub fn redact<'l>(&self, line: &'l str) -> Cow<'l, str> {
        let mut line = self.known(line);
        if let Some(changed) = self.credentials.redact(&line) {
            line = Cow::Owned(changed);
        }
        for pattern in &self.more {
            if pattern.is_match(&line) {
                let changed = pattern.replace_all(&line, |found: &regex::Captures<'_>| {
                    let whole = found.get(0).map_or(0..0, |whole| whole.range());
                    let part = found.get(1).map_or(whole.clone(), |part| part.range());
                    format!("{}{MARK}{}", &line[whole.start..part.start], &line[part.end..whole.end])
                });
                line = Cow::Owned(changed.into_owned());
            }
        }
        line
    }

    fn known<'l>(&self, line: &'l str) -> Cow<'l, str> {
        let Some(known) = &self.known else { return Cow::Borrowed(line) };
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut look = |layer: &Layer| {
            found.extend(known.find_iter(&layer.bytes).map(|hit| layer.origin(hit.range())));
        };
        let bare = Layer::of(line.as_bytes());
        look(&bare);
        let once = unescape::backslashes(&bare);
        for layer in [unescape::percents(&bare), once.as_ref().and_then(unescape::percents)].iter().flatten()
        {
            look(layer);
        }
        if let Some(once) = &once {
            look(once);
            if let Some(twice) = unescape::backslashes(once) {
                look(&twice);
            }
        }
        if found.is_empty() {
            return Cow::Borrowed(line);
        }
        found.sort_by_key(|range| (range.start, range.end));
        let plain = without(line, &found, false);
        // A number that was a secret leaves a hole in an object: quotes fill it.
        if line.starts_with('{') && !is_json(&plain) && is_json(line) {
            let quoted = without(line, &found, true);
            return Cow::Owned(if is_json(&quoted) { quoted } else { plain });
        }
        Cow::Owned(plain)
    }
}

fn is_json(line: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok()
}

/// The forms in which a value may stand in a line, beside the ways of escaping it.
fn needles(secret: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if secret.trim().len() < SHORTEST {
        return all;
    }
    all.push(secret.trim().as_bytes().to_vec());
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_PART);
    all.extend(lines.map(|line| line.as_bytes().to_vec()));
    if secret.len() >= SHORTEST_PART {
        all.extend((0..3).flat_map(|shift| base64(secret.as_bytes(), shift)));
        all.push(secret.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        all.push(secret.bytes().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect());
    }
    all
}

/// The middle of the value in base64, when it begins `shift` bytes into a group of three: what does not depend on its
/// neighbours. In both alphabets.
fn base64(value: &[u8], shift: usize) -> [Vec<u8>; 2] {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let shifted: Vec<u8> = std::iter::repeat_n(0, shift).chain(value.iter().copied()).collect();
    let mut digits = Vec::new();
    for group in shifted.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for digit in 0..=group.len() {
            digits.push(STANDARD[(bits >> (18 - 6 * digit)) as usize & 63]);
        }
    }
    let skip = [0, 2, 3][shift];
    let whole = shifted.len() * 8 / 6;
    let standard = digits[skip..whole.min(digits.len())].to_vec();
    let other = standard
        .iter()
        .map(|digit| match digit {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    [standard, other]
}

/// The line with a mark for each range, which are in order; in quotes where a number stood.
fn without(line: &str, found: &[Range<usize>], quoted: bool) -> String {
    let bytes = line.as_bytes();
    let (mut text, mut from) = (String::with_capacity(line.len()), 0);
    for range in found {
        let Range { mut start, mut end } = range.clone();
        // A found value may begin with the letter of an escape, or be part of a character.
        let slashes = bytes[..start].iter().rev().take_while(|byte| **byte == b'\\').count();
        start -= slashes % 2;
        while !line.is_char_boundary(start) {
            start -= 1;
        }
        while !line.is_char_boundary(end) {
            end += 1;
        }
        // Two that touch have one mark.
        if start > from || from == 0 {
            text.push_str(&line[from..start]);
            let is_number = quoted && bytes[start..end].iter().all(u8::is_ascii_digit);
            let quote = if is_number { "\"" } else { "" };
            text.push_str(quote);
            text.push_str(MARK);
            text.push_str(quote);
        }
        from = from.max(end);
    }
    text.push_str(&line[from..]);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(secret: &str, line: &str) -> String {
        Redactor::new([secret], []).unwrap().redact(line).into_owned()
    }

    #[test]
    fn a_value_is_found_however_it_is_escaped() {
        let secret = "p\"a/s\\s wörd\n2";
        let json = serde_json::to_string(&serde_json::json!({"level": "info", "a": secret})).unwrap();
        let twice = serde_json::to_string(&serde_json::json!({"level": "info", "a": json})).unwrap();
        let codes: String = secret.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let percents: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let debug = format!("{secret:?}");
        for line in [
            json.clone(),
            twice,
            format!("{{\"a\":\"{codes}\"}}"),
            format!("GET /?a={percents}&b=1"),
            format!("said {debug}"),
            json.replace('/', "\\/"),
        ] {
            let clean = redacted(secret, &line);
            assert!(clean.contains(MARK) && !clean.contains("wörd") && !clean.contains("s wö"), "{clean}");
            if line.starts_with('{') {
                serde_json::from_str::<serde_json::Value>(&clean).unwrap();
            }
        }
    }

    #[test]
    fn a_value_is_found_in_base64_at_any_place_and_in_hex() {
        let secret = "correct horse battery";
        for before in ["", "u", "us", "use"] {
            let whole = base64(format!("{before}:{secret}!").as_bytes(), 0);
            for line in whole {
                let line = String::from_utf8(line).unwrap();
                assert!(redacted(secret, &format!("got {line}.")).contains(MARK), "{line}");
            }
        }
        assert_eq!(redacted("hunter22", "x 68756e7465723232 y"), "x [redacted] y");
    }

    #[test]
    fn the_lines_of_a_long_value_are_secrets_too_and_tiny_values_are_none() {
        let key = "-----BEGIN KEY-----\nabcdefghijkl\nmnopqrstuv\n-----END KEY-----";
        assert_eq!(redacted(key, "got mnopqrstuv"), "got [redacted]");
        assert_eq!(redacted("abc", "abc"), "abc");
        assert_eq!(redacted("  \n", "a  \n"), "a  \n");
    }

    #[test]
    fn an_object_stays_an_object() {
        for (secret, line) in [
            ("12345678", r#"{"level":"error","pin":12345678}"#),
            ("nabc123", r#"{"level":"error","m":"a\nabc123"}"#),
            ("secret99", r#"{"secret99":"secret99","a":["secret99",1]}"#),
        ] {
            let clean = redacted(secret, line);
            assert!(!clean.contains(secret), "{clean}");
            serde_json::from_str::<serde_json::Value>(&clean).unwrap();
        }
    }

    #[test]
    fn patterns_of_the_team_take_out_their_group_or_all() {
        let patterns = ["card=([0-9]+)", "IBAN[A-Z0-9]+"].map(|pattern| Regex::new(pattern).unwrap());
        let redactor = Redactor::new([], patterns).unwrap();
        assert_eq!(redactor.redact("card=4111 to IBANAT61"), "card=[redacted] to [redacted]");
    }

    proptest! {
        #[test]
        fn no_value_passes_in_any_json(
            secret in "[a-zA-Z0-9\"\\\\/\n\t é%+=-]{4,24}",
            before in "[a-z\"\\\\\n{}: ]{0,12}",
            behind in "[a-z\"\\\\\n{}: ]{0,12}",
            times in 0usize..3,
        ) {
            let secret = secret.trim();
            prop_assume!(secret.len() >= SHORTEST && !MARK.contains(secret));
            let mut line = format!("{before}{secret}{behind}");
            for _ in 0..times {
                line = serde_json::to_string(&serde_json::json!({"m": line})).unwrap();
            }
            let clean = redacted(secret, &line);
            let mut reads = clean.clone();
            prop_assert!(!reads.contains(secret));
            for _ in 0..times {
                let value: serde_json::Value = serde_json::from_str(&reads).unwrap();
                reads = value["m"].as_str().unwrap().to_owned();
                prop_assert!(!reads.contains(secret), "{} in {}", secret, clean);
            }
        }
    }
}
