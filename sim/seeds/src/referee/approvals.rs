//! What a team was promised of approvals: where a second person is required no rollout begins but what was approved by enough others, in
//! time, as it was asked for, once, or what somebody called an emergency and said why. A fold of its own.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::{Change, Event, Request, World};
use model::{Place, ReleaseNumber, Timestamp};
use record::Record;
use ship::Cause;

use super::known::Known;
use crate::care::{APPROVERS, Second};

/// What is known of requests.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    waiting: BTreeMap<u64, (Request, BTreeSet<String>)>,
    /// The emergencies that nobody looked at, and whose they were.
    unreviewed: BTreeMap<u64, String>,
    /// Who approved what, ever.
    approved: BTreeSet<(u64, String)>,
    /// Which release may begin where, said in the same breath.
    ready: Option<Ready>,
    /// How many began with approval.
    pub(super) begun: u64,
    /// How many came to nothing by themselves.
    pub(super) voided: u64,
}

/// What may begin, and when that was said.
#[derive(Debug)]
struct Ready {
    place: Place,
    release: ReleaseNumber,
    /// Whether a lock, a budget and a freeze may be passed.
    passes: [bool; 3],
    at: Timestamp,
}

/// Who somebody is, whichever way they came.
fn person(actor: &str) -> &str {
    actor.split(" (").next().unwrap_or_default()
}

impl Approvals {
    /// Whether this is known to have been approved by somebody.
    pub(super) fn has_approved(&self, number: u64, actor: &str) -> bool {
        self.approved.contains(&(number, person(actor).to_owned()))
    }

    /// Those that wait longer than they should.
    pub(super) fn overdue(&self, at: Timestamp) -> Option<u64> {
        self.waiting.iter().find(|(_, (request, _))| at > request.until).map(|(number, _)| *number)
    }

    /// Takes in an event, before the world does and before it is `known`; what it says is broken comes back.
    pub(super) fn follow(
        &mut self,
        event: &Event,
        record: &Record,
        (known, world): (&Known, &World),
    ) -> Option<String> {
        match event {
            Event::Change(change) => self.hear(change, record, (known, world)),
            Event::Rollout { place, event: ship::Event::Started { to, cause, .. } } => {
                let ready = self.ready.take();
                let needed = *cause != Cause::Rollback && known.second(place, *to).is_some();
                let is_it =
                    |ready: &Ready| (&ready.place, ready.release, ready.at) == (place, *to, record.at);
                let unasked = needed && !ready.as_ref().is_some_and(is_it);
                unasked.then(|| format!("release {to} begins at {place} without approval"))
            }
            Event::LockOverridden { place, .. } => self.pass(place, 0),
            Event::BudgetOverridden { place, .. } => self.pass(place, 1),
            Event::FreezeOverridden { place, .. } => self.pass(place, 2),
            Event::Rollout { .. }
            | Event::TakenBack { .. }
            | Event::Objective { .. }
            | Event::AlertChanged(_)
            | Event::Paging(_)
            | Event::ErrorDecided { .. }
            | Event::ReleaseRegistered(_)
            | Event::ReleaseRetired { .. }
            | Event::ControlStarted { .. }
            | Event::ControlStopped
            | Event::Locked { .. }
            | Event::Unlocked { .. }
            | Event::DriftCorrected { .. }
            | Event::GroupBegun { .. }
            | Event::GroupReached { .. }
            | Event::CommandAnswered { .. } => None,
        }
    }

    /// Whoever approves approves what is passed as well.
    fn pass(&self, place: &Place, which: usize) -> Option<String> {
        let ready = self.ready.as_ref().filter(|ready| ready.place == *place)?;
        (!ready.passes[which]).then(|| format!("what begins at {place} passes more than was approved"))
    }

    fn hear(&mut self, change: &Change, record: &Record, of: (&Known, &World)) -> Option<String> {
        match change {
            Change::Requested(request) => {
                let sound = is_due(request, record.at, of.0) && person(&request.by) == person(&record.actor);
                let (number, place) = (request.number, &request.place);
                let broken = (!sound).then(|| format!("request {number} at {place} is not what is declared"));
                self.waiting.insert(request.number, (request.clone(), BTreeSet::new()));
                broken
            }
            Change::Emergency { request, reason, .. } => {
                self.unreviewed.insert(request.number, request.by.clone());
                self.ready = Some(Ready::of(request, [true; 3], record.at));
                let said = reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
                (!said).then(|| format!("request {} is an emergency without a reason", request.number))
            }
            Change::Approved { number, by, .. } => self.approve(*number, by, record.at),
            Change::Begun { number, .. } => self.begin(*number, record.at, of),
            Change::Voided { number, .. } => {
                self.voided += 1;
                let (request, _) = self.waiting.remove(number)?;
                let over = record.at >= request.until;
                let other =
                    of.0.serving(&request.place) != request.from || request.from == Some(request.release);
                (!over && !other).then(|| format!("request {number} is over before its time"))
            }
            Change::Rejected { number, by, reason } => {
                let (request, _) = self.waiting.remove(number)?;
                let may = may_decide(by, &request) || person(by) == person(&request.by);
                let sound = may && !reason.trim().is_empty();
                (!sound).then(|| format!("{by} rejects request {number}, and may not"))
            }
            Change::Reviewed { number, by, .. } => {
                let whose = self.unreviewed.remove(number);
                let other = whose.is_some_and(|whose| person(&whose) != person(by));
                (!other).then(|| format!("{by} reviews request {number}, which is his own or was reviewed"))
            }
        }
    }

    fn approve(&mut self, number: u64, by: &str, at: Timestamp) -> Option<String> {
        let (request, approvers) = self.waiting.get_mut(&number)?;
        approvers.insert(person(by).to_owned());
        self.approved.insert((number, person(by).to_owned()));
        if person(&request.by) == person(by) {
            return Some(format!("{by} approves request {number}, which is his own"));
        }
        let sound = may_decide(by, request) && at < request.until;
        (!sound).then(|| format!("{by} approves request {number}, and may not, or not any more"))
    }

    fn begin(&mut self, number: u64, at: Timestamp, (known, world): (&Known, &World)) -> Option<String> {
        let Some((request, approvers)) = self.waiting.remove(&number) else {
            return Some(format!("request {number} begins, and does not wait"));
        };
        self.begun += 1;
        let same = known.serving(&request.place) == request.from;
        let release = world.release(&request.place.service, request.release);
        let artifact = release.is_some_and(|release| release.artifact.digest == request.digest);
        let enough = approvers.len() >= request.required as usize;
        self.ready = Some(Ready::of(&request, request.passes, at));
        let sound = same && artifact && enough && at < request.until;
        (!sound).then(|| format!("request {number} begins, and is not what was approved"))
    }
}

impl Ready {
    fn of(request: &Request, passes: [bool; 3], at: Timestamp) -> Self {
        Self { place: request.place.clone(), release: request.release, passes, at }
    }
}

/// Whether it asks those that are declared, for as long as is declared, and for nothing that needs nobody.
fn is_due(request: &Request, at: Timestamp, known: &Known) -> bool {
    let is_it = |second: &Second| {
        let asked = (request.required, request.approvers.is_empty(), request.until);
        asked == (second.required, !second.named, at.after(second.expires))
    };
    request.cause != Cause::Rollback && known.second(&request.place, request.release).is_some_and(is_it)
}

fn may_decide(by: &str, request: &Request) -> bool {
    request.approvers.is_empty() || APPROVERS.contains(&person(by))
}
