//! Alerts: those of rules at places, those of objectives, and those that somebody outside told of, in one form. Lives
//! here: which are pending or firing, as the journal says. Does not live here: when a rule holds (`watch` for objectives,
//! `telemetry/alerting` for the others), and who is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::alert::{Fingerprint, Labels, NAME, RUNBOOK, SEVERITY};
use model::time::format_duration;
use model::{ObjectiveName, Place, Timestamp};
use serde::{Deserialize, Serialize};
use watch::alert::{Phase, To, can_become};
use watch::burn::{Cause, Rule};

use crate::event::Event;
use crate::world::{Illegal, World};

/// The label that names the service of an alert that has a place.
pub const APP: &str = "app";
/// The label that names the environment of an alert that has a place.
pub const ENVIRONMENT: &str = "environment";
/// The label that names the objective of an alert that has one.
pub const OBJECTIVE: &str = "objective";
/// The annotation that says what it is, in a sentence.
pub const SUMMARY: &str = "summary";
/// The annotation that says more.
pub const DESCRIPTION: &str = "description";
/// What alerts of objectives are called whose budget burns.
pub const BURN: &str = "ErrorBudgetBurn";
/// What alerts of objectives are called of which nothing is measured.
pub const BLIND: &str = "ObjectiveNoData";
/// The most alerts of rules at one place, and of those that have none. More are not taken.
pub const MOST_ALERTS: usize = 1_000;

/// An alert came to stand elsewhere: what happened, and what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Where its rule stands; `None` of one of the machine, or that somebody outside told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whether its rule is about the machine, and so about no place more than about another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub machine: bool,
    /// Which one it is: with its place, its identity.
    pub labels: Labels,
    /// What to know of it; nothing of one that is over.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// Where it stands now.
    pub to: To,
    /// What its rule's expression gave, as Prometheus writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Since when, where whoever told of it knows better than the time of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Where it comes from, as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_url: Option<String>,
}

/// Which alert it is, among those of rules and from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Where its rule stands; `None` of one of the machine, or from outside.
    pub place: Option<Place>,
    /// That of its labels.
    pub fingerprint: Fingerprint,
}

impl Changed {
    /// That one is over: a rule's alert where it has a place, else one of the machine, or from outside.
    pub fn resolved(place: Option<Place>, machine: bool, labels: Labels) -> Self {
        let (annotations, to) = (Labels::new(), To::Resolved);
        Self { place, machine, labels, annotations, to, value: None, starts_at: None, generator_url: None }
    }

    /// Which alert it is.
    pub fn key(&self) -> Key {
        Key { place: self.place.clone(), fingerprint: Fingerprint::of(&self.labels) }
    }
}

/// Who says that there is something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A rule at a place; its name is the label `alertname`.
    Rule(Place),
    /// An objective at a place.
    Objective(Place, ObjectiveName),
    /// A rule about the machine; its name is the label `alertname`.
    Machine,
    /// Somebody outside.
    External,
}

impl Origin {
    /// Where, unless it is of the machine or comes from outside.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Rule(place) | Self::Objective(place, _) => Some(place),
            Self::Machine | Self::External => None,
        }
    }
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Who says so.
    pub origin: Origin,
    /// Where it stands.
    pub phase: Phase,
    /// Since when its rule holds: Prometheus' `activeAt`.
    pub active_since: Timestamp,
    /// Since when it stands where it stands.
    pub since: Timestamp,
    /// Which one it is.
    pub labels: Labels,
    /// What to know of it.
    pub annotations: Labels,
    /// What its rule's expression gave when it came to stand there.
    pub value: Option<String>,
    /// Where it comes from, as an address.
    pub generator_url: Option<String>,
}

impl Alert {
    /// The form that everybody knows, of one that fires.
    fn told(&self) -> model::alert::Alert {
        model::alert::Alert {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            starts_at: self.since,
            ends_at: None,
            generator_url: self.generator_url.clone(),
        }
    }
}

/// The alerts of rules and from outside that are not inactive. Cheap to clone.
pub type Alerts = BTreeMap<Key, Arc<Alert>>;

/// What planners and whoever tells from outside ask becomes events; what was overtaken is left out, and what would be too many.
pub(crate) fn decide(world: &World, changes: Vec<Changed>) -> Vec<Event> {
    let mut phases: BTreeMap<Key, Option<Phase>> = BTreeMap::new();
    let mut counts: BTreeMap<Option<Place>, usize> = BTreeMap::new();
    for key in world.alerts.keys() {
        *counts.entry(key.place.clone()).or_default() += 1;
    }
    let is_known = |place: &Place| world.lanes.contains_key(place);
    let mut events = Vec::new();
    for changed in changes {
        let key = changed.key();
        let known = || world.alerts.get(&key).map(|alert| alert.phase);
        let from = phases.get(&key).copied().unwrap_or_else(known);
        let count = counts.entry(key.place.clone()).or_default();
        let has_room = from.is_some() || (*count < MOST_ALERTS && key.place.as_ref().is_none_or(is_known));
        if !can_become(from, changed.to) || !has_room {
            continue;
        }
        let to = match changed.to {
            To::Pending => Some(Phase::Pending),
            To::Firing => Some(Phase::Firing),
            To::Resolved => None,
        };
        match (from, to) {
            (None, Some(_)) => *count += 1,
            (Some(_), None) => *count -= 1,
            (Some(_), Some(_)) | (None, None) => {}
        }
        phases.insert(key, to);
        events.push(Event::AlertChanged(changed));
    }
    events
}

