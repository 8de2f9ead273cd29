//! A draft of the world: events that are decided and applied, but not yet in the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle::{Command, Event, Illegal, Lane, Refusal, World};
use model::check::Outcome;
use model::{Place, Timestamp};
use ship::checks::Ticket;
use ship::{Report, Rollout};

use crate::observe::{View, observation};

/// Who acts when nobody in particular does: the planner.
pub(crate) const PLANNER: &str = "shipshape";
/// How many rounds of planning one draft may take. Each round makes progress; a rollout's longest chain without the
/// fleet's answer is far below this.
const MAX_ROUNDS: usize = 64;

/// A draft of the world. Dropping it leaves everything as it was.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) world: World,
    pub(crate) events: Vec<Decided>,
    at: Timestamp,
    last_seq: u64,
}

/// An event and who caused it.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) event: Event,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
}

/// Why a draft could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A rule decided an event that cannot follow: a defect, told instead of hidden.
    #[error("internal: {0}; nothing was changed, please report this")]
    Illegal(#[from] Illegal),
}

impl Draft {
    pub(crate) fn new(world: &Arc<World>, last_seq: u64, at: Timestamp) -> Self {
        Self { world: world.as_ref().clone(), events: Vec::new(), at, last_seq }
    }

    /// When everything of it happens.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    pub(crate) fn happened(&mut self, event: Event, actor: &str, reason: Option<&str>) -> Result<(), Error> {
        let seq = self.last_seq + self.events.len() as u64 + 1;
        self.world.apply(&event, seq, self.at)?;
        self.events.push(Decided { event, actor: actor.to_owned(), reason: reason.map(str::to_owned) });
        Ok(())
    }

    pub(crate) fn command(
        &mut self,
        command: Command,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<usize, Error> {
        let events = lifecycle::decide(&self.world, command, self.at)?;
        let count = events.len();
        for event in events {
            self.happened(event, actor, reason)?;
        }
        Ok(count)
    }

    /// Says what the fleet put right, unasked.
    pub(crate) fn notice(&mut self, view: &View) -> Result<(), Error> {
        if !view.reachable || view.seen.drifts.is_empty() {
            return Ok(());
        }
        let (instance, drifts) = (view.seen.instance.clone(), view.seen.drifts.clone());
        self.command(Command::Notice { instance, drifts }, PLANNER, None).map(drop)
    }

    /// Somebody set the wall clock, forward when positive: every rollout under way follows it.
    pub(crate) fn follow_clock(&mut self, by_us: i64) -> Result<(), Error> {
        if by_us == 0 {
            return Ok(());
        }
        self.step_clocks(|_| by_us)
    }

    /// The wall clock may have been set back while nobody ran: what is counted from an instant that is still to come
    /// would wait for it.
    pub(crate) fn catch_up_with_clock(&mut self) -> Result<(), Error> {
        let at = self.at;
        self.step_clocks(|rollout| at.ahead_of(rollout.last_moved()).min(0))
    }

    fn step_clocks(&mut self, by_us: impl Fn(&Rollout) -> i64) -> Result<(), Error> {
        let active = |(place, lane): (&Place, &Lane)| Some((place.clone(), by_us(lane.active()?)));
        let steps: Vec<(Place, i64)> = self.world.lanes.iter().filter_map(active).collect();
        for (place, by_us) in steps.into_iter().filter(|(_, by_us)| *by_us != 0) {
            let command = ship::Command::StepClock(by_us);
            self.command(Command::Operate { place, command }, PLANNER, None)?;
        }
        Ok(())
    }

    /// The hooks that the last control ran died with it, and nothing else may be thought of them.
    pub(crate) fn lose_hooks(&mut self) -> Result<(), Error> {
        let active = self.world.lanes.iter().filter(|(_, lane)| lane.active().is_some());
        let places: Vec<Place> = active.map(|(place, _)| place.clone()).collect();
        for place in places {
            let command = ship::Command::LoseHooks;
            self.command(Command::Operate { place, command }, PLANNER, None)?;
        }
        Ok(())
    }

    /// What a check or a hook found. One whose rollout is over counts for nothing.
    pub(crate) fn note_check(
        &mut self,
        place: &Place,
        ticket: Ticket,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        let command = ship::Command::NoteCheck { ticket, outcome: outcome.clone() };
        match self.command(Command::Operate { place: place.clone(), command }, PLANNER, None) {
            Ok(_) => Ok(()),
            Err(Error::Refused(refusal)) => {
                tracing::debug!(%place, %refusal, "a check was overtaken");
                Ok(())
            }
            Err(error @ Error::Illegal(_)) => Err(error),
        }
    }

    /// Plans until nothing moves without the fleet, and returns why each rollout stands where it stands.
    pub(crate) fn settle(&mut self, view: &View) -> Result<BTreeMap<Place, Report>, Error> {
        self.settle_requests()?;
        let mut reports = BTreeMap::new();
        for _ in 0..MAX_ROUNDS {
            let mut moved = false;
            let places: Vec<Place> = self
                .world
                .lanes
                .iter()
                .filter(|(_, l)| l.active().is_some())
                .map(|(p, _)| p.clone())
                .collect();
            for place in places {
                moved |= self.settle_one(view, place, &mut reports)?;
            }
            if !moved {
                break;
            }
        }
        Ok(reports)
    }

    fn settle_one(
        &mut self,
        view: &View,
        place: Place,
        reports: &mut BTreeMap<Place, Report>,
    ) -> Result<bool, Error> {
        let Some(rollout) = self.world.lanes.get(&place).and_then(|lane| lane.active()) else {
            return Ok(false);
        };
        let mut seen = observation(&self.world, view, &place, rollout);
        if let Some(since) = self.world.held_until(&place, self.at) {
            // Whoever waits for its group has not failed to become ready.
            seen.watched_since = seen.watched_since.max(since);
        }
        let (commands, mut report) = ship::plan(rollout, &seen, self.at);
        if let (None, Some(what)) = (&report.wait, self.world.group_wait(&place)) {
            report.wait = Some(ship::Wait { what, until: None });
        }
        reports.insert(place.clone(), report);
        let mut moved = false;
        for command in commands {
            match self.command(Command::Operate { place: place.clone(), command }, PLANNER, None) {
                Ok(count) => moved |= count > 0,
                Err(Error::Refused(refusal)) => {
                    tracing::debug!(%place, %refusal, "plan overtaken");
                    break;
                }
                Err(error @ Error::Illegal(_)) => return Err(error),
            }
        }
        Ok(moved)
    }
}
