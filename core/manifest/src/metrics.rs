//! Which metrics are collected: Prometheus' words for how a page is asked for.

use model::spec::{Metrics, Scrape};

use crate::diagnostic::Problem;
use crate::fields;
use crate::read::Mapping;

pub(crate) fn metrics(root: &Mapping<'_>) -> Metrics {
    let metrics = root.child("metrics", &fields::METRICS);
    let scrape = metrics.entry("scrape").map(|_| {
        let scrape = metrics.child("scrape", &fields::SCRAPE);
        let (interval, timeout) = (scrape.duration("interval"), scrape.duration("timeout"));
        if timeout > interval && scrape.entry("timeout").is_some() {
            let problem = Problem::new("an answer may not take longer than the interval");
            let help = format!("write a `timeout` of at most {}", model::time::format_duration(interval));
            scrape.error(&scrape.place("timeout"), problem.help(help));
        }
        let read = Scrape {
            path: scrape.path("path").unwrap_or_default(),
            interval,
            timeout: timeout.min(interval),
            sample_limit: scrape.count("sampleLimit").unwrap_or_default(),
        };
        scrape.finish();
        read
    });
    metrics.finish();
    Metrics { scrape }
}
