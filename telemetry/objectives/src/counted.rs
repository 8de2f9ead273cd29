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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::objective::Target;
    use promql::Labels;

    use super::*;

    fn place() -> Place {
        Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() }
    }

    fn objective(indicator: Indicator) -> Objective {
        Objective::new("a".parse().unwrap(), indicator, Target::from_parts(990_000).unwrap())
    }

    fn selects(matchers: &[Matcher], labels: &[(&str, &str)]) -> bool {
        let own = [("app", "shop"), ("environment", "production")];
        let labels = Labels::new(own.into_iter().chain(labels.iter().copied()));
        matchers.iter().all(|matcher| matcher.selects(&labels))
    }

    #[test]
    fn availability_counts_the_failed_of_the_requests_that_it_is_about() {
        let requests = Requests {
            routes: vec!["/orders/{id}".to_owned(), "/a.b".to_owned()],
            methods: vec!["POST".to_owned()],
        };
        let counted = counted(&place(), &objective(Indicator::Availability(requests))).unwrap();
        let series = |route, class| {
            [(NAME, "http_requests_total"), ("route", route), ("method", "POST"), ("status_class", class)]
        };
        assert!(selects(&counted.whole, &series("/orders/{id}", "2xx")));
        assert!(selects(&counted.whole, &series("/a.b", "5xx")));
        assert!(!selects(&counted.whole, &series("/axb", "5xx")), "a route is no pattern");
        assert!(matches!(&counted.part, Part::Bad(bad) if selects(bad, &series("/a.b", "5xx"))));
        assert!(matches!(&counted.part, Part::Bad(bad) if !selects(bad, &series("/a.b", "4xx"))));
        assert_eq!(counted.name, "shop/production/a");
    }

    #[test]
    fn latency_counts_by_the_bound_as_the_gateway_writes_it() {
        for (within, bound) in [(250_000, "0.25"), (1_000_000, "1"), (250, "0.00025"), (60_000_000, "60")] {
            let latency =
                Indicator::Latency { within: Duration::from_micros(within), requests: Requests::default() };
            let counted = counted(&place(), &objective(latency)).unwrap();
            let bucket = [(NAME, "http_request_duration_seconds_bucket"), ("le", bound)];
            assert!(matches!(&counted.part, Part::Good(good) if selects(good, &bucket)), "{bound}");
        }
    }

    #[test]
    fn a_release_is_counted_by_its_version_where_somebody_tells_it() {
        let own =
            Own { key: "k".to_owned(), release: ReleaseNumber(7), since: Timestamp::from_micros(5_000) };
        let requests = objective(Indicator::Availability(Requests::default()));
        let counted = counted_of(&place(), &requests, &own).unwrap();
        let series = |version| [(NAME, "http_requests_total"), ("version", version)];
        assert!(selects(&counted.whole, &series("7")) && !selects(&counted.whole, &series("6")));
        assert_eq!((counted.name.as_str(), counted.since), ("k", Some(5)));
        assert!(
            counted_of(&place(), &objective(Indicator::Probe { name: "home".to_owned() }), &own).is_none()
        );
    }

    #[test]
    fn what_is_not_counted_says_why() {
        let query = |text: &str| match text.contains('[') {
            true => Query::Windowed(text.to_owned()),
            false => Query::Counter(text.to_owned()),
        };
        let ratio = |good: &str| {
            let part = Share::Good(query(good));
            counted(&place(), &objective(Indicator::Ratio { part, total: query("jobs_total") }))
        };
        assert!(ratio("jobs_total{result=\"done\"}").is_ok());
        assert!(ratio("sum(increase(jobs_total[$__window]))").unwrap_err().contains("not counted yet"));
        assert!(ratio("jobs_total offset 5m").unwrap_err().contains("another time"));
        assert!(ratio("sum(jobs_total)").unwrap_err().contains("no plain selector"));
    }
}
