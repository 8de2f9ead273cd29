//! What people decided about errors that a service prints: known, mended, or to be looked at again. Does not live here: the
//! errors themselves, and whether one is to be looked at again in spite of what was decided (`logs::inbox`).

use std::collections::BTreeMap;

use model::{Place, ReleaseNumber, Timestamp};
use serde::{Deserialize, Serialize};
use ship::Refusal;

use crate::event::Event;
use crate::world::World;

/// Decisions that are kept for each place; the oldest makes room.
pub const MOST_DECIDED: usize = 500;
/// What an error is called by: so many hexadecimal digits.
const DIGITS: usize = 16;

/// What somebody thinks of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stance", rename_all = "camelCase")]
pub enum Stance {
    /// They know of it.
    Acknowledged,
    /// It is mended.
    Resolved {
        /// In this release and the later ones; everywhere when absent.
        #[serde(rename = "inRelease", default, skip_serializing_if = "Option::is_none")]
        from: Option<ReleaseNumber>,
    },
    /// It was decided about too early.
    Reopened,
}

impl Stance {
    /// One word for it, in the past tense.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Resolved { .. } => "resolved",
            Self::Reopened => "reopened",
        }
    }
}

/// What was known of an error when somebody decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The newest release in which it had been seen.
    pub release: ReleaseNumber,
    /// How often it was seen in an hour.
    pub per_hour: u64,
    /// The number of its last record.
    pub record: u64,
}

/// A decision about an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// What was decided.
    #[serde(flatten)]
    pub stance: Stance,
    /// On what.
    pub known: Known,
    /// By whom.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A decision, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
}

/// The decisions of one place, by the errors' fingerprints.
pub type Decisions = BTreeMap<String, Decided>;

/// No event when the same was decided before, on the same knowledge.
pub(crate) fn decide(
    world: &World,
    place: Place,
    fingerprint: String,
    decision: Decision,
) -> Result<Vec<Event>, Refusal> {
    let is_fingerprint =
        |text: &str| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_fingerprint(&fingerprint) {
        return Err(Refusal::new(
            format!("{fingerprint} is no error's fingerprint"),
            format!("{DIGITS} hexadecimal digits; `shipshape errors` lists them"),
        ));
    }
    if !world.lanes.contains_key(&place) {
        return Err(Refusal::new(
            format!("nothing was ever deployed at {place}"),
            "name another service or environment: `shipshape status` lists them",
        ));
    }
    let before = world.errors.get(&place).and_then(|decided| decided.get(&fingerprint));
    let before = before.map(|before| &before.decision);
    let is_open = before.is_none_or(|before| before.stance == Stance::Reopened);
    if decision.stance == Stance::Reopened && is_open {
        return Ok(vec![]);
    }
    if before.is_some_and(|before| (before.stance, before.known) == (decision.stance, decision.known)) {
        return Ok(vec![]);
    }
    Ok(vec![Event::ErrorDecided { place, fingerprint, decision }])
}

/// Remembers a decision, within [`MOST_DECIDED`].
pub(crate) fn remember(decisions: &mut Decisions, fingerprint: &str, decision: &Decision, at: Timestamp) {
    decisions.insert(fingerprint.to_owned(), Decided { decision: decision.clone(), at });
    if decisions.len() <= MOST_DECIDED {
        return;
    }
    let oldest = decisions.iter().min_by_key(|(_, decided)| decided.at).map(|(fingerprint, _)| fingerprint);
    if let Some(oldest) = oldest.cloned() {
        decisions.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(stance: Stance, record: u64) -> Decision {
        let known = Known { release: ReleaseNumber(2), per_hour: 3, record };
        Decision { stance, known, by: "ada".to_owned(), reason: None }
    }

    fn world() -> (World, Place) {
        let place = Place { service: "shop".parse().unwrap(), environment: "dev".parse().unwrap() };
        let mut world = World::default();
        world.lanes.insert(place.clone(), crate::Lane::default());
        (world, place)
    }

    const ID: &str = "00000000000000aa";

    #[test]
    fn the_same_decision_on_the_same_knowledge_is_one_event() {
        let (mut world, place) = world();
        let mut tell = |stance, record| {
            let events = decide(&world, place.clone(), ID.to_owned(), decision(stance, record)).unwrap();
            for event in &events {
                world.apply(event, 1, Timestamp::from_micros(1)).unwrap();
            }
            events.len()
        };
        assert_eq!(tell(Stance::Reopened, 1), 0, "it is open");
        assert_eq!(tell(Stance::Acknowledged, 1), 1);
        assert_eq!(tell(Stance::Acknowledged, 1), 0);
        assert_eq!(tell(Stance::Acknowledged, 2), 1, "it came again since");
        assert_eq!(tell(Stance::Resolved { from: None }, 2), 1);
        assert_eq!(tell(Stance::Resolved { from: Some(ReleaseNumber(3)) }, 2), 1);
        assert_eq!(tell(Stance::Reopened, 2), 1);
        assert_eq!(tell(Stance::Reopened, 2), 0);
    }

    #[test]
    fn decisions_about_nothing_are_refused_with_the_way_out() {
        let (world, place) = world();
        let elsewhere = Place { service: "cart".parse().unwrap(), ..place.clone() };
        for (place, id, says) in [(place, "xyz", "`shipshape errors`"), (elsewhere, ID, "`shipshape status`")]
        {
            let refusal = decide(&world, place, id.to_owned(), decision(Stance::Acknowledged, 1));
            assert!(refusal.unwrap_err().instead.contains(says));
        }
    }

    #[test]
    fn the_oldest_decision_makes_room() {
        let mut decisions = Decisions::default();
        for n in 0..MOST_DECIDED as i64 + 5 {
            let id = format!("{:016x}", 10_000 - n);
            remember(&mut decisions, &id, &decision(Stance::Acknowledged, 1), Timestamp::from_micros(n));
        }
        assert_eq!(decisions.len(), MOST_DECIDED);
        assert_eq!(decisions.values().map(|decided| decided.at.as_micros()).min(), Some(5));
    }
}
