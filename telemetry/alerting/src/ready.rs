//! What ready-made rules ask of control's own store. Where the gateway's counts are divided, so many have to be bad that
//! a single client's mistake is no alert.

use std::time::Duration;

use model::alert::{Condition, Labels, ReadyMade, Rule, Threshold};
use model::latency::BOUNDS_US;
use model::objective::{Indicator, Requests};
use model::{Place, Spec};

use crate::rules::Asked;

/// So many requests have to fail within five minutes: fewer are no rate.
const LEAST_FAILED: u32 = 5;
/// So many requests have to be turned away within five minutes.
const LEAST_THROTTLED: u32 = 20;
/// Of so many requests, one of a hundred is more than one.
const LEAST_FOR_A_PERCENTILE: u32 = 200;
/// A medium that nobody can write to is always full.
const READ_ONLY: &str = "fstype!~\"iso9660|squashfs|erofs\"";

/// What a rule asks at a place; nothing where it has nothing to ask.
pub(crate) fn queries(
    place: &Place,
    spec: &Spec,
    serves: bool,
    which: ReadyMade,
    threshold: Option<Threshold>,
) -> Vec<Asked> {
    let at = format!("app=\"{}\",environment=\"{}\"", place.service, place.environment);
    let one = |query: String| vec![Asked::plain(query)];
    match which {
        ReadyMade::ErrorRate => {
            let failed = format!("http_requests_total{{{at},status_class=\"5xx\"}}");
            one(part(&failed, &at, share(threshold), LEAST_FAILED))
        }
        ReadyMade::TooManyRequests => {
            let throttled = format!("http_requests_throttled_total{{{at}}}");
            one(part(&throttled, &at, share(threshold), LEAST_THROTTLED))
        }
        ReadyMade::Latency => latencies(spec, &at, threshold),
        ReadyMade::Probe if spec.probes.is_empty() => vec![],
        ReadyMade::Probe => one(format!("probe_success{{{at}}} == 0")),
        ReadyMade::Certificate if spec.probes.is_empty() => vec![],
        ReadyMade::Certificate => {
            let left = match threshold {
                Some(Threshold::Time(left)) => left,
                Some(Threshold::Share(_) | Threshold::Times(_)) | None => Duration::ZERO,
            };
            one(format!("probe_ssl_earliest_cert_expiry{{{at}}} - time() < {}", left.as_secs()))
        }
        ReadyMade::OutOfMemory => {
            one(format!("increase(shipshape_replica_out_of_memory_total{{{at}}}[10m]) > 0"))
        }
        ReadyMade::NoData => {
            let silent = format!("up{{{at}}} == 0");
            match spec.metrics.scrape.is_some() && serves {
                true => {
                    let job = format!("up{{job=\"{}\",{at}}}", place.service);
                    one(format!("{silent} or absent({job})"))
                }
                false if spec.probes.is_empty() && spec.metrics.scrape.is_none() => vec![],
                false => one(silent),
            }
        }
        // Those of the machine are asked once, those of what is known already are not asked.
        ReadyMade::Disk | ReadyMade::Deployment | ReadyMade::CrashLoop => vec![],
    }
}

/// What a rule asks about the machine.
pub(crate) fn of_machine(rule: &Rule) -> Vec<Asked> {
    let Condition::ReadyMade { which, threshold } = rule.condition else { return vec![] };
    match which {
        // As `df` counts: what is kept back for root, or for others, is neither used nor free.
        ReadyMade::Disk => {
            let of = |what: &str| format!("node_filesystem_{what}_bytes{{{READ_ONLY}}}");
            let used = format!("({} - {})", of("size"), of("free"));
            vec![Asked::plain(format!("{used} / ({used} + {}) > {}", of("avail"), share(threshold)))]
        }
        ReadyMade::NoData => {
            vec![Asked::plain("up{job=\"shipshape\"} == 0 or absent(up{job=\"shipshape\"})")]
        }
        ReadyMade::ErrorRate
        | ReadyMade::Latency
        | ReadyMade::Probe
        | ReadyMade::OutOfMemory
        | ReadyMade::Certificate
        | ReadyMade::Deployment
        | ReadyMade::TooManyRequests
        | ReadyMade::CrashLoop => vec![],
    }
}

