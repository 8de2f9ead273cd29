//! Threshold rules on the new release, with the meaning of Argo Rollouts' analysis metrics.
//!
//! What a check looks at comes from [`crate::checks`]; here it is counted like any other measurement.
//!
//! Two things are deliberately different: a rule without data is inconclusive, never successful, and a measurement
//! that cannot be taken never rolls back: it pauses.

use std::time::Duration;

use model::Timestamp;
use model::latency::Histogram;
use model::strategy::{Metric, Source};
use serde::{Deserialize, Serialize};

use crate::observation::Counts;

/// How long after a measurement that could not be taken the next one is tried, at most.
pub const ERROR_RETRY: Duration = Duration::from_secs(10);

/// One measurement of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// The run it belongs to.
    #[serde(default, skip_serializing_if = "Run::is_background")]
    pub run: Run,
    /// The rule's index in its run.
    pub rule: u32,
    /// What was measured; `None` without data.
    pub value: Option<f64>,
    /// What it means.
    pub outcome: Outcome,
    /// What a check found, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The cumulative reading that the next measurement counts from; a check has none.
    #[serde(default, skip_serializing_if = "Reading::is_none")]
    pub reading: Reading,
}

/// When rules are measured: each run keeps its own count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Run {
    /// From the first request that the new release may get until it is promoted.
    #[default]
    Background,
    /// In this step of the canary, which waits for it.
    Step(u32),
    /// Before a blue-green switch, while the new release is previewed.
    PrePromotion,
    /// After a blue-green switch, while the old release is warm.
    PostPromotion,
}

impl Run {
    fn is_background(&self) -> bool {
        *self == Self::Background
    }
}

/// What a measurement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The success condition holds.
    Successful,
    /// The failure condition holds, or the only condition, one of success, does not.
    Failed,
    /// Neither, or no data.
    Inconclusive,
    /// It could not be taken.
    Error,
    /// No measurement: the reading that the first one counts from.
    Begun,
}

/// A cumulative reading of the new release's counters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The counter's life.
    pub instance: String,
    /// Requests and errors.
    pub counts: Counts,
    /// Latencies.
    pub latency: Histogram,
    /// The ordinal of each replica and how often it was started again; empty unless the rule looks at that. No map:
    /// in a tagged event its keys would come back as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<(u32, u32)>,
}

impl Reading {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// A replica that is new since then counts from zero, one that went counts no more.
    fn restarts_since(&self, earlier: &Self) -> u32 {
        let before =
            |ordinal| earlier.restarts.iter().find(|(it, _)| *it == ordinal).map_or(0, |(_, times)| *times);
        self.restarts.iter().map(|(ordinal, now)| now.saturating_sub(before(*ordinal))).sum()
    }

    fn since(&self, earlier: &Self) -> (Counts, Histogram) {
        if self.instance != earlier.instance {
            return (self.counts, self.latency.clone());
        }
        (self.counts.since(earlier.counts), self.latency.since(&earlier.latency))
    }
}

/// How far a rule has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether it has a reading to count from.
    pub begun: bool,
    /// Measurements tried, those in error counted, too.
    pub tries: u32,
    /// Measurements taken, those in error not counted.
    pub taken: u32,
    /// Of those, failed.
    pub failed: u32,
    /// Of those, inconclusive.
    pub inconclusive: u32,
    /// Measurements in a row that could not be taken.
    pub errors_in_a_row: u32,
    /// The last value.
    pub last_value: Option<f64>,
    /// What the last check found, in words.
    pub detail: Option<String>,
    /// When the last measurement was tried, or the rule began to watch.
    pub last_at: Timestamp,
    /// When the reading was taken, or the rule began to watch: a measurement after an error looks at all the time
    /// since.
    pub read_at: Timestamp,
    /// Whether the last one was an error.
    pub last_was_error: bool,
    /// What the next measurement counts from.
    pub reading: Reading,
}

impl State {
    /// Takes a measurement into account.
    pub fn apply(&mut self, measurement: &Measurement, at: Timestamp) {
        self.last_at = at;
        if measurement.outcome == Outcome::Begun {
            (self.begun, self.read_at) = (true, at);
            self.reading = measurement.reading.clone();
            return;
        }
        self.tries = self.tries.saturating_add(1);
        self.detail.clone_from(&measurement.detail);
        self.last_was_error = measurement.outcome == Outcome::Error;
        if self.last_was_error {
            self.errors_in_a_row += 1;
            return;
        }
        self.errors_in_a_row = 0;
        self.read_at = at;
        self.taken += 1;
        self.last_value = measurement.value;
        self.reading = measurement.reading.clone();
        match measurement.outcome {
            Outcome::Failed => self.failed += 1,
            Outcome::Inconclusive => self.inconclusive += 1,
            Outcome::Successful | Outcome::Error | Outcome::Begun => {}
        }
    }

    /// Follows the wall clock, which was set.
    pub fn follow_clock(&mut self, by_us: i64) {
        self.last_at = self.last_at.moved(by_us);
        self.read_at = self.read_at.moved(by_us);
    }

    /// Begins to watch, unless it has measured already.
    pub fn begin(&mut self, at: Timestamp) {
        if self.taken == 0 {
            (self.begun, self.last_at, self.read_at) = (true, at, at);
        }
    }

    /// Forgives what was inconclusive: somebody looked and let the rollout go on.
    pub fn forgive(&mut self) {
        self.inconclusive = 0;
        self.errors_in_a_row = 0;
    }

    /// Whether more measurements in a row could not be taken than the rule bears; one when it bears any number.
    pub fn has_failed_to_measure(&self, metric: &Metric) -> bool {
        self.errors_in_a_row > metric.consecutive_error_limit.unwrap_or(0)
    }

