//! What a team was promised of what people decide about errors and about who is told: it is recorded as it was said, by whoever said it,
//! once; a silence has a number, a reason and one end; a receiver is proved only by what it took.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::Event;
use lifecycle::inbox::{Decision, Stance};
use model::{Place, Timestamp};
use paging::{SilenceId, Way};
use record::Record;

/// What is known of decisions, silences and tests.
#[derive(Debug, Default)]
pub(super) struct Said {
    decided: BTreeMap<(Place, String), Decision>,
    silences: BTreeMap<SilenceId, Timestamp>,
    last: SilenceId,
    /// The tests that nobody took yet.
    open: BTreeSet<Way>,
    /// Which receivers took theirs at the last look.
    pub(super) took: BTreeSet<Way>,
    /// How many decisions, silences and tests that were passed there were.
    pub(super) count: u64,
}

impl Said {
    /// Takes in an event; what it says is broken comes back.
    pub(super) fn follow(&mut self, event: &Event, record: &Record) -> Option<String> {
        if let Event::ErrorDecided { place, fingerprint, decision } = event {
            self.count += 1;
            let before = self.decided.insert((place.clone(), fingerprint.clone()), decision.clone());
            let new = before
                .as_ref()
                .is_none_or(|before| (before.stance, before.known) != (decision.stance, decision.known));
            let opens = decision.stance == Stance::Reopened;
            let closed = before.is_some_and(|before| before.stance != Stance::Reopened);
            let sound = new && (!opens || closed) && decision.by == record.actor;
            return (!sound)
                .then(|| format!("{} decides about {fingerprint} again, or in vain", decision.by));
        }
        let Event::Paging(event) = event else { return None };
        match event {
            paging::Event::Silenced { id, silence } => {
                self.count += 1;
                let next = *id == self.last.next();
                self.last = *id;
                self.silences.insert(*id, silence.until);
                let sound = next && silence.by == record.actor && !silence.reason.trim().is_empty();
                (!sound).then(|| format!("silence {id} has no number, name or reason of its own"))
            }
            paging::Event::SilenceEnded { id, .. } => {
                let open = self.silences.remove(id).is_some_and(|until| record.at < until);
                (!open).then(|| format!("silence {id} ends, and was over"))
            }
            paging::Event::TestBegun { way } => {
                let new = self.open.insert(way.clone());
                (!new).then(|| format!("{} is tested twice at once", way.receiver))
            }
            paging::Event::TestPassed { way, .. } => {
                self.count += 1;
                let open = self.open.remove(way);
                let sound = open && self.took.contains(way);
                (!sound).then(|| format!("{} passes a test that it did not take", way.receiver))
            }
            paging::Event::TestsEnded { way } => {
                self.open.remove(way);
                None
            }
            // Nothing is overdue within a day.
            paging::Event::TestOverdue { .. } => None,
        }
    }
}
