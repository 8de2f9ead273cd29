//! The way back: capacity first, then traffic. A rollback never puts more traffic on the old release than its warm,
//! ready replicas can take.

use model::Weight;
use model::strategy::Kind;

use super::{Next, trouble};
use crate::decide::Command;
use crate::event::RollbackReason;
use crate::observation::Observation;
use crate::rollout::Rollout;

pub(super) fn next(rollout: &Rollout, seen: &Observation, reason: &RollbackReason) -> Next {
    let doing = format!("rolling back ({reason})");
    let full = rollout.stable_replicas;
    let candidate = rollout.wanted_candidate;
    if rollout.wanted_stable < full {
        return Next::act(doing, Command::Move { stable: full, candidate, weight: rollout.weight });
    }
    let scaled = matches!(rollout.strategy.kind, Kind::Rolling { .. });
    if scaled && !seen.in_force {
        // What is seen may be older than the last scaling: a replica that counts as ready may be on its way out.
        return Next::wait(doing, "the agent has not taken the replicas that are wanted", None);
    }
    let weight = bearable(rollout, seen);
    let led = !rollout.header_routes().is_empty();
    if weight != rollout.weight || (led && takes_all(rollout, seen)) {
        return Next::act(doing, Command::Move { stable: full, candidate, weight });
    }
    if weight != Weight::NONE || led {
        let trouble = trouble(&seen.stable);
        let what = format!(
            "{} of {full} replicas of release {} are ready to take the traffic back{trouble}",
            seen.stable.ready,
            rollout.from.unwrap_or_default()
        );
        return Next::wait(doing, what, None);
    }
    if !seen.in_force {
        return Next::wait(doing, "the gateway has not confirmed the new routing table", None);
    }
    Next::act(doing, Command::ConfirmRollback)
}

/// Whether the old release can take all there is, or there is nobody else to.
fn takes_all(rollout: &Rollout, seen: &Observation) -> bool {
    let ready = seen.stable.ready;
    let nobody_else = seen.candidate.ready == 0 && ready > 0;
    rollout.from.is_none() || ready >= rollout.stable_replicas || nobody_else
}

/// The least share that has to stay with the new release: what the old one's ready replicas cannot take yet.
fn bearable(rollout: &Rollout, seen: &Observation) -> Weight {
    if takes_all(rollout, seen) {
        return Weight::NONE;
    }
    Weight::share(seen.stable.ready, rollout.stable_replicas).rest().min(rollout.weight)
}