/// Moves what is known of an alert.
pub(crate) fn apply(alerts: &mut Alerts, changed: &Changed, at: Timestamp) -> Result<(), Illegal> {
    let key = changed.key();
    let before = alerts.get(&key);
    let from = before.map(|alert| alert.phase);
    if !can_become(from, changed.to) {
        let name = changed.labels.get(NAME).map_or("?", String::as_str);
        let to = changed.to;
        return Err(Illegal(format!(
            "the alert {name} ({}) cannot become {to:?} from {from:?}",
            key.fingerprint
        )));
    }
    let phase = match changed.to {
        To::Pending => Phase::Pending,
        To::Firing => Phase::Firing,
        To::Resolved => {
            alerts.remove(&key);
            return Ok(());
        }
    };
    let since = changed.starts_at.unwrap_or(at);
    let alert = Alert {
        origin: match (&changed.place, changed.machine) {
            (Some(place), _) => Origin::Rule(place.clone()),
            (None, true) => Origin::Machine,
            (None, false) => Origin::External,
        },
        phase,
        active_since: before.map_or(since, |alert| alert.active_since),
        since,
        labels: changed.labels.clone(),
        annotations: changed.annotations.clone(),
        value: changed.value.clone(),
        generator_url: changed.generator_url.clone(),
    };
    alerts.insert(key, Arc::new(alert));
    Ok(())
}

/// Everything that is pending or firing: of rules, from outside, of objectives, and of those who are told.
pub fn alerts(world: &World) -> Vec<Arc<Alert>> {
    let states = world
        .objectives
        .iter()
        .flat_map(|(place, states)| states.iter().map(move |(name, state)| (place, name, &state.alerts)));
    let of_objectives = states.flat_map(|(place, name, alerts)| {
        alerts.iter().map(move |(rule, alert)| Arc::new(of_objective(place, name, *rule, alert)))
    });
    let of_ways = paging::selftest::alerts(&world.paging)
        .into_iter()
        .map(|(place, alert)| Arc::new(of_way(place, alert)));
    world.alerts.values().cloned().chain(of_objectives).chain(of_ways).collect()
}

/// What fires now, in the form that everybody knows: of rules, from outside, and of objectives.
pub fn firing(world: &World) -> Vec<model::alert::Alert> {
    let all = alerts(world);
    let firing = all.iter().filter(|alert| alert.phase == Phase::Firing);
    firing.map(|alert| alert.told()).collect()
}

/// The labels of whatever has a place.
pub fn labels_at(place: &Place) -> Labels {
    Labels::from([
        (APP.to_owned(), place.service.to_string()),
        (ENVIRONMENT.to_owned(), place.environment.to_string()),
    ])
}

/// A test of who is told, or that there was none for too long.
fn of_way(place: Place, alert: model::alert::Alert) -> Alert {
    Alert {
        origin: Origin::Rule(place),
        phase: Phase::Firing,
        active_since: alert.starts_at,
        since: alert.starts_at,
        labels: alert.labels,
        annotations: alert.annotations,
        value: None,
        generator_url: alert.generator_url,
    }
}

fn of_objective(place: &Place, name: &ObjectiveName, rule: Rule, alert: &watch::alert::Alert) -> Alert {
    let (alertname, runbook) = match rule {
        Rule::Burn(_) => (BURN, "error-budget-burn"),
        Rule::NoData => (BLIND, "no-data"),
    };
    let mut labels = labels_at(place);
    labels.insert(NAME.to_owned(), alertname.to_owned());
    labels.insert(SEVERITY.to_owned(), alert.severity.name().to_owned());
    labels.insert(OBJECTIVE.to_owned(), name.to_string());
    let (summary, description) = in_words(place, name, rule, alert.cause);
    let annotations = Labels::from([
        (SUMMARY.to_owned(), summary),
        (DESCRIPTION.to_owned(), description),
        (RUNBOOK.to_owned(), runbook.to_owned()),
    ]);
    Alert {
        origin: Origin::Objective(place.clone(), name.clone()),
        phase: alert.phase,
        active_since: alert.since,
        since: alert.since,
        labels,
        annotations,
        value: alert.cause.map(|cause| thousandths(cause.burn)),
        generator_url: None,
    }
}

fn in_words(place: &Place, name: &ObjectiveName, rule: Rule, cause: Option<Cause>) -> (String, String) {
    let ask = format!("`shipshape slo -e {}` says how much of the budget is left.", place.environment);
    match (rule, cause) {
        (Rule::NoData, _) => (
            format!("nothing is measured for the objective {name} of {place}"),
            format!("Nobody knows whether {name} of {place} is kept: nothing was counted lately. {ask}"),
        ),
        (Rule::Burn(_), None) => (format!("the error budget of {name} of {place} burns too fast"), ask),
        (Rule::Burn(_), Some(cause)) => {
            let long = format_duration(cause.long);
            let burn = thousandths(cause.burn);
            let (bad, total) = (cause.bad, cause.total);
            let than = cause
                .factor
                .map_or_else(String::new, |factor| format!("; {} is too fast", thousandths(factor.into())));
            (
                format!("the error budget of {name} of {place} burns {burn} times too fast over {long}"),
                format!("Over {long}, {bad} of {total} were bad{than}. {ask}"),
            )
        }
    }
}

/// `14.4` for 14,400 thousandths.
fn thousandths(number: u64) -> String {
    let text = format!("{}.{:03}", number / 1_000, number % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
