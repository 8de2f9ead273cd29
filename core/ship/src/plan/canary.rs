//! A canary: by steps of traffic beside a full-sized old release.

use model::assignment::HeaderRoute;
use model::strategy::{CanaryScale, Step};
use model::{Timestamp, Weight};

use super::proof::wait_for_evidence;
use super::watch::Watched;
use super::{Next, progress_until, wait_for_force, wait_for_ready};
use crate::bake;
use crate::decide::Command;
use crate::event::PauseReason;
use crate::observation::Observation;
use crate::rollout::Rollout;

pub(super) fn next(rollout: &Rollout, seen: &Observation, watched: &Watched, at: Timestamp) -> Next {
    match rollout.current_step() {
        Some(Step::SetWeight(weight)) => reach(rollout, seen, *weight, at)
            .unwrap_or_else(|| go_on(rollout, seen, watched, format!("{weight} reached"), at)),
        Some(Step::Pause { duration: None }) => {
            Next::act("pausing as the strategy says", Command::Hold(PauseReason::Step))
        }
        Some(Step::Pause { duration: Some(duration) }) => {
            timed_pause(rollout, watched, rollout.step_since.after(*duration), at)
        }
        Some(Step::Analysis { .. }) => {
            let doing = format!("analysing release {} at {}", rollout.to, rollout.weight);
            match &watched.run_waits_for {
                None => both_fail(rollout, watched, &doing)
                    .unwrap_or_else(|| go_on(rollout, seen, watched, doing, at)),
                Some(what) => Next::wait(doing, what, None),
            }
        }
        Some(Step::SetCanaryScale(_)) => resize(rollout, seen, at)
            .unwrap_or_else(|| go_on(rollout, seen, watched, "the scale is reached".to_owned(), at)),
        Some(Step::SetHeaderRoute(route)) => lead(rollout, seen, route, at)
            .unwrap_or_else(|| go_on(rollout, seen, watched, "the header route is in force".to_owned(), at)),
        None => reach(rollout, seen, Weight::ALL, at)
            .unwrap_or_else(|| Next::act("100% reached", Command::Conclude)),
    }
}

/// Leaves a step that is done. What gives the new release more of the requests waits for evidence, where that is declared.
fn go_on(rollout: &Rollout, seen: &Observation, watched: &Watched, doing: String, at: Timestamp) -> Next {
    match rollout.proof().filter(|_| rollout.asks_for_evidence()) {
        Some(proof) => wait_for_evidence(rollout, watched, proof, doing, progress_until(rollout, seen), at),
        None => Next::act(doing, Command::EnterStep(rollout.step + 1)),
    }
}

/// Gives the new release as many replicas as the step says, or as its traffic needs if that is more; `None` when it has
/// them.
fn resize(rollout: &Rollout, seen: &Observation, at: Timestamp) -> Option<Next> {
    let needed = replicas(rollout, rollout.weight);
    let full = rollout.candidate_replicas;
    if rollout.wanted_candidate != needed {
        let raised = match scale(rollout) {
            Some(asked) if asked < needed => {
                format!(" (the step asks for {asked}, {} of the requests need more)", rollout.weight)
            }
            Some(_) | None => String::new(),
        };
        let doing = format!("scaling release {} to {needed} of {full} replicas{raised}", rollout.to);
        let stable = rollout.stable_replicas;
        return Some(Next::act(doing, Command::Move { stable, candidate: needed, weight: rollout.weight }));
    }
    if seen.candidate.ready < needed {
        return Some(wait_for_ready(rollout, seen, needed, at));
    }
    let doing = format!("scaling release {} to {needed} of {full} replicas", rollout.to);
    (!seen.in_force).then(|| Next::wait(doing, "the agent has not taken the replicas that are wanted", None))
}

/// Leads requests by their headers once a replica is ready for them; `None` when the gateway confirmed it.
fn lead(rollout: &Rollout, seen: &Observation, route: &HeaderRoute, at: Timestamp) -> Option<Next> {
    if !rollout.leads(route) {
        let needed = replicas(rollout, rollout.weight).max(rollout.wanted_candidate);
        if rollout.wanted_candidate < needed {
            let full = rollout.candidate_replicas;
            let doing = format!("scaling release {} to {needed} of {full} replicas", rollout.to);
            let stable = rollout.stable_replicas;
            let (candidate, weight) = (needed, rollout.weight);
            return Some(Next::act(doing, Command::Move { stable, candidate, weight }));
        }
        if seen.candidate.ready < needed && !route.matches.is_empty() {
            return Some(wait_for_ready(rollout, seen, needed, at));
        }
        let verb = if route.matches.is_empty() { "removing" } else { "setting" };
        let doing = format!("{verb} header route {}", route.name);
        return Some(Next::act(doing, Command::LeadByHeader(route.clone())));
    }
    let doing = format!("setting header route {}", route.name);
    (!seen.in_force).then(|| Next::wait(doing, "the gateway has not confirmed the new routing table", None))
}

