//! What an objective counts: selectors of counters where its indicator can be told by such, questions for each minute where
//! it cannot.

use std::time::Duration;

use meter::{Counted, Part, Question, What};
use model::objective::{Indicator, Part as Share, Query, Requests, WINDOW_PLACEHOLDER};
use model::spec::Metrics;
use model::{Objective, ObjectiveName, Place, ReleaseNumber, Timestamp};
use promql::expr::{Expr, Matcher, Test};
use promql::labels::NAME;

/// Told by the gateway with every page, whatever it has counted.
const GATEWAY: &str = "shipshape_gateway_connections";

/// What stands around a selector in a query that adds up nothing but increases; such counters are counted themselves.
const SUMS: [(&str, &str); 2] = [("sum(increase(", "[$__window]))"), ("sum(rate(", "[$__window]))")];
/// The range of questions to a server: pages of many are read once a minute, and a rate needs several samples.
const RANGE_ELSEWHERE: Duration = Duration::from_secs(300);
/// So many samples have to be in the range of a question for sure.
const SAMPLES_IN_RANGE: u32 = 4;

/// Who has the metrics of a place, and how often they are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measuring {
    /// A server has them, under the name of the place.
    is_elsewhere: bool,
    /// Of replicas' own pages.
    interval: Duration,
}

impl Measuring {
    pub(crate) fn of(metrics: Option<&Metrics>) -> Self {
        let interval = metrics.and_then(|metrics| metrics.scrape.as_ref()).map(|scrape| scrape.interval);
        Self {
            is_elsewhere: metrics.is_some_and(|metrics| metrics.prometheus.is_some()),
            interval: interval.unwrap_or_default(),
        }
    }

    /// The range of a question for a minute, in whole minutes.
    fn range(&self) -> Duration {
        if self.is_elsewhere {
            return RANGE_ELSEWHERE;
        }
        let minutes = (self.interval * SAMPLES_IN_RANGE).as_secs().div_ceil(60);
        Duration::from_secs(minutes.max(1) * 60)
    }
}

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
pub(crate) fn counted(
    place: &Place,
    objective: &Objective,
    measuring: &Measuring,
) -> Result<Counted, String> {
    of(place, objective, measuring, key(place, &objective.name), &[])
}

/// What is counted of one release; `None` where nobody tells which release served.
pub(crate) fn counted_of(place: &Place, objective: &Objective, own: &Own) -> Option<Counted> {
    let version = equal("version", &own.release.to_string());
    match &objective.indicator {
        Indicator::Availability(_) | Indicator::Latency { .. } => {
            // The gateway's own, wherever others are.
            let measuring = Measuring::of(None);
            let counted = of(place, objective, &measuring, own.key.clone(), &[version]).ok()?;
            Some(Counted { since: Some(own.since.as_micros() / 1_000), ..counted })
        }
        Indicator::Ratio { .. } | Indicator::Probe { .. } => None,
    }
}

fn of(
    place: &Place,
    objective: &Objective,
    measuring: &Measuring,
    name: String,
    also: &[Matcher],
) -> Result<Counted, String> {
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
            let server = measuring.is_elsewhere.then(|| place.to_string());
            return Ok(Counted { name, what: asked(part, total, measuring)?, server, since: None });
        }
        Indicator::Probe { name } => {
            let probe = [equal("probe", name)];
            let part = Part::Bad(at("probe_failures_total", &probe));
            (part, at("probe_attempts_total", &probe), None)
        }
    };
    Ok(Counted { name, what: What::Counters { part, whole, pulse }, server: None, since: None })
}

/// What queries count. Both as counters, or both as questions: events of one kind are compared.
fn asked(part: &Share, total: &Query, measuring: &Measuring) -> Result<What, String> {
    let (Share::Good(query) | Share::Bad(query)) = part;
    if let (Some(one), Some(whole)) = (counters(query)?, counters(total)?) {
        let part = if is_good(part) { Part::Good(one) } else { Part::Bad(one) };
        return Ok(What::Counters { part, whole, pulse: None });
    }
    let one = question(query, measuring);
    let part = if is_good(part) { Part::Good(one) } else { Part::Bad(one) };
    Ok(What::Answers { part, whole: question(total, measuring) })
}

fn is_good(part: &Share) -> bool {
    matches!(part, Share::Good(_))
}

