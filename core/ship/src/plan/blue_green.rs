//! Blue-green: the new release beside the old one, reachable at its preview address alone, then all requests in one
//! swap. The old release keeps its full size until the new one has proved itself warm.

use std::time::Duration;

use model::strategy::Kind;
use model::{Timestamp, Weight};

use super::canary::reach;
use super::watch::Watched;
use super::{Next, wait_for_ready};
use crate::decide::Command;
use crate::event::PauseReason;
use crate::observation::Observation;
use crate::rollout::Rollout;

/// Who is previewed where, in words; `None` when nobody is before the switch.
pub(super) fn preview(rollout: &Rollout) -> Option<String> {
    match &rollout.strategy.kind {
        Kind::BlueGreen { preview_hosts, .. } if rollout.is_before_the_switch() && rollout.previews() => {
            Some(format!("release {} is previewed at {}", rollout.to, preview_hosts.join(", ")))
        }
        Kind::BlueGreen { .. } | Kind::Canary { .. } | Kind::Rolling { .. } => None,
    }
}

pub(super) fn next(
    rollout: &Rollout,
    seen: &Observation,
    watched: &Watched,
    auto_promotion: Option<Duration>,
    at: Timestamp,
) -> Next {
    if !rollout.is_before_the_switch() {
        let under_way = reach(rollout, seen, Weight::ALL, at);
        return under_way.unwrap_or_else(|| Next::act("100% reached", Command::Conclude));
    }
    let full = rollout.candidate_replicas;
    let size = rollout.preview_size();
    if rollout.wanted_candidate < size {
        let doing = format!("starting {size} of {full} replicas of release {} for its preview", rollout.to);
        let stable = rollout.stable_replicas;
        return Next::act(doing, Command::Move { stable, candidate: size, weight: rollout.weight });
    }
    let doing = preview(rollout).unwrap_or_default();
    let ready = seen.candidate.ready;
    if ready < size && !seen.checks.is_empty() {
        // A check may well shake a replica; it says itself what that means.
        let what = watched.run_waits_for.clone().unwrap_or_else(|| "a check is under way".to_owned());
        return Next::wait(doing, what, None);
    }
    if ready < size || ready > rollout.most_ready {
        // Noted even when it is enough: the preview is held from the moment that it became ready.
        return wait_for_ready(rollout, seen, size, at);
    }
    if !seen.in_force {
        return Next::wait(doing, "the gateway has not confirmed the preview address", None);
    }
    if let Some(what) = &watched.run_waits_for {
        return Next::wait(doing, what, None);
    }
    match auto_promotion {
        None => Next::act(doing, Command::Hold(PauseReason::Step)),
        Some(delay) => {
            let until = rollout.progressed_at.after(delay);
            if at < until {
                return Next::wait(doing, "the preview's time", Some(until));
            }
            Next::act(doing, Command::EnterStep(rollout.last_step()))
        }
    }
}
