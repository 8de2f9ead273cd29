//! The vocabulary of metrics: which are collected, and how.

use super::WAIT;
use crate::shape::Elsewhere::Use;
use crate::shape::{Field, Object, Shape};

pub(crate) static METRICS: Object = Object {
    path: "metrics",
    about: "Which metrics are collected beside those that the gateway has of every request.",
    fields: &[Field::new(
        "scrape",
        Shape::Object(&SCRAPE),
        "The page on which each replica tells its own metrics.",
    )],
    elsewhere: &[("path", Use("metrics.scrape.path")), ("interval", Use("metrics.scrape.interval"))],
};

pub(crate) static SCRAPE: Object = Object {
    path: "metrics.scrape",
    about: "How a replica's own metrics are asked for: in Prometheus' text format or OpenMetrics, on its port.",
    fields: &[
        Field::new("path", Shape::Path, "The page, with its query if it takes one.").or("/metrics"),
        Field::new("interval", WAIT, "How often.").or("15s"),
        Field::new("timeout", WAIT, "How long an answer may take; at most the interval.").or("10s"),
        Field::new(
            "sampleLimit",
            Shape::Integer { min: 1, max: 1_000_000 },
            "A page with more samples is refused as a whole.",
        )
        .or("10000"),
    ],
    elsewhere: &[
        ("metricsPath", Use("path")),
        ("scrapeInterval", Use("interval")),
        ("scrapeTimeout", Use("timeout")),
    ],
};
