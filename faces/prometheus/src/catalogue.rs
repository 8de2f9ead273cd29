//! What there is: series, labels, what metrics mean, rules, alerts, and what this is.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State as Extract};
use promql::Labels;
use rules::GroupHealth;
use serde_json::{Value, json};

use crate::answer::{Bad, Good, labels as object, list};
use crate::params::Params;
use crate::{State, alerting};

impl State {
    /// The series that a request asks for, by `match[]`, `start` and `end`.
    fn series(&self, params: &Params) -> Result<Vec<Labels>, Bad> {
        let span = (params.time("start")?.unwrap_or(i64::MIN), params.time("end")?.unwrap_or(i64::MAX));
        Ok(self.backend.store.matching(&params.selectors()?, span))
    }
}

/// At most `limit` of them, with a warning when there are more.
fn limited(mut items: Vec<String>, limit: Option<usize>) -> Good {
    let cut = limit.is_some_and(|limit| items.len() > limit);
    items.truncate(limit.unwrap_or(usize::MAX));
    let warnings = if cut { vec!["results truncated due to limit".to_owned()] } else { vec![] };
    Good { warnings, ..Good::data(list(items.into_iter())) }
}

pub(crate) async fn series(
    Extract(state): Extract<State>,
    RawQuery(address): RawQuery,
    body: Bytes,
) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &body)?;
    if params.selectors()?.is_empty() {
        return Err(Bad::parameter("match[]", "no match[] parameter provided"));
    }
    let mut found = state.series(&params)?;
    found.sort();
    Ok(limited(found.iter().map(object).collect(), params.limit()?))
}

pub(crate) async fn labels(
    Extract(state): Extract<State>,
    RawQuery(address): RawQuery,
    body: Bytes,
) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &body)?;
    let names = if params.selectors()?.is_empty() {
        state.backend.store.label_names()
    } else {
        let series = state.series(&params)?;
        sorted(series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name.to_string())))
    };
    Ok(limited(names.iter().map(|name| json!(name).to_string()).collect(), params.limit()?))
}

pub(crate) async fn values(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    RawQuery(address): RawQuery,
) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &Bytes::new())?;
    let values = if params.selectors()?.is_empty() {
        state.backend.store.label_values(&name)
    } else {
        let series = state.series(&params)?;
        sorted(series.iter().map(|labels| labels.get(&name).to_owned()).filter(|value| !value.is_empty()))
    };
    Ok(limited(values.iter().map(|value| json!(value).to_string()).collect(), params.limit()?))
}

fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
    items.collect::<std::collections::BTreeSet<String>>().into_iter().collect()
}

pub(crate) async fn metadata(
    Extract(state): Extract<State>,
    RawQuery(address): RawQuery,
) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &Bytes::new())?;
    let wanted = params.get("metric");
    let limit = params.limit()?.unwrap_or(usize::MAX);
    let families = state.backend.catalogue.families().into_iter();
    let families = families.filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name)).take(limit);
    let one = |(name, family): (String, exposition::Family)| {
        (name, json!([{"type": family.kind.name(), "help": family.help, "unit": family.unit}]))
    };
    let all: serde_json::Map<String, Value> = families.map(one).collect();
    Ok(Good::data(Value::Object(all).to_string()))
}

/// Those that are asked; one that is not asked is not known.
pub(crate) async fn targets(Extract(state): Extract<State>) -> Good {
    let one = |(address, health): (String, scrape::Health)| {
        let labels: serde_json::Map<String, Value> =
            health.labels.iter().map(|(name, value)| (name.to_string(), json!(&**value))).collect();
        let interval = format!("{}s", health.interval.as_secs_f64());
        json!({
            "discoveredLabels": {"__address__": address},
            "scrapePool": health.labels.get("job"),
            "labels": labels,
            "scrapeUrl": address,
            "globalUrl": address,
            "lastError": health.trouble.unwrap_or_default(),
            "lastScrape": time(health.at),
            "lastScrapeDuration": health.lasted.as_secs_f64(),
            "health": if health.up { "up" } else { "down" },
            "scrapeInterval": interval,
            "scrapeTimeout": interval,
        })
    };
    let active: Vec<Value> = state.backend.catalogue.targets().into_iter().map(one).collect();
    Good::data(json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}).to_string())
}

/// Prometheus names the file of a group; here that is the manifest which declares it.
pub(crate) async fn rules(Extract(state): Extract<State>, RawQuery(address): RawQuery) -> Result<Good, Bad> {
    let params = Params::of(address.as_deref(), &Bytes::new())?;
    let (alert, record) = match params.get("type") {
        Some("alert") => (true, false),
        Some("record") => (false, true),
        Some(_) | None => (true, true),
    };
    let catalogue = &state.backend.catalogue;
    let mut groups: Vec<Value> = Vec::new();
    if record {
        groups.extend(catalogue.rules().into_values().map(|health| group(&health)));
    }
    if alert {
        groups.extend(alerting::groups(catalogue.alerting()));
    }
    Ok(Good::data(json!({"groups": groups}).to_string()))
}

fn group(health: &GroupHealth) -> Value {
    let last = time(health.at.unwrap_or_default());
    let rule = |(rule, was): (&rules::Rule, &rules::RuleHealth)| {
        let state = match (health.at, &was.error) {
            (None, _) => "unknown",
            (Some(_), None) => "ok",
            (Some(_), Some(_)) => "err",
        };
        let mut shown = json!({
            "name": rule.record,
            "query": rule.expr,
            "labels": rule.labels,
            "health": state,
            "evaluationTime": was.lasted.as_secs_f64(),
            "lastEvaluation": last,
            "type": "recording",
        });
        if let (Some(error), Some(shown)) = (&was.error, shown.as_object_mut()) {
            shown.insert("lastError".to_owned(), json!(error));
        }
        shown
    };
    json!({
        "name": health.group.name,
        "file": "shipshape.yaml",
        "rules": health.group.rules.iter().zip(&health.rules).map(rule).collect::<Vec<Value>>(),
        "interval": health.group.interval.as_secs_f64(),
        "limit": 0,
        "evaluationTime": health.lasted.as_secs_f64(),
        "lastEvaluation": last,
    })
}

pub(crate) fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map(|at| at.to_string()).unwrap_or_default()
}

/// The version is Prometheus' whose answers these are: its clients choose by it what they ask for.
pub(crate) async fn build(Extract(state): Extract<State>) -> Good {
    let build = json!({
        "version": "3.5.0",
        "revision": format!("shipshape-{}", state.backend.version),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    Good::data(build.to_string())
}
