//! What fires, in Alertmanager's form: with who is told, and what keeps it from being told.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use http::StatusCode;
use model::alert::{Alert, Fingerprint};
use model::matcher::{Matcher, Ready};
use paging::Muted;
use serde_json::{Value, json};

use crate::intake::HOLDS;
use crate::{Backend, Refused, Told};

/// Which alerts are asked for.
struct Filter {
    matchers: Vec<Ready>,
    receiver: Option<String>,
    active: bool,
    silenced: bool,
    inhibited: bool,
}

impl Filter {
    fn read(query: Option<&str>) -> Result<Self, Refused> {
        let mut filter =
            Self { matchers: vec![], receiver: None, active: true, silenced: true, inhibited: true };
        for (name, value) in form(query.unwrap_or_default()) {
            let flag = || {
                value
                    .parse::<bool>()
                    .map_err(|_| bad(format!("`{name}` is `true` or `false`, not {value:?}")))
            };
            match name.as_str() {
                "filter" => filter.matchers.push(matcher(&value)?),
                "receiver" if !value.is_empty() => filter.receiver = Some(value),
                "active" => filter.active = flag()?,
                "silenced" => filter.silenced = flag()?,
                "inhibited" => filter.inhibited = flag()?,
                // Alertmanager has more, which do not change what there is.
                _ => {}
            }
        }
        Ok(filter)
    }

    fn holds(&self, alert: &Alert, told: &Told) -> bool {
        let fingerprint = alert.fingerprint();
        let is_shown = match told.muted.get(&fingerprint) {
            None => self.active,
            Some(Muted::Silenced(_)) => self.silenced,
            Some(Muted::Inhibited(_)) => self.inhibited,
        };
        let receivers = told.taken.get(&fingerprint);
        // Alertmanager takes an expression here; `amtool` sends a name.
        let is_told = self.receiver.as_ref().is_none_or(|name| {
            let name = name.trim_start_matches('^').trim_end_matches('$');
            name == ".*" || receivers.is_some_and(|all| all.contains(name))
        });
        is_shown && is_told && self.matchers.iter().all(|matcher| matcher.holds(&alert.labels))
    }
}

pub(crate) fn bad(what: String) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, what)
}

pub(crate) fn matcher(text: &str) -> Result<Ready, Refused> {
    let matcher: Matcher = text.parse().map_err(bad)?;
    matcher.compile().map_err(bad)
}

/// The pairs of a query.
pub(crate) fn form(query: &str) -> Vec<(String, String)> {
    let decoded = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(
        &format!("/?{query}").parse().unwrap_or_default(),
    );
    decoded.map(|pairs| pairs.0).unwrap_or_default()
}

pub(crate) async fn alerts_firing(backend: &Backend) -> Vec<Alert> {
    let world = backend.control.snapshot().world.clone();
    let mut all = lifecycle::firing(&world);
    all.sort_by_key(Alert::fingerprint);
    all.dedup_by_key(|alert| alert.fingerprint());
    all
}

pub(crate) async fn alerts(
    State(backend): State<Backend>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Value>>, Refused> {
    let filter = Filter::read(query.as_deref())?;
    let told = (backend.told)();
    let all = alerts_firing(&backend).await;
    let shown = all.iter().filter(|alert| filter.holds(alert, &told));
    Ok(Json(shown.map(|alert| one(&backend, alert, &told)).collect()))
}

fn one(backend: &Backend, alert: &Alert, told: &Told) -> Value {
    let fingerprint: Fingerprint = alert.fingerprint();
    let receivers: Vec<Value> = receivers_of(told, fingerprint).map(|name| json!({"name": name})).collect();
    let (mut silenced, mut inhibited) = (vec![], vec![]);
    match told.muted.get(&fingerprint) {
        Some(Muted::Silenced(id)) => silenced.push(id.uuid()),
        Some(Muted::Inhibited(by)) => inhibited.push(by.to_string()),
        None => {}
    }
    let state = if told.muted.contains_key(&fingerprint) { "suppressed" } else { "active" };
    let now = backend.clock.now();
    json!({
        "annotations": alert.annotations,
        "endsAt": backend.intake.until(fingerprint).unwrap_or_else(|| now.after(HOLDS)),
        "fingerprint": fingerprint,
        "receivers": receivers,
        "startsAt": alert.starts_at,
        "status": {"inhibitedBy": inhibited, "silencedBy": silenced, "state": state},
        "updatedAt": now,
        "generatorURL": alert.generator_url.as_deref().unwrap_or_default(),
        "labels": alert.labels,
    })
}

fn receivers_of(told: &Told, fingerprint: Fingerprint) -> impl Iterator<Item = &String> {
    told.taken.get(&fingerprint).into_iter().flatten()
}

/// By receiver and name: what belongs together to whoever reads, whatever each route groups by.
pub(crate) async fn groups(
    State(backend): State<Backend>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Value>>, Refused> {
    let filter = Filter::read(query.as_deref())?;
    let told = (backend.told)();
    let all = alerts_firing(&backend).await;
    let mut groups: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for alert in all.iter().filter(|alert| filter.holds(alert, &told)) {
        let name = alert.labels.get(model::alert::NAME).cloned().unwrap_or_default();
        for receiver in receivers_of(&told, alert.fingerprint()) {
            let group = groups.entry((receiver.clone(), name.clone())).or_default();
            group.push(one(&backend, alert, &told));
        }
    }
    let group = |((receiver, name), alerts): ((String, String), Vec<Value>)| json!({"receiver": {"name": receiver}, "labels": {model::alert::NAME: name}, "alerts": alerts});
    Ok(Json(groups.into_iter().map(group).collect()))
}

pub(crate) async fn receivers(State(backend): State<Backend>) -> Json<Vec<Value>> {
    let world = backend.control.snapshot().world.clone();
    let names: std::collections::BTreeSet<String> =
        lifecycle::told(&world).into_values().flat_map(|notify| notify.receivers.into_keys()).collect();
    Json(names.into_iter().map(|name| json!({"name": name})).collect())
}
