//! The envelope of one stored event: one line of JSON, sealed with its own SHA-256.
//!
//! Lives here: the form and its limits. Does not live here: whether records follow each other (`chain`), and what a
//! body means.
//!
//! The stored form is one JSON object on one line, its fields in the order of [`Record`]'s, absent ones left out, and
//! `hash` the last. The hash is taken over exactly the line's bytes without the `hash` field (so the line up to it,
//! and a closing brace). It is checked on the bytes as they were read, never on a re-written form: fields that a
//! newer version adds are covered by it too.

use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// What the first record has as `prev`.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// The largest stored form of one record, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The largest `actor`, `kind` and `subject`, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The largest `reason`, in bytes.
const MAX_REASON_BYTES: usize = 16 << 10;

const HASH_FIELD: &str = ",\"hash\":\"";
/// `,"hash":"sha256:<64 hex digits>"}`
const TAIL_BYTES: usize = HASH_FIELD.len() + "sha256:".len() + 64 + "\"}".len();

/// One stored event. Made by [`Record::seal`] (or [`crate::Chain::next`]) and by [`Record::from_bytes`]; its fields
/// are for reading: change one, and the hash is no longer its hash.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Its place in the journal: 1, 2, 3 ...
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Who caused it: a person's name, or a part of the system such as `judge`.
    pub actor: String,
    /// What happened, as `rollout.started`.
    pub kind: String,
    /// The version of the body's form.
    pub version: u16,
    /// What it is about: `shop/production` or `shop`.
    #[serde(default)]
    pub subject: Option<String>,
    /// Why, in the actor's words.
    #[serde(default)]
    pub reason: Option<String>,
    /// The content; its form depends on kind and version.
    pub body: serde_json::Value,
    /// The hash of the record before; [`GENESIS`] for the first.
    pub prev: Digest,
    /// The SHA-256 of the stored form without this field.
    pub hash: Digest,
}

/// What becomes a record once it has its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// See [`Record::at`].
    pub at: Timestamp,
    /// See [`Record::actor`].
    pub actor: String,
    /// See [`Record::kind`].
    pub kind: String,
    /// See [`Record::version`].
    pub version: u16,
    /// See [`Record::subject`].
    pub subject: Option<String>,
    /// See [`Record::reason`].
    pub reason: Option<String>,
    /// See [`Record::body`].
    pub body: serde_json::Value,
}

/// Why something is not a record, or cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not the stored form of a record.
    #[error("not the stored form of an event: {0}")]
    Form(String),
    /// The content is not what was sealed.
    #[error(
        "event {seq}: the content has changed since it was written: it says {found}, its bytes give {expected}"
    )]
    Content {
        /// The number that the record carries.
        seq: u64,
        /// What the bytes give.
        expected: Digest,
        /// What the record says.
        found: Digest,
    },
    /// The draft breaks a limit.
    #[error("event {seq} ({kind}) cannot be stored: {what}")]
    Draft {
        /// The number it would have had.
        seq: u64,
        /// Its kind.
        kind: String,
        /// Which limit, and its value.
        what: String,
    },
}

impl Record {
    /// Gives a draft its place in the chain: `seq`, after the record whose hash is `prev`.
    ///
    /// # Errors
    /// When a field is empty or too long, or the stored form would be larger than [`MAX_BYTES`] or not read back.
    pub fn seal(draft: Draft, seq: u64, prev: Digest) -> Result<Self, Error> {
        let refuse = |what: String| Error::Draft { seq, kind: draft.kind.clone(), what };
        check_draft(&draft).map_err(refuse)?;
        let Draft { at, actor, kind, version, subject, reason, body } = draft.clone();
        let mut record = Self { seq, at, actor, kind, version, subject, reason, body, prev, hash: GENESIS };
        record.hash = Digest::of(&record.unsealed());
        let bytes = record.to_bytes();
        if bytes.len() > MAX_BYTES {
            return Err(refuse(format!("it is {} bytes, at most {MAX_BYTES} are allowed", bytes.len())));
        }
        // Nesting beyond the parser's limit, or a time outside the calendar, would make a line that nobody can read.
        match Self::from_bytes(&bytes) {
            Ok(read) if read == record => Ok(record),
            Ok(_) => Err(refuse("its stored form does not read back to the same content".to_owned())),
            Err(error) => Err(refuse(format!("its stored form would not be readable: {error}"))),
        }
    }

    /// The stored form. For a record that a newer version wrote with fields unknown here, use the bytes it was read
    /// from instead.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut line = self.unsealed();
        line.pop();
        line.extend_from_slice(HASH_FIELD.as_bytes());
        line.extend_from_slice(self.hash.to_string().as_bytes());
        line.extend_from_slice(b"\"}");
        line
    }

    /// Reads the stored form and checks that its content is what was sealed. Kind and version may be unknown.
    ///
    /// # Errors
    /// When the bytes are not a record, or the content has changed since it was sealed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::Form(format!("it is {} bytes, at most {MAX_BYTES} are allowed", bytes.len())));
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|error| Error::Form(error.to_string()))?;
        let split = bytes.len().saturating_sub(TAIL_BYTES);
        let (content, tail) = bytes.split_at(split);
        if tail != format!("{HASH_FIELD}{}\"}}", record.hash).as_bytes() {
            return Err(Error::Form(format!("event {}: it does not end with its hash", record.seq)));
        }
        let expected = Digest::of(&[content, b"}"].concat());
        if expected != record.hash {
            return Err(Error::Content { seq: record.seq, expected, found: record.hash });
        }
        Ok(record)
    }

    /// The stored form without the hash: what is hashed.
    fn unsealed(&self) -> Vec<u8> {
        /// The fields in their stored order.
        #[derive(Serialize)]
        struct Unsealed<'a> {
            seq: u64,
            at: Timestamp,
            actor: &'a str,
            kind: &'a str,
            version: u16,
            #[serde(skip_serializing_if = "Option::is_none")]
            subject: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            body: &'a serde_json::Value,
            prev: Digest,
        }
        let unsealed = Unsealed {
            seq: self.seq,
            at: self.at,
            actor: &self.actor,
            kind: &self.kind,
            version: self.version,
            subject: self.subject.as_deref(),
            reason: self.reason.as_deref(),
            body: &self.body,
            prev: self.prev,
        };
        #[expect(
            clippy::expect_used,
            reason = "strings, numbers and a JSON value always serialize into memory"
        )]
        let line = serde_json::to_vec(&unsealed).expect("an envelope serializes");
        line
    }
}

