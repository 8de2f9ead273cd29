//! What was answered to which idempotency key, so that a request that comes twice is done once. Does not live here: the
//! form of a key, and what of a request is digested (the faces).
//!
//! It follows from the journal alone: an answer is appended in one unit with what its command caused, and is
//! remembered again on replay. A refusal changed nothing and is not remembered: asked again, it is decided anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::{Answer, Event};
use model::Digest;

use crate::handle::Error;

/// How many keys are remembered; the oldest go first.
const MOST_KEYS: usize = 10_000;

/// A request that is to be done once, however often it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key that its sender chose.
    pub key: String,
    /// What is asked for.
    pub request: Digest,
}

/// The answers that are remembered. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<String, Answered>,
    oldest_first: VecDeque<(u64, String)>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The number of the event that says so.
    pub(crate) seq: u64,
    request: Digest,
    /// Nothing for a stop.
    pub(crate) answer: Option<Answer>,
}

impl Once {
    /// The event that says that this was answered.
    pub(crate) fn answered(&self, answer: Option<Answer>) -> Event {
        Event::CommandAnswered { key: self.key.clone(), request: self.request, answer }
    }
}

impl Answers {
    /// What this request was answered when it came before.
    ///
    /// # Errors
    /// When its key was used for another request.
    pub(crate) fn to(&self, once: Option<&Once>) -> Result<Option<Answered>, Error> {
        let Some(once) = once else { return Ok(None) };
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.by_key.get(&once.key) {
            Some(answered) if answered.request == once.request => Ok(Some(answered.clone())),
            Some(answered) => Err(Error::KeyReused { key: once.key.clone(), seq: answered.seq }),
            None => Ok(None),
        }
    }

    /// Takes in an event of the journal.
    pub(crate) fn follow(&self, event: &Event, seq: u64) {
        let Event::CommandAnswered { key, request, answer } = event else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_key.insert(key.clone(), Answered { seq, request: *request, answer: answer.clone() });
        kept.oldest_first.push_back((seq, key.clone()));
        while kept.oldest_first.len() > MOST_KEYS {
            let Some((seq, key)) = kept.oldest_first.pop_front() else { return };
            // A key that came again after it was forgotten stays for its later answer.
            if kept.by_key.get(&key).is_some_and(|answered| answered.seq == seq) {
                kept.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(key: u64) -> Once {
        Once { key: key.to_string(), request: Digest::of(b"asked") }
    }

    #[test]
    fn the_oldest_keys_are_forgotten_first() {
        let answers = Answers::default();
        let most = MOST_KEYS as u64;
        for seq in 1..=most + 5 {
            answers.follow(&once(seq).answered(None), seq);
        }
        assert_eq!(answers.to(Some(&once(5))).unwrap(), None);
        assert_eq!(answers.to(Some(&once(6))).unwrap().unwrap().seq, 6);
        // One that comes again counts from then on.
        answers.follow(&once(6).answered(None), most + 6);
        answers.follow(&once(0).answered(None), most + 7);
        assert_eq!(answers.to(Some(&once(6))).unwrap().unwrap().seq, most + 6);
    }

    #[test]
    fn a_key_is_for_one_request() {
        let answers = Answers::default();
        answers.follow(&once(1).answered(None), 4);
        let other = Once { request: Digest::of(b"something else"), ..once(1) };
        assert!(matches!(answers.to(Some(&other)), Err(Error::KeyReused { seq: 4, .. })));
    }
}
