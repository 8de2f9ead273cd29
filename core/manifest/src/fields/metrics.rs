//! The vocabulary of metrics: which are collected and how, and who answers questions about them.

use super::{EXPORT, SECRET, WAIT};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

/// The most recording rules of a service.
pub(crate) const MOST_RECORDING_RULES: usize = 100;

pub(crate) static METRICS: Object = Object {
    path: "metrics",
    about: "Which metrics are collected beside those that the gateway has of every request, and who is asked for them.",
    fields: &[
        Field::new("scrape", Shape::Object(&SCRAPE), "The page on which each replica tells its own metrics."),
        Field::new(
            "rules",
            Shape::List { item: &Shape::Object(&RECORDING_RULE), max: MOST_RECORDING_RULES },
            "Expressions whose results become series of their own in control's store; each may build on those before it.",
        ),
        Field::new("evaluationInterval", WAIT, "How often the rules are evaluated.").or("15s"),
        Field::new(
            "provider",
            Shape::Choice(&["embedded", "prometheus"]),
            "Who answers rules in PromQL: control's own store, or a Prometheus server (or whatever answers as one).",
        )
        .or("embedded"),
        Field::new(
            "address",
            Shape::Text,
            "With `provider: prometheus`: the server, up to where /api/v1/query begins, as in \
             https://prometheus.example.org/tenant.",
        ),
        Field::new("bearerToken", Shape::Object(&SECRET), "A token that the server asks for, by reference."),
        Field::new("basicAuth", Shape::Object(&BASIC_AUTH), "A name and a password that the server asks for."),
        Field::new(
            "headers",
            Shape::MapOf { key: Key::Title, value: &Shape::Written, max: 50 },
            "Further headers, as in X-Scope-OrgID; the journal keeps them, so nothing secret.",
        ),
        Field::new("export", Shape::Object(&EXPORT), "Where this service's metrics are sent on to, by OTLP."),
        Field::new(
            "caFile",
            Shape::Text,
            "A file on control's machine with the certificates (PEM) that are trusted, instead of the machine's own.",
        ),
    ],
    elsewhere: &[
        ("path", Use("metrics.scrape.path")),
        ("otlp", Use("metrics.export.otlp")),
        ("interval", Use("metrics.scrape.interval")),
        ("url", Use("address")),
        ("authentication", Use("bearerToken")),
        ("auth", Use("bearerToken")),
        ("tls", Use("caFile")),
        ("insecure", NotYet("certificates are always checked: name those that you trust in `caFile`")),
    ],
};

pub(crate) static BASIC_AUTH: Object = Object {
    path: "metrics.basicAuth",
    about: "A name and a password.",
    fields: &[
        Field::new("username", Shape::Text, "The name.").required(),
        Field::new("password", Shape::Object(&SECRET), "The password, by reference.").required(),
    ],
    elsewhere: &[],
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

pub(crate) static RECORDING_RULE: Object = Object {
    path: "metrics.rules[]",
    about: "An expression whose results become series, with the meaning of Prometheus' recording rules.",
    fields: &[
        Field::new("record", Shape::Text, "The name of its series, as in `shop:requests:rate5m`.").required(),
        Field::new("expr", Shape::Text, "In PromQL: a vector or a scalar.").required(),
        Field::new(
            "labels",
            Shape::MapOf { key: Key::Variable, value: &Shape::Written, max: 32 },
            "Labels that its series get, in place of those of the same names; an empty one takes a label away.",
        ),
    ],
    elsewhere: &[
        ("name", Use("record")),
        ("query", Use("expr")),
        ("alert", NotYet("alerts stand under `alerts`, by name")),
    ],
};
