//! Waiting for evidence for the new release, where going on asks for it (`crate::proof`). Without it by the progress deadline the
//! rollout is inconclusive: it stands still, it does not go back.

use model::Timestamp;
use model::strategy::Promotion;

use super::watch::Watched;
use super::{Next, progress_until};
use crate::decide::Command;
use crate::event::PauseReason;
use crate::observation::Observation;
use crate::proof::Proof;
use crate::rollout::Rollout;

/// Goes on once there is evidence; stands still without it at `until`.
pub(super) fn wait_for_evidence(
    rollout: &Rollout,
    watched: &Watched,
    proof: Proof,
    doing: String,
    until: Timestamp,
    at: Timestamp,
) -> Next {
    if watched.promotable {
        return Next::act("the evidence is in", Command::EnterStep(rollout.step + 1));
    }
    if at >= until {
        let why = lacking(rollout, watched, proof);
        return Next::act(doing, Command::Hold(PauseReason::Inconclusive(why)));
    }
    Next::wait(doing, evidence_so_far(watched, proof), Some(until))
}

/// Keeps the old release, after all requests moved in one swap, until there is evidence for the new one; `None` when there
/// is, or when it is not asked for.
pub(super) fn keep_for_evidence(
    rollout: &Rollout,
    seen: &Observation,
    watched: &Watched,
    doing: &str,
    at: Timestamp,
) -> Option<Next> {
    let proof = rollout.proof().filter(|_| rollout.is_kept_for_evidence() && !watched.promotable)?;
    let from = rollout.from?;
    let until = progress_until(rollout, seen);
    if at < until {
        let what = format!("{}; release {from} stays warm until then", evidence_so_far(watched, proof));
        return Some(Next::wait(doing, what, Some(until)));
    }
    let why = lacking(rollout, watched, proof);
    let what = format!(
        "inconclusive: {why}; release {from} stays warm until there is enough, `shipshape promote` accepts it or \
         `shipshape rollback` goes back"
    );
    let inconclusive = Some(why);
    Some(Next { inconclusive, ..Next::wait(doing, what, None) })
}

/// What is there and what is needed, in words.
fn evidence_so_far(watched: &Watched, proof: Proof) -> String {
    let Proof { max_error_rate, beta } = proof;
    let least = Promotion::Evidence { max_error_rate, beta }.least_needed();
    let counts = watched.in_favour;
    format!(
        "evidence for the release: {} {} and {} errors so far, at least {least} without any are needed",
        counts.requests, watched.unit, counts.errors
    )
}

fn lacking(rollout: &Rollout, watched: &Watched, proof: Proof) -> String {
    let counts = watched.in_favour;
    let errors = if counts.errors > 0 { format!(" with {} errors", counts.errors) } else { String::new() };
    format!(
        "{} {} at {}{errors} are not enough evidence for an error rate below {}%",
        counts.requests,
        watched.unit,
        rollout.weight,
        proof.max_error_rate * 100.0
    )
}