fn check_draft(draft: &Draft) -> Result<(), String> {
    let subject = draft.subject.as_deref();
    for (name, text) in [("actor", Some(&*draft.actor)), ("kind", Some(&*draft.kind)), ("subject", subject)] {
        let Some(text) = text else { continue };
        if text.is_empty() {
            return Err(format!("{name} is empty"));
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(format!("{name} is {} bytes, at most {MAX_NAME_BYTES} are allowed", text.len()));
        }
    }
    let reason = draft.reason.as_ref().map_or(0, String::len);
    if reason > MAX_REASON_BYTES {
        return Err(format!("reason is {reason} bytes, at most {MAX_REASON_BYTES} are allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn draft() -> Draft {
        Draft {
            at: Timestamp::from_micros(1_700_000_000_000_000),
            actor: "ada".to_owned(),
            kind: "rollout.started".to_owned(),
            version: 1,
            subject: Some("shop/production".to_owned()),
            reason: None,
            body: json!({ "release": 7, "z": 0.1, "a": "x" }),
        }
    }

    #[test]
    fn the_stored_form_is_one_line_in_a_fixed_order() {
        let record = Record::seal(draft(), 1, GENESIS).unwrap();
        let line = String::from_utf8(record.to_bytes()).unwrap();
        let expected = format!(
            r#"{{"seq":1,"at":"2023-11-14T22:13:20.000000Z","actor":"ada","kind":"rollout.started","version":1,"subject":"shop/production","body":{{"release":7,"z":0.1,"a":"x"}},"prev":"sha256:{}""#,
            "0".repeat(64)
        );
        assert_eq!(
            line,
            format!("{expected},\"hash\":\"{}\"}}", Digest::of(format!("{expected}}}").as_bytes()))
        );
        // Journals out there hold this form: if this digest changes, they no longer verify.
        assert_eq!(
            record.hash.to_string(),
            "sha256:2f5915b45d0a1c8e10bfd5d2ac58b4ed8f879783dc2f16e70e56deb65cffd06b"
        );
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = Record::seal(draft(), 1, GENESIS).unwrap().to_bytes();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[i] ^= 1 << bit;
                assert!(Record::from_bytes(&changed).is_err(), "byte {i}, bit {bit}");
            }
            assert!(Record::from_bytes(&bytes[..i]).is_err(), "cut to {i} bytes");
        }
    }

    #[test]
    fn a_newer_record_is_readable_as_an_envelope() {
        let mut line = Record::seal(draft(), 3, Digest::of(b"x")).unwrap().unsealed();
        line.pop();
        line.extend_from_slice(br#","trace":"4bf9"}"#);
        let hash = Digest::of(&line);
        line.pop();
        line.extend_from_slice(format!(",\"hash\":\"{hash}\"}}").as_bytes());
        let line = String::from_utf8(line).unwrap();
        let record = Record::from_bytes(line.as_bytes()).unwrap();
        assert_eq!((record.seq, record.hash), (3, hash));
        let forged = line.replace("4bf9", "4bf8");
        assert!(matches!(Record::from_bytes(forged.as_bytes()), Err(Error::Content { seq: 3, .. })));
    }

    #[test]
    fn what_could_not_be_read_back_is_not_sealed() {
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        let cases = [
            Draft { body: deep, ..draft() },
            Draft { at: Timestamp::from_micros(i64::MAX), ..draft() },
            Draft { body: json!("x".repeat(MAX_BYTES)), ..draft() },
            Draft { actor: String::new(), ..draft() },
            Draft { kind: "k".repeat(MAX_NAME_BYTES + 1), ..draft() },
            Draft { reason: Some("r".repeat(MAX_REASON_BYTES + 1)), ..draft() },
        ];
        for case in cases {
            let error = Record::seal(case, 9, GENESIS).unwrap_err();
            assert!(matches!(error, Error::Draft { seq: 9, .. }), "{error}");
        }
    }

    #[test]
    fn noise_is_refused_with_a_reason() {
        for noise in ["", "{", "null", "[]", "{}", "\u{0}", r#"{"seq":1}"#] {
            let error = Record::from_bytes(noise.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("not the stored form of an event: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_sealed_record_reads_back(
            seq in 1u64..,
            micros in -1_000_000_000_000_000i64..10_000_000_000_000_000,
            actor in ".{1,40}",
            reason in proptest::option::of(".{0,80}"),
            number in proptest::num::f64::NORMAL,
            text in ".{0,80}",
        ) {
            let at = Timestamp::from_micros(micros);
            let draft = Draft { at, actor, reason, body: json!({ "n": number, "t": text }), ..draft() };
            let record = Record::seal(draft, seq, Digest::of(b"prev")).unwrap();
            let bytes = record.to_bytes();
            prop_assert!(!bytes.contains(&b'\n'));
            let read = Record::from_bytes(&bytes).unwrap();
            prop_assert_eq!(read.to_bytes(), bytes);
            prop_assert_eq!(read, record);
        }
    }
}
