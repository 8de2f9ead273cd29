//! How alerts are written for others: the body of Alertmanager's webhook, version 4, and that of its `POST /api/v2/alerts`.

use std::time::Duration;

use model::Timestamp;
use model::alert::{Alert, Labels};
use paging::Notification;
use serde::Serialize;
use serde_json::{Value, json};

/// How many alerts of one group a webhook is told; how many more there are it learns, too.
pub const MOST_ALERTS: usize = 500;
/// How many alerts an Alertmanager is told at once.
pub const BATCH: usize = 256;
/// An Alertmanager that hears no more of an alert takes it as over after this.
const LIVES: Duration = Duration::from_secs(240);
/// What stands where an alert has not ended.
const OPEN: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Webhook<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
    status: &'static str,
    receiver: &'a str,
    group_labels: &'a Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<Value>,
}

/// The body that a webhook gets. `external_url` is where a person finds Shipshape, if anywhere.
pub fn webhook(told: &Notification, external_url: &str) -> Vec<u8> {
    let all = || told.firing.iter().chain(&told.resolved);
    let status = if told.firing.is_empty() { "resolved" } else { "firing" };
    let alerts = all().take(MOST_ALERTS).map(|alert| {
        json!({
            "status": if alert.ends_at.is_some() { "resolved" } else { "firing" },
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": alert.starts_at,
            "endsAt": alert.ends_at.map_or_else(|| OPEN.to_owned(), |at| at.to_string()),
            "generatorURL": alert.generator_url.as_deref().unwrap_or_default(),
            "fingerprint": alert.fingerprint(),
        })
    });
    let body = Webhook {
        version: "4",
        group_key: told.key.to_string(),
        truncated_alerts: all().count().saturating_sub(MOST_ALERTS),
        status,
        receiver: &told.key.receiver,
        group_labels: &told.key.labels,
        common_labels: common(all().map(|alert| &alert.labels)),
        common_annotations: common(all().map(|alert| &alert.annotations)),
        external_url,
        alerts: alerts.collect(),
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// What all have alike.
fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Labels {
    let mut common = all.next().cloned().unwrap_or_default();
    for labels in all {
        common.retain(|name, value| labels.get(name) == Some(value));
    }
    common
}

/// The bodies that an Alertmanager gets, in order.
pub fn alertmanager(told: &Notification, at: Timestamp) -> Vec<Vec<u8>> {
    let all: Vec<Value> = told
        .firing
        .iter()
        .chain(&told.resolved)
        .map(|alert: &Alert| {
            json!({
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": alert.starts_at,
                "endsAt": alert.ends_at.unwrap_or_else(|| at.after(LIVES)),
                "generatorURL": alert.generator_url.as_deref().unwrap_or_default(),
            })
        })
        .collect();
    all.chunks(BATCH).map(|batch| serde_json::to_vec(batch).unwrap_or_default()).collect()
}