fn share(threshold: Option<Threshold>) -> f64 {
    match threshold {
        Some(Threshold::Share(share)) => share.fraction(),
        Some(Threshold::Times(_) | Threshold::Time(_)) | None => 0.0,
    }
}

/// More than a share of all requests, and enough of them.
fn part(of: &str, at: &str, share: f64, least: u32) -> String {
    format!(
        "sum(rate({of}[5m])) / sum(rate(http_requests_total{{{at}}}[5m])) > {share} and sum(increase({of}[5m])) >= {least}"
    )
}

/// One question for each latency objective.
fn latencies(spec: &Spec, at: &str, threshold: Option<Threshold>) -> Vec<Asked> {
    let times = match threshold {
        Some(Threshold::Times(thousandths)) => thousandths,
        Some(Threshold::Share(_) | Threshold::Time(_)) | None => return vec![],
    };
    let longest = Duration::from_micros(BOUNDS_US.last().copied().unwrap_or(u64::MAX));
    let asked = |objective: &model::Objective| {
        let Indicator::Latency { within, requests } = &objective.indicator else { return None };
        let these = format!("{at}{}", chosen(requests));
        // What takes longer than the last bound is known to take that long, and no more.
        let limit = within.saturating_mul(times) / 1_000;
        let (than, limit) = if limit >= longest { (">=", longest) } else { (">", limit) };
        let query = format!(
            "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{{{these}}}[5m]))) {than} {} \
             and sum(increase(http_request_duration_seconds_count{{{these}}}[5m])) >= {LEAST_FOR_A_PERCENTILE}",
            limit.as_secs_f64()
        );
        let labels = Labels::from([(lifecycle::OBJECTIVE.to_owned(), objective.name.to_string())]);
        Some(Asked { query, labels })
    };
    spec.objectives().iter().filter_map(asked).collect()
}

/// The matchers of the requests that an objective is about.
fn chosen(requests: &Requests) -> String {
    let one_of = |label: &str, values: &[String]| {
        let escaped: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
        let quoted = escaped.join("|").replace('\\', "\\\\").replace('"', "\\\"");
        if values.is_empty() { String::new() } else { format!(",{label}=~\"{quoted}\"") }
    };
    format!("{}{}", one_of("route", &requests.routes), one_of("method", &requests.methods))
}

#[cfg(test)]
mod tests {
    use promql::labels::NAME;
    use promql::{Labels as Series, Options, Point};
    use store::Store;

    use super::*;
    use crate::answer::answer;

    const NOW: i64 = 1_700_000_000_000;

    fn spec(more: &str) -> Spec {
        let text = format!("service: shop\nrun: ./shop\n{more}\n");
        manifest::Manifest::parse(&text).unwrap().specs().values().next().cloned().unwrap()
    }

    fn asked(spec: &Spec, which: ReadyMade) -> Vec<Asked> {
        let rules = spec.alerts();
        let rule = rules.iter().find(|rule| rule.name == which.name()).unwrap();
        let Condition::ReadyMade { threshold, .. } = rule.condition else { panic!("it is ready-made") };
        if which == ReadyMade::Disk {
            return of_machine(rule);
        }
        queries(&spec.place(), spec, true, which, threshold)
    }

    /// A name, labels, the first value, and by how much it grows.
    type Told<'a> = (&'a str, &'a [(&'a str, &'a str)], f64, f64);

