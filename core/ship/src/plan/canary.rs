//! A canary: by steps of traffic beside a full-sized old release.

use model::strategy::{Promotion, Step};
use model::{Timestamp, Weight};

use super::watch::Watched;
use super::{Next, wait_for_force, wait_for_ready};
use crate::decide::Command;
use crate::event::PauseReason;
use crate::observation::Observation;
use crate::rollout::Rollout;

pub(super) fn next(rollout: &Rollout, seen: &Observation, watched: &Watched, at: Timestamp) -> Next {
    match rollout.current_step() {
        Some(Step::SetWeight(weight)) => {
            reach(rollout, seen, *weight, at, Command::EnterStep(rollout.step + 1))
        }
        Some(Step::Pause { duration: None }) => {
            Next::act("pausing as the strategy says", Command::Hold(PauseReason::Step))
        }
        Some(Step::Pause { duration: Some(duration) }) => {
            timed_pause(rollout, watched, rollout.step_since.after(*duration), at)
        }
        Some(Step::Analysis { .. }) => {
            let doing = format!("analysing release {} at {}", rollout.to, rollout.weight);
            match &watched.run_waits_for {
                None => Next::act(doing, Command::EnterStep(rollout.step + 1)),
                Some(what) => Next::wait(doing, what, None),
            }
        }
        None => reach(rollout, seen, Weight::ALL, at, Command::Conclude),
    }
}

/// Scales up first, shifts traffic when the replicas are ready, and goes on when the gateway confirmed.
pub(super) fn reach(
    rollout: &Rollout,
    seen: &Observation,
    weight: Weight,
    at: Timestamp,
    then: Command,
) -> Next {
    let full = rollout.candidate_replicas;
    // The old release is kept at full size: nothing may have taken its capacity when the traffic comes back.
    let needed = weight.of_replicas(full).max(1).max(rollout.weight.of_replicas(full));
    let stable = rollout.stable_replicas;
    if rollout.wanted_candidate < needed {
        let doing = format!("scaling release {} to {needed} of {full} replicas", rollout.to);
        return Next::act(doing, Command::Move { stable, candidate: needed, weight: rollout.weight });
    }
    if rollout.weight != weight {
        if seen.candidate.ready < needed {
            return wait_for_ready(rollout, seen, needed, at);
        }
        let doing = format!("shifting traffic to {weight}");
        return Next::act(doing, Command::Move { stable, candidate: rollout.wanted_candidate, weight });
    }
    if !seen.in_force {
        return wait_for_force(rollout);
    }
    Next::act(format!("{weight} reached"), then)
}

fn timed_pause(rollout: &Rollout, watched: &Watched, until: Timestamp, at: Timestamp) -> Next {
    let go_on = Command::EnterStep(rollout.step + 1);
    let doing = format!("watching release {} at {}", rollout.to, rollout.weight);
    // Before the first weight there is nothing to judge.
    let judge = rollout.strategy.analysis.judge.as_ref().filter(|_| rollout.weight > Weight::NONE);
    let Some(judge) = judge else {
        if at >= until {
            return Next::act(doing, go_on);
        }
        return Next::wait(doing, "the step's time", Some(until));
    };
    match judge.promotion {
        Promotion::Evidence { .. } if watched.promotable => Next::act("the evidence is in", go_on),
        Promotion::Evidence { max_error_rate, .. } if at >= until => Next::act(
            doing,
            Command::Hold(PauseReason::Inconclusive(format!(
                "{} requests at {} are not enough evidence for an error rate below {}%",
                watched.at_this_weight.requests,
                rollout.weight,
                max_error_rate * 100.0
            ))),
        ),
        Promotion::Evidence { .. } => Next::wait(doing, "evidence for the release", Some(until)),
        Promotion::Time if at >= until && watched.at_this_weight.requests == 0 => Next::act(
            doing,
            Command::Hold(PauseReason::Inconclusive(format!(
                "no request reached release {} at {}; no data is no success",
                rollout.to, rollout.weight
            ))),
        ),
        Promotion::Time if at >= until => Next::act(doing, go_on),
        Promotion::Time => Next::wait(doing, "the step's time", Some(until)),
    }
}
