//! The vocabulary of alerts: ready-made rules and one's own, by name.

use super::DURATION;
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

/// The rules by name.
pub(crate) const ALERT_RULES: Shape = Shape::NoneOr(&Shape::MapOf {
    key: Key::Title,
    value: &Shape::FalseOr(&ALERT_RULE),
    max: model::alert::MOST_RULES,
});

pub(crate) static ALERT_RULE: Object = Object {
    path: "alerts.*",
    about: "A rule: while its expression gives something for long enough, somebody should know. One without `expr` is \
            ready-made, and what is written here changes it; `false` switches it off.",
    fields: &[
        Field::new(
            "expr",
            Shape::Text,
            "In PromQL: each series of its answer is an alert. It is asked of control's own store, or of the server that \
             `metrics.provider` names.",
        ),
        Field::new(
            "threshold",
            Shape::Written,
            "How much is too much, of a ready-made rule: a share as 1% (HighErrorRate, TooManyRequests, DiskFull), so many \
             times the latency objective (HighLatency), or a time (CertificateExpiring).",
        ),
        Field::new(
            "for",
            DURATION,
            "How long the rule has to hold before somebody is told. The default is 0s; ready-made rules have their own.",
        ),
        Field::new(
            "keepFiringFor",
            DURATION,
            "How long an alert goes on after the rule held last. The default is 0s; ready-made rules have their own.",
        ),
        Field::new(
            "severity",
            Shape::Choice(&["P1", "P2", "P3"]),
            "How urgent: P1 wakes somebody up. The default is P2; ready-made rules have their own.",
        ),
        Field::new("runbook", Shape::Text, "The name of what to do."),
        Field::new(
            "labels",
            Shape::MapOf { key: Key::Title, value: &Shape::Written, max: 20 },
            "Further labels of its alerts; `{{ $labels.NAME }}` stands for a label of the series.",
        ),
        Field::new(
            "annotations",
            Shape::MapOf { key: Key::Title, value: &Shape::Written, max: 20 },
            "What to know, as `summary` and `description`; `{{ $labels.NAME }}` and `{{ $value }}` stand for a label and the \
             value of the series.",
        ),
    ],
    elsewhere: &[
        ("alert", NotYet("the name of a rule is the word before its colon")),
        ("name", NotYet("the name of a rule is the word before its colon")),
        ("query", Use("expr")),
        ("promql", Use("expr")),
        ("expression", Use("expr")),
        ("keep_firing_for", Use("keepFiringFor")),
        ("forDuration", Use("for")),
        ("priority", Use("severity")),
        ("runbook_url", Use("runbook")),
        ("runbookUrl", Use("runbook")),
        ("summary", Use("annotations.summary")),
        ("description", Use("annotations.description")),
        ("enabled", NotYet("to switch a rule off, write `false` in place of its fields")),
        ("limit", NotYet("every rule has at most 100 alerts at a time")),
    ],
};
