//! The life of an alert: inactive, pending, firing, resolved. A rule that holds for long enough fires; one that no longer
//! holds is kept firing for a while; one that nobody can measure changes nothing, because no data is no recovery. Does
//! not live here: which rules hold ([`crate::burn`] knows those of objectives, others know theirs), and who is told.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use model::objective::{Alerting, Severity};
use serde::{Deserialize, Serialize};

use crate::burn::{Cause, Rule, Verdict};

/// Where an alert that is not inactive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Its rule holds, but not for long enough.
    Pending,
    /// Somebody is told.
    Firing,
}

/// What an alert became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum To {
    /// Its rule holds, but not for long enough.
    Pending,
    /// Somebody is told.
    Firing,
    /// It is over, or came to nothing.
    Resolved,
}

impl To {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// An alert that is not inactive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Where it stands.
    pub phase: Phase,
    /// How urgent.
    pub severity: Severity,
    /// Since when it stands there.
    pub since: Timestamp,
    /// Why, when it came to stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// What a look says of the rule of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It holds.
    Holds,
    /// It does not.
    Clear,
    /// Nothing was measured that could say so.
    Unknown,
}

/// How patient an alert is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// How long its rule has to hold before somebody is told: Prometheus' `for`.
    pub hold: Duration,
    /// How long it goes on after its rule held last: Prometheus' `keep_firing_for`.
    pub keep_firing: Duration,
}

impl From<&Alerting> for Patience {
    fn from(alerting: &Alerting) -> Self {
        Self { hold: alerting.hold, keep_firing: alerting.keep_firing }
    }
}

impl From<&Verdict> for Seen {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Holds(_) => Self::Holds,
            Verdict::Clear => Self::Clear,
            Verdict::Unknown => Self::Unknown,
        }
    }
}

/// Whether an alert can come from where it stands (`None`: inactive) to somewhere else.
pub fn can_become(from: Option<Phase>, to: To) -> bool {
    match (from, to) {
        (None, To::Pending | To::Firing) => true,
        (Some(Phase::Pending), To::Firing | To::Resolved) => true,
        (Some(Phase::Firing), To::Resolved) => true,
        (None, To::Resolved) | (Some(Phase::Pending), To::Pending) => false,
        (Some(Phase::Firing), To::Pending | To::Firing) => false,
    }
}

/// What is kept between two looks at the rules of alerts, each known by a key. It may be lost: an alert then fires a little
/// longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory<K: Ord = Rule> {
    /// When the rule of an alert was last seen to hold.
    held: BTreeMap<K, Timestamp>,
}

impl<K: Ord> Default for Memory<K> {
    fn default() -> Self {
        Self { held: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Memory<K> {
    /// When the rule of an alert was last seen to hold, while it is not inactive.
    pub fn held(&self, key: &K) -> Option<Timestamp> {
        self.held.get(key).copied()
    }

    /// Forgets those that are not among these.
    pub fn retain(&mut self, is_kept: impl Fn(&K) -> bool) {
        self.held.retain(|key, _| is_kept(key));
    }

    /// What becomes of an alert now; `None`: nothing. `alert` is where it stands and since when.
    pub fn next(
        &mut self,
        key: &K,
        alert: Option<(Phase, Timestamp)>,
        seen: Seen,
        patience: Patience,
        at: Timestamp,
    ) -> Option<To> {
        match (alert, seen) {
            (None, Seen::Holds) => {
                self.held.insert(key.clone(), at);
                Some(if patience.hold.is_zero() { To::Firing } else { To::Pending })
            }
            (Some((phase, since)), Seen::Holds) => {
                self.held.insert(key.clone(), at);
                (phase == Phase::Pending && at.since(since) >= patience.hold).then_some(To::Firing)
            }
            (None, Seen::Clear | Seen::Unknown) => {
                self.held.remove(key);
                None
            }
            (Some((Phase::Pending, _)), Seen::Clear) => {
                self.held.remove(key);
                Some(To::Resolved)
            }
            (Some((Phase::Firing, _)), Seen::Clear) => {
                // After a restart nobody knows when it last held: then it is now.
                let last = *self.held.entry(key.clone()).or_insert(at);
                (at.since(last) >= patience.keep_firing).then_some(To::Resolved)
            }
            (Some(_), Seen::Unknown) => {
                // Time that nobody measured is no time in which the rule was clear.
                self.held.insert(key.clone(), at);
                None
            }
        }
    }
}
