//! Passive health: a replica that fails the requests it gets while others of its release do not, is left out for a while.
//!
//! The words are Envoy's (outlier ejection), and so is the shape: failures *in a row*, a time that grows with each
//! ejection, a share of the replicas that is never left out. Two streaks count. *Lost*: no connection, no answer, or one
//! that broke off. *Errors*: those, and answers of 5xx. A replica is ejected only while another one of its release is
//! without such a streak: what fails everywhere is the release's fault, or that of what all of them need, and leaving
//! replicas out would only take capacity from it. For the same reason at most half of a release's replicas are out at
//! once, so the only one never is, and a request never goes to another release because of an ejection.
//!
//! Does not live here: when one is taken back, which who asks the replica decides ([`crate::Gateway::readmit`]).

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use model::{Place, ReleaseNumber};

use crate::replica::{Replica, lock};

/// When a replica is left out, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// So many requests lost in a row (no connection, or no whole answer) eject a replica. Default 5.
    pub lost: u32,
    /// So many errors in a row (lost, or answered 5xx) eject a replica. Default 10.
    pub errors: u32,
    /// How long the first time; the second twice as long, and so on. Default 10 s.
    pub first: Duration,
    /// The longest time; a replica that was in service for so long starts over with the first. Default 5 min.
    pub longest: Duration,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { lost: 5, errors: 10, first: Duration::from_secs(10), longest: Duration::from_secs(300) }
    }
}

/// A replica that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejected {
    /// Where.
    pub place: Place,
    /// Of which release.
    pub release: ReleaseNumber,
    /// Which one.
    pub ordinal: u32,
    /// Since when.
    pub since: Instant,
    /// From when on it may be taken back, if it answers.
    pub until: Instant,
    /// Which ejection in a row this is; each lasts longer than the one before.
    pub times: u32,
    /// In words.
    pub why: String,
}

/// How a request to a replica ended, as far as that says something about the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Error,
    Lost,
}

/// What is held against one replica.
#[derive(Default)]
pub(crate) struct Repute {
    lost: AtomicU32,
    errors: AtomicU32,
    ejected: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    count: u32,
    current: Option<Spell>,
    last: Option<Instant>,
}

struct Spell {
    since: Instant,
    until: Instant,
    why: String,
}

impl Repute {
    /// Counts; true when a streak is long enough for an ejection.
    pub(crate) fn note(&self, outcome: Outcome, bounds: &Ejection) -> bool {
        match outcome {
            Outcome::Good => {
                // Nearly always there is nothing to reset, and a store would take the line from the other workers.
                for streak in [&self.lost, &self.errors] {
                    if streak.load(Ordering::Relaxed) > 0 {
                        streak.store(0, Ordering::Relaxed);
                    }
                }
                false
            }
            Outcome::Error => {
                self.lost.store(0, Ordering::Relaxed);
                self.errors.fetch_add(1, Ordering::Relaxed) + 1 >= bounds.errors
            }
            Outcome::Lost => {
                let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
                self.lost.fetch_add(1, Ordering::Relaxed) + 1 >= bounds.lost || errors >= bounds.errors
            }
        }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    fn is_well(&self) -> bool {
        !self.is_ejected() && self.errors.load(Ordering::Relaxed) == 0
    }

    fn eject(&self, bounds: &Ejection, now: Instant) {
        let mut times = lock(&self.times);
        if times.last.is_some_and(|last| now.duration_since(last) >= bounds.longest) {
            times.count = 0;
        }
        times.count = times.count.saturating_add(1);
        let time = bounds.first.saturating_mul(times.count).min(bounds.longest);
        let (lost, errors) = (self.lost.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed));
        let why = if lost >= bounds.lost {
            format!("{lost} requests in a row found no connection to it, or no whole answer")
        } else {
            format!("{errors} requests in a row were answered 5xx, or lost")
        };
        times.current = Some(Spell { since: now, until: now + time, why });
        self.ejected.store(true, Ordering::Relaxed);
    }

    /// Takes over what a predecessor held against it.
    pub(crate) fn inherit(&self, ejected: &Ejected) {
        let mut times = lock(&self.times);
        times.count = ejected.times;
        times.current = Some(Spell { since: ejected.since, until: ejected.until, why: ejected.why.clone() });
        self.ejected.store(true, Ordering::Relaxed);
    }

    /// Takes it back, with a clean sheet except for how often it was ejected.
    pub(crate) fn readmit(&self, now: Instant) {
        let mut times = lock(&self.times);
        if times.current.take().is_some() {
            times.last = Some(now);
        }
        self.lost.store(0, Ordering::Relaxed);
        self.errors.store(0, Ordering::Relaxed);
        self.ejected.store(false, Ordering::Relaxed);
    }
}

