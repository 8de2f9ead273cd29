//! What a finished run says. Latencies count from when a request was due, so a stalled target cannot hide behind
//! the requests that were not sent meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::ledger::{Entry, Ledger, Outcome, ReleaseCounts};

/// How many lost requests are told one by one.
const MAX_EXAMPLES: usize = 20;

/// A finished run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The random part of the run's sequence numbers.
    pub run: String,
    /// Sequence numbers that were due and given out: `answered + lost`.
    pub sent: u64,
    /// Those that a service answered, whatever the status.
    pub answered: u64,
    /// Those that got no response that a service produced.
    pub lost: u64,
    /// The first of the lost.
    pub lost_examples: Vec<Lost>,
    /// Answers by release, errors (5xx) among them.
    pub releases: BTreeMap<String, ReleaseCounts>,
    /// From due to end. Over what was answered, and what was given up on waiting (there the time waited, a lower
    /// bound); not over refused or broken connections, whose quick failures would flatter.
    pub latency: Quantiles,
    /// From written to end, over the same requests.
    pub service: Quantiles,
    /// How late the dispatcher queued requests. Where this is large, the run says little about the target.
    pub dispatch_lag: Quantiles,
    /// Whether the limit of requests ended the run before its duration did.
    pub limit_reached: bool,
    #[serde(skip)]
    start: Instant,
    #[serde(skip)]
    ledger: Ledger,
}

/// A lost request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// Its number.
    pub sequence: u64,
    /// When it was due: milliseconds since the start of the run.
    pub due_ms: u64,
    /// Why.
    pub reason: String,
}

/// Quantiles in microseconds by the nearest rank; zeros without observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// How many observations.
    pub count: u64,
    /// The median.
    pub p50_us: u64,
    /// 90 of 100 are not above it.
    pub p90_us: u64,
    /// 99 of 100 are not above it.
    pub p99_us: u64,
    /// 999 of 1000 are not above it.
    pub p999_us: u64,
    /// The largest.
    pub max_us: u64,
}

impl Quantiles {
    /// Of these observations.
    pub fn of(observations: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<u64> =
            observations.map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        let per_mille = |n: usize| {
            let rank = (sorted.len() * n).div_ceil(1000).max(1);
            sorted.get(rank - 1).copied().unwrap_or(0)
        };
        Self {
            count: sorted.len() as u64,
            p50_us: per_mille(500),
            p90_us: per_mille(900),
            p99_us: per_mille(990),
            p999_us: per_mille(999),
            max_us: sorted.last().copied().unwrap_or(0),
        }
    }
}

impl Report {
    pub(crate) fn new(run: String, start: Instant, ledger: Ledger, limit_reached: bool) -> Self {
        let counts = ledger.snapshot();
        let timed = || ledger.entries().filter(|entry| waited(entry.outcome));
        Self {
            run,
            sent: counts.sent,
            answered: counts.answered,
            lost: counts.lost,
            lost_examples: ledger.entries().filter_map(lost).take(MAX_EXAMPLES).collect(),
            releases: counts.releases,
            latency: Quantiles::of(timed().filter_map(|entry| entry.latency)),
            service: Quantiles::of(timed().filter_map(|entry| entry.service)),
            dispatch_lag: Quantiles::of(ledger.entries().map(|entry| entry.lag)),
            limit_reached,
            start,
            ledger,
        }
    }

    /// Every request in order of its number.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.ledger.entries()
    }

    /// One request.
    pub fn entry(&self, sequence: u64) -> Option<Entry<'_>> {
        self.ledger.get(sequence)
    }

    /// The moment from which offsets count.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Responses with a status of 500 or above that services produced.
    pub fn errors(&self) -> u64 {
        self.releases.values().map(|counts| counts.errors).sum()
    }

    /// The numbers of the requests that a release answered although they were written to a connection only after
    /// that instant.
    pub fn started_after(&self, instant: Instant, release: &str) -> Vec<u64> {
        let limit = instant.checked_duration_since(self.start);
        let after = |sent: Duration| limit.is_none_or(|limit| sent > limit);
        self.entries()
            .filter(|entry| matches!(entry.outcome, Outcome::Answered { release: by, .. } if by == release))
            .filter(|entry| entry.sent.is_some_and(after))
            .map(|entry| entry.sequence)
            .collect()
    }
}

fn waited(outcome: Outcome<'_>) -> bool {
    match outcome {
        Outcome::Answered { .. } | Outcome::TimedOut | Outcome::Unfinished => true,
        Outcome::Open | Outcome::Gateway { .. } | Outcome::Connection { .. } => false,
    }
}

fn lost(entry: Entry<'_>) -> Option<Lost> {
    let reason = match entry.outcome {
        Outcome::Open | Outcome::Answered { .. } => return None,
        Outcome::Gateway { status, code } => format!("the gateway answered {status} ({code})"),
        Outcome::Connection { error } => error.to_owned(),
        Outcome::TimedOut => "no complete response in time".to_owned(),
        Outcome::Unfinished if entry.sent.is_some() => {
            "still in flight when the drain time was over".to_owned()
        }
        Outcome::Unfinished => "still queued when the drain time was over".to_owned(),
    };
    let due_ms = u64::try_from(entry.intended.as_millis()).unwrap_or(u64::MAX);
    Some(Lost { sequence: entry.sequence, due_ms, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::End;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let q = Quantiles::of((1..=1000).rev().map(Duration::from_micros));
        assert_eq!((q.count, q.p50_us, q.p99_us, q.p999_us, q.max_us), (1000, 500, 990, 999, 1000));
        assert_eq!(Quantiles::of([ms(1)].into_iter()).p50_us, 1000);
        assert_eq!(Quantiles::of(std::iter::empty()), Quantiles::default());
    }

    #[test]
    fn requests_that_started_after_an_instant_are_told_by_release() {
        let start = Instant::now();
        let mut ledger = Ledger::default();
        for (number, release) in ["1", "2", "1", "2"].into_iter().enumerate() {
            let at = ms(10 * number as u64);
            ledger.open(at, ms(0));
            ledger.sent(number as u64, at);
            ledger.end(number as u64, ms(100), End::Answered { status: 200, release: Some(release.into()) });
        }
        let report = Report::new("r".into(), start, ledger, false);
        assert_eq!(report.started_after(start + ms(10), "2"), [3]);
        assert_eq!(report.started_after(start + ms(10), "1"), [2]);
        assert_eq!(report.started_after(start + ms(9), "2"), [1, 3]);
        assert_eq!(report.started_after(start + ms(30), "2"), [] as [u64; 0]);
    }

    #[test]
    fn waiting_in_vain_counts_as_latency_and_quick_failures_do_not() {
        let mut ledger = Ledger::default();
        for _ in 0..3 {
            ledger.open(ms(0), ms(0));
        }
        ledger.end(0, ms(1), End::Connection { error: "refused".into() });
        ledger.end(1, ms(500), End::TimedOut);
        ledger.end(2, ms(3), End::Answered { status: 200, release: None });
        let report = Report::new("r".into(), Instant::now(), ledger, false);
        assert_eq!((report.latency.count, report.latency.max_us), (2, 500_000));
        let reasons: Vec<_> = report.lost_examples.iter().map(|lost| lost.reason.as_str()).collect();
        assert_eq!(reasons, ["refused", "no complete response in time"]);
    }
}
