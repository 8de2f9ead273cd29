//! When objectives and rules of alerts are looked at: every few seconds, and soon after a rollout begins or ends; and what is said
//! when a look, or asking for metrics, takes longer than until the next. Does not live here: the looks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use collector::Collector;
use model::Place;
use runtime::Snapshot;
use tokio::sync::watch;

/// How often is looked: the gateway is asked more often, other pages as often.
const LOOKS: Duration = Duration::from_secs(15);
/// How soon after a rollout begins or ends is looked, too: a short one is over before the next look.
const SOON: Duration = Duration::from_secs(2);

/// The least time between two lines about rounds of the same kind that took too long.
const SAY_AGAIN: Duration = Duration::from_secs(60);

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

/// Says of one kind of rounds when one took longer than until the next, once a minute at most.
#[derive(Default)]
pub(crate) struct Slow(Option<Instant>);

impl Slow {
    /// A look has ended.
    pub(crate) fn looked(&mut self, what: &str, begun: Instant) {
        self.lasted(what, None, begun.elapsed(), LOOKS);
    }

    fn lasted(&mut self, what: &str, of: Option<&str>, lasted: Duration, every: Duration) {
        if self.may_say(lasted, every, Instant::now()) {
            let (ms, every_ms) = (millis(lasted), millis(every));
            tracing::warn!(
                event = "round.slow",
                what,
                of,
                ms,
                every_ms,
                "a round took longer than until the next"
            );
        }
    }

    fn may_say(&mut self, lasted: Duration, every: Duration, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|said| now.duration_since(said) >= SAY_AGAIN);
        let may = lasted > every && is_due;
        if may {
            self.0 = Some(now);
        }
        may
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Looks how long it took to ask each target, and to evaluate each group of recording rules. Never returns.
pub(crate) async fn collecting(collector: &Collector) -> Infallible {
    let mut ticks = tokio::time::interval(LOOKS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut targets, mut groups) = (Slow::default(), Slow::default());
    loop {
        let _ = ticks.tick().await;
        // One line for all of them: the worst.
        let health = collector.told().health();
        let over = |lasted: Duration, every: Duration| lasted.saturating_sub(every);
        if let Some((address, it)) = health.iter().max_by_key(|(_, it)| over(it.lasted, it.interval)) {
            targets.lasted("collection", Some(address), it.lasted, it.interval);
        }
        let ruled = collector.ruled().groups();
        if let Some((name, it)) = ruled.iter().max_by_key(|(_, it)| over(it.lasted, it.group.interval)) {
            groups.lasted("rules", Some(name), it.lasted, it.group.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_took_too_long_is_said_once_a_minute() {
        let (mut slow, start) = (Slow::default(), Instant::now());
        let mut at = |second, lasted| {
            let [lasted, every, since] = [lasted, 15, second].map(Duration::from_secs);
            slow.may_say(lasted, every, start + since)
        };
        assert!(!at(0, 15), "just in time");
        assert!(at(1, 16));
        assert!(!at(60, 16));
        assert!(at(61, 16));
    }
}