/// The matchers of the counters that a query adds up, if that is all it does.
fn counters(query: &Query) -> Result<Option<Vec<Matcher>>, String> {
    let text = match query {
        Query::Counter(text) => return plain(text).map(Some),
        Query::Windowed(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let inner = |(before, after): &(&str, &str)| text.strip_prefix(before)?.strip_suffix(after);
    let selector = SUMS.iter().find_map(inner).filter(|inner| !inner.contains(WINDOW_PLACEHOLDER));
    Ok(selector.and_then(|selector| plain(selector.trim()).ok()))
}

/// What is asked for each minute: events in a range, of which a minute has its share, or events a second.
fn question(query: &Query, measuring: &Measuring) -> Question {
    let range = measuring.range();
    let text = query.text();
    let is_per_second =
        matches!(query, Query::Windowed(_)) && text.contains("rate(") && !text.contains("increase(");
    let times = if is_per_second { 60.0 } else { 60.0 / range.as_secs_f64() };
    Question { query: query.over(range), times }
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

    fn here(objective: &Objective) -> Result<Counted, String> {
        counted(&place(), objective, &Measuring::of(None))
    }

    fn part(counted: &Counted) -> &Part<Vec<Matcher>> {
        match &counted.what {
            What::Counters { part, .. } => part,
            What::Answers { .. } => panic!("{counted:?}"),
        }
    }

    fn whole(counted: &Counted) -> &[Matcher] {
        match &counted.what {
            What::Counters { whole, .. } => whole,
            What::Answers { .. } => panic!("{counted:?}"),
        }
    }

    #[test]
    fn availability_counts_the_failed_of_the_requests_that_it_is_about() {
        let requests = Requests {
            routes: vec!["/orders/{id}".to_owned(), "/a.b".to_owned()],
            methods: vec!["POST".to_owned()],
        };
        let counted = here(&objective(Indicator::Availability(requests))).unwrap();
        let series = |route, class| {
            [(NAME, "http_requests_total"), ("route", route), ("method", "POST"), ("status_class", class)]
        };
        assert!(selects(whole(&counted), &series("/orders/{id}", "2xx")));
        assert!(selects(whole(&counted), &series("/a.b", "5xx")));
        assert!(!selects(whole(&counted), &series("/axb", "5xx")), "a route is no pattern");
        assert!(matches!(part(&counted), Part::Bad(bad) if selects(bad, &series("/a.b", "5xx"))));
        assert!(matches!(part(&counted), Part::Bad(bad) if !selects(bad, &series("/a.b", "4xx"))));
        assert_eq!(counted.name, "shop/production/a");
    }

    #[test]
    fn latency_counts_by_the_bound_as_the_gateway_writes_it() {
        for (within, bound) in [(250_000, "0.25"), (1_000_000, "1"), (250, "0.00025"), (60_000_000, "60")] {
            let latency =
                Indicator::Latency { within: Duration::from_micros(within), requests: Requests::default() };
            let counted = here(&objective(latency)).unwrap();
            let bucket = [(NAME, "http_request_duration_seconds_bucket"), ("le", bound)];
            assert!(matches!(part(&counted), Part::Good(good) if selects(good, &bucket)), "{bound}");
        }
    }

    #[test]
    fn a_release_is_counted_by_its_version_where_somebody_tells_it() {
        let own =
            Own { key: "k".to_owned(), release: ReleaseNumber(7), since: Timestamp::from_micros(5_000) };
        let requests = objective(Indicator::Availability(Requests::default()));
        let counted = counted_of(&place(), &requests, &own).unwrap();
        let series = |version| [(NAME, "http_requests_total"), ("version", version)];
        assert!(selects(whole(&counted), &series("7")) && !selects(whole(&counted), &series("6")));
        assert_eq!((counted.name.as_str(), counted.since), ("k", Some(5)));
        assert!(
            counted_of(&place(), &objective(Indicator::Probe { name: "home".to_owned() }), &own).is_none()
        );
    }

    fn query(text: &str) -> Query {
        if text.contains('[') { Query::Windowed(text.to_owned()) } else { Query::Counter(text.to_owned()) }
    }

    fn ratio(good: &str, total: &str, measuring: &Measuring) -> Result<Counted, String> {
        let part = Share::Good(query(good));
        counted(&place(), &objective(Indicator::Ratio { part, total: query(total) }), measuring)
    }

    #[test]
    fn sums_of_increases_are_counted_by_their_counters() {
        let here = Measuring::of(None);
        let good = "sum(rate( jobs_total{result=~\"done|late\"}[$__window]))";
        let counted = ratio(good, "sum(increase(jobs_total[$__window]))", &here).unwrap();
        assert!(selects(whole(&counted), &[(NAME, "jobs_total"), ("result", "lost")]));
        assert!(
            matches!(part(&counted), Part::Good(good) if selects(good, &[(NAME, "jobs_total"), ("result", "late")]))
        );
        assert!(
            matches!(part(&counted), Part::Good(good) if !selects(good, &[(NAME, "jobs_total"), ("result", "lost")]))
        );
    }

    #[test]
    fn other_queries_are_asked_for_each_minute() {
        let asked = |good: &str, total: &str, measuring: &Measuring| match ratio(good, total, measuring) {
            Ok(Counted { what: What::Answers { part: Part::Good(good), whole }, server, .. }) => {
                (good.query, good.times, whole.query, whole.times, server)
            }
            other => panic!("{other:?}"),
        };
        let sum = "sum(rate(a[$__window])) - sum(rate(b[$__window]))";
        let here = asked(sum, "a", &Measuring::of(None));
        let expected = (
            "sum(rate(a[1m])) - sum(rate(b[1m]))".to_owned(),
            60.0,
            "sum(increase(a[1m]))".to_owned(),
            1.0,
            None,
        );
        assert_eq!(here, expected);
        let theirs = Measuring { is_elsewhere: true, interval: Duration::ZERO };
        let there = asked(sum, "sum by () (increase(a[$__window]))", &theirs);
        assert_eq!((there.2.as_str(), there.3), ("sum by () (increase(a[5m]))", 0.2));
        assert_eq!(there.4.as_deref(), Some("shop/production"));
        let slow = Measuring { is_elsewhere: false, interval: Duration::from_secs(30) };
        assert_eq!(asked(sum, "a", &slow).2, "sum(increase(a[2m]))");
    }

    #[test]
    fn what_is_not_counted_says_why() {
        let here = Measuring::of(None);
        assert!(ratio("jobs_total{result=\"done\"}", "jobs_total", &here).is_ok());
        assert!(ratio("jobs_total offset 5m", "jobs_total", &here).unwrap_err().contains("another time"));
        assert!(ratio("sum(jobs_total)", "jobs_total", &here).unwrap_err().contains("no plain selector"));
    }
}
