//! One place's line of releases: what serves, what came before, and the rollout between the two.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use model::assignment::{HeaderRoute, SessionAffinity};
use model::strategy::{Analysis, Kind, OnFailure, Strategy};
use model::{Epoch, Generation, ObjectiveName, ReleaseNumber, RolloutNumber, Timestamp, Weight};
use ship::{Event, Phase, RollbackReason, Rollout};
use watch::Blame;

use crate::world::Illegal;

/// The line of releases at one place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lane {
    /// The release that serves when no rollout is under way.
    pub stable: Option<ReleaseNumber>,
    /// The releases that served here, oldest first, the stable one last. A return to an earlier release cuts off what
    /// came after it, so that the next return goes further back, never forward to what was left.
    pub history: Vec<ReleaseNumber>,
    /// The releases that served here until a return to an earlier one, and not since.
    pub left: BTreeSet<ReleaseNumber>,
    /// The releases whose latest rollout here went back.
    pub rejected: BTreeMap<ReleaseNumber, Rejected>,
    /// The rollout that takes a release back by itself, or the last that did, and why.
    pub taken_back: Option<(RolloutNumber, RollbackReason)>,
    /// The latest rollout, ended or not.
    pub rollout: Option<Rollout>,
    /// The group that the latest rollout belongs to.
    pub went_with: Option<String>,
    /// The number of the latest rollout.
    pub last_rollout: RolloutNumber,
    /// The epoch of the traffic's weights.
    pub epoch: Epoch,
    /// The event that last changed what the fleet should look like here.
    pub changed_at: Generation,
}

/// How a rollout of a release went back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The share of the requests that it had.
    pub weight: Weight,
    /// Why it had to give it back.
    pub reason: RollbackReason,
}

/// What should run and serve at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Releases and how many replicas of each; none with zero.
    pub groups: Vec<(ReleaseNumber, u32)>,
    /// Releases and their shares of the requests, the growing one last; none with zero but one that is previewed or led to by
    /// header routes. Empty when nothing serves.
    pub shares: Vec<(ReleaseNumber, Weight)>,
    /// The release whose route is in force.
    pub route_of: Option<ReleaseNumber>,
    /// The release that is reachable at its preview address.
    pub preview: Option<ReleaseNumber>,
    /// The release that header routes lead to, and these.
    pub aim: Option<(ReleaseNumber, Vec<HeaderRoute>)>,
    /// By what users are known who keep their release, and what deals them: the same from the first weight to the last.
    pub affinity: Option<(SessionAffinity, String)>,
    /// The epoch of the weights.
    pub epoch: Epoch,
}

impl Lane {
    /// The rollout under way, if any.
    pub fn active(&self) -> Option<&Rollout> {
        self.rollout.as_ref().filter(|rollout| !rollout.phase.is_terminal())
    }

    /// The release that takes all requests; `None` in the middle of a rollout and before the first.
    pub fn settled(&self) -> Option<ReleaseNumber> {
        match self.active() {
            Some(rollout) if rollout.phase == Phase::Promoted => Some(rollout.to),
            Some(_) => None,
            None => self.stable,
        }
    }

    /// The release before the stable one.
    pub fn previous(&self) -> Option<ReleaseNumber> {
        self.history.iter().rev().find(|number| Some(**number) != self.stable).copied()
    }

    /// Every release that must not be forgotten.
    pub fn in_use(&self) -> impl Iterator<Item = ReleaseNumber> {
        let rollout = self.rollout.iter().flat_map(|rollout| [Some(rollout.to), rollout.from]);
        rollout.chain([self.stable, self.previous()]).flatten()
    }

