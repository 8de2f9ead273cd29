//! What an event of a rollout may rest on: the promises, one by one, told apart from the code that keeps them.

use lifecycle::Event;
use model::assignment::HeaderRoute;
use model::check::Verdict;
use model::strategy::{Kind, Promotion};
use model::{Place, Weight};
use ports::fleet::GroupId;
use record::Record;
use ship::{PauseReason, Phase, RollbackReason, Rollout};

use super::{Referee, Sighting, is_timed_pause, metrics};
use sim::Machine;

/// Who acts when nobody in particular does.
pub(super) const PLANNER: &str = "shipshape";
/// As long as a ready replica may not count, with the time that control needs to notice.
const PROBATION: std::time::Duration = std::time::Duration::from_secs(4);

/// How many of a rollout's two releases somebody was told to be ready.
struct Told<'a> {
    place: &'a Place,
    rollout: &'a Rollout,
    sighting: &'a Sighting,
}

impl Told<'_> {
    fn ready(&self, release: model::ReleaseNumber) -> u32 {
        let id = GroupId { place: self.place.clone(), release };
        self.sighting.ready.get(&id).copied().unwrap_or_default()
    }

    fn candidate(&self) -> u32 {
        self.ready(self.rollout.to)
    }

    fn stable(&self) -> u32 {
        self.rollout.from.map_or(0, |from| self.ready(from))
    }
}

impl Referee {
    pub(super) fn check(&mut self, record: &Record, event: &Event, machine: &Machine) {
        if let Event::ReleaseRegistered(release) = event
            && self.world.release(&release.service, release.number).is_some()
        {
            self.breaks(format!("release {} is registered twice", release.number));
        }
        let Event::Rollout { place, event } = event else { return };
        let Some(rollout) = self.world.lanes.get(place).and_then(|lane| lane.active()).cloned() else {
            return;
        };
        let by_planner = record.actor == PLANNER;
        if by_planner && moves(event) && !self.in_mind.iter().any(|it| it.reachable) {
            self.breaks(format!("{} at {place} while the agent is away", event.name()));
        }
        match event {
            ship::Event::Shifted { weight, .. } => {
                self.shift(place, &rollout, *weight);
                if *weight > rollout.weight && rollout.weight > Weight::NONE {
                    self.shown(place, &rollout, machine, &format!("shifts to {weight}"));
                }
            }
            ship::Event::HeaderRouted { route, .. } => self.lead(place, &rollout, route),
            ship::Event::StepEntered { .. } if by_planner => {
                self.is_answered(place, &rollout);
                self.step(place, &rollout);
            }
            ship::Event::StepEntered { step } | ship::Event::Resumed { step } if !by_planner => {
                self.evidence.answered_for(place, &rollout, *step);
            }
            ship::Event::RollbackBegun { reason } if by_planner => {
                self.rollback(place, &rollout, reason, machine);
            }
            ship::Event::Paused { reason: PauseReason::Frozen(reason) } if by_planner => {
                self.rollback(place, &rollout, reason, machine);
            }
            ship::Event::Promoted | ship::Event::Completed | ship::Event::RolledBack => {
                let lets_go = by_planner && *event == ship::Event::Completed;
                if lets_go && matches!(rollout.strategy.kind, Kind::BlueGreen { .. }) {
                    self.shown(place, &rollout, machine, "lets the old release go");
                }
                self.confirmed(place, &rollout, event, machine);
            }
            ship::Event::Scaled { candidate: 1.., .. } if !self.may_be_used(place, &rollout) => {
                self.breaks(format!("{place} starts a release before its hooks"));
            }
            ship::Event::Started { .. }
            | ship::Event::Scaled { .. }
            | ship::Event::Readied { .. }
            | ship::Event::StepEntered { .. }
            | ship::Event::BaselineFrozen(_)
            | ship::Event::ClockStepped { .. }
            | ship::Event::Measured { .. }
            | ship::Event::RuleMeasured(_)
            | ship::Event::HookBegun { .. }
            | ship::Event::HookEnded { .. }
            | ship::Event::Paused { .. }
            | ship::Event::Resumed { .. }
            | ship::Event::RollbackBegun { .. } => {}
        }
    }

