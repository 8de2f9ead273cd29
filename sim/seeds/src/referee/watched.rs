//! What a team was promised of alerts and budgets: an alert becomes pending, fires and ends in that order, when its rule was seen to hold
//! or to be clear for as long as was declared, and never on silence; a budget allows what is left of it, and where it is
//! spent nothing begins that nobody took upon himself. Told apart from the code that keeps it: by what was to be seen, and sums of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifecycle::{AlertKey, Changed, Event};
use model::alert::NAME;
use model::objective::Severity;
use model::strategy::Kind;
use model::{Place, Timestamp};
use record::Record;
use ship::Cause;
use watch::alert::To;
use watch::burn::Rule as Burn;
use watch::{Level, Minute};

use super::known::Known;
use crate::care::{BUDGET, MINIMUM, OBJECTIVE};
use crate::watcher::QUEUE;

/// So long after nobody told metrics, silence may still be that.
const SETTLES: Duration = Duration::from_secs(30);
/// How long the alert of a budget goes on, at least, after its rule held last.
const KEPT: Duration = Duration::from_secs(300);
/// What counts as silence of an objective, in minutes.
const SILENT: u64 = 5;
/// So much more than a step has to be left before it is taken back, in parts of a million.
const AGAIN: i64 = 20_000;
const WHOLE: i64 = 1_000_000;

/// What the rules found at a look, by place and name; `None` when nobody answered.
pub(crate) type Looked = BTreeMap<(Place, String), Option<BTreeSet<String>>>;

/// What is known of alerts and budgets.
#[derive(Debug, Default)]
pub(super) struct Watched {
    looked: Looked,
    looked_at: Timestamp,
    /// Until when silence means nothing.
    blind_until: Timestamp,
    begins: bool,
    /// When the rule of an alert was last not seen to be clear.
    held: BTreeMap<(Place, String, String), Timestamp>,
    alerts: BTreeMap<AlertKey, Stands>,
    burns: BTreeMap<(Place, String, Burn), (bool, Timestamp)>,
    budgets: BTreeMap<Place, Budget>,
    /// Where the next rollout may begin though a budget is spent.
    passed: Option<Place>,
    /// How many alerts fired.
    pub(super) fired: u64,
    /// How many ended.
    pub(super) resolved: u64,
    /// How many rollouts began though a budget was spent.
    pub(super) overspent: u64,
    /// How often a budget came to allow something else.
    pub(super) levels: u64,
}

/// Where an alert stands, and since when.
#[derive(Debug, Clone, Copy)]
struct Stands {
    fires: bool,
    since: Timestamp,
    /// Whether it is of a rule of the team's own.
    own: bool,
}

/// What is known of the budget of a place.
#[derive(Debug, Default)]
struct Budget {
    level: Level,
    counts: BTreeMap<u64, Minute>,
    at: Timestamp,
}

impl Watched {
    /// Somebody begins to watch, and remembers nothing.
    pub(super) fn begins(&mut self) {
        self.begins = true;
    }

    /// Somebody looks at the rules.
    pub(super) fn looked(&mut self, at: Timestamp, blind: bool, looked: Looked) {
        if std::mem::take(&mut self.begins) || blind {
            self.blind_until = at.after(SETTLES);
        }
        let silent = at < self.blind_until;
        for ((place, name), found) in &looked {
            for queue in ["a", "b"] {
                let clear = found.as_ref().is_some_and(|found| !found.contains(queue));
                if !clear || silent {
                    self.held.insert((place.clone(), name.clone(), queue.to_owned()), at);
                }
            }
        }
        (self.looked, self.looked_at) = (looked, at);
    }

    /// Somebody looks at what was counted.
    pub(super) fn counted(&mut self, place: &Place, counts: &BTreeMap<u64, Minute>, at: Timestamp) {
        let budget = self.budgets.entry(place.clone()).or_default();
        (budget.counts, budget.at) = (counts.clone(), at);
    }