    /// What a rule finds while series are at the first value of theirs, and grow by the second in each 15 seconds.
    fn found(which: ReadyMade, series: &[Told<'_>]) -> Vec<f64> {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), store::Config::default()).unwrap();
        for (name, labels, from, by) in series {
            let own = [(NAME, *name), ("app", "shop"), ("environment", "production")];
            let labels = Series::new(own.into_iter().chain(labels.iter().copied()));
            let series = store.series(&labels).unwrap();
            for step in 0..=20 {
                let at = NOW - (20 - step) * 15_000;
                store.append(&[(series, Point { at, value: from + by * step as f64 })]);
            }
        }
        let spec = spec("probes: [{name: home, http: {path: /}}]\nmetrics: {scrape: {path: /metrics}}");
        let all = answer(&store, &asked(&spec, which), NOW, &Options::default()).unwrap();
        all.iter().map(|found| found.value).collect()
    }

    #[test]
    fn every_question_is_promql_that_is_served_here() {
        let spec = spec(
            "probes: [{name: home, http: {path: /}}]\nmetrics: {scrape: {path: /metrics}}\n\
             route: {templates: ['/orders/{id}']}\n\
             objectives: {quick: {target: 99%, within: 500ms, routes: ['/orders/{id}'], methods: [GET, POST]}, slow: 99% within 1m}",
        );
        for which in ReadyMade::ALL {
            for Asked { query, .. } in asked(&spec, which) {
                assert!(promql::read(&query).is_ok(), "{query}");
            }
        }
        let latencies = asked(&spec, ReadyMade::Latency);
        assert_eq!(latencies.len(), 2);
        assert!(
            latencies[0].query.contains(r#"route=~"/orders/\\{id\\}",method=~"GET|POST""#),
            "{latencies:?}"
        );
        assert!(
            latencies[1].query.contains(">= 60 "),
            "beyond the last bound nothing is known: {latencies:?}"
        );
    }

    #[test]
    fn requests_that_fail_are_a_rate_when_there_are_enough() {
        let (good, bad) = ([("status_class", "2xx")], [("status_class", "5xx")]);
        let of = |good_by, bad_by| {
            let all: [Told<'_>; 2] =
                [("http_requests_total", &good, 0.0, good_by), ("http_requests_total", &bad, 0.0, bad_by)];
            found(ReadyMade::ErrorRate, &all)
        };
        let rate = of(95.0, 5.0);
        assert!(rate.len() == 1 && (rate[0] - 0.05).abs() < 1e-9, "{rate:?}");
        assert_eq!(of(1_000.0, 5.0), [0.0; 0], "half a percent");
        assert_eq!(of(1.0, 0.1), [0.0; 0], "two of twenty are no rate");
    }

    #[test]
    fn what_is_turned_away_killed_full_or_found_bad_is_found() {
        let throttled: [Told<'_>; 2] = [
            ("http_requests_total", &[("status_class", "4xx")], 0.0, 100.0),
            ("http_requests_throttled_total", &[], 0.0, 10.0),
        ];
        assert_eq!(found(ReadyMade::TooManyRequests, &throttled).len(), 1);
        let killed =
            |by| found(ReadyMade::OutOfMemory, &[("shipshape_replica_out_of_memory_total", &[], 0.0, by)]);
        assert_eq!((killed(1.0).len(), killed(0.0).len()), (1, 0));
        let disk = |avail| {
            let of = [("mountpoint", "/"), ("fstype", "ext4")];
            found(
                ReadyMade::Disk,
                &[
                    ("node_filesystem_size_bytes", &of, 100.0, 0.0),
                    ("node_filesystem_free_bytes", &of, avail + 60.0, 0.0),
                    ("node_filesystem_avail_bytes", &of, avail, 0.0),
                ],
            )
        };
        // 60 of 100 are kept back: of the others, 8 are a fifth.
        assert_eq!((disk(7.0).len(), disk(9.0).len()), (1, 0));
        let probe = |value| found(ReadyMade::Probe, &[("probe_success", &[("probe", "home")], value, 0.0)]);
        assert_eq!((probe(0.0).len(), probe(1.0).len()), (1, 0));
        let left = |days: f64| {
            let expires = NOW as f64 / 1_000.0 + days * 86_400.0;
            found(ReadyMade::Certificate, &[("probe_ssl_earliest_cert_expiry", &[], expires, 0.0)])
        };
        assert_eq!((left(6.0).len(), left(8.0).len()), (1, 0));
        let up = |value| found(ReadyMade::NoData, &[("up", &[("job", "shop")], value, 0.0)]);
        assert_eq!((up(0.0).len(), up(1.0).len(), found(ReadyMade::NoData, &[]).len()), (1, 0, 1));
    }

    #[test]
    fn requests_are_slow_when_one_of_a_hundred_takes_twice_as_long_as_promised() {
        let of = |slow: f64| {
            let name = "http_request_duration_seconds_bucket";
            found(
                ReadyMade::Latency,
                &[
                    (name, &[("le", "0.5")], 0.0, 20.0 - slow),
                    (name, &[("le", "1")], 0.0, 20.0 - slow),
                    (name, &[("le", "2.5")], 0.0, 20.0),
                    (name, &[("le", "+Inf")], 0.0, 20.0),
                    ("http_request_duration_seconds_count", &[], 0.0, 20.0),
                ],
            )
        };
        assert_eq!((of(2.0).len(), of(0.0).len()), (1, 0));
    }
}
