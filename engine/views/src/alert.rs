//! Alerts and their rules as faces show them. Does not live here: when an alert begins and ends, and what a rule asks.

use std::time::Duration;

use lifecycle::{Alert, Origin, World};
use model::alert::{Fingerprint, Labels, NAME, RUNBOOK, SEVERITY};
use model::objective::Severity;
use model::time::format_duration;
use model::{EnvironmentName, Place, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};
pub use watch::alert::Phase;

/// So many alerts that fire are told of where other things are told, too.
const MOST_WARNINGS: usize = 5;

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// Which one it is, in 16 digits: the same that Alertmanager gives it.
    pub fingerprint: Fingerprint,
    /// Its rule's name.
    pub name: String,
    /// Which service it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// In which environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Who says so: `rule`, `objective`, `machine` or `external`.
    pub origin: String,
    /// `pending` or `firing`.
    pub phase: Phase,
    /// How urgent: `P1`, `P2` or `P3`; of one from outside, what it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Since when it stands there.
    pub since: Timestamp,
    /// Since when its rule holds.
    pub active_since: Timestamp,
    /// What it is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// More of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name of what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// What its rule's expression gave when it came to stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Everything that tells it from others.
    pub labels: Labels,
    /// Everything that is said of it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// Where it comes from, as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_url: Option<String>,
}

/// A rule of alerts, as it stood at the last look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// Of which service; nothing of one about the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// In which environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Its name.
    pub name: String,
    /// Whether the product brought it; otherwise it is the team's own.
    pub ready_made: bool,
    /// Whether anything of it is pending or firing.
    pub state: RuleState,
    /// Whether it could be looked at.
    pub health: RuleHealth,
    /// Why not, or not as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What it asks.
    pub query: String,
    /// How long it has to hold before somebody is told.
    #[serde(rename = "for")]
    pub hold: String,
    /// How long an alert goes on after it held last.
    pub keep_firing_for: String,
    /// How urgent.
    pub severity: Severity,
    /// The name of what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// How many of its alerts hold now.
    pub holding: usize,
    /// When it was looked at last.
    pub last_evaluation: Timestamp,
    /// How long its question took.
    pub evaluation_seconds: f64,
}

/// Where the most urgent alert of a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleState {
    /// There is none.
    Inactive,
    /// One is pending.
    Pending,
    /// One is firing.
    Firing,
}

impl RuleState {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// Whether a rule could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleHealth {
    /// It could.
    Ok,
    /// It could not, or not as a whole.
    Err,
}

/// Everything that is pending or firing: what fires first, the most urgent first.
pub fn alerts(world: &World) -> Vec<AlertStatus> {
    let mut all: Vec<AlertStatus> = lifecycle::alerts(world).iter().map(|alert| status(alert)).collect();
    let order = |it: &AlertStatus| {
        let place = (it.service.clone(), it.environment.clone());
        (it.phase == Phase::Pending, it.severity.clone(), place, it.name.clone(), it.fingerprint)
    };
    all.sort_by_cached_key(order);
    all
}

fn status(alert: &Alert) -> AlertStatus {
    let label = |name: &str| alert.labels.get(name).cloned();
    let annotation = |name: &str| alert.annotations.get(name).cloned();
    let place = alert.origin.place();
    AlertStatus {
        fingerprint: Fingerprint::of(&alert.labels),
        name: label(NAME).unwrap_or_default(),
        service: place.map(|place: &Place| place.service.clone()),
        environment: place.map(|place: &Place| place.environment.clone()),
        origin: match alert.origin {
            Origin::Rule(_) => "rule",
            Origin::Objective(..) => "objective",
            Origin::Machine => "machine",
            Origin::External => "external",
        }
        .to_owned(),
        phase: alert.phase,
        severity: label(SEVERITY),
        since: alert.since,
        active_since: alert.active_since,
        summary: annotation(lifecycle::SUMMARY),
        description: annotation(lifecycle::DESCRIPTION),
        runbook: annotation(RUNBOOK),
        value: alert.value.clone(),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        generator_url: alert.generator_url.clone(),
    }
}

/// What fires, in a line each: the most urgent first, and how many more there are.
pub fn warnings(
    world: &World,
    at: Timestamp,
    wanted: impl Fn(Option<&ServiceName>, Option<&EnvironmentName>) -> bool,
) -> Vec<String> {
    let firing = alerts(world).into_iter().filter(|it| it.phase == Phase::Firing);
    let firing: Vec<AlertStatus> =
        firing.filter(|it| wanted(it.service.as_ref(), it.environment.as_ref())).collect();
    let line = |it: &AlertStatus| {
        let severity = it.severity.as_ref().map_or_else(String::new, |severity| format!("{severity} "));
        let summary = it.summary.as_ref().map_or_else(String::new, |summary| format!(": {summary}"));
        let length = format_duration(Duration::from_secs(at.since(it.since).as_secs()));
        format!("{severity}{} fires for {length}{summary}", it.name)
    };
    let mut lines: Vec<String> = firing.iter().take(MOST_WARNINGS).map(line).collect();
    let more = firing.len().saturating_sub(MOST_WARNINGS);
    if more > 0 {
        lines.push(format!("{more} more alerts fire: `shipshape alerts` lists them"));
    }
    lines
}
