//! What the promises came to: from the clients' ledger, the services' ledgers and the journal.

use std::collections::BTreeMap;

use anyhow::Context as _;
use load::{Reconciliation, Report};
use serde::Serialize;
use serde_json::Value;
use ship::bound;

use crate::pager::Told;
use crate::stage::{ALPHA, FAILURE_RATE, FIRST_WEIGHT};

/// The alert that a rollout which goes back by itself makes fire.
pub(crate) const FAILURE: &str = "DeploymentFailed";

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    /// Requests sent.
    pub(crate) sent: u64,
    /// Requests without an answer from a service, or answered but never received, or received twice.
    pub(crate) lost: u64,
    /// Why the first of them were lost.
    pub(crate) lost_examples: Vec<String>,
    /// Requests that the bad release answered.
    pub(crate) served_by_bad: u64,
    /// Of those, failed.
    pub(crate) failed_by_bad: u64,
    /// Requests that the other releases failed.
    pub(crate) failed_by_good: u64,
    /// Requests answered while there was no control.
    pub(crate) answered_without_control: u64,
    /// From the first request that the bad release could get to the verdict, in seconds.
    pub(crate) seconds_to_verdict: f64,
    /// Requests to both releases in that time.
    pub(crate) requests_to_verdict: u64,
    /// The least number that any test with the same guarantee needs on average.
    pub(crate) lower_bound_requests: f64,
    /// The judge's words.
    pub(crate) verdict: String,
    /// From the verdict to the gateway's word that no request starts on the bad release, in milliseconds.
    pub(crate) rollback_ms: f64,
    /// Requests that started on the bad release after the command line said that it was taken back.
    pub(crate) started_on_bad_after_acknowledgement: usize,
    /// Whether the bad release was taken back.
    pub(crate) bad_release_taken_back: bool,
    /// What the bad release did to the error budget.
    pub(crate) budget: Budget,
    /// Whether the release after it got through with a reason.
    pub(crate) mended: bool,
    /// What the pager was told, by the alerts' names.
    pub(crate) told: BTreeMap<String, Told>,
    /// From the command line's word that the bad release was taken back to the pager, in seconds.
    pub(crate) seconds_to_pager: f64,
    /// Whether the journal's chain is whole.
    pub(crate) journal_is_whole: bool,
    /// The 99th percentile of the latency over the whole run, from the intended start, in milliseconds.
    pub(crate) p99_ms: f64,
    /// The whole demo, in seconds.
    pub(crate) seconds_in_all: f64,
}

/// What the bad release did to the error budget.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Budget {
    /// Failed requests that it was charged with.
    pub(crate) charged: u64,
    /// What part of the budget that was, in percent.
    pub(crate) percent: f64,
    /// Whether the next deploy was refused.
    pub(crate) next_refused: bool,
}

impl Figures {
    pub(crate) fn new(report: &Report, checked: &Reconciliation, journal: &[Value]) -> anyhow::Result<Self> {
        let bad = report.releases.get("3").cloned().unwrap_or_default();
        let rollout = rollout_of(3, journal);
        let shifted = rollout
            .iter()
            .find(|event| event["kind"] == "rollout.shifted" && event["body"]["weight"].as_u64() > Some(0))
            .context("the bad release never got traffic")?;
        let begun = of_kind(&rollout, "rollout.rollbackBegun")?;
        let back = of_kind(&rollout, "rollout.rolledBack")?;
        let unaccounted = checked.answered_but_never_received.len() + checked.duplicated.len();
        Ok(Self {
            sent: report.sent,
            lost: report.lost + unaccounted as u64,
            lost_examples: report.lost_examples.iter().map(|lost| lost.reason.clone()).collect(),
            served_by_bad: bad.answered,
            failed_by_bad: bad.errors,
            failed_by_good: report.errors().saturating_sub(bad.errors),
            answered_without_control: 0,
            seconds_to_verdict: seconds_between(shifted, begun)?,
            requests_to_verdict: requests_until(&rollout, begun),
            lower_bound_requests: bound::requests_to_verdict(FIRST_WEIGHT, 0.0, FAILURE_RATE, ALPHA),
            verdict: begun["body"]["reason"]["detail"].as_str().unwrap_or("an operator's").to_owned(),
            rollback_ms: seconds_between(begun, back)? * 1e3,
            started_on_bad_after_acknowledgement: 0,
            bad_release_taken_back: false,
            budget: Budget::default(),
            mended: false,
            told: BTreeMap::new(),
            seconds_to_pager: 0.0,
            journal_is_whole: false,
            p99_ms: report.latency.p99_us as f64 / 1e3,
            seconds_in_all: 0.0,
        })
    }

