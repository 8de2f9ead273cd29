//! A question to a store: time, level, fields, text, groups. Does not live here: how it is answered (`search`).

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::columns::{Record, Row};
use crate::level::Level;
use crate::parse;

/// The longest pattern and value in a question.
const LONGEST: usize = 1000;

/// Which records.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Not before, in microseconds since 1970.
    pub from: Option<i64>,
    /// Before.
    pub until: Option<i64>,
    /// As grave as this or graver.
    pub level: Option<Level>,
    /// Of this release alone.
    pub release: Option<u64>,
    /// Of this replica alone.
    pub replica: Option<u32>,
    /// All of them hold.
    pub conditions: Vec<Condition>,
    /// All of them are in the line.
    pub text: Vec<String>,
    /// Records are counted by these fields instead of shown.
    pub group_by: Vec<String>,
    /// The first records instead of the last.
    pub oldest: bool,
    /// Records with this number or a higher one.
    pub after: Option<u64>,
    /// Records, or groups, at most.
    pub most: usize,
}

/// How much one question may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it may take.
    pub time: Duration,
    /// Bytes of lines in an answer.
    pub bytes: usize,
    /// Groups that are counted.
    pub groups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(20), bytes: 32 << 20, groups: 10_000 }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Records, in order of their times.
    pub records: Vec<Record>,
    /// How many have which values, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Counted>,
    /// Why this is not all, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// Blocks that could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub damaged: u64,
    /// The number behind the newest record that was there.
    pub next: u64,
}

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Records that have the same values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// A value for each field, empty when a record does not have it.
    pub values: Vec<String>,
    /// How many.
    pub count: u64,
}

/// What a field must be.
#[derive(Debug, Clone)]
pub struct Condition {
    pub(crate) field: String,
    pub(crate) test: Test,
    written: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Test {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Condition {
    type Err = String;

    /// `field=value`, `field!=value`, `field~pattern`, `field!~pattern`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text} is no condition: write FIELD=VALUE, FIELD!=VALUE, FIELD~PATTERN or FIELD!~PATTERN"
            )
        };
        if text.len() > LONGEST {
            return Err(format!("a condition of {} bytes is too long: {LONGEST} at most", text.len()));
        }
        let at = text.find(['=', '~', '!']).filter(|at| *at > 0).ok_or_else(wrong)?;
        let (field, rest) = text.split_at(at);
        let signs = ["!=", "!~", "=~", "=", "~"];
        let sign = signs.into_iter().find(|sign| rest.starts_with(sign)).ok_or_else(wrong)?;
        let value = &rest[sign.len()..];
        let pattern = || {
            let built = regex::RegexBuilder::new(value).size_limit(1 << 20).build();
            built.map_err(|error| format!("{value} is no pattern that can be used: {error}"))
        };
        let test = match sign {
            "!=" => Test::IsNot(value.to_owned()),
            "=" => Test::Is(value.to_owned()),
            "!~" => Test::MatchesNot(pattern()?),
            _ => Test::Matches(pattern()?),
        };
        Ok(Self { field: field.trim().to_owned(), test, written: text.to_owned() })
    }
}

/// Fields that are asked for, and the values that a record has for them.
pub(crate) struct Values<'q> {
    pub(crate) fields: Vec<&'q str>,
    pub(crate) values: Vec<Vec<String>>,
}

impl<'q> Values<'q> {
    pub(crate) fn of(query: &'q Query) -> Self {
        let mut fields: Vec<&str> =
            query.conditions.iter().map(|condition| condition.field.as_str()).collect();
        fields.extend(query.group_by.iter().map(String::as_str));
        fields.sort_unstable();
        fields.dedup();
        let values = vec![Vec::new(); fields.len()];
        Self { fields, values }
    }

    /// Reads what a row has for each field. A name that loggers write differently finds every way of writing it.
    pub(crate) fn read(&mut self, row: &Row<'_>) {
        self.values.iter_mut().for_each(Vec::clear);
        let (fields, values) = (&self.fields, &mut self.values);
        let parsed = parse::parse(row.line, |path, value| {
            if let Ok(place) = fields.binary_search(&path)
                && !is_of_record(path)
            {
                values[place].push(value.text().into_owned());
            }
        });
        for (field, values) in fields.iter().zip(values) {
            let well_known = match *field {
                "level" => Some(row.level.as_str().to_owned()),
                "release" | "version" => Some(row.source.release.to_string()),
                "replica" => Some(row.source.replica.to_string()),
                "line" => Some(row.line.to_owned()),
                "message" => Some(parsed.message.clone()),
                "error.type" => parsed.error_type.clone(),
                "trace_id" => parsed.trace.clone(),
                "span_id" => parsed.span.clone(),
                "fingerprint" => crate::fingerprint::of(&parsed).map(|found| found.id),
                _ => None,
            };
            if let Some(value) = well_known
                && !values.contains(&value)
            {
                values.push(value);
            }
        }
    }

    pub(crate) fn get(&self, field: &str) -> &[String] {
        self.fields.binary_search(&field).map_or(&[], |place| &self.values[place])
    }

    pub(crate) fn fulfil(&self, condition: &Condition) -> bool {
        let values = self.get(&condition.field);
        let any = |test: &dyn Fn(&str) -> bool| {
            if values.is_empty() { test("") } else { values.iter().any(|value| test(value)) }
        };
        match &condition.test {
            Test::Is(wanted) => any(&|value| value == wanted),
            Test::IsNot(unwanted) => !any(&|value| value == unwanted),
            Test::Matches(pattern) => any(&|value| pattern.is_match(value)),
            Test::MatchesNot(pattern) => !any(&|value| pattern.is_match(value)),
        }
    }

    pub(crate) fn first(&self, field: &str) -> Cow<'_, str> {
        self.get(field).first().map_or(Cow::Borrowed(""), |value| Cow::Borrowed(value))
    }
}

/// Whether a field's value is the record's, however the line writes it.
pub(crate) fn is_of_record(field: &str) -> bool {
    ["level", "release", "version", "replica", "line", "message", "fingerprint"].contains(&field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_or_refused_with_the_way_out() {
        for (text, field) in
            [("a=b", "a"), ("error.type!=x=y", "error.type"), ("m~^a", "m"), ("m=~a", "m"), ("m!~a", "m")]
        {
            assert_eq!(text.parse::<Condition>().unwrap().field, field);
        }
        for text in ["", "a", "=b", "a!b"] {
            assert!(text.parse::<Condition>().unwrap_err().contains("FIELD=VALUE"), "{text}");
        }
        assert!("a~(".parse::<Condition>().unwrap_err().contains("no pattern"));
    }
}
