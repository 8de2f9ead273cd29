//! Who is asked when: each target at its interval, spread over it so that not all are asked at once, with sample times
//! that stand exactly an interval apart.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use exposition::{Format, Limits};
use promql::Labels;
use store::{CLOCK_STEP, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::intake::Intake;
use crate::told::{Health, Told};

/// Whom to ask, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where; the fetcher understands it.
    pub address: String,
    /// What every series of it carries, `job` and `instance` among them.
    pub labels: Labels,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take; at most the interval.
    pub timeout: Duration,
    /// What a page may hold.
    pub samples: usize,
}

/// A page.
pub struct Fetched {
    /// Its text.
    pub text: String,
    /// In which format.
    pub format: Format,
}

/// How a page is fetched.
pub trait Fetch: Send + Sync + 'static {
    /// The page at an address, or why there is none. The caller sees to the time that it may take.
    fn fetch(&self, address: &str) -> impl Future<Output = Result<Fetched, String>> + Send;
}

/// Asks all targets, for ever; when they change, who is not among them any more ends. Returns when the sender of the targets
/// is gone.
pub async fn run(
    mut targets: watch::Receiver<Vec<Target>>,
    fetch: Arc<impl Fetch>,
    store: Arc<Store>,
    told: Arc<Told>,
    now: fn() -> i64,
) {
    let mut asked: BTreeMap<String, (Target, watch::Sender<()>, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let wanted: Vec<Target> = targets.borrow_and_update().clone();
        let key = |target: &Target| format!("{}\n{}", target.address, target.labels);
        // Letting go of the sender ends its task, which ends its series.
        asked.retain(|known, (target, ..)| {
            let stays = wanted.iter().any(|it| key(it) == *known && it == target);
            if !stays {
                told.forget(target);
            }
            stays
        });
        for target in wanted {
            asked.entry(key(&target)).or_insert_with(|| {
                let (alive, ended) = watch::channel(());
                let asking = ask(target.clone(), fetch.clone(), store.clone(), told.clone(), ended, now);
                (target, alive, tokio::spawn(asking))
            });
        }
        if targets.changed().await.is_err() {
            break;
        }
    }
    for (_, (_, alive, task)) in asked {
        drop(alive);
        // A task that panicked has said so.
        let _ = task.await;
    }
}

async fn ask(
    target: Target,
    fetch: Arc<impl Fetch>,
    store: Arc<Store>,
    told: Arc<Told>,
    mut ended: watch::Receiver<()>,
    now: fn() -> i64,
) {
    let mut intake =
        Intake::new(target.labels.clone(), Limits { samples: target.samples, ..Limits::default() });
    let interval = target.interval.max(Duration::from_millis(100));
    let millis = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
    let mut ticks = tokio::time::interval_at(Instant::now() + spread(&target, interval), interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last: Option<i64> = None;
    let mut troubled = false;
    loop {
        tokio::select! {
            biased;
            _ = ended.changed() => break,
            _ = ticks.tick() => {}
        }
        let began = Instant::now();
        let at = aligned(last, now(), millis);
        let fetched = tokio::time::timeout(target.timeout.min(interval), fetch.fetch(&target.address)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("it took longer than it may".to_owned()));
        let said = match &fetched {
            Ok(page) => Ok((page.text.as_str(), page.format)),
            Err(why) => Err(why.clone()),
        };
        let lasted = began.elapsed();
        let outcome = intake.take(&store, at, said, lasted);
        let up = outcome.failure.is_none();
        let trouble = outcome.failure.or(outcome.refused.1);
        if let (Some(why), false) = (&trouble, troubled) {
            tracing::warn!(address = target.address, labels = %target.labels, why, "metrics cannot be had");
        }
        troubled = trouble.is_some();
        let labels = target.labels.clone();
        let health = Health { labels, at, lasted, interval, up, samples: outcome.samples, trouble };
        told.note(&target, health, intake.families());
        told.exemplars().add(intake.exemplars());
        last = Some(at);
    }
    intake.end(&store, after(last, now()));
}

/// The time of a sample: exactly an interval after the one before when that is nearly so, because differences that
/// are equal take a bit instead of bytes.
fn aligned(last: Option<i64>, now: i64, interval: i64) -> i64 {
    let Some(last) = last else { return now };
    let due = last + interval;
    // As Prometheus: within one part in a hundred.
    if (now - due).abs() <= interval / 100 { due } else { after(Some(last), now) }
}

/// The time of a sample after one before, unless the clock was set back, which the store knows to deal with.
fn after(last: Option<i64>, now: i64) -> i64 {
    match last {
        Some(last) if last <= now.saturating_add(CLOCK_STEP) => now.max(last + 1),
        Some(_) | None => now,
    }
}

/// Where in the interval a target is asked: the same in every run.
fn spread(target: &Target, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    (&target.address, &target.labels).hash(&mut hasher);
    interval.mul_f64(hasher.finish() as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_times_stand_an_interval_apart_but_for_real_gaps() {
        assert_eq!(aligned(None, 1007, 1000), 1007);
        assert_eq!(aligned(Some(1000), 2009, 1000), 2000);
        assert_eq!(aligned(Some(1000), 1991, 1000), 2000);
        assert_eq!(aligned(Some(1000), 2600, 1000), 2600);
        // A moment back: never before the one before.
        assert_eq!(aligned(Some(1000), 400, 1000), 1001);
        // The clock was set back.
        assert_eq!(aligned(Some(100_000), 70_000, 1000), 70_000);
    }
}