    /// When the next measurement is due, at least `shortest` after the last one; `None` when the rule has all it wants.
    pub fn due(&self, metric: &Metric, shortest: Duration) -> Option<Timestamp> {
        if self.is_done(metric) {
            return None;
        }
        // A look needs no time that it looks back on.
        if metric.source.is_check() && self.taken == 0 && !self.last_was_error {
            return Some(self.last_at);
        }
        let wait = if self.last_was_error { metric.interval.min(ERROR_RETRY) } else { metric.interval };
        Some(self.last_at.after(wait.max(shortest)))
    }

    /// Whether it has taken all its measurements.
    pub fn is_done(&self, metric: &Metric) -> bool {
        metric.count.is_some_and(|count| self.taken >= count)
    }

    /// What the rule says so far.
    pub fn verdict(&self, metric: &Metric) -> Verdict {
        let over = |n: u32, limit: Option<u32>| limit.is_some_and(|limit| n > limit);
        let value = self.found(metric);
        if over(self.failed, metric.failure_limit) {
            return Verdict::Failed(format!(
                "{}: {} of {} measurements failed, more than failureLimit {} (last: {value}{})",
                metric.name,
                self.failed,
                self.taken,
                metric.failure_limit.unwrap_or_default(),
                conditions(metric),
            ));
        }
        if over(self.inconclusive, metric.inconclusive_limit) {
            return Verdict::Inconclusive(format!(
                "{}: {} of {} measurements were neither success nor failure (last: {value})",
                metric.name, self.inconclusive, self.taken
            ));
        }
        if over(self.errors_in_a_row, metric.consecutive_error_limit) {
            let why = self.detail.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            return Verdict::Inconclusive(format!(
                "{}: the last {} measurements could not be taken{why}",
                metric.name, self.errors_in_a_row
            ));
        }
        Verdict::Fine
    }

    /// What was found last, in words.
    fn found(&self, metric: &Metric) -> String {
        let value = self.last_value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.4}"));
        let has_conditions = metric.success_condition.or(metric.failure_condition).is_some();
        match &self.detail {
            Some(detail) if has_conditions => format!("{detail}, {value}"),
            Some(detail) => detail.clone(),
            None => value,
        }
    }
}

fn conditions(metric: &Metric) -> String {
    let (success, failure) = metric.conditions();
    let success = success.map(|condition| format!(", success is {condition}"));
    let failure = failure.map(|condition| format!(", failure is {condition}"));
    success.into_iter().chain(failure).collect()
}

/// What a rule says so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against the release.
    Fine,
    /// Roll back; why.
    Failed(String),
    /// Pause; why.
    Inconclusive(String),
}

/// Why the first of these that failed, failed; those in dry run decide nothing.
pub fn failed<'a>(rules: impl Iterator<Item = (&'a Metric, &'a State)>) -> Option<String> {
    rules.filter(|(metric, _)| !metric.dry_run).find_map(|(metric, state)| match state.verdict(metric) {
        Verdict::Failed(why) => Some(why),
        Verdict::Fine | Verdict::Inconclusive(_) => None,
    })
}

/// Why the first of these that is inconclusive, is; those in dry run decide nothing.
pub fn inconclusive<'a>(rules: impl Iterator<Item = (&'a Metric, &'a State)>) -> Option<String> {
    rules.filter(|(metric, _)| !metric.dry_run).find_map(|(metric, state)| match state.verdict(metric) {
        Verdict::Inconclusive(why) => Some(why),
        Verdict::Fine | Verdict::Failed(_) => None,
    })
}

/// Takes one measurement over `seconds` since the last one, or the first reading. An unreachable fleet is an error.
pub fn measure(
    (run, rule): (Run, u32),
    metric: &Metric,
    state: &State,
    now: Option<&Reading>,
    seconds: f64,
) -> Measurement {
    let Some(reading) = now else {
        return Measurement {
            run,
            rule,
            value: None,
            outcome: Outcome::Error,
            detail: None,
            reading: state.reading.clone(),
        };
    };
    let taken =
        |value, outcome| Measurement { run, rule, value, outcome, detail: None, reading: reading.clone() };
    if !state.begun {
        return taken(None, Outcome::Begun);
    }
    let (counts, latency) = reading.since(&state.reading);
    let value = match &metric.source {
        Source::ErrorRate => counts.error_rate(),
        Source::Latency(quantile) => latency.quantile(*quantile).map(|latency| latency.as_secs_f64()),
        Source::RequestRate => (seconds > 0.0).then(|| counts.requests as f64 / seconds),
        Source::Restarts => Some(f64::from(reading.restarts_since(&state.reading))),
        // No reading shows it.
        Source::Http(_) | Source::Command(_) | Source::Promql(_) => None,
    };
    taken(value, value.map_or(Outcome::Inconclusive, |value| outcome(metric, value)))
}

pub(crate) fn outcome(metric: &Metric, value: f64) -> Outcome {
    match (metric.success_condition, metric.failure_condition) {
        (None, None) => Outcome::Inconclusive,
        (Some(success), None) if success.holds(value) => Outcome::Successful,
        (Some(_), None) => Outcome::Failed,
        (None, Some(failure)) if failure.holds(value) => Outcome::Failed,
        (None, Some(_)) => Outcome::Successful,
        (Some(_), Some(failure)) if failure.holds(value) => Outcome::Failed,
        (Some(success), Some(_)) if success.holds(value) => Outcome::Successful,
        (Some(_), Some(_)) => Outcome::Inconclusive,
    }
}