    fn told_any(&self, place: &Place, rollout: &Rollout, holds: impl Fn(&Told<'_>) -> bool) -> bool {
        self.in_mind.iter().any(|sighting| holds(&Told { place, rollout, sighting }))
    }

    /// Capacity before traffic, forward and back.
    fn shift(&mut self, place: &Place, rollout: &Rollout, weight: Weight) {
        if weight > rollout.weight {
            let needed = match rollout.strategy.kind {
                Kind::Canary { .. } | Kind::BlueGreen { .. } => {
                    weight.of_replicas(rollout.candidate_replicas).max(1)
                }
                // Where one replica is all that ever fits, there is a time without, as declared.
                Kind::Rolling { max_surge, .. } => {
                    let full = rollout.candidate_replicas;
                    u32::from(full + max_surge.rounded_up(full) > 1)
                }
            };
            if rollout.phase != Phase::Progressing {
                self.breaks(format!("{place} shifts forward while it is {}", rollout.phase.name()));
            }
            if !self.told_any(place, rollout, |it| it.candidate() >= needed) {
                self.breaks(format!("{place} shifts to {weight} without {needed} ready replicas"));
            }
        } else if rollout.from.is_some() && (weight < rollout.weight || !rollout.header_routes().is_empty()) {
            let needed = weight.rest().of_replicas(rollout.stable_replicas);
            if !matches!(rollout.phase, Phase::RollingBack(_)) {
                self.breaks(format!("{place} shifts back while it is {}", rollout.phase.name()));
            }
            let bears = |it: &Told<'_>| it.stable() >= needed || (it.candidate() == 0 && it.stable() > 0);
            if !self.told_any(place, rollout, bears) {
                self.breaks(format!("{place} shifts back to {weight} without {needed} warm replicas"));
            }
        }
    }

    /// Whoever is led by a header finds a replica.
    fn lead(&mut self, place: &Place, rollout: &Rollout, route: &HeaderRoute) {
        if rollout.phase != Phase::Progressing {
            self.breaks(format!("{place} leads by a header while it is {}", rollout.phase.name()));
        }
        if !route.matches.is_empty() && !self.told_any(place, rollout, |it| it.candidate() > 0) {
            self.breaks(format!("{place} leads by header route {} to nobody", route.name));
        }
    }

    /// What the smoke test of a preview finds, when it has one, and whether it was ever run.
    fn smoke(&self, rollout: &Rollout) -> Option<(Verdict, bool)> {
        let Kind::BlueGreen { pre_promotion, .. } = &rollout.strategy.kind else { return None };
        let check = pre_promotion.first()?.source.check()?;
        let name = sim::checks::name(&check);
        let (takes, verdict) = self.checks.finding(&name)?;
        let verdict = if takes > check.timeout() { Verdict::Failed } else { verdict };
        Some((verdict, !self.checks.begun(&name).is_empty()))
    }

    /// No data is no success, and what fails its smoke test is switched to by nobody but an operator.
    fn step(&mut self, place: &Place, rollout: &Rollout) {
        if let Some(smoke) = self.smoke(rollout).filter(|smoke| *smoke != (Verdict::Passed, true)) {
            self.breaks(format!("{place} switches to a release whose smoke test is {smoke:?}"));
        }
        let Some(judge) = rollout.strategy.analysis.judge.as_ref() else { return };
        if !is_timed_pause(rollout.current_step()) || rollout.weight == Weight::NONE {
            return;
        }
        let key = (place.clone(), rollout.epoch, rollout.to);
        let counted: u64 = self.counted.get(&key).map_or(0, |lives| lives.values().sum());
        let needed = match judge.promotion {
            Promotion::Time => 1,
            Promotion::Evidence { .. } if rollout.overruled => 1,
            // Not even faultless requests are evidence earlier.
            Promotion::Evidence { max_error_rate, beta } => {
                ((1.0 / beta).ln() / -(1.0 - max_error_rate).ln()).ceil() as u64
            }
        };
        if counted < needed {
            self.breaks(format!("{place} leaves step {} on {counted} of {needed} requests", rollout.step));
        }
    }

    /// Without evidence, or somebody who answers for it, nothing widens.
    fn shown(&mut self, place: &Place, rollout: &Rollout, machine: &Machine, does: &str) {
        // In a group, somebody may have answered for it long before.
        let in_group = self.world.lanes.get(place).is_some_and(|lane| lane.went_with.is_some());
        let lets_go = rollout.weight == Weight::ALL && in_group;
        // What an agent that is gone had counted may be known to nobody.
        if lets_go || machine.instance() != "agent-1" {
            return;
        }
        if let Some(lacks) = self.evidence.lacks(place, rollout) {
            self.breaks(format!("{place} {does} without evidence: {lacks}"));
        }
    }

    /// Nobody goes back on silence or hearsay.
    fn rollback(&mut self, place: &Place, rollout: &Rollout, reason: &RollbackReason, machine: &Machine) {
        let errors = machine.errors(place, rollout.to);
        let restarted = machine.instance() != "agent-1";
        let id = GroupId { place: place.clone(), release: rollout.to };
        let fair = match reason {
            RollbackReason::Rule(why) if metrics::asks(why) => self.said_no(rollout),
            RollbackReason::Judge(_) | RollbackReason::Rule(_) => {
                let behaviour = machine.behaviour(&id);
                let slow = behaviour.slow_rate > 0.0 || behaviour.stalls > 0.0;
                let failed = self.smoke(rollout).is_some_and(|(verdict, _)| verdict == Verdict::Failed);
                errors > 0 || slow || restarted || failed
            }
            RollbackReason::CrashLoop(_) => {
                self.told_any(place, rollout, |it| it.sighting.crash_loops.contains(&id))
            }
            RollbackReason::ProgressDeadline(_) => {
                // A replica that has just become ready has not proved itself yet.
                let just_now = self.grown.get(&id).is_some_and(|at| self.now < *at + PROBATION);
                let lacks =
                    |it: &Told<'_>| it.sighting.reachable && it.candidate() < rollout.wanted_candidate.max(1);
                just_now || self.told_any(place, rollout, lacks)
            }
            RollbackReason::Hook(_) => self.hook_fails(place, rollout),
            // The rule is that of the member that it follows.
            RollbackReason::Group(_) => true,
            // Whether it is to blame is told by its page (`blame`).
            RollbackReason::Burn(_) => true,
            RollbackReason::Operator => false,
        };
        if !fair {
            self.breaks(format!("{place} goes back on nothing: {reason}"));
        }
    }

    /// What is said to be so is in force at the gateway.
    fn confirmed(&mut self, place: &Place, rollout: &Rollout, event: &ship::Event, machine: &Machine) {
        let split = machine.wanted.splits.iter().find(|split| split.place == *place);
        let share = split.and_then(|split| split.shares.iter().find(|it| it.release == rollout.to));
        let weight = share.map_or(Weight::NONE, |share| share.weight);
        let expected = if *event == ship::Event::RolledBack { Weight::NONE } else { Weight::ALL };
        if weight != expected {
            self.breaks(format!("{} at {place} while the gateway gives it {weight}", event.name()));
        }
    }
}

/// Whether an event changes what users get.
fn moves(event: &ship::Event) -> bool {
    matches!(
        event,
        ship::Event::Scaled { .. }
            | ship::Event::Shifted { .. }
            | ship::Event::HeaderRouted { .. }
            | ship::Event::StepEntered { .. }
            | ship::Event::Promoted
            | ship::Event::RolledBack
    )
}
