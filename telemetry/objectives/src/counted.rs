//! What an objective counts, as selectors of counters.

use meter::{Counted, Part};
use model::objective::{Indicator, Part as Share, Query, Requests};
use model::{Objective, ObjectiveName, Place, ReleaseNumber, Timestamp};
use promql::expr::{Expr, Matcher, Test};
use promql::labels::NAME;

/// Told by the gateway with every page, whatever it has counted.
const GATEWAY: &str = "shipshape_gateway_connections";

/// Under which name an objective is counted.
pub(crate) fn key(place: &Place, objective: &ObjectiveName) -> String {
    format!("{place}/{objective}")
}

/// A release whose part in an objective is counted by itself, and since when.
pub(crate) struct Own {
    pub(crate) key: String,
    pub(crate) release: ReleaseNumber,
    pub(crate) since: Timestamp,
}

/// What is counted for an objective.
///
/// # Errors
/// When it cannot be counted, with the reason.
pub(crate) fn counted(place: &Place, objective: &Objective) -> Result<Counted, String> {
    of(place, objective, key(place, &objective.name), &[])
}

/// What is counted of one release; `None` where nobody tells which release served.
pub(crate) fn counted_of(place: &Place, objective: &Objective, own: &Own) -> Option<Counted> {
    let version = equal("version", &own.release.to_string());
    match &objective.indicator {
        Indicator::Availability(_) | Indicator::Latency { .. } => {
            let counted = of(place, objective, own.key.clone(), &[version]).ok()?;
            Some(Counted { since: Some(own.since.as_micros() / 1_000), ..counted })
        }
        Indicator::Ratio { .. } | Indicator::Probe { .. } => None,
    }
}

fn of(place: &Place, objective: &Objective, name: String, also: &[Matcher]) -> Result<Counted, String> {
    let at = |metric: &str, more: &[Matcher]| {
        let app = [
            equal(NAME, metric),
            equal("app", place.service.as_str()),
            equal("environment", place.environment.as_str()),
        ];
        app.iter().chain(more).chain(also).cloned().collect::<Vec<_>>()
    };
    let gateway = Some(GATEWAY.to_owned());
    let (part, whole, pulse) = match &objective.indicator {
        Indicator::Availability(requests) => {
            let these = these(requests)?;
            let failed: Vec<Matcher> = these.iter().cloned().chain([equal("status_class", "5xx")]).collect();
            let part = Part::Bad(at("http_requests_total", &failed));
            (part, at("http_requests_total", &these), gateway)
        }
        Indicator::Latency { within, requests } => {
            let these = these(requests)?;
            let bound = equal("le", &within.as_secs_f64().to_string());
            let quick: Vec<Matcher> = these.iter().cloned().chain([bound]).collect();
            let part = Part::Good(at("http_request_duration_seconds_bucket", &quick));
            (part, at("http_request_duration_seconds_count", &these), gateway)
        }
        Indicator::Ratio { part, total } => {
            let part = match part {
                Share::Good(query) => Part::Good(selector(query)?),
                Share::Bad(query) => Part::Bad(selector(query)?),
            };
            (part, selector(total)?, None)
        }
        Indicator::Probe { name } => {
            let probe = [equal("probe", name)];
            let part = Part::Bad(at("probe_failures_total", &probe));
            (part, at("probe_attempts_total", &probe), None)
        }
    };
    Ok(Counted { name, part, whole, pulse, since: None })
}

/// The requests that an objective is about.
fn these(requests: &Requests) -> Result<Vec<Matcher>, String> {
    let one_of = |label: &str, values: &[String]| match values {
        [] => Ok(None),
        [only] => Ok(Some(equal(label, only))),
        several => {
            let escaped: Vec<String> = several.iter().map(|value| regex::escape(value)).collect();
            let quoted = escaped.join("|").replace('\\', "\\\\").replace('"', "\\\"");
            plain(&format!("{{{label}=~\"{quoted}\"}}")).map(|matchers| matchers.into_iter().next())
        }
    };
    let both: Result<Vec<_>, String> =
        [one_of("route", &requests.routes), one_of("method", &requests.methods)].into_iter().collect();
    Ok(both?.into_iter().flatten().collect())
}

fn selector(query: &Query) -> Result<Vec<Matcher>, String> {
    let Query::Counter(text) = query else {
        return Err(format!(
            "{} is an expression over a range, which is not counted yet: name the counters themselves",
            query.text()
        ));
    };
    plain(text)
}

/// The matchers of a plain selector.
fn plain(text: &str) -> Result<Vec<Matcher>, String> {
    let read = promql::read(text).map_err(|error| error.to_string())?;
    let Expr::Instant(selector) = read else {
        return Err(format!("{text} is no plain selector of counters"));
    };
    match (selector.offset, selector.at) {
        (0, None) => Ok(selector.matchers),
        _ => Err(format!("{text} asks for another time than now")),
    }
}

fn equal(name: &str, value: &str) -> Matcher {
    Matcher { name: name.to_owned(), test: Test::Equal(value.to_owned()) }
}
