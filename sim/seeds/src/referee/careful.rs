//! The referee of careful teams: what they were promised is asked of whoever knows it, and what they hear is held against the journal.
//! What was promised is told in `calendar`, `approvals`, `watched` and `said`.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::{Event, Vote};
use model::{Place, Timestamp};
use record::Record;

use super::{Referee, watched};
use crate::care::Care;

impl Referee {
    /// The same, of a life with what a careful team declared.
    pub(crate) fn of_careful(mut self, care: Care) -> Self {
        self.known.declared = care.declared;
        self
    }

    /// What careful teams were promised.
    pub(super) fn watch_team(&mut self, event: &Event, record: &Record) {
        let calendar = self.calendar.follow(event, record, &self.known);
        let approvals = self.approvals.follow(event, record, (&self.known, &self.world));
        let watched = self.watched.follow(event, record, &self.known);
        let said = self.said.follow(event, record);
        for broken in calendar.into_iter().chain(approvals).chain(watched).chain(said) {
            self.breaks(broken);
        }
        self.known.follow(event);
        self.figures.approved = self.approvals.begun;
        self.figures.voided = self.approvals.voided;
        self.figures.through = self.calendar.through;
        self.figures.fired = self.watched.fired;
        self.figures.resolved = self.watched.resolved;
        self.figures.overspent = self.watched.overspent;
        self.figures.levels = self.watched.levels;
        self.figures.said = self.said.count;
    }

    /// Somebody who goes back has an answer: no freeze, no budget and no colleague keeps anybody from that.
    pub(crate) fn went_back(
        &mut self,
        actor: &str,
        answer: &Result<Option<runtime::Answer>, runtime::Error>,
    ) {
        let kept = match answer {
            Ok(answer) => answer.as_ref().is_some_and(|answer| answer.request.is_some()),
            Err(error) => {
                let why = error.to_string();
                let kept = [
                    "no change is to begin",
                    "is asked for already",
                    "% of the error budget",
                    "was overspent",
                ];
                kept.iter().any(|words| why.contains(words))
            }
        };
        if kept {
            self.breaks(format!("{actor} goes back, and is kept from it: {answer:?}"));
        }
    }

    /// Somebody who said what they think of a request has an answer.
    pub(crate) fn voted(
        &mut self,
        (number, vote): (u64, &Vote),
        actor: &str,
        answer: &Result<(), runtime::Error>,
    ) {
        let events = self.actors.get(actor).copied().unwrap_or_default();
        let known = events > 0 || (*vote == Vote::Approve && self.approvals.has_approved(number, actor));
        match answer {
            Ok(()) if !known => {
                self.breaks(format!(
                    "{actor} was told that request {number} is decided, and it is not recorded"
                ));
            }
            Ok(()) => self.tell(|| format!("{actor}: done")),
            Err(runtime::Error::Stopped(_)) => {}
            Err(error) if events > 0 => {
                self.breaks(format!("{actor} was told no, and it is recorded: {error}"))
            }
            Err(error) => self.tell(|| format!("{actor}: refused: {error}")),
        }
    }

    /// Somebody who asked for something that is not about a rollout has an answer.
    pub(crate) fn heard(&mut self, actor: &str, answer: &Result<(), runtime::Error>) {
        let events = self.actors.get(actor).copied().unwrap_or_default();
        match answer {
            // It may have been so already.
            Ok(()) | Err(runtime::Error::Stopped(_)) => {}
            // Whoever ended a silence within the same breath leaves nothing to answer with but that.
            Err(error) if error.to_string().contains("it was recorded") => {}
            Err(error) if events > 0 => {
                self.breaks(format!("{actor} was told no, and it is recorded: {error}"))
            }
            Err(error) => self.tell(|| format!("{actor}: refused: {error}")),
        }
    }

    /// Somebody begins to watch.
    pub(crate) fn watcher_begins(&mut self) {
        self.watched.begins();
    }

    /// Somebody looks at the rules of alerts.
    pub(crate) fn looked(&mut self, at: Timestamp, blind: bool, looked: watched::Looked) {
        self.watched.looked(at, blind, looked);
    }

    /// Somebody looks at what was counted.
    pub(crate) fn counted(&mut self, place: &Place, counts: &BTreeMap<u64, watch::Minute>, at: Timestamp) {
        self.watched.counted(place, counts, at);
    }

    /// These receivers took their tests.
    pub(crate) fn receivers(&mut self, took: BTreeSet<paging::Way>) {
        self.said.took = took;
    }

    /// Whether an alert goes on whose rule is clear.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.watched.stays()
    }

    /// Everything is well, and somebody has looked.
    pub(crate) fn look_at_watched(&mut self) {
        if let Some(broken) = self.watched.last_words(&self.known) {
            self.breaks(broken);
        }
    }

    /// Requests wait no longer than they should, once control had time to end them.
    pub(crate) fn look_at_requests(&mut self, at: Timestamp) {
        if let Some(number) = self.approvals.overdue(at) {
            self.breaks(format!("request {number} waits for ever"));
        }
    }
}
