//! The gateway's metrics in Prometheus' text format 0.0.4. Metric names live here and nowhere else.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Place;
use model::labels::escaped;
use model::latency::{BOUNDS_US, BUCKETS};

use crate::counts::{Sum, WorkerCounts};
use crate::error::Code;
use crate::registry::Registry;
use crate::replica::Identity;
use crate::worker::Worker;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub(crate) fn text(registry: &Registry, workers: &[Arc<Worker>]) -> String {
    let mut series = Vec::new();
    for (place, version, label) in registry.series() {
        for (method, sum) in label.sums() {
            series.push((labels(&place, &version, &label.route, method), sum));
        }
    }
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = requests(&mut out, &series);
    let _ = durations(&mut out, &series);
    let _ = gateway(&mut out, registry, workers);
    if let Some(also) = registry.also.get() {
        out.push_str(&also());
    }
    out
}

fn labels(place: &Place, version: &str, route: &str, method: &str) -> String {
    // Templates come from manifests, so they may hold anything.
    let (place, version, route) = (place.labels(), escaped(version), escaped(route));
    format!("{place},version=\"{version}\",route=\"{route}\",method=\"{method}\"")
}

fn requests(out: &mut String, series: &[(String, Sum)]) -> std::fmt::Result {
    head(out, "http_requests_total", "counter", "Requests finished, by the release that served them.")?;
    for (labels, sum) in series {
        for (class, count) in CLASSES.iter().zip(sum.classes) {
            if count > 0 {
                writeln!(out, "http_requests_total{{{labels},status_class=\"{class}\"}} {count}")?;
            }
        }
    }
    Ok(())
}

fn durations(out: &mut String, series: &[(String, Sum)]) -> std::fmt::Result {
    const NAME: &str = "http_request_duration_seconds";
    head(out, NAME, "histogram", "From the request's head to the response's head.")?;
    for (labels, sum) in series {
        let mut total = 0;
        for bucket in 0..BUCKETS {
            total += sum.latency.counts.get(bucket).copied().unwrap_or(0);
            match BOUNDS_US.get(bucket) {
                Some(us) => {
                    let bound = *us as f64 / 1e6;
                    writeln!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {total}")?;
                }
                None => writeln!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {total}")?,
            }
        }
        writeln!(out, "{NAME}_sum{{{labels}}} {}", sum.latency.sum_us as f64 / 1e6)?;
        writeln!(out, "{NAME}_count{{{labels}}} {total}")?;
    }
    Ok(())
}

fn gateway(out: &mut String, registry: &Registry, workers: &[Arc<Worker>]) -> std::fmt::Result {
    let total = |counter: fn(&WorkerCounts) -> &AtomicU64| -> u64 {
        workers.iter().map(|worker| counter(&worker.counts).load(Ordering::Relaxed)).sum()
    };
    head(out, "shipshape_gateway_connections", "gauge", "Open client connections, upgraded ones included.")?;
    writeln!(out, "shipshape_gateway_connections {}", workers.first().map_or(0, |w| w.open.count()))?;
    head(out, "shipshape_gateway_in_flight", "gauge", "Requests in flight.")?;
    for (place, size) in registry.crowds() {
        writeln!(out, "shipshape_gateway_in_flight{{{}}} {size}", place.labels())?;
    }
    let ejected = "shipshape_gateway_ejected";
    head(out, ejected, "gauge", "Replicas that get no requests because they failed those they got.")?;
    for replica in registry.all_replicas().iter().filter(|replica| replica.repute.is_ejected()) {
        let Identity { place, release, ordinal, .. } = &replica.identity;
        let place = place.labels();
        writeln!(out, "{ejected}{{{place},version=\"{release}\",replica=\"{ordinal}\"}} 1")?;
    }
    let errors = "shipshape_gateway_errors_total";
    head(
        out,
        errors,
        "counter",
        "Requests that the gateway failed or broke off, by code and whose fault it was.",
    )?;
    for code in Code::ALL {
        let count: u64 = workers.iter().map(|worker| worker.counts.errors(*code)).sum();
        writeln!(out, "{errors}{{code=\"{}\",fault=\"{}\"}} {count}", code.text(), code.fault().text())?;
    }
    let plain: [(&str, &str, u64); 6] = [
        ("retries", "Requests offered to a replica again.", total(|counts| &counts.retries)),
        ("client_aborts", "Requests that the client broke off.", total(|counts| &counts.aborts)),
        (
            "fallbacks",
            "Requests served by another release than the one drawn, for want of a ready replica.",
            total(|counts| &counts.fallbacks),
        ),
        (
            "ejections",
            "Times that a replica was left out because it failed its requests.",
            total(|counts| &counts.ejections),
        ),
        ("accept_errors", "Connections that could not be accepted.", total(|counts| &counts.accept_errors)),
        (
            "series_collapsed",
            "Requests counted as route other, for want of series.",
            registry.budget.collapsed(),
        ),
    ];
    for (name, help, value) in plain {
        let name = format!("shipshape_gateway_{name}_total");
        head(out, &name, "counter", help)?;
        writeln!(out, "{name} {value}")?;
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}