/// Leaves a replica out, unless too many of its release are already, or no other one is well. True when it did.
pub(crate) fn eject(replica: &Replica, release: &[Arc<Replica>], bounds: &Ejection, now: Instant) -> bool {
    let others = || release.iter().filter(|other| !std::ptr::eq(Arc::as_ptr(other), replica));
    let listed = others().count() < release.len();
    let out = others().filter(|other| other.repute.is_ejected()).count();
    let spares_enough = (out + 1) * 2 <= release.len();
    if !listed
        || replica.repute.is_ejected()
        || !spares_enough
        || !others().any(|other| other.repute.is_well())
    {
        return false;
    }
    replica.repute.eject(bounds, now);
    if let Some(Ejected { place, release, ordinal, times, why, .. }) = told(replica) {
        tracing::warn!(
            event = "breaker.opened", %place, %release, replica = ordinal, times, why, "a replica is left out"
        );
    }
    true
}

/// What is to be told of an ejected replica.
pub(crate) fn told(replica: &Replica) -> Option<Ejected> {
    let times = lock(&replica.repute.times);
    let id = &replica.identity;
    times.current.as_ref().map(|spell| Ejected {
        place: id.place.clone(),
        release: id.release,
        ordinal: id.ordinal,
        since: spell.since,
        until: spell.until,
        times: times.count,
        why: spell.why.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Identity;

    fn replicas(count: u32) -> Vec<Arc<Replica>> {
        let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
        let identity = |ordinal| Identity {
            place: place.clone(),
            release: ReleaseNumber(1),
            ordinal,
            addr: ([127, 0, 0, 1], 1).into(),
        };
        (0..count).map(|ordinal| Arc::new(Replica::new(identity(ordinal), 1))).collect()
    }

    fn fail(replica: &Replica, all: &[Arc<Replica>], outcome: Outcome, times: u32) -> bool {
        let bounds = Ejection::default();
        (0..times)
            .any(|_| replica.repute.note(outcome, &bounds) && eject(replica, all, &bounds, Instant::now()))
    }

    #[test]
    fn only_streaks_eject_and_each_has_its_length() {
        let all = replicas(2);
        for (outcome, enough) in [(Outcome::Lost, 5), (Outcome::Error, 10)] {
            for _ in 0..3 {
                assert!(!fail(&all[0], &all, outcome, enough - 1));
                all[0].repute.note(Outcome::Good, &Ejection::default());
            }
            assert!(fail(&all[0], &all, outcome, enough));
            assert!(told(&all[0]).is_some());
            all[0].repute.readmit(Instant::now());
            assert!(told(&all[0]).is_none());
        }
    }

    #[test]
    fn an_answer_ends_a_streak_of_lost_ones_but_an_error_not_that_of_errors() {
        let all = replicas(2);
        assert!(!fail(&all[0], &all, Outcome::Lost, 4));
        assert!(!fail(&all[0], &all, Outcome::Error, 1));
        assert!(!fail(&all[0], &all, Outcome::Lost, 4));
        assert!(fail(&all[0], &all, Outcome::Lost, 1), "ten errors in a row");
    }

    #[test]
    fn half_of_a_release_stays_whatever_happens() {
        for (count, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
            let all = replicas(count);
            let ejected = all.iter().filter(|replica| fail(replica, &all, Outcome::Lost, 100)).count();
            assert_eq!(ejected, most, "of {count}");
        }
    }

    #[test]
    fn what_fails_everywhere_ejects_nobody() {
        let all = replicas(4);
        let bounds = Ejection::default();
        all.iter().for_each(|replica| assert!(!replica.repute.note(Outcome::Error, &bounds)));
        assert!(!all.iter().any(|replica| fail(replica, &all, Outcome::Error, 100)));
    }

    #[test]
    fn each_ejection_is_longer_up_to_a_bound_and_a_long_service_starts_over() {
        let all = replicas(2);
        let bounds = Ejection::default();
        let mut now = Instant::now();
        let spell = |now| {
            all[0].repute.eject(&bounds, now);
            let ejected = told(&all[0]).unwrap();
            all[0].repute.readmit(ejected.until);
            ejected.until - ejected.since
        };
        for expected in (1..40u32).map(|count| (bounds.first * count).min(bounds.longest)) {
            assert_eq!(spell(now), expected);
            now += expected;
        }
        assert_eq!(spell(now + bounds.longest), bounds.first);
    }
}
