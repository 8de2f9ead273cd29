//! The hash chain: which record may follow which.
//!
//! Lives here: sealing the next record and checking a sequence of them. Does not live here: reading a journal's file,
//! and what to advise when a link is broken.

use std::fmt;

use model::Digest;

use crate::envelope::{Draft, Error, GENESIS, Record};

/// The end of a chain: the number and hash of its last record. It is a small value: copy it, seal a few records on
/// the copy, and keep the copy only once they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The number of the last record; 0 when there is none.
    pub last_seq: u64,
    /// The hash of the last record; [`GENESIS`] when there is none.
    pub last_hash: Digest,
}

/// What is wrong at a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Another number was expected here.
    Number,
    /// It was written after another record than the one before it here.
    Link,
    /// Its content is not what was sealed.
    Content,
    /// It is not readable as a record at all.
    Form,
}

/// A broken link: the first place where a journal is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq}: {what}: expected {expected}, found {found}")]
pub struct Broken {
    /// The place in the journal (the number that was expected there).
    pub seq: u64,
    /// What is wrong.
    pub what: What,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "an event is missing or out of place",
            Self::Link => "it does not belong after the event before it",
            Self::Content => "its content has changed since it was written",
            Self::Form => "it is not readable",
        })
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The chain before its first record.
    pub const fn new() -> Self {
        Self { last_seq: 0, last_hash: GENESIS }
    }

    /// Whether a record is the next one of this chain. That its content is what was sealed, [`Record::from_bytes`]
    /// has checked already.
    ///
    /// # Errors
    /// When its number or the hash it follows is another.
    pub fn check(&self, record: &Record) -> Result<(), Broken> {
        let seq = self.next_seq();
        if record.seq != seq {
            let (expected, found) = (format!("event {seq}"), format!("event {}", record.seq));
            return Err(Broken { seq, what: What::Number, expected, found });
        }
        if record.prev != self.last_hash {
            let (expected, found) = (self.last_hash.to_string(), record.prev.to_string());
            return Err(Broken { seq, what: What::Link, expected, found });
        }
        Ok(())
    }

    /// Reads the stored form of the next record, checks it and moves on to it.
    ///
    /// # Errors
    /// When it is not the next record, unchanged; the chain then stays where it was.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Record, Broken> {
        let seq = self.next_seq();
        let record = Record::from_bytes(bytes).map_err(|error| match error {
            Error::Content { expected, found, .. } => {
                Broken { seq, what: What::Content, expected: expected.to_string(), found: found.to_string() }
            }
            Error::Form(what) | Error::Draft { what, .. } => Broken {
                seq,
                what: What::Form,
                expected: "the stored form of an event".to_owned(),
                found: what,
            },
        })?;
        self.check(&record)?;
        self.follow(&record);
        Ok(record)
    }

    /// Seals the next record and moves on to it.
    ///
    /// # Errors
    /// When the draft breaks a limit; the chain then stays where it was.
    pub fn next(&mut self, draft: Draft) -> Result<Record, Error> {
        let record = Record::seal(draft, self.next_seq(), self.last_hash)?;
        self.follow(&record);
        Ok(record)
    }

    fn next_seq(&self) -> u64 {
        self.last_seq.saturating_add(1)
    }

    fn follow(&mut self, record: &Record) {
        self.last_seq = record.seq;
        self.last_hash = record.hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;
    use serde_json::json;

    fn lines(count: u64) -> Vec<Vec<u8>> {
        let mut chain = Chain::new();
        let draft = |n: u64| Draft {
            at: Timestamp::from_micros(1_700_000_000_000_000),
            actor: "judge".to_owned(),
            kind: "rollout.stepped".to_owned(),
            version: 1,
            subject: None,
            reason: Some(format!("step {n}")),
            body: json!({ "weight": n }),
        };
        (1..=count).map(|n| chain.next(draft(n)).unwrap().to_bytes()).collect()
    }

    fn first_problem(lines: &[Vec<u8>]) -> Option<(u64, What)> {
        let mut chain = Chain::new();
        lines.iter().find_map(|line| chain.read(line).err()).map(|broken| (broken.seq, broken.what))
    }

    #[test]
    fn what_was_sealed_in_a_row_is_a_chain() {
        let lines = lines(10);
        assert_eq!(first_problem(&lines), None);
        let mut chain = Chain::new();
        for line in &lines {
            chain.read(line).unwrap();
        }
        assert_eq!(chain.last_seq, 10);
    }

    #[test]
    fn a_removed_swapped_repeated_or_foreign_event_is_found_where_it_is() {
        let good = lines(10);
        let mut removed = good.clone();
        removed.remove(4);
        assert_eq!(first_problem(&removed), Some((5, What::Number)));
        let mut swapped = good.clone();
        swapped.swap(2, 3);
        assert_eq!(first_problem(&swapped), Some((3, What::Number)));
        let mut repeated = good.clone();
        repeated[6] = good[5].clone();
        assert_eq!(first_problem(&repeated), Some((7, What::Number)));
        let mut foreign = good.clone();
        foreign[7] = Record::seal(
            Draft {
                at: Timestamp::default(),
                actor: "eve".to_owned(),
                kind: "x".to_owned(),
                version: 1,
                subject: None,
                reason: None,
                body: json!(null),
            },
            8,
            Digest::of(b"elsewhere"),
        )
        .unwrap()
        .to_bytes();
        assert_eq!(first_problem(&foreign), Some((8, What::Link)));
    }

    #[test]
    fn a_rewritten_event_breaks_the_link_after_it() {
        let mut lines = lines(4);
        let mut chain = Chain::new();
        chain.read(&lines[0]).unwrap();
        let old = Record::from_bytes(&lines[1]).unwrap();
        let rewritten = Draft {
            at: old.at,
            actor: old.actor,
            kind: old.kind,
            version: old.version,
            subject: old.subject,
            reason: None,
            body: old.body,
        };
        lines[1] = chain.next(rewritten).unwrap().to_bytes();
        assert_eq!(first_problem(&lines), Some((3, What::Link)));
    }

    #[test]
    fn changed_and_unreadable_content_is_told_apart() {
        let mut changed = lines(3);
        changed[1] = String::from_utf8(changed[1].clone()).unwrap().replace("step 2", "step 9").into_bytes();
        assert_eq!(first_problem(&changed), Some((2, What::Content)));
        let mut cut = lines(3);
        cut[2].truncate(40);
        assert_eq!(first_problem(&cut), Some((3, What::Form)));
    }

    #[test]
    fn a_refused_draft_leaves_the_chain_where_it_was() {
        let mut chain = Chain::new();
        chain.read(&lines(1)[0]).unwrap();
        let before = chain;
        let draft = Draft {
            at: Timestamp::default(),
            actor: String::new(),
            kind: "x".to_owned(),
            version: 1,
            subject: None,
            reason: None,
            body: json!({}),
        };
        assert!(chain.next(draft).is_err());
        assert!(chain.read(b"noise").is_err());
        assert_eq!(chain, before);
    }
}
