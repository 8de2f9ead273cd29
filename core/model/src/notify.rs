//! Who is told of a service's alerts, and how: receivers, routes to them, grouping, and which alerts mute others. Only data,
//! in Alertmanager's words: what is due to whom is decided in `core/paging`, and sending is an adapter's business.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{NAME, SEVERITY};
use crate::matcher::{Matcher, Op};
use crate::objective::Severity;
use crate::spec::HeaderValue;

/// The label that names a service.
pub const APP: &str = "app";
/// The label that names an environment.
pub const ENVIRONMENT: &str = "environment";
/// The label of what an alert of an objective is about.
pub const OBJECTIVE: &str = "objective";
/// The name of the alert that tests the way to a receiver.
pub const SELF_TEST: &str = "ShipshapeSelfTest";
/// The label of a self-test that names its receiver.
pub const RECEIVER: &str = "receiver";

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notify {
    /// By name.
    pub receivers: BTreeMap<String, Receiver>,
    /// Which alerts go to whom, in order. Empty: all go to every receiver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// How alerts are told together.
    #[serde(default)]
    pub grouping: Grouping,
    /// Which alerts mute others; `None`: [`InhibitRule::defaults`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inhibit: Option<Vec<InhibitRule>>,
    /// Whether the way to each receiver is tested once a day.
    #[serde(default = "yes")]
    pub self_test: bool,
}

const fn yes() -> bool {
    true
}

impl Notify {
    /// Which alerts mute others.
    pub fn inhibit_rules(&self) -> Vec<InhibitRule> {
        self.inhibit.clone().unwrap_or_else(InhibitRule::defaults)
    }
}

/// Whoever is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receiver {
    /// Where, and in which form.
    pub to: To,
    /// Headers that it asks for, by their names in small letters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// A file with the certificates that are trusted, instead of the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// How long it may take to answer.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
    /// Whether it is told when an alert ends.
    #[serde(default = "yes")]
    pub send_resolved: bool,
}

/// Where a receiver is told, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum To {
    /// By Alertmanager's webhook, version 4. The address itself may be what is secret.
    Webhook(HeaderValue),
    /// To these Alertmanagers, which are one cluster: each is told everything, and groups by itself.
    Alertmanager(Vec<String>),
}

/// Which alerts go to a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// To whom.
    pub receiver: String,
    /// Only those that are so urgent; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severity: Vec<Severity>,
    /// Only those whose labels are as all of these say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matchers: Vec<Matcher>,
    /// Whether the routes after it may take the same alert, too.
    #[serde(default)]
    pub go_on: bool,
    /// How alerts are told together here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grouping: Option<Grouping>,
}

/// How alerts are told together, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grouping {
    /// Alerts with the same values of these labels are told together; `...` is all labels.
    pub by: Vec<String>,
    /// How long the first alert of a group waits for others.
    #[serde(with = "crate::time::words")]
    pub wait: Duration,
    /// How long after it was told a group is told of news at the earliest.
    #[serde(with = "crate::time::words")]
    pub interval: Duration,
    /// How long after it was told a group without news is told again, while it fires.
    #[serde(with = "crate::time::words")]
    pub repeat: Duration,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            by: [NAME, APP, ENVIRONMENT].map(str::to_owned).to_vec(),
            wait: Duration::from_secs(30),
            interval: Duration::from_secs(300),
            repeat: Duration::from_secs(4 * 3_600),
        }
    }
}

/// While an alert fires, others are not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InhibitRule {
    /// Which alert.
    pub source: Vec<Matcher>,
    /// Which others.
    pub target: Vec<Matcher>,
    /// The labels that both have alike.
    pub equal: Vec<String>,
}

impl InhibitRule {
    /// The more urgent of two alerts with one name, or about one objective, of one place speaks for both.
    pub fn defaults() -> Vec<Self> {
        let is = |value: &str| Matcher::new(SEVERITY, Op::Is, value);
        let lower = |value: &str| Matcher::new(SEVERITY, Op::Matches, value);
        let any = || Matcher::new(OBJECTIVE, Op::IsNot, "");
        let equal = |last: &str| [APP, ENVIRONMENT, last].map(str::to_owned).to_vec();
        let mut rules = Vec::new();
        for (source, target) in [("P1", "P2|P3"), ("P2", "P3")] {
            let (by_name, urgent) = ([equal(NAME), vec![OBJECTIVE.to_owned()]].concat(), vec![is(source)]);
            rules.push(Self { source: urgent, target: vec![lower(target)], equal: by_name });
            let of_objective = (vec![is(source), any()], vec![lower(target), any()]);
            rules.push(Self { source: of_objective.0, target: of_objective.1, equal: equal(OBJECTIVE) });
        }
        rules
    }
}
