//! The gateway's metrics in Prometheus' text format 0.0.4, and in OpenMetrics, which has exemplars: traces that stand for
//! their buckets. Metric names live here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use model::Place;
use model::labels::escaped;
use model::latency::{BOUNDS_US, BUCKETS};

use crate::counts::{Exemplar, Sum, WorkerCounts};
use crate::error::Code;
use crate::registry::Registry;
use crate::replica::Identity;
use crate::worker::Worker;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// One label set of requests.
struct Series {
    labels: String,
    sum: Sum,
    /// By bucket; none where the format has no room for them.
    exemplars: BTreeMap<usize, Exemplar>,
}

/// Prometheus' text format 0.0.4.
pub(crate) fn text(registry: &Registry, workers: &[Arc<Worker>]) -> String {
    page(registry, workers, false)
}

/// OpenMetrics 1.0, with exemplars.
pub(crate) fn open_metrics(registry: &Registry, workers: &[Arc<Worker>]) -> String {
    as_open_metrics(&page(registry, workers, true))
}

/// A page in the text format, as OpenMetrics has it: a counter's family goes without its suffix, and the end is marked.
fn as_open_metrics(page: &str) -> String {
    let counters: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(page.len() + 8);
    for line in page.lines() {
        let words = line.strip_prefix("# ").and_then(|rest| {
            let mut words = rest.splitn(3, ' ');
            Some((words.next()?, words.next()?, words.next().unwrap_or_default()))
        });
        // Writing to a String does not fail.
        let _ = match words.filter(|(_, name, _)| counters.contains(name)) {
            Some((what, name, rest)) => match (name.strip_suffix("_total"), what) {
                (Some(family), _) => writeln!(out, "# {what} {family} {rest}"),
                (None, "TYPE") => writeln!(out, "# TYPE {name} unknown"),
                (None, _) => writeln!(out, "{line}"),
            },
            None => writeln!(out, "{line}"),
        };
    }
    out.push_str("# EOF\n");
    out
}

fn page(registry: &Registry, workers: &[Arc<Worker>], exemplars: bool) -> String {
    let mut series = Vec::new();
    for (place, version, label) in registry.series() {
        for (method, sum) in label.sums() {
            let labels = labels(&place, &version, &label.route, method);
            let exemplars = if exemplars { label.exemplars(method) } else { BTreeMap::new() };
            series.push(Series { labels, sum, exemplars });
        }
    }
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = requests(&mut out, &series);
    let _ = throttled(&mut out, &series);
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

fn requests(out: &mut String, series: &[Series]) -> std::fmt::Result {
    head(out, "http_requests_total", "counter", "Requests finished, by the release that served them.")?;
    for Series { labels, sum, .. } in series {
        for (class, count) in CLASSES.iter().zip(sum.classes) {
            if count > 0 {
                writeln!(out, "http_requests_total{{{labels},status_class=\"{class}\"}} {count}")?;
            }
        }
    }
    Ok(())
}

fn throttled(out: &mut String, series: &[Series]) -> std::fmt::Result {
    const NAME: &str = "http_requests_throttled_total";
    head(out, NAME, "counter", "Requests that were answered 429.")?;
    for Series { labels, sum, .. } in series {
        // From the first request on: a counter that begins with its first event hides it.
        writeln!(out, "{NAME}{{{labels}}} {}", sum.throttled)?;
    }
    Ok(())
}

fn durations(out: &mut String, series: &[Series]) -> std::fmt::Result {
    const NAME: &str = "http_request_duration_seconds";
    head(out, NAME, "histogram", "From the request's head to the response's head.")?;
    for Series { labels, sum, exemplars } in series {
        let mut total = 0;
        for bucket in 0..BUCKETS {
            total += sum.latency.counts.get(bucket).copied().unwrap_or(0);
            match BOUNDS_US.get(bucket) {
                Some(us) => {
                    let bound = *us as f64 / 1e6;
                    write!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {total}")?;
                }
                None => write!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {total}")?,
            }
            if let Some(Exemplar { trace_id, span_id, latency, at }) = exemplars.get(&bucket) {
                let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                write!(
                    out,
                    " # {{trace_id=\"{trace_id:032x}\",span_id=\"{span_id:016x}\"}} {} {}.{:03}",
                    latency.as_secs_f64(),
                    at.as_secs(),
                    at.subsec_millis(),
                )?;
            }
            writeln!(out)?;
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
