//! Rules of alerts and alerts in Prometheus' form. Does not live here: when an alert begins and ends; the catalogue knows.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State as Extract;
use serde_json::{Value, json};

use crate::State;
use crate::answer::Good;
use crate::catalogue::time;

/// Labels, or annotations.
pub type Words = BTreeMap<String, String>;

/// A rule of alerts, as it was looked at last.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertingRule {
    /// Rules of the same place stand together.
    pub group: String,
    /// Its name.
    pub name: String,
    /// What it asks.
    pub query: String,
    /// How long it has to hold before an alert fires.
    pub hold: Duration,
    /// How long an alert goes on after it held last.
    pub keep_firing: Duration,
    /// The labels that it adds.
    pub labels: Words,
    /// The annotations that it adds, with their blanks.
    pub annotations: Words,
    /// What is pending and firing of it.
    pub alerts: Vec<ActiveAlert>,
    /// Why it could not be looked at.
    pub error: Option<String>,
    /// When it was looked at, in milliseconds since 1970.
    pub at: i64,
    /// How long that took.
    pub lasted: Duration,
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAlert {
    /// Which one it is.
    pub labels: Words,
    /// What to know of it.
    pub annotations: Words,
    /// Whether it fires; otherwise it is pending.
    pub is_firing: bool,
    /// Since when its rule holds, in milliseconds since 1970.
    pub since: i64,
    /// What its expression gave.
    pub value: f64,
}

/// The groups of rules that alert.
pub(crate) fn groups(rules: Vec<AlertingRule>) -> Vec<Value> {
    let mut groups: BTreeMap<String, Vec<AlertingRule>> = BTreeMap::new();
    for rule in rules {
        groups.entry(rule.group.clone()).or_default().push(rule);
    }
    let group = |(name, rules): (String, Vec<AlertingRule>)| {
        let lasted: Duration = rules.iter().map(|rule| rule.lasted).sum();
        let last = rules.iter().map(|rule| rule.at).max().unwrap_or_default();
        json!({
            "name": name,
            "file": "shipshape.yaml",
            "rules": rules.iter().map(rule).collect::<Vec<Value>>(),
            "interval": 15.0,
            "limit": 0,
            "evaluationTime": lasted.as_secs_f64(),
            "lastEvaluation": time(last),
        })
    };
    groups.into_iter().map(group).collect()
}

fn rule(rule: &AlertingRule) -> Value {
    let state = match rule.alerts.iter().map(|alert| alert.is_firing).max() {
        Some(true) => "firing",
        Some(false) => "pending",
        None => "inactive",
    };
    let mut shown = json!({
        "state": state,
        "name": rule.name,
        "query": rule.query,
        "duration": rule.hold.as_secs_f64(),
        "keepFiringFor": rule.keep_firing.as_secs_f64(),
        "labels": rule.labels,
        "annotations": rule.annotations,
        "alerts": rule.alerts.iter().map(alert).collect::<Vec<Value>>(),
        "health": if rule.error.is_some() { "err" } else { "ok" },
        "evaluationTime": rule.lasted.as_secs_f64(),
        "lastEvaluation": time(rule.at),
        "type": "alerting",
    });
    if let (Some(error), Some(shown)) = (&rule.error, shown.as_object_mut()) {
        shown.insert("lastError".to_owned(), json!(error));
    }
    shown
}

fn alert(alert: &ActiveAlert) -> Value {
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "state": if alert.is_firing { "firing" } else { "pending" },
        "activeAt": time(alert.since),
        "value": scientific(alert.value),
    })
}

/// As Prometheus writes the value of an alert: `7e+00`.
fn scientific(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

pub(crate) async fn alerts(Extract(state): Extract<State>) -> Good {
    let all: Vec<Value> = state.backend.catalogue.alerts().iter().map(alert).collect();
    Good::data(json!({"alerts": all}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, value: &str) -> Words {
        Words::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_rule_with_its_alerts_is_told_as_prometheus_does() {
        let active = ActiveAlert {
            labels: words("alertname", "Up"),
            annotations: words("summary", "it is up"),
            is_firing: true,
            since: 1_700_000_000_000,
            value: 0.05,
        };
        let one = AlertingRule {
            group: "shop/production".to_owned(),
            name: "Up".to_owned(),
            query: "up".to_owned(),
            hold: Duration::from_secs(60),
            keep_firing: Duration::ZERO,
            labels: words("severity", "P1"),
            annotations: words("summary", "it is {{ $value }}"),
            alerts: vec![active],
            error: Some("away".to_owned()),
            at: 1_700_000_015_000,
            lasted: Duration::from_millis(2),
        };
        let quiet = AlertingRule { name: "Down".to_owned(), alerts: vec![], error: None, ..one.clone() };
        let groups = groups(vec![one, quiet]);
        assert_eq!(groups.len(), 1);
        let (loud, quiet) = (&groups[0]["rules"][0], &groups[0]["rules"][1]);
        assert_eq!((loud["state"].as_str(), loud["health"].as_str()), (Some("firing"), Some("err")));
        assert_eq!(loud["alerts"][0]["value"], "5e-02");
        assert_eq!(loud["alerts"][0]["activeAt"], "2023-11-14T22:13:20Z");
        assert_eq!((quiet["state"].as_str(), quiet["type"].as_str()), (Some("inactive"), Some("alerting")));
    }

    #[test]
    fn values_are_written_as_prometheus_does() {
        let written = [0.0, 1.0, -12_345.0, f64::INFINITY, f64::NAN].map(scientific);
        assert_eq!(written, ["0e+00", "1e+00", "-1.2345e+04", "+Inf", "NaN"]);
    }
}
