//! When objectives and rules of alerts are looked at: every few seconds, and soon after a rollout begins or ends. Does not
//! live here: the looks.

use std::sync::Arc;
use std::time::Duration;

use model::Place;
use runtime::Snapshot;
use tokio::sync::watch;

/// How often is looked: the gateway is asked more often, other pages as often.
const LOOKS: Duration = Duration::from_secs(15);
/// How soon after a rollout begins or ends is looked, too: a short one is over before the next look.
const SOON: Duration = Duration::from_secs(2);

/// Which rollouts there are, and whether they have ended.
pub(crate) type Rollouts = Vec<(Place, u64, bool)>;

/// Waits until the next look is due; `false` when control has ended.
pub(crate) async fn next(snapshots: &mut watch::Receiver<Arc<Snapshot>>, before: &Rollouts) -> bool {
    let due = tokio::time::Instant::now() + LOOKS;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => return true,
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return false;
                }
                if rollouts(&snapshots.borrow_and_update()) != *before {
                    tokio::time::sleep(SOON).await;
                    return true;
                }
            }
        }
    }
}

/// What begins and ends.
pub(crate) fn rollouts(snapshot: &Snapshot) -> Rollouts {
    let of = |(place, lane): (&Place, &lifecycle::Lane)| {
        let rollout = lane.rollout.as_ref()?;
        Some((place.clone(), rollout.number.0, rollout.phase.is_terminal()))
    };
    snapshot.world.lanes.iter().filter_map(of).collect()
}

/// Says once that looking fails, and once that it does no more.
pub(crate) fn told(troubled: &mut bool, failed: Option<&str>, what: &str) {
    match (failed, *troubled) {
        (Some(error), false) => tracing::error!(error, what, "not looked at; it is tried again"),
        (None, true) => tracing::info!(what, "looked at again"),
        (Some(_), true) | (None, false) => {}
    }
    *troubled = failed.is_some();
}
