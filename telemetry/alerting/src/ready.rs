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
        ReadyMade::Disk => vec![Asked::plain(format!(
            "1 - node_filesystem_avail_bytes{{{READ_ONLY}}} / node_filesystem_size_bytes{{{READ_ONLY}}} > {}",
            share(threshold)
        ))],
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
