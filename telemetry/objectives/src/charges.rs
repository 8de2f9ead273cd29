//! What a rollout burned: the part of its release in each objective is counted by itself from its beginning, and charged once
//! it is over and its last requests have been told.

use std::time::Duration;

use lifecycle::World;
use meter::{Error, Ledger};
use model::objective::Window;
use model::{Objective, ObjectiveName, Place, RolloutNumber, Timestamp};
use ship::Cause;
use watch::minutes::minute_of;
use watch::{Budget, Command, Range, State, Sums, charge, window};

use crate::counted::{Own, counted_of};
use crate::counts::history;

/// So long after its end a rollout is charged: its last requests end, and pages tell of them.
const SETTLES: Duration = Duration::from_secs(30);
/// So long after its end it still can be: what counters had at its beginning is not in reach for longer.
const TOO_LATE: Duration = Duration::from_secs(24 * 3_600);
/// What stands between an objective's key and the number of a rollout in the key of the rollout's own counts.
const ROLLOUT: &str = "#rollout-";

/// A rollout that burns, or has burned and was not charged.
pub(crate) struct Burning {
    pub(crate) place: Place,
    pub(crate) objective: Objective,
    pub(crate) own: Own,
    rollout: RolloutNumber,
    began: Timestamp,
    /// When it was over.
    ended: Option<Timestamp>,
    /// Whether it was charged: it is counted on for as long as its release may be to blame for a page.
    charged: bool,
}

/// Whether a key is that of a rollout's own counts.
pub(crate) fn is_own(key: &str) -> bool {
    key.contains(ROLLOUT)
}

/// The rollouts that are to be charged or may be to blame, for each objective of their place. A return to what served before is the cure, and a
/// first release has nothing to be compared with.
pub(crate) fn open(world: &World, declared: &[(Place, Objective)], at: Timestamp) -> Vec<Burning> {
    let of = |(place, objective): &(Place, Objective)| {
        let rollout = world.lanes.get(place)?.rollout.as_ref()?;
        if rollout.cause == Cause::Rollback || rollout.from.is_none() {
            return None;
        }
        let state = world.objectives.get(place).and_then(|states| states.get(&objective.name));
        let charged = state.is_some_and(|state| state.charges.contains_key(&rollout.number));
        let ended = rollout.phase.is_terminal().then_some(rollout.phase_since);
        let over = charged || ended.is_some_and(|ended| at.since(ended) > TOO_LATE);
        if over && lifecycle::blame::suspect(world, place, at).is_none() {
            return None;
        }
        let key = format!("{place}/{}{ROLLOUT}{}", objective.name, rollout.number);
        let own = Own { key, release: rollout.to, since: rollout.started_at };
        let (place, objective) = (place.clone(), objective.clone());
        Some(Burning {
            place,
            objective,
            own,
            rollout: rollout.number,
            began: rollout.started_at,
            ended,
            charged: over,
        })
    };
    declared.iter().filter_map(of).collect()
}

/// The longest time that a reading of an objective asks for.
pub(crate) fn longest(objective: &Objective, at: Timestamp) -> Range {
    let windows = std::iter::once(&objective.window).chain(objective.sla.iter().map(|sla| &sla.window));
    let to = minute_of(at) + 1;
    let from = windows.map(|it: &Window| window::whole(it, at).from).min().unwrap_or(to);
    // Alerts look back three days in short windows, too.
    Range { from: from.min(to.saturating_sub(3 * 1_440)), to }
}

impl Burning {
    /// Whether somebody tells its release's part from the others'.
    pub(crate) fn is_counted(&self) -> bool {
        counted_of(&self.place, &self.objective, &self.own).is_some()
    }

    /// Whether it is over and settled.
    pub(crate) fn is_due(&self, place: &Place, objective: &ObjectiveName, at: Timestamp) -> bool {
        !self.charged
            && self.place == *place
            && self.objective.name == *objective
            && self.ended.is_some_and(|ended| at.since(ended) >= SETTLES)
    }

    /// What it burned.
    pub(crate) fn charge(
        &self,
        ledger: &mut Ledger,
        key: &str,
        objective: &Objective,
        budget: &Budget,
        state: &State,
    ) -> Result<Command, Error> {
        let ended = self.ended.unwrap_or(self.began);
        let (from, to) = (minute_of(self.began), minute_of(ended.after(SETTLES)) + 1);
        let mut over = |key: &str, range: Range| -> Result<Sums, Error> {
            let history = history(ledger, key, range, &objective.method, &state.exclusions)?;
            Ok(watch::Counts::sums(&history, range))
        };
        let during = Range { from, to };
        let own = over(&self.own.key, during)?;
        let others = over(key, during)? - own;
        let before = over(key, Range::last(during.len().max(60), from))?;
        let charge = charge::charge(own, others, before, budget);
        Ok(Command::Charge { rollout: self.rollout, release: self.own.release, charge })
    }
}
