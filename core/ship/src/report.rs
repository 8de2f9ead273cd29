//! Why a rollout stands where it stands: what `status` and the console show for "why is it not moving?".

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::judge;
use crate::observation::Counts;
use crate::users::UserTally;

/// What a rollout does, what it waits for and what the evidence says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What it is doing, in one line.
    pub doing: String,
    /// What has to happen before it moves; `None` when nothing has.
    pub wait: Option<Wait>,
    /// Why it is inconclusive though it takes all requests and does not stand still: there is no evidence for it in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inconclusive: Option<String>,
    /// What is known about the new release.
    pub evidence: Evidence,
}

/// What a rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// In words.
    pub what: String,
    /// When it gives up or goes on, if time alone decides.
    pub until: Option<Timestamp>,
}

/// What is known about the new release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Requests and errors of the new release in this rollout.
    pub candidate: Counts,
    /// Requests and errors of the old release in the same time.
    pub stable: Counts,
    /// Requests and errors that header routes led to the new release: in no comparison, but in the threshold rules.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub aimed: Counts,
    /// With session affinity, the users behind these requests, whom the judge counts in place of them; since the agent's
    /// last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<UserTally>,
    /// The judge's evidence against the release; `None` when it is switched off.
    pub against: Option<Level>,
    /// The judge's evidence on errors alone, which is part of that against the release: 1 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<f64>,
    /// The judge's evidence since the release takes all requests, while it bakes; part of that against the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// The judge's evidence on latency, which is part of that against the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LatencyEvidence>,
    /// Why latency, or a part of it, is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_unjudged: Option<String>,
    /// The evidence for the release at this weight; `None` when promotion does not ask for it.
    pub for_it: Option<Level>,
    /// The threshold rules.
    pub rules: Vec<RuleEvidence>,
}

/// An e-value and the threshold at which it decides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The evidence: 1 is none.
    pub e: f64,
    /// It decides at this.
    pub threshold: f64,
}

impl Level {
    pub(crate) fn new(ln_e: f64, probability: f64) -> Self {
        Self { e: judge::e(ln_e), threshold: 1.0 / probability }
    }

    /// Whether it decides.
    pub fn decides(self) -> bool {
        self.e >= self.threshold
    }
}

/// What is known about one quantile of the latency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyEvidence {
    /// Which, 0 to 1.
    pub quantile: f64,
    /// Its latency of the old release before the rollout, in milliseconds: whoever takes longer is slow.
    pub slower_than_ms: f64,
    /// Of the new release: requests, and as errors those that were slow.
    pub candidate: Counts,
    /// The same of the old release beside it.
    pub stable: Counts,
    /// The evidence that the new release is slow too often: 1 is none.
    pub e: f64,
}

/// How far a threshold rule has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleEvidence {
    /// Its name.
    pub name: String,
    /// The last value; `None` without data.
    pub last_value: Option<f64>,
    /// What the last check found, in words; `None` when nobody looked from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Measurements taken.
    pub taken: u32,
    /// Of those, failed.
    pub failed: u32,
    /// Of those, inconclusive.
    pub inconclusive: u32,
    /// Measurements in a row that could not be taken; absent when the last one could.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub errors: u32,
    /// Since when a check for the next measurement is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// The step that waits for it; `None` when it watches in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Whether it decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
