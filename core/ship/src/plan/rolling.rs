//! A rolling update: replica by replica, within `maxSurge` and `maxUnavailable`; traffic follows the ready replicas, and by
//! evidence each further wave waits for it.

use model::strategy::{Amount, Bounds};
use model::{Timestamp, Weight};

use super::proof::wait_for_evidence;
use super::watch::Watched;
use super::{Next, progress_until, wait_for_force, wait_for_ready};
use crate::decide::Command;
use crate::observation::Observation;
use crate::rollout::Rollout;

pub(super) fn next(
    rollout: &Rollout,
    seen: &Observation,
    watched: &Watched,
    (max_surge, max_unavailable): (Amount, Amount),
    at: Timestamp,
) -> Next {
    let full = rollout.candidate_replicas;
    let ready = seen.candidate.ready.min(rollout.wanted_candidate);
    let Bounds { most, least_ready } = Bounds::of(full, max_surge, max_unavailable);
    // By evidence, whoever is ready beyond the first waits for what is found of that one.
    let first = rollout.weight == Weight::NONE && rollout.proof().is_some();
    let serving = if first { ready.min(1) } else { ready };
    // Whatever maxUnavailable allows, one old replica serves until a new one can, unless both never fit.
    let keep = least_ready.saturating_sub(serving).max(u32::from(serving == 0 && most > 1));
    let stable = rollout.wanted_stable.min(keep);
    let room = most.saturating_sub(stable);
    let candidate = rollout.wanted_candidate.max(room.min(full));
    let weight = share(serving, stable).max(rollout.weight);

    if ready > rollout.most_ready {
        return Next::act("replicas are becoming ready", Command::NoteReady(ready));
    }
    if (stable, candidate, weight) != (rollout.wanted_stable, rollout.wanted_candidate, rollout.weight) {
        if let Some(proof) =
            rollout.proof().filter(|_| weight > rollout.weight && rollout.asks_for_evidence())
        {
            let doing = format!("watching release {} at {}", rollout.to, rollout.weight);
            return wait_for_evidence(rollout, watched, proof, doing, progress_until(rollout, seen), at);
        }
        let doing = format!("moving to {candidate} new and {stable} old replicas, {weight} of the requests");
        return Next::act(doing, Command::Move { stable, candidate, weight });
    }
    if ready < full {
        return wait_for_ready(rollout, seen, full, at);
    }
    if !seen.in_force {
        return wait_for_force(rollout);
    }
    Next::act("all replicas are new", Command::Conclude)
}

/// The new release's share when `ready` new and `stable` old replicas serve; all when no old one is left.
fn share(ready: u32, stable: u32) -> Weight {
    Weight::share(ready, ready.saturating_add(stable))
}