    /// What should run and serve here; `stable_replicas` is the stable release's own number.
    pub fn serving(&self, stable_replicas: u32) -> Serving {
        let (groups, shares, route_of): (Vec<_>, Vec<_>, _) = match self.active() {
            Some(rollout) => {
                let from = rollout.from.map(|from| (from, rollout.wanted_stable, rollout.weight.rest()));
                let all = [from, Some((rollout.to, rollout.wanted_candidate, rollout.weight))];
                let groups =
                    all.iter().flatten().map(|(release, replicas, _)| (*release, *replicas)).collect();
                let shares = all.iter().flatten().map(|(release, _, weight)| (*release, *weight)).collect();
                let new_route = rollout.weight == Weight::ALL || rollout.from.is_none();
                (groups, shares, if new_route { Some(rollout.to) } else { rollout.from })
            }
            None => match self.stable {
                Some(stable) => (vec![(stable, stable_replicas)], vec![(stable, Weight::ALL)], Some(stable)),
                None => (vec![], vec![], None),
            },
        };
        let preview = self.active().filter(|rollout| rollout.previews()).map(|rollout| rollout.to);
        let aim = self.active().filter(|rollout| !rollout.header_routes().is_empty());
        let aim = aim.map(|rollout| (rollout.to, rollout.header_routes().to_vec()));
        let affinity = self.active().and_then(|rollout| {
            let salt = format!("rollout {} of {}", rollout.number, rollout.started_at);
            Some((rollout.session_affinity()?.clone(), salt))
        });
        let aimed_at = aim.as_ref().map(|(release, _)| *release);
        let routed = |release: ReleaseNumber, weight| {
            weight > Weight::NONE || [preview, aimed_at].contains(&Some(release))
        };
        Serving {
            groups: groups.into_iter().filter(|(_, replicas): &(_, u32)| *replicas > 0).collect(),
            shares: shares.into_iter().filter(|(release, weight)| routed(*release, *weight)).collect(),
            route_of,
            preview,
            aim,
            affinity,
            epoch: self.epoch,
        }
    }

    /// A release that took all requests is to blame: the rollout that begins next takes it back.
    pub(crate) fn take_back(&mut self, objective: &ObjectiveName, release: ReleaseNumber, blame: &Blame) {
        let reason = RollbackReason::Burn(format!("{objective}: {}", blame.in_words()));
        self.taken_back = Some((self.last_rollout.next(), reason.clone()));
        self.rejected.insert(release, Rejected { weight: Weight::ALL, reason });
    }

    /// Why the latest rollout takes a release back by itself, if it does.
    pub fn takes_back(&self) -> Option<&RollbackReason> {
        let (number, reason) = self.taken_back.as_ref()?;
        (*number == self.last_rollout).then_some(reason)
    }

    pub(crate) fn apply(&mut self, event: &Event, seq: Generation, at: Timestamp) -> Result<(), Illegal> {
        if matches!(event, Event::Started { .. }) {
            if let Some(active) = self.active() {
                return Err(Illegal(format!(
                    "a rollout starts while rollout {} is under way",
                    active.number
                )));
            }
            self.rollout = Rollout::begin(event, self.epoch, at);
            // The gateway deals users anew from here on, though nothing moves yet.
            if self.active().is_some_and(|rollout| rollout.session_affinity().is_some()) {
                self.changed_at = seq;
            }
            self.went_with = None;
            self.last_rollout = self.rollout.as_ref().map_or(self.last_rollout, |rollout| rollout.number);
            return Ok(());
        }
        let Some(rollout) = &mut self.rollout else {
            return Err(Illegal(format!("{} without a rollout", event.name())));
        };
        let beside = |rollout: &Rollout| (rollout.previews(), rollout.header_routes().len());
        let before = beside(rollout);
        rollout.apply(event, at).map_err(|illegal| Illegal(illegal.to_string()))?;
        self.epoch = rollout.epoch;
        if let Event::RollbackBegun { reason } = event {
            let rejected = Rejected { weight: rollout.weight, reason: reason.clone() };
            self.rejected.insert(rollout.to, rejected);
        }
        // A rollback closes the preview and the header routes before anything else moves.
        if event.changes_wanted_state() || beside(rollout) != before {
            self.changed_at = seq;
        }
        if rollout.phase == Phase::Completed {
            let to = rollout.to;
            self.stable = Some(to);
            if let Some(position) = self.history.iter().position(|number| *number == to) {
                self.left.extend(self.history.drain(position..));
            }
            self.history.push(to);
            self.left.remove(&to);
            self.rejected.remove(&to);
        }
        Ok(())
    }
}

/// The strategy for a first release and for a return: there is nobody to compare with, and every second counts.
pub(crate) fn at_once(declared: &Strategy) -> Strategy {
    Strategy {
        kind: Kind::Canary { steps: vec![], session_affinity: None },
        analysis: Analysis { judge: None, metrics: vec![] },
        bake_time: Duration::ZERO,
        // Whoever goes back must arrive.
        on_failure: OnFailure::Rollback,
        ..declared.clone()
    }
}
