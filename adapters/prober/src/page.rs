//! What a look found as metrics, in Prometheus' text format, under the names that blackbox_exporter made known.

use std::fmt::Write as _;
use std::time::Duration;

use model::labels::escaped;

use crate::look::{Notes, Reason};

/// The metrics of one look.
pub(crate) struct Figures {
    pub(crate) kind: &'static str,
    pub(crate) is_good: bool,
    pub(crate) took: Duration,
    pub(crate) notes: Notes,
    pub(crate) attempts: u64,
    pub(crate) failures: Vec<(Reason, u64)>,
}

/// One metric with its samples: labels without braces, and a value.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(String, f64)>,
}

/// A page of several probes. Each has labels of its own, which may be empty when there is one.
pub(crate) fn page(all: &[(String, Figures)]) -> String {
    let mut families: Vec<Family> = Vec::new();
    for (labels, figures) in all {
        for family in of(figures) {
            let samples = family.samples.into_iter().map(|(own, value)| {
                let both = [labels.as_str(), own.as_str()];
                let both: Vec<&str> = both.into_iter().filter(|labels| !labels.is_empty()).collect();
                (both.join(","), value)
            });
            match families.iter_mut().find(|known| known.name == family.name) {
                Some(known) => known.samples.extend(samples),
                None => families.push(Family { samples: samples.collect(), ..family }),
            }
        }
    }
    families.sort_by_key(|family| family.name);
    let mut text = String::new();
    for Family { name, kind, help, samples } in families {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _ = writeln!(text, "{name}{braced} {value}");
        }
    }
    text
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    Family { name, kind: "gauge", help, samples: vec![(String::new(), value)] }
}

fn phases(name: &'static str, help: &'static str, phases: &[(&str, Duration)]) -> Family {
    let sample = |(phase, took): &(&str, Duration)| (format!("phase=\"{phase}\""), took.as_secs_f64());
    Family { name, kind: "gauge", help, samples: phases.iter().map(sample).collect() }
}

fn of(figures: &Figures) -> Vec<Family> {
    let Figures { kind, is_good, took, notes, attempts, failures } = figures;
    let resolve = notes.phases.resolve;
    let mut all = vec![
        gauge("probe_success", "Whether the last look found all as expected.", f64::from(u8::from(*is_good))),
        gauge("probe_duration_seconds", "How long the last look took.", took.as_secs_f64()),
        gauge("probe_dns_lookup_time_seconds", "How long looking the name up took.", resolve.as_secs_f64()),
        Family {
            name: "probe_attempts_total",
            kind: "counter",
            help: "Looks, failed ones included.",
            samples: vec![(String::new(), *attempts as f64)],
        },
        Family {
            name: "probe_failures_total",
            kind: "counter",
            help: "Looks that failed, by reason.",
            samples: failures
                .iter()
                .map(|(reason, count)| (format!("reason=\"{}\"", reason.name()), *count as f64))
                .collect(),
        },
    ];
    if let Some(ip) = notes.ip {
        all.push(gauge("probe_ip_protocol", "The version of IP that was spoken.", f64::from(ip)));
    }
    if let Some(expires) = notes.expires {
        let help = "When the first of the certificates that were shown expires, in seconds since 1970.";
        all.push(gauge("probe_ssl_earliest_cert_expiry", help, expires as f64));
    }
    if let Some(version) = notes.tls_version {
        all.push(Family {
            name: "probe_tls_version_info",
            kind: "gauge",
            help: "The version of TLS that was spoken; always 1.",
            samples: vec![(format!("version=\"{}\"", escaped(version)), 1.0)],
        });
    }
    match *kind {
        "http" => all.extend(http(notes)),
        "dns" => all.extend(dns(notes, *is_good)),
        _ => {
            let help = "Whether what was said is not what should have been.";
            all.push(gauge("probe_failed_due_to_regex", help, f64::from(u8::from(notes.body_failed))));
        }
    }
    all
}

fn http(notes: &Notes) -> Vec<Family> {
    let it = &notes.phases;
    let parts = [
        ("resolve", it.resolve),
        ("connect", it.connect),
        ("tls", it.tls),
        ("processing", it.processing),
        ("transfer", it.transfer),
    ];
    let answer = notes.http;
    let of = |part: fn(&crate::look::Answered) -> f64| answer.as_ref().map_or(0.0, part);
    vec![
        phases("probe_http_duration_seconds", "How long each part took, summed over redirects.", &parts),
        gauge(
            "probe_http_status_code",
            "The status of the last answer; 0 when there was none.",
            of(|answer| f64::from(answer.status)),
        ),
        gauge("probe_http_redirects", "Redirects that were followed.", f64::from(notes.redirects)),
        gauge(
            "probe_http_ssl",
            "Whether the last answer came by TLS.",
            of(|answer| f64::from(u8::from(answer.is_tls))),
        ),
        gauge("probe_http_version", "The version of HTTP of the last answer.", of(|answer| answer.version)),
        gauge(
            "probe_http_uncompressed_body_length",
            "Bytes of the body that were read, at most a mebibyte.",
            of(|answer| answer.body_bytes as f64),
        ),
        gauge(
            "probe_failed_due_to_regex",
            "Whether what was said is not what should have been.",
            f64::from(u8::from(notes.body_failed)),
        ),
    ]
}

fn dns(notes: &Notes, is_good: bool) -> Vec<Family> {
    let parts = [("resolve", notes.phases.resolve), ("request", notes.phases.processing)];
    let records = notes.dns.unwrap_or_default();
    vec![
        phases("probe_dns_duration_seconds", "How long each part took.", &parts),
        gauge(
            "probe_dns_query_succeeded",
            "Whether there was an answer as expected.",
            f64::from(u8::from(is_good)),
        ),
        gauge("probe_dns_answer_rrs", "Records in the answer.", f64::from(records.answer)),
        gauge(
            "probe_dns_authority_rrs",
            "Records in the section of authorities.",
            f64::from(records.authority),
        ),
        gauge("probe_dns_additional_rrs", "Further records.", f64::from(records.additional)),
    ]
}
