//! What rules ask that is known without a question: how the last rollout ended, and what is seen of the fleet.

use std::time::Duration;

use lifecycle::Lane;
use model::alert::Labels;
use model::{Place, ReleaseNumber, Timestamp};
use ports::fleet::Seen;
use ship::{PauseReason, Phase, RollbackReason};

use crate::answer::{Answer, Found};

/// How long it is news that a rollout went back: what serves is in order again.
const NEWS: Duration = Duration::from_secs(1_800);
/// The annotation that says why.
const REASON: &str = "reason";

/// The last rollout, where it failed: it stands still, or it went back a short while ago.
pub(crate) fn failed_rollout(place: &Place, lane: &Lane, at: Timestamp) -> Answer {
    let failed = lane.rollout.as_ref().and_then(|rollout| {
        let why = match &rollout.phase {
            Phase::RollingBack(reason) | Phase::Paused(PauseReason::Frozen(reason)) => reason,
            Phase::RolledBack(reason) if at.since(rollout.phase_since) < NEWS => reason,
            Phase::RolledBack(_)
            | Phase::Paused(_)
            | Phase::Progressing
            | Phase::Promoted
            | Phase::Completed => {
                return None;
            }
        };
        // Who goes back on purpose knows it.
        (*why != RollbackReason::Operator).then(|| found(place, rollout.to, why.to_string()))
    });
    Ok(failed.into_iter().collect())
}

/// The releases whose replicas die again and again. Nobody knows when the fleet does not answer.
pub(crate) fn crash_loops(place: &Place, seen: Option<&Seen>) -> Answer {
    let seen = seen.ok_or_else(|| "the agent does not answer".to_owned())?;
    let here = seen.groups.iter().filter(|group| group.id.place == *place);
    Ok(here.filter_map(|group| Some(found(place, group.id.release, group.crash_loop.clone()?))).collect())
}

fn found(place: &Place, release: ReleaseNumber, why: String) -> Found {
    let mut labels = lifecycle::labels_at(place);
    labels.insert("version".to_owned(), release.to_string());
    Found { labels, value: 1.0, notes: Labels::from([(REASON.to_owned(), why)]) }
}
