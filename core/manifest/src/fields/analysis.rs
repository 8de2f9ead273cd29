//! The vocabulary of an analysis: the judge, the rules that something waits for, and their arguments. A rule's own is
//! its neighbour's business.

use super::{ARGUMENT, DURATION, METRIC, SHARE};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Elsewhere, Field, Object, Shape};

const ARGUMENTS: Shape = Shape::Object(&ARGUMENT);
const ARGS: Field = Field::new(
    "args",
    Shape::List { item: &ARGUMENTS, max: 32 },
    "Arguments of its own for the queries of these rules.",
);

/// What becomes of Argo's analysis templates, wherever rules stand.
const TEMPLATES: Elsewhere = NotYet(
    "analysis templates are not supported yet: write the rules under `metrics`; `shipshape import` turns a template into them",
);

pub(crate) static STEP_ANALYSIS: Object = Object {
    path: "rollout.canary.steps[].analysis",
    about: "Rules that a step waits for; those of rollout.analysis go on beside them.",
    fields: &[
        Field::new(
            "metrics",
            Shape::List { item: &Shape::Object(&METRIC), max: 32 },
            "Threshold rules, each with a count.",
        )
        .required(),
        ARGS,
    ],
    elsewhere: &[("templates", TEMPLATES), ("judge", Use("rollout.analysis.judge"))],
};

pub(crate) static ANALYSIS: Object = Object {
    path: "rollout.analysis",
    about: "What is watched while both releases serve.",
    fields: &[
        Field::new(
            "judge",
            Shape::FalseOr(&JUDGE),
            "The always-valid comparison of errors; `false` switches it off.",
        ),
        Field::new("metrics", Shape::List { item: &Shape::Object(&METRIC), max: 32 }, "Threshold rules."),
        ARGS,
    ],
    elsewhere: &[("templates", TEMPLATES), ("threshold", Use("failureLimit"))],
};

pub(crate) static JUDGE: Object = Object {
    path: "rollout.analysis.judge",
    about: "The settings of the judge.",
    fields: &[
        Field::new("alpha", SHARE, "The accepted probability of rolling back a healthy release.").or("0.01"),
        Field::new(
            "tolerance",
            Shape::Number { min: 1.0, max: 100.0, open: false },
            "The ratio of the new error rate to the old that is still tolerated.",
        )
        .or("1"),
        Field::new("promotion", Shape::Choice(&["time", "evidence"]), "What lets the new release have more of the requests: the step's time, or evidence at each weight.").or("time"),
        Field::new(
            "maxErrorRate",
            SHARE,
            "With evidence: the rate that the new release must be shown to stay below.",
        )
        .or("0.01"),
        Field::new(
            "beta",
            SHARE,
            "With evidence: the accepted probability of promoting a release at that rate.",
        )
        .or("0.05"),
        Field::new(
            "latency",
            Shape::FalseOr(&JUDGE_LATENCY),
            "The same comparison of requests that are slower than the stable release's were; `false` switches it off.",
        ),
    ],
    elsewhere: &[("initialDelay", Use("latency.initialDelay"))],
};

pub(crate) static JUDGE_LATENCY: Object = Object {
    path: "rollout.analysis.judge.latency",
    about: "Judged against the stable release's latency as it was before the rollout.",
    fields: &[
        Field::new(
            "quantiles",
            Shape::List { item: &SHARE, max: model::strategy::MAX_QUANTILES },
            "A request is slow when it takes longer than this quantile did before. The default is 0.5, 0.9 and 0.99.",
        ),
        Field::new(
            "tolerance",
            Shape::Number { min: 1.0, max: 100.0, open: false },
            "The ratio of the new release's slow requests to the old one's that is still tolerated.",
        )
        .or("1.5"),
        Field::new(
            "initialDelay",
            DURATION,
            "How long after each shift of traffic latency is not compared: new replicas are cold.",
        )
        .or("10s"),
    ],
    elsewhere: &[("enabled", NotYet("write `latency: false` to switch it off"))],
};
