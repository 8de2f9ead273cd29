//! The life of an alert: inactive, pending, firing, resolved. A rule that holds for long enough fires; one that no longer
//! holds is kept firing for a while; one that nobody can measure changes nothing, because no data is no recovery. Does
//! not live here: which rules hold ([`crate::burn`]), and who is told.

use std::collections::BTreeMap;

use model::Timestamp;
use model::objective::{Alerting, Severity};
use serde::{Deserialize, Serialize};

use crate::burn::{Cause, Finding, Rule, Verdict};

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

/// What is kept between two looks at an objective's rules. It may be lost: an alert then fires a little longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// When the rule of an alert was last seen to hold.
    held: BTreeMap<Rule, Timestamp>,
}

impl Memory {
    /// When a rule was last seen to hold, while its alert is not inactive.
    pub fn held(&self, rule: Rule) -> Option<Timestamp> {
        self.held.get(&rule).copied()
    }

    /// What becomes of an alert now; `None`: nothing. `alert` is where it stands and since when.
    pub(crate) fn next(
        &mut self,
        alert: Option<(Phase, Timestamp)>,
        finding: &Finding,
        alerting: &Alerting,
        at: Timestamp,
    ) -> Option<To> {
        let rule = finding.rule;
        match (alert, &finding.verdict) {
            (None, Verdict::Holds(_)) => {
                self.held.insert(rule, at);
                Some(if alerting.hold.is_zero() { To::Firing } else { To::Pending })
            }
            (Some((phase, since)), Verdict::Holds(_)) => {
                self.held.insert(rule, at);
                (phase == Phase::Pending && at.since(since) >= alerting.hold).then_some(To::Firing)
            }
            (None, Verdict::Clear | Verdict::Unknown) => {
                self.held.remove(&rule);
                None
            }
            (Some((Phase::Pending, _)), Verdict::Clear) => {
                self.held.remove(&rule);
                Some(To::Resolved)
            }
            (Some((Phase::Firing, _)), Verdict::Clear) => {
                // After a restart nobody knows when it last held: then it is now.
                let last = *self.held.entry(rule).or_insert(at);
                (at.since(last) >= alerting.keep_firing).then_some(To::Resolved)
            }
            (Some(_), Verdict::Unknown) => {
                // Time that nobody measured is no time in which the rule was clear.
                self.held.insert(rule, at);
                None
            }
        }
    }
}