    /// Takes in an event, before it is `known`; what it says is broken comes back.
    pub(super) fn follow(&mut self, event: &Event, record: &Record, known: &Known) -> Option<String> {
        match event {
            Event::AlertChanged(changed) => self.alert(changed, record.at, known),
            Event::Objective { place, objective, event } => {
                self.objective(place, objective.as_str(), event, record.at, known)
            }
            Event::BudgetOverridden { place, .. } => {
                self.passed = Some(place.clone());
                self.overspent += 1;
                let said = record.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
                (!said).then(|| format!("a budget of {place} is passed without a reason"))
            }
            Event::Rollout { place, event: ship::Event::Started { cause, strategy, .. } } => {
                let passed = self.passed.take().as_ref() == Some(place);
                let canary = matches!(&strategy.kind, Kind::Canary { steps, .. } if !steps.is_empty());
                let forbids = match self.budgets.get(place).map(|budget| budget.level) {
                    Some(Level::Freeze) => true,
                    Some(Level::CanaryOnly) => !canary,
                    Some(Level::Unknown | Level::Fine | Level::Warn) | None => false,
                };
                let spent = forbids && *cause != Cause::Rollback && known.has_served(place);
                match (spent, passed) {
                    (true, false) => Some(format!("a rollout begins at {place}, and its budget is spent")),
                    (false, true) => Some(format!("a budget of {place} is passed, and it is not spent")),
                    (true, true) | (false, false) => None,
                }
            }
            Event::Rollout { .. }
            | Event::LockOverridden { .. }
            | Event::FreezeOverridden { .. }
            | Event::Change(_)
            | Event::TakenBack { .. }
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

    fn alert(&mut self, changed: &Changed, at: Timestamp, known: &Known) -> Option<String> {
        let before = self.alerts.get(&changed.key()).copied();
        let legal = match (before, changed.to) {
            (None, To::Pending | To::Firing) | (Some(_), To::Resolved) => true,
            (Some(stands), To::Firing) => !stands.fires,
            (None, To::Resolved) | (Some(_), To::Pending) => false,
        };
        let name = changed.labels.get(NAME).map_or("?", String::as_str);
        let own = changed.labels.contains_key(QUEUE);
        let stands = Stands { fires: changed.to == To::Firing, since: at, own };
        match changed.to {
            To::Pending => drop(self.alerts.insert(changed.key(), stands)),
            To::Firing => {
                self.fired += 1;
                self.alerts.insert(changed.key(), stands);
            }
            To::Resolved => {
                self.resolved += 1;
                self.alerts.remove(&changed.key());
            }
        }
        if !legal {
            return Some(format!("the alert {name} becomes {:?} from {before:?}", changed.to));
        }
        let (place, queue) = changed.place.as_ref().zip(changed.labels.get(QUEUE))?;
        let (hold, keep) = known.patience(place, name)?;
        // Whoever decided looked at this time, and the clock may have been set since.
        let at = at.max(self.looked_at);
        let key = (place.clone(), name.to_owned());
        let holds = self.looked.get(&key).cloned().flatten().is_some_and(|found| found.contains(queue));
        let sound = match (before, changed.to) {
            (_, To::Pending) => holds && !hold.is_zero(),
            (None, To::Firing) => holds && hold.is_zero(),
            (Some(stands), To::Firing) => holds && at.since(stands.since) >= hold,
            // Of a rule that is no more.
            (_, To::Resolved) if !self.looked.contains_key(&key) => true,
            (before, To::Resolved) => {
                let fires = before.is_some_and(|stands| stands.fires);
                let held = self.held.get(&(place.clone(), name.to_owned(), queue.clone())).copied();
                let last = held.unwrap_or_default();
                last < self.looked_at && (!fires || at.since(last) >= keep)
            }
        };
        (!sound)
            .then(|| format!("the alert {name} of {queue} at {place} becomes {:?}, and must not", changed.to))
    }

    fn objective(
        &mut self,
        place: &Place,
        name: &str,
        event: &watch::Event,
        at: Timestamp,
        known: &Known,
    ) -> Option<String> {
        if let watch::Event::AlertChanged { rule, to, .. } = event {
            return self.burn((place.clone(), name.to_owned(), *rule), *to, at);
        }
        let budget = self.budgets.entry(place.clone()).or_default();
        match event {
            watch::Event::LevelChanged { level, .. } if name == OBJECTIVE => {
                self.levels += 1;
                let sound = budget.allows(known.policy(place)).contains(level);
                let (_, failed, left) = budget.left();
                budget.level = *level;
                (!sound).then(|| format!("{place} may do {level:?} with {left} left and {failed} bad"))
            }
            watch::Event::LevelChanged { .. }
            | watch::Event::Corrected { .. }
            | watch::Event::Restored { .. }
            | watch::Event::Charged { .. }
            | watch::Event::AlertChanged { .. } => None,
        }
    }

    /// An alert of an objective: in order, not on silence, and not over too soon.
    fn burn(&mut self, key: (Place, String, Burn), to: To, at: Timestamp) -> Option<String> {
        let before = self.burns.get(&key).copied();
        let legal = match (before, to) {
            (None, To::Pending | To::Firing) | (Some(_), To::Resolved) => true,
            (Some((fires, _)), To::Firing) => !fires,
            (None, To::Resolved) | (Some(_), To::Pending) => false,
        };
        let budget = self.budgets.get(&key.0).filter(|_| key.1 == OBJECTIVE);
        let at = budget.map_or(at, |budget| at.max(budget.at));
        let blind = budget.is_some_and(Budget::is_silent)
            && matches!(key.2, Burn::Burn(Severity::P1 | Severity::P2 | Severity::P3));
        let early = budget.is_some()
            && to == To::Resolved
            && before.is_some_and(|(fires, since)| fires && at.since(since) < KEPT);
        let (name, place) = (key.2.name(), key.0.clone());
        match to {
            To::Pending | To::Firing => drop(self.burns.insert(key, (to == To::Firing, at))),
            To::Resolved => drop(self.burns.remove(&key)),
        }
        let sound = legal && !blind && !early;
        (!sound).then(|| format!("the alert {name} of {place} becomes {to:?} from {before:?}, and must not"))
    }

    /// What is not as it should be once everything is well and somebody has looked.
    pub(super) fn last_words(&self, known: &Known) -> Option<String> {
        // Where nothing came to serve, nobody looks any more.
        let last = self.budgets.values().map(|budget| budget.at).max();
        for (place, budget) in self.budgets.iter().filter(|(_, budget)| Some(budget.at) == last) {
            if !budget.allows(known.policy(place)).contains(&budget.level) && !budget.counts.is_empty() {
                return Some(format!("{place} is left at {:?}, with {:?}", budget.level, budget.left()));
            }
        }
        self.stays().then(|| "an alert never ends".to_owned())
    }

    /// Whether an alert of the team's own rules goes on.
    pub(super) fn stays(&self) -> bool {
        self.alerts.values().any(|stands| stands.own)
    }
}

impl Budget {
    /// Seconds measured until the last look, bad ones, and what is left, in parts of a million.
    fn left(&self) -> (u64, u64, i64) {
        let now = watch::minutes::minute_of(self.at);
        let counted = self.counts.range(..=now).map(|(_, minute)| *minute);
        let (mut measured, mut total, mut bad) = (0, 0, 0);
        for minute in counted {
            measured += u64::from(minute.measured);
            total += minute.total;
            bad += minute.total - minute.good;
        }
        let may = i128::from(total) * i128::from(BUDGET);
        let spent = i128::from(bad) * 1_000_000_000_000 / may.max(1);
        (measured, bad, WHOLE - i64::try_from(spent).unwrap_or(i64::MAX / 2))
    }

    /// What it may come to allow, give or take a rounding.
    fn allows(&self, policy: &[(i64, Level)]) -> [Level; 2] {
        let (measured, bad, left) = self.left();
        if measured == 0 {
            return [Level::Unknown; 2];
        }
        if bad < MINIMUM {
            return [Level::Fine; 2];
        }
        let at = |left: i64| {
            let reached = policy.iter().filter(|(step, _)| left <= *step).map(|(_, level)| *level);
            reached.max().unwrap_or(Level::Fine)
        };
        [left - 1, left].map(|left| at(left).max(at(left - AGAIN).min(self.level)))
    }

    /// Whether nothing was measured lately.
    fn is_silent(&self) -> bool {
        let now = watch::minutes::minute_of(self.at);
        let lately = self.counts.range((now + 1).saturating_sub(SILENT)..=now);
        lately.map(|(_, minute)| u64::from(minute.measured)).sum::<u64>() == 0
    }
}