/// How many replicas the new release has to have before it gets `weight`: those that the share needs, those that the
/// present one needs, and at least as many as the last scale says.
fn replicas(rollout: &Rollout, weight: Weight) -> u32 {
    let full = rollout.candidate_replicas;
    let traffic = weight.of_replicas(full).max(rollout.weight.of_replicas(full));
    traffic.max(scale(rollout).unwrap_or_default()).max(1)
}

/// What the last scale up to this step asks for; `None` without one, when it follows the traffic, and at the end.
fn scale(rollout: &Rollout) -> Option<u32> {
    rollout.current_step()?;
    let passed = rollout.steps().iter().take(rollout.step as usize + 1).rev();
    let scale = passed.filter_map(|step| match step {
        Step::SetCanaryScale(scale) => Some(*scale),
        Step::SetWeight(_) | Step::Pause { .. } | Step::Analysis { .. } | Step::SetHeaderRoute(_) => None,
    });
    match scale.into_iter().next()? {
        CanaryScale::Replicas(replicas) => Some(replicas),
        CanaryScale::Weight(share) => Some(share.of_replicas(rollout.candidate_replicas)),
        CanaryScale::MatchTrafficWeight => None,
    }
}

/// Scales up first, then shifts traffic when the replicas are ready; `None` when the gateway confirmed it.
pub(super) fn reach(rollout: &Rollout, seen: &Observation, weight: Weight, at: Timestamp) -> Option<Next> {
    let full = rollout.candidate_replicas;
    // The old release is kept at full size: nothing may have taken its capacity when the traffic comes back.
    let needed = replicas(rollout, weight);
    let stable = rollout.stable_replicas;
    if rollout.wanted_candidate < needed {
        let doing = format!("scaling release {} to {needed} of {full} replicas", rollout.to);
        let more = Command::Move { stable, candidate: needed, weight: rollout.weight };
        return Some(Next::act(doing, more));
    }
    if rollout.weight != weight {
        if seen.candidate.ready < needed {
            return Some(wait_for_ready(rollout, seen, needed, at));
        }
        let doing = format!("shifting traffic to {weight}");
        return Some(Next::act(doing, Command::Move { stable, candidate: rollout.wanted_candidate, weight }));
    }
    (!seen.in_force).then(|| wait_for_force(rollout))
}

fn timed_pause(rollout: &Rollout, watched: &Watched, until: Timestamp, at: Timestamp) -> Next {
    let go_on = Command::EnterStep(rollout.step + 1);
    let doing = format!("watching release {} at {}", rollout.to, rollout.weight);
    // Before the first weight there is nothing to judge.
    let is_judged = rollout.strategy.analysis.judge.is_some() && rollout.weight > Weight::NONE;
    if let Some(proof) = rollout.proof().filter(|_| is_judged) {
        return wait_for_evidence(rollout, watched, proof, doing, until, at);
    }
    if at < until {
        return Next::wait(doing, "the step's time", Some(until));
    }
    if is_judged && watched.at_this_weight.requests == 0 {
        let why =
            format!("no request reached release {} at {}; no data is no success", rollout.to, rollout.weight);
        return Next::act(doing, Command::Hold(PauseReason::Inconclusive(why)));
    }
    let both = both_fail(rollout, watched, &doing).filter(|_| is_judged);
    both.unwrap_or_else(|| Next::act(doing, go_on))
}

/// To fail no more often than the old release fails at the same time blames nobody, and proves nothing: whether the new one can
/// take all requests is not known before the incident is over.
fn both_fail(rollout: &Rollout, watched: &Watched, doing: &str) -> Option<Next> {
    let judge = rollout.strategy.analysis.judge.as_ref();
    // Errors of one user come together: no count of requests is sure where users keep their release.
    let judge = judge.filter(|_| !rollout.overruled && rollout.session_affinity().is_none())?;
    let allowed = bake::allowed_errors(rollout.baseline.as_ref()?, judge)?;
    let counts = watched.at_this_weight;
    bake::surely_above(counts, allowed).then(|| {
        Next::act(
            doing,
            Command::Hold(PauseReason::Inconclusive(format!(
                "{} of {} requests to release {} failed at {}, far more than before ({:.1}% is allowed), but no more often than \
                 those to the old release: an incident of both proves nothing",
                counts.errors,
                counts.requests,
                rollout.to,
                rollout.weight,
                allowed * 100.0
            ))),
        )
    })
}
