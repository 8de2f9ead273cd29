//! Arguments in a query: `{{args.version}}`, with Argo Rollouts' form. A value takes its place without ever becoming
//! anything but a value. Does not live here: which arguments there are, and what language the query is in otherwise.

use std::fmt;

/// The arguments that every analysis has; what they stand for is known when it is asked.
pub const KNOWN: [&str; 4] = ["version", "stable", "service", "environment"];

/// Why a query cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A placeholder has no end.
    Unclosed,
    /// It is none: what stands between the braces.
    Malformed(String),
    /// Nobody has an argument of this name.
    Unknown(String),
    /// What the argument stands for cannot stand at this place of the query.
    Misplaced {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => f.write_str("`{{` has no `}}`"),
            Self::Malformed(inside) => write!(f, "`{{{{{inside}}}}}` is no argument"),
            Self::Unknown(name) => write!(f, "there is no argument `{name}`"),
            Self::Misplaced { name } => {
                write!(f, "the value of `{name}` cannot stand here: it would change the meaning of the query")
            }
        }
    }
}

impl std::error::Error for Error {}

/// What becomes of one placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filling {
    /// This value takes its place.
    Value(String),
    /// It stays, to be filled in later.
    Later,
    /// There is no such argument.
    Unknown,
}

/// Fills in the arguments of a query. In quotes a value is escaped as the quotes ask for; outside of them it may be a name,
/// a number or a duration, and nothing else.
///
/// # Errors
/// When a placeholder is none, has no argument, or its value cannot stand where it is.
pub fn fill(query: &str, of: impl Fn(&str) -> Filling) -> Result<String, Error> {
    let mut filled = String::with_capacity(query.len());
    let mut quote = None;
    let mut rest = query;
    while let Some(next) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix("{{") {
            let (inside, after) = inside.split_once("}}").ok_or(Error::Unclosed)?;
            let name = name(inside).ok_or_else(|| Error::Malformed(inside.to_owned()))?;
            match of(name) {
                Filling::Value(value) => {
                    filled.push_str(
                        &escaped(&value, quote).ok_or_else(|| Error::Misplaced { name: name.to_owned() })?,
                    );
                }
                Filling::Later => filled.push_str(&format!("{{{{args.{name}}}}}")),
                Filling::Unknown => return Err(Error::Unknown(name.to_owned())),
            }
            rest = after;
            continue;
        }
        filled.push(next);
        rest = &rest[next.len_utf8()..];
        match (quote, next) {
            // What follows a backslash ends nothing; between backticks there are none.
            (Some('"' | '\''), '\\') => {
                if let Some(escaped) = rest.chars().next().filter(|_| !rest.starts_with("{{")) {
                    filled.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                }
            }
            (Some(open), _) if open == next => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(next),
            // A comment reaches to the end of its line, quotes in it quote nothing.
            (None, '#') => quote = Some('\n'),
            (Some(_) | None, _) => {}
        }
    }
    Ok(filled)
}

fn name(inside: &str) -> Option<&str> {
    let name = inside.trim().strip_prefix("args.")?;
    is_name(name).then_some(name)
}

/// Whether an argument may have this name: letters, digits, `-` and `_`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The value as it has to be written at a place; `None` when it cannot stand there.
fn escaped(value: &str, quote: Option<char>) -> Option<String> {
    match quote {
        Some('\n') => Some(value.replace(['\n', '\r'], " ")),
        Some('`') => (!value.contains('`')).then(|| value.to_owned()),
        Some(quote) => {
            let mut written = String::with_capacity(value.len());
            for c in value.chars() {
                match c {
                    '\\' => written.push_str("\\\\"),
                    '\n' => written.push_str("\\n"),
                    '\r' => written.push_str("\\r"),
                    c if c == quote => written.extend(['\\', c]),
                    c if c.is_control() => written.push_str(&format!("\\u{:04x}", u32::from(c))),
                    c => written.push(c),
                }
            }
            Some(written)
        }
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.');
            let unsigned = value.strip_prefix('-').unwrap_or(value);
            (!unsigned.is_empty() && unsigned.bytes().all(plain)).then(|| value.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(query: &str, value: &str) -> Result<String, Error> {
        fill(query, |name| match name {
            "x" => Filling::Value(value.to_owned()),
            "version" => Filling::Later,
            _ => Filling::Unknown,
        })
    }

    #[test]
    fn a_value_in_quotes_never_leaves_them() {
        let evil = "a\"} or vector(1) # '`\\\n";
        let double = with("m{a=\"{{args.x}}\"}", evil).unwrap();
        assert_eq!(double, "m{a=\"a\\\"} or vector(1) # '`\\\\\\n\"}");
        let single = with("m{a='{{ args.x }}'}", evil).unwrap();
        assert_eq!(single, "m{a='a\"} or vector(1) # \\'`\\\\\\n'}");
        assert_eq!(with("m{a=`{{args.x}}`}", evil), Err(Error::Misplaced { name: "x".to_owned() }));
    }

    #[test]
    fn a_value_outside_of_quotes_is_one_word() {
        assert_eq!(with("rate(m[{{args.x}}])", "5m").unwrap(), "rate(m[5m])");
        assert_eq!(with("m > {{args.x}}", "-0.5").unwrap(), "m > -0.5");
        for evil in ["5m]) or m", "1 or 1", "", "-", "a-b", "\""] {
            assert_eq!(with("m[{{args.x}}]", evil), Err(Error::Misplaced { name: "x".to_owned() }), "{evil}");
        }
    }

    #[test]
    fn quotes_are_followed_as_the_language_has_them() {
        assert_eq!(with(r#"m{a="\"",b="{{args.x}}"}"#, "v\"").unwrap(), r#"m{a="\"",b="v\""}"#);
        assert_eq!(with("m # it's\n > {{args.x}}", "1 1"), Err(Error::Misplaced { name: "x".to_owned() }));
        assert_eq!(with("m{a=`\\`} > {{args.x}}", "1").unwrap(), "m{a=`\\`} > 1");
    }

    #[test]
    fn what_is_known_later_stays_and_what_nobody_has_is_named() {
        assert_eq!(with("m{v=\"{{ args.version }}\"}", "").unwrap(), "m{v=\"{{args.version}}\"}");
        assert_eq!(with("m{v=\"{{args.y}}\"}", ""), Err(Error::Unknown("y".to_owned())));
        assert_eq!(with("m{v=\"{{y}}\"}", ""), Err(Error::Malformed("y".to_owned())));
        assert_eq!(with("m{v=\"{{args.x\"}", ""), Err(Error::Unclosed));
    }

    #[test]
    fn a_value_is_filled_in_once() {
        assert_eq!(with("m{v=\"{{args.x}}\"}", "{{args.x}}").unwrap(), "m{v=\"{{args.x}}\"}");
    }
}
