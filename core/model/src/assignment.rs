//! Who decides where a request goes beside chance: header routes and session affinity, as declared, and what a pattern
//! means. Does not live here: which release they lead to (the rollout says), and reading a request.

use std::time::Duration;

use regex_automata::meta;
use regex_syntax::ParserBuilder;
use serde::{Deserialize, Serialize};

/// Longer header values match no regular expression: the time that one may take has a bound.
pub const REGEX_VALUE_BYTES: usize = 1024;
/// The largest compiled regular expression in bytes: enough for some hundred alternatives.
const REGEX_BYTES: usize = 16 * 1024;
/// How deep groups may be nested in a regular expression.
const REGEX_NESTING: u32 = 24;

/// Requests that go to the new release whatever its weight: those that meet all matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderRoute {
    /// Its name: a step that names it again replaces it.
    pub name: String,
    /// What a request has to meet, all of it. None at all removes the route.
    #[serde(rename = "match")]
    pub matches: Vec<HeaderMatch>,
}

/// What one header has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// Its name, lower case.
    pub header_name: String,
    /// Its value. When the header is repeated, one value that meets it is enough.
    pub header_value: Pattern,
}

/// What a header's value has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pattern {
    /// This, byte by byte.
    Exact(String),
    /// Something that begins with this.
    Prefix(String),
    /// Something that this regular expression matches from its first to its last byte. Classes such as `\w` are
    /// ASCII's; there are no back-references and no look-around, so the time is linear in the value's length.
    Regex(String),
}

/// A [`Pattern`] made ready to be asked.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// This.
    Exact(Vec<u8>),
    /// Something that begins with this.
    Prefix(Vec<u8>),
    /// Something that this matches whole.
    Regex(meta::Regex),
}

/// By what a user is known, so that a release once given to a user stays given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SessionAffinity {
    /// A cookie that the gateway gives to whom has none.
    Cookie {
        /// Its name.
        name: String,
        /// How long the client keeps it.
        #[serde(with = "crate::time::words")]
        max_age: Duration,
    },
    /// A header that the client sends. Without it, each request is on its own.
    Header {
        /// Its name, lower case.
        name: String,
    },
}

impl Pattern {
    /// Makes it ready.
    ///
    /// # Errors
    /// What is wrong with a regular expression, in words.
    pub fn compile(&self) -> Result<Matcher, String> {
        match self {
            Self::Exact(text) => Ok(Matcher::Exact(text.clone().into_bytes())),
            Self::Prefix(text) => Ok(Matcher::Prefix(text.clone().into_bytes())),
            Self::Regex(text) => regex(text).map(Matcher::Regex),
        }
    }
}

fn regex(text: &str) -> Result<meta::Regex, String> {
    let mut parser = ParserBuilder::new();
    let parsed = crate::regex::parse(parser.unicode(false).utf8(false).nest_limit(REGEX_NESTING), text)?;
    let config = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(REGEX_BYTES));
    crate::regex::build(&crate::regex::whole(parsed), config)
}

impl Matcher {
    /// Whether a header's value meets it.
    pub fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_slice(),
            Self::Prefix(text) => value.starts_with(text),
            Self::Regex(regex) => value.len() <= REGEX_VALUE_BYTES && regex.is_match(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(regex: &str, value: &str) -> bool {
        Pattern::Regex(regex.to_owned()).compile().unwrap().holds(value.as_bytes())
    }

    #[test]
    fn a_regex_matches_the_whole_value() {
        assert!(holds("a|ab", "ab") && holds("beta-[0-9]+", "beta-12") && holds(r"\w*", ""));
        assert!(!holds("beta", "beta-12") && !holds("b", "ab"));
        assert!(holds("(?i)YES", "yes"));
    }

    #[test]
    fn a_regex_cannot_climb_out_of_its_frame() {
        for regex in ["a)|(b", "a(", "[", "a{9999999}", r"(a)\1", "(?=a)b"] {
            assert!(Pattern::Regex(regex.to_owned()).compile().is_err(), "{regex}");
        }
        assert!(!holds("(?x)a # ", "ab"), "a comment does not swallow the end");
    }

    #[test]
    fn a_regex_that_would_explode_is_refused_or_stays_linear() {
        let refused = Pattern::Regex("(([a-z]{50}){50}){50}".to_owned()).compile().unwrap_err();
        assert!(refused.contains("too large"), "{refused}");
        let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
        assert!(Pattern::Regex(deep).compile().is_err());
        assert!(!holds("(a*)*b", &"a".repeat(REGEX_VALUE_BYTES)), "and it came back");
        assert!(!holds(".*", &"a".repeat(REGEX_VALUE_BYTES + 1)));
    }

    #[test]
    fn exact_and_prefix_are_byte_by_byte() {
        let exact = Pattern::Exact("Yes".to_owned()).compile().unwrap();
        assert!(exact.holds(b"Yes") && !exact.holds(b"yes") && !exact.holds(b"Yes "));
        let prefix = Pattern::Prefix("be".to_owned()).compile().unwrap();
        assert!(prefix.holds(b"beta") && !prefix.holds(b"b"));
    }
}
