//! What the rules are told about the world: counted by others, at one instant.

use model::latency::Histogram;
use model::{Epoch, Timestamp};
use serde::{Deserialize, Serialize};

use crate::checks::Begun;
use crate::latency::Slow;
use crate::users::UserTally;

/// What is seen of one place during a rollout.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Whether the fleet could be asked. When not, the rest is the last that was seen, and nothing moves forward.
    pub reachable: bool,
    /// Whether everything wanted so far is in force: no request starts on an older routing table.
    pub in_force: bool,
    /// Since when the fleet has been watched without a break: replicas that nobody could look at, or that nobody could
    /// order, have not failed to become ready.
    pub watched_since: Timestamp,
    /// The old release's replicas.
    pub stable: GroupState,
    /// The new release's replicas.
    pub candidate: GroupState,
    /// Names the counter's life: counts of different instances add up.
    pub instance: String,
    /// Cumulative counts for each epoch. Those of epochs before the rollout do no harm.
    pub tallies: Vec<EpochTally>,
    /// What the old release counted while it took all requests, before this rollout's first shift, in the counter's
    /// present life.
    pub before: (Counts, Histogram),
    /// Cumulative latencies of the new release, those that header routes led there included, over the epochs that
    /// [`crate::book::Book::covers`]: it may have
    /// served here before.
    pub candidate_latency: Histogram,
    /// The ordinal of each replica of the new release, and how often it was started again.
    pub candidate_restarts: Vec<(u32, u32)>,
    /// The checks under way.
    pub checks: Vec<Begun>,
}

/// The replicas of one release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Ready to take requests.
    pub ready: u32,
    /// Existing in any phase, draining ones included.
    pub existing: u32,
    /// Why its replicas keep dying, when they do.
    pub crash_loop: Option<String>,
    /// The most telling reason why a replica is not ready.
    pub trouble: Option<String>,
}

/// Cumulative counts of both releases in one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochTally {
    /// When.
    pub epoch: Epoch,
    /// Of the new release.
    pub candidate: Counts,
    /// Of the old release.
    pub stable: Counts,
    /// How many of them were slower than the baseline's thresholds.
    #[serde(default, skip_serializing_if = "Slow::is_none")]
    pub slow: Slow,
    /// What header routes led to the new release, in none of the above: it was not drawn, so it compares nothing.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub aimed: Counts,
    /// With session affinity, the users behind these requests.
    #[serde(default, skip_serializing_if = "UserTally::is_empty")]
    pub users: UserTally,
}

/// Requests and how many of them failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Finished requests.
    pub requests: u64,
    /// Of those, errors.
    pub errors: u64,
}

impl Counts {
    /// Both added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, errors: self.errors + other.errors }
    }

    /// What came on top of an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Errors / requests; `None` without requests.
    pub fn error_rate(self) -> Option<f64> {
        (self.requests > 0).then(|| self.errors as f64 / self.requests as f64)
    }
}