    /// The promises that broke, in words.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.lost > 0 {
            broken.push(format!("{} requests were lost: {}", self.lost, self.lost_examples.join("; ")));
        }
        if !self.bad_release_taken_back {
            broken.push("the bad release was not taken back".to_owned());
        }
        if self.started_on_bad_after_acknowledgement > 0 {
            broken.push(format!(
                "{} requests started on the bad release after it was taken back",
                self.started_on_bad_after_acknowledgement
            ));
        }
        if self.failed_by_good > 0 {
            broken.push(format!("{} requests failed on the good releases", self.failed_by_good));
        }
        if self.budget.charged != self.failed_by_bad {
            broken.push(format!(
                "the bad release was charged with {} failed requests, and failed {}",
                self.budget.charged, self.failed_by_bad
            ));
        }
        if !self.budget.next_refused {
            broken.push("the next deploy was not refused, though the error budget is spent".to_owned());
        }
        let (fires, over) = self.told.get(FAILURE).map_or((0, 0), |told| (told.fires, told.over));
        if (fires, over) != (1, 1) {
            broken.push(format!(
                "the pager was told {fires} times that {FAILURE} fires and {over} times that it is over, and once each is right"
            ));
        }
        if !self.mended {
            broken.push("the release that mends it was not promoted, though a reason was given".to_owned());
        }
        if !self.journal_is_whole {
            broken.push("the journal's chain is broken".to_owned());
        }
        broken
    }
}

/// The events from the start of a release's rollout to that of the next.
fn rollout_of(release: u64, journal: &[Value]) -> Vec<&Value> {
    let starts = |event: &&Value| event["kind"] == "rollout.started";
    let its_own = |event: &&Value| starts(event) && event["body"]["to"] == release;
    let rest: Vec<&Value> = journal.iter().skip_while(|event| !its_own(event)).collect();
    let length = rest.iter().skip(1).take_while(|event| !starts(event)).count();
    rest.into_iter().take(length + 1).collect()
}

fn of_kind<'a>(events: &[&'a Value], kind: &str) -> anyhow::Result<&'a Value> {
    events
        .iter()
        .find(|event| event["kind"] == kind)
        .copied()
        .with_context(|| format!("the journal has no {kind} of the bad release"))
}

/// Requests to both releases that were counted when the verdict fell.
fn requests_until(events: &[&Value], verdict: &Value) -> u64 {
    let last = events
        .iter()
        .take_while(|event| event["seq"].as_u64() < verdict["seq"].as_u64())
        .filter(|event| event["kind"] == "rollout.measured")
        .last();
    let tallies = last.and_then(|event| event["body"]["tallies"].as_array());
    let count = |tally: &Value, side: &str| tally[side]["requests"].as_u64().unwrap_or(0);
    tallies.into_iter().flatten().map(|tally| count(tally, "candidate") + count(tally, "stable")).sum()
}

fn seconds_between(earlier: &Value, later: &Value) -> anyhow::Result<f64> {
    let at = |event: &Value| -> anyhow::Result<i64> {
        let at: model::Timestamp = serde_json::from_value(event["at"].clone())?;
        Ok(at.as_micros())
    };
    Ok((at(later)? - at(earlier)?) as f64 / 1e6)
}
