//! When groups are evaluated: each at its interval, at times that are multiples of it, so that a restart changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::{CLOCK_STEP, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Evaluator, Group, GroupHealth};

/// How the groups that are evaluated now were evaluated last.
#[derive(Debug, Default)]
pub struct Told {
    groups: Mutex<BTreeMap<String, GroupHealth>>,
}

impl Told {
    /// By name.
    pub fn groups(&self) -> BTreeMap<String, GroupHealth> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, GroupHealth>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Evaluates all groups, for ever; when they change, the series of those that are not among them any more end. Returns when
/// the sender of the groups is gone.
pub async fn run(
    mut groups: watch::Receiver<Vec<Group>>,
    store: Arc<Store>,
    told: Arc<Told>,
    now: fn() -> i64,
) {
    let mut running: BTreeMap<String, (Group, watch::Sender<()>, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let wanted: Vec<Group> = groups.borrow_and_update().clone();
        let gone: Vec<String> = running
            .iter()
            .filter(|(_, (group, ..))| !wanted.contains(group))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some((_, alive, task)) = running.remove(&name) {
                drop(alive);
                // Its series end before those of another group of this name begin. One that panicked has said so.
                let _ = task.await;
                told.lock().remove(&name);
            }
        }
        for group in wanted {
            running.entry(group.name.clone()).or_insert_with(|| {
                let (alive, ended) = watch::channel(());
                let evaluating = evaluate(group.clone(), store.clone(), told.clone(), ended, now);
                (group, alive, tokio::spawn(evaluating))
            });
        }
        if groups.changed().await.is_err() {
            break;
        }
    }
    for (_, (_, alive, task)) in running {
        drop(alive);
        let _ = task.await;
    }
}

async fn evaluate(
    group: Group,
    store: Arc<Store>,
    told: Arc<Told>,
    mut ended: watch::Receiver<()>,
    now: fn() -> i64,
) {
    let name = group.name.clone();
    let interval = i64::try_from(group.interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut evaluator = Evaluator::new(group);
    told.lock().insert(name.clone(), evaluator.unknown());
    let mut last = i64::MIN;
    let mut troubled = false;
    loop {
        let pause = until_next(now(), interval);
        tokio::select! {
            biased;
            _ = ended.changed() => break,
            () = tokio::time::sleep(pause) => {}
        }
        let at = now().div_euclid(interval) * interval;
        if !is_next(at, last, interval) {
            continue;
        }
        last = at;
        let round = tokio::task::spawn_blocking({
            let store = Arc::clone(&store);
            move || {
                let health = evaluator.round(&store, at);
                (evaluator, health)
            }
        });
        let Ok((back, health)) = round.await else {
            tracing::error!(group = name, "a group of rules broke down and is not evaluated any more");
            return;
        };
        evaluator = back;
        let failed = health.rules.iter().zip(&health.group.rules).find(|(rule, _)| rule.error.is_some());
        if let (Some((rule, which)), false) = (failed, troubled) {
            tracing::warn!(group = name, rule = which.record, why = rule.error, "a rule cannot be evaluated");
        }
        troubled = failed.is_some();
        told.lock().insert(name.clone(), health);
    }
    let now = now();
    evaluator.end(&store, if is_next(now, last, interval) { now } else { last.saturating_add(1) });
}

/// Whether a round is due at a time: not when the sleep was a moment short, but when the clock was set back, which the store
/// knows to deal with.
fn is_next(at: i64, last: i64, interval: i64) -> bool {
    at > last || at < last.saturating_sub(interval.max(CLOCK_STEP))
}

/// Until the next multiple of the interval.
fn until_next(now: i64, interval: i64) -> Duration {
    let left = interval - now.rem_euclid(interval);
    Duration::from_millis(u64::try_from(left).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_stand_on_multiples_of_the_interval() {
        assert_eq!(until_next(1000, 1000), Duration::from_millis(1000));
        assert_eq!(until_next(1001, 1000), Duration::from_millis(999));
        assert_eq!(until_next(-1, 1000), Duration::from_millis(1));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_no_rounds() {
        assert!(is_next(30_000, i64::MIN, 15_000) && is_next(45_000, 30_000, 15_000));
        assert!(!is_next(30_000, 30_000, 15_000) && !is_next(15_000, 30_000, 15_000));
        assert!(is_next(60_000, 3_660_000, 15_000));
    }
}
