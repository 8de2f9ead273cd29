//! What a label has to be, in Alertmanager's words: `severity="P1"`, `alertname=~"Disk.*"`. Does not live here: what is
//! matched, and what follows.

use std::fmt;
use std::str::FromStr;

use regex_automata::meta;
use regex_syntax::ParserBuilder;
use serde::{Deserialize, Serialize};

use crate::alert::Labels;

/// The most bytes that a name or a value may have.
pub const LONGEST_BYTES: usize = 1024;
/// The most bytes that a compiled expression may take.
const REGEX_BYTES: usize = 256 * 1024;
/// How deep the brackets of an expression may nest.
const REGEX_NESTING: u32 = 50;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Op {
    /// It is this.
    #[serde(rename = "=")]
    Is,
    /// It is not this.
    #[serde(rename = "!=")]
    IsNot,
    /// All of it matches this expression.
    #[serde(rename = "=~")]
    Matches,
    /// Not all of it matches this expression.
    #[serde(rename = "!~")]
    MatchesNot,
}

impl Op {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::IsNot => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }

    /// Whether the value is an expression.
    pub const fn is_regex(self) -> bool {
        matches!(self, Self::Matches | Self::MatchesNot)
    }

    /// Whether what is like the value is meant; otherwise what is not.
    pub const fn is_equal(self) -> bool {
        matches!(self, Self::Is | Self::Matches)
    }
}

/// What one label has to be. A label that is not there is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: String,
}

/// A matcher whose expression is compiled.
#[derive(Debug, Clone)]
pub struct Ready {
    matcher: Matcher,
    regex: Option<meta::Regex>,
}

impl Matcher {
    /// One of these parts.
    pub fn new(name: &str, op: Op, value: &str) -> Self {
        Self { name: name.to_owned(), op, value: value.to_owned() }
    }

    /// Makes it ready.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn compile(&self) -> Result<Ready, String> {
        if !is_name(&self.name) {
            return Err(format!("{:?} is no name of a label: use letters, digits and `_`", self.name));
        }
        if self.name.len() > LONGEST_BYTES || self.value.len() > LONGEST_BYTES {
            return Err(format!("a label's name or value is longer than {LONGEST_BYTES} bytes"));
        }
        let regex = match self.op.is_regex() {
            true => Some(regex(&self.value).map_err(|what| format!("{:?}: {what}", self.value))?),
            false => None,
        };
        Ok(Ready { matcher: self.clone(), regex })
    }
}

impl Ready {
    /// Whether labels are as they have to be.
    pub fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.matcher.name).map_or("", String::as_str);
        let like = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => value == self.matcher.value,
        };
        like == self.matcher.op.is_equal()
    }
}

fn regex(text: &str) -> Result<meta::Regex, String> {
    let parsed = crate::regex::parse(ParserBuilder::new().nest_limit(REGEX_NESTING), text)?;
    let config = meta::Config::new().nfa_size_limit(Some(REGEX_BYTES));
    crate::regex::build(&crate::regex::whole(parsed), config)
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{}\"{value}\"", self.name, self.op.as_str())
    }
}

impl FromStr for Matcher {
    type Err = String;

    /// `name="value"`, with `=`, `!=`, `=~` or `!~`; quotes may be left out where nothing is ambiguous without them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!("{text:?} is no matcher: {what}; write it as severity=\"P1\" or alertname=~\"Disk.*\"")
        };
        let trimmed = text.trim();
        let end = trimmed.find(['=', '!']).ok_or_else(|| wrong("it compares nothing"))?;
        let (name, rest) = trimmed.split_at(end);
        let ops = [Op::Matches, Op::MatchesNot, Op::IsNot, Op::Is];
        let op = ops.into_iter().find(|op| rest.starts_with(op.as_str()));
        let op = op.ok_or_else(|| wrong("it compares by =, !=, =~ or !~"))?;
        let value = rest[op.as_str().len()..].trim();
        let value = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or_else(|| wrong("its quotes do not end where it does"))?,
            None if value.contains('"') => return Err(wrong("a quote stands inside its value")),
            None => value.to_owned(),
        };
        let matcher = Self { name: name.trim().to_owned(), op, value };
        matcher.compile().map_err(|what| wrong(&what))?;
        Ok(matcher)
    }
}

/// What stands before the closing quote, which has to be the end.
fn unquoted(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(value),
            '\\' => match chars.next()? {
                'n' => value.push('\n'),
                quoted @ ('"' | '\\') => value.push(quoted),
                // As in Go's regular expressions, whose own backslashes people leave single.
                other => value.extend(['\\', other]),
            },
            plain => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(matcher: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        matcher.parse::<Matcher>().unwrap().compile().unwrap().holds(&labels)
    }

    #[test]
    fn all_of_a_value_has_to_match() {
        assert!(holds("a=~\"b|bc\"", &[("a", "bc")]) && !holds("a=~b", &[("a", "bc")]));
        assert!(holds("a!~b", &[("a", "bc")]) && holds("a != b", &[]) && !holds("a!=\"b\"", &[("a", "b")]));
        assert!(holds("a=\"\"", &[]) && holds("a=~\".*\"", &[]) && !holds("a=~\".+\"", &[]));
        assert!("a=~\"b)|(c\"".parse::<Matcher>().is_err(), "brackets cannot leave the expression");
    }

    #[test]
    fn a_matcher_reads_back_and_says_what_is_wrong() {
        for text in ["severity=\"P1\"", "a=~\"Disk.*\"", "a!=\"x \\\"y\\\" \\\\ z\"", "a!~\"\""] {
            assert_eq!(text.parse::<Matcher>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "a",
            "a>1",
            "=b",
            "a-b=c",
            "a=\"b",
            "a=\"b\"c",
            "a=b\"c",
            "a=~\"(\"",
            "a=~\"(((x{99}){99}){99}){99}\"",
        ] {
            assert!(bad.parse::<Matcher>().is_err(), "{bad}");
        }
    }
}
