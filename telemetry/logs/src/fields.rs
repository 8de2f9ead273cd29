//! The fields of a line: of a JSON object by their paths, of logfmt by their keys. Does not live here: which field means
//! what.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Fields of a line that are looked at; those behind them are text alone.
pub(crate) const MOST_FIELDS: usize = 64;
/// How deep objects are looked into.
const DEEPEST: usize = 8;
/// The longest path.
const LONGEST_PATH: usize = 200;

/// A value that is no object and no list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(f64),
    /// A whole number.
    Whole(i64),
    /// Yes or no.
    Bool(bool),
}

impl Scalar<'_> {
    /// As it is written in a question.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Whole(number) => Cow::Owned(number.to_string()),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        }
    }
}

/// What walks a line's fields: a path such as `error.type`, and a value. The elements of a list share its path.
pub(crate) type Each<'e> = &'e mut dyn FnMut(&str, Scalar<'_>);

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// Anything else.
    Text,
}

/// Gives each field of a line to `each` and says what the line is. A line that breaks off in the middle has given the
/// fields before.
pub(crate) fn walk(line: &str, each: Each<'_>) -> Form {
    let trimmed = line.trim_start();
    if trimmed.starts_with('{') {
        let mut walk = Walk { each, path: String::new(), left: MOST_FIELDS };
        let mut reader = serde_json::Deserializer::from_str(trimmed);
        let read = Level { walk: &mut walk, depth: 0 }.deserialize(&mut reader);
        return if read.is_ok() && reader.end().is_ok() { Form::Json } else { Form::Text };
    }
    if logfmt(trimmed, each) { Form::Logfmt } else { Form::Text }
}

struct Walk<'e> {
    each: Each<'e>,
    path: String,
    left: usize,
}

impl Walk<'_> {
    fn give(&mut self, value: Scalar<'_>) {
        if self.left > 0 && !self.path.is_empty() {
            self.left -= 1;
            (self.each)(&self.path, value);
        }
    }
}

struct Level<'w, 'e> {
    walk: &'w mut Walk<'e>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A key, borrowed where it can be.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Texts)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.walk.give(Scalar::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.walk.give(Scalar::Whole(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.walk.give(i64::try_from(value).map_or(Scalar::Number(value as f64), Scalar::Whole));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.walk.give(Scalar::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.walk.give(Scalar::Text(Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.depth == DEEPEST {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while items.next_element_seed(Level { walk: self.walk, depth: self.depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key_seed(Key)? {
            let before = self.walk.path.len();
            if self.depth == DEEPEST || before + key.len() >= LONGEST_PATH {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            if before > 0 {
                self.walk.path.push('.');
            }
            self.walk.path.push_str(&key);
            fields.next_value_seed(Level { walk: self.walk, depth: self.depth + 1 })?;
            self.walk.path.truncate(before);
        }
        if self.depth == 0 && !self.walk.path.is_empty() {
            return Err(A::Error::custom("a path was left open"));
        }
        Ok(())
    }
}

/// `key=value key="a value"`: at least two pairs, one of them a level or a message, or it is prose with an equals sign.
fn logfmt(line: &str, each: Each<'_>) -> bool {
    if memchr::memchr(b'=', line.as_bytes()).is_none() {
        return false;
    }
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && pairs.len() < MOST_FIELDS {
        let Some((key, behind)) = rest.split_once('=') else { return false };
        let is_key = |key: &str| {
            !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if !is_key(key) || key.len() > LONGEST_PATH {
            return false;
        }
        let Some((value, behind)) = value(behind) else { return false };
        pairs.push((key, value));
        rest = behind.trim_start();
    }
    let speaks = |key: &str| ["level", "lvl", "severity", "msg", "message"].contains(&key);
    if pairs.len() < 2 || !pairs.iter().any(|(key, _)| speaks(key)) {
        return false;
    }
    for (key, value) in pairs {
        each(key, Scalar::Text(value));
    }
    true
}

/// A value of logfmt, and what follows it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((Cow::Borrowed(&text[..end]), &text[end..]));
    };
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => {
                let inside = &quoted[..at];
                let value = if memchr::memchr(b'\\', inside.as_bytes()).is_some() {
                    Cow::Owned(serde_json::from_str(&text[..at + 2]).unwrap_or_else(|_| inside.to_owned()))
                } else {
                    Cow::Borrowed(inside)
                };
                return Some((value, &quoted[at + 1..]));
            }
            _ => escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str) -> (Form, Vec<String>) {
        let mut all = Vec::new();
        let form = walk(line, &mut |path, value| all.push(format!("{path}={}", value.text())));
        (form, all)
    }

    #[test]
    fn an_objects_fields_have_paths_and_lists_share_theirs() {
        let (form, all) = fields(
            r#"{"level":"error","error":{"type":"Io","causes":["a","b"]},"n":-3,"f":1.5,"ok":true,"none":null,"q":"a\"b"}"#,
        );
        assert_eq!(form, Form::Json);
        assert_eq!(
            all,
            [
                "level=error",
                "error.type=Io",
                "error.causes=a",
                "error.causes=b",
                "n=-3",
                "f=1.5",
                "ok=true",
                "q=a\"b"
            ]
        );
    }

    #[test]
    fn what_is_cut_off_or_followed_by_more_is_text() {
        assert_eq!(fields(r#"{"a":1} tail"#).0, Form::Text);
        assert_eq!(fields(r#"{"a":"#).0, Form::Text);
        assert_eq!(fields("{hello}").0, Form::Text);
    }

    #[test]
    fn hostile_nesting_and_many_fields_are_bounded() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        assert_eq!(fields(&deep), (Form::Json, vec![]));
        let many: Vec<String> = (0..1000).map(|n| format!("\"f{n}\":{n}")).collect();
        assert_eq!(fields(&format!("{{{}}}", many.join(","))).1.len(), MOST_FIELDS);
    }

    #[test]
    fn logfmt_is_told_from_prose() {
        let (form, all) = fields(r#"ts=1 level=warn msg="a \"b\" c" took=3ms"#);
        assert_eq!(form, Form::Logfmt);
        assert_eq!(all, ["ts=1", "level=warn", "msg=a \"b\" c", "took=3ms"]);
        for prose in ["x = 3 and y = 4", "set a=1 now", "a=1 b=2", r#"msg="open level=info"#] {
            assert_eq!(fields(prose).0, Form::Text, "{prose}");
        }
    }
}
