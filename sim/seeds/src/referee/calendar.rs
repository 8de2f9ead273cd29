//! What a team was promised of freezes: while one holds no rollout begins, by the release that serves or by the one that comes, but
//! what goes back, and what somebody lets through for a reason that is told right before it.

use lifecycle::Event;
use model::Place;
use record::Record;
use ship::Cause;

use super::known::Known;

/// What is known of freezes.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// Where the next rollout may begin in spite of one.
    passed: Option<Place>,
    /// How many did.
    pub(super) through: u64,
}

impl Calendar {
    /// Takes in an event, before it is `known`; what it says is broken comes back.
    pub(super) fn follow(&mut self, event: &Event, record: &Record, known: &Known) -> Option<String> {
        if let Event::FreezeOverridden { place, .. } = event {
            self.passed = Some(place.clone());
            self.through += 1;
            let said = record.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
            return (!said).then(|| format!("a freeze at {place} is passed without a reason"));
        }
        let Event::Rollout { place, event: ship::Event::Started { to, cause, .. } } = event else {
            return None;
        };
        let passed = self.passed.take().as_ref() == Some(place);
        let closed = *cause != Cause::Rollback && known.is_closed(place, *to, record.at);
        match (closed, passed) {
            (true, false) => Some(format!("release {to} begins at {place} in a freeze")),
            (false, true) => Some(format!("a freeze at {place} is passed, and there is none")),
            (true, true) | (false, false) => None,
        }
    }
}
