//! The vocabulary of one rule: what it measures, or how it looks from outside. Where rules stand is the parent's business.

use super::{LIMIT, SHARE, WAIT};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

pub(crate) static METRIC: Object = Object {
    path: "rollout.analysis.metrics[]",
    about: "A threshold rule with the meaning of Argo Rollouts' fields: exactly one of source, http, command \
            and promql. A source and a promql need at least one condition.",
    fields: &[
        Field::new("name", Shape::Text, "Its name in reports.").required(),
        Field::new(
            "source",
            Shape::Choice(&["errorRate", "requestRate", "latency", "restarts"]),
            "What is measured of the new release: errors / requests, requests a second, seconds, or how often its \
             processes were started again. Instead of it, `http` or `command` looks from outside.",
        ),
        Field::new(
            "http",
            Shape::Object(&CHECK_HTTP),
            "A request whose answer is the verdict; `result` in a condition is the seconds it took.",
        ),
        Field::new(
            "command",
            Shape::Object(&CHECK_COMMAND),
            "A program whose exit status is the verdict: 0 is a success, 126 and 127 that it could not be run.",
        ),
        Field::new(
            "promql",
            Shape::TextOr(&CHECK_PROMQL),
            "A question to the metrics, in PromQL; conditions on its answer are expressions in CEL over `result`: a list \
             of numbers for a vector, a number for a scalar.",
        ),
        Field::new("quantile", SHARE, "With latency: which quantile. The default is 0.99."),
        Field::new("interval", WAIT, "Between two measurements.").or("10s"),
        Field::new(
            "count",
            Shape::Integer { min: 1, max: 1_000_000 },
            "How many measurements. Without count and interval one; with interval alone until the rollout ends.",
        ),
        Field::new(
            "successCondition",
            Shape::Condition,
            "What makes a measurement a success: `result < 0.05`, and of a promql any expression, as in \
             `result[0] < 0.01 && len(result) == 1`.",
        ),
        Field::new("failureCondition", Shape::Condition, "What makes a measurement a failure."),
        Field::new("failureLimit", LIMIT, "Fails when more measurements than this failed; -1 = never.")
            .or("0"),
        Field::new("inconclusiveLimit", LIMIT, "Inconclusive when more than this were neither; -1 = never.")
            .or("0"),
        Field::new("consecutiveErrorLimit", LIMIT, "Errs when more in a row could not be taken; -1 = never.")
            .or("4"),
        Field::new("dryRun", Shape::Bool, "Whether it is measured and reported, but decides nothing.")
            .or("false"),
    ],
    elsewhere: &[
        ("web", Use("http")),
        ("query", Use("promql")),
        ("job", Use("command")),
        (
            "provider",
            NotYet(
                "it has no place in a rule: write `promql: \"...\"` here, and the server once under `metrics`, as \
                 in `metrics: {provider: prometheus, address: ...}`",
            ),
        ),
        ("initialDelay", NotYet("initialDelay is not supported yet")),
        ("consecutiveSuccessLimit", NotYet("consecutiveSuccessLimit is not supported yet")),
    ],
};

pub(crate) static CHECK_HTTP: Object = Object {
    path: "rollout.analysis.metrics[].http",
    about: "A request: to the new release at its preview address, or else to each of its ready replicas.",
    fields: &[
        Field::new("path", Shape::Path, "The path at the new release. Exactly one of path and url."),
        Field::new(
            "url",
            Shape::Text,
            "An absolute address of somebody else, as in http://127.0.0.1:9090/ready.",
        ),
        Field::new(
            "method",
            Shape::Choice(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            "Its method; it has no body.",
        )
        .or("GET"),
        Field::new(
            "headers",
            Shape::MapOf { key: Key::Title, value: &Shape::Written, max: 50 },
            "Its headers; the journal keeps them, so nothing secret.",
        ),
        Field::new("expect", Shape::Object(&EXPECT), "What the answer has to be."),
        Field::new("timeout", WAIT, "How long the whole answer may take; a late one is a failure.").or("10s"),
    ],
    elsewhere: &[
        ("timeoutSeconds", Use("timeout")),
        ("jsonPath", NotYet("jsonPath is not supported yet: expect.bodyContains looks for a text")),
        ("body", NotYet("a request body is not supported yet: use a `command`")),
        ("status", Use("expect.status")),
    ],
};

pub(crate) static CHECK_PROMQL: Object = Object {
    path: "rollout.analysis.metrics[].promql",
    about: "A question to the metrics: to control's own store, or to the server that `metrics.provider` names.",
    fields: &[
        Field::new(
            "query",
            Shape::Text,
            "In PromQL. `{{args.version}}`, `{{args.stable}}`, `{{args.service}}` and `{{args.environment}}` stand for the \
             new release, the one before, and the place; `args` of the analysis adds others.",
        )
        .required(),
        Field::new("timeout", WAIT, "How long the answer may take; a late one is an error.").or("10s"),
    ],
    elsewhere: &[
        ("address", Use("metrics.address")),
        ("timeoutSeconds", Use("timeout")),
        ("authentication", Use("metrics.bearerToken")),
        ("headers", Use("metrics.headers")),
        ("insecure", NotYet("certificates are always checked: name those that you trust in `metrics.caFile`")),
        ("rangeQuery", NotYet("a question is asked for one moment: `max_over_time(...[5m:])` looks back")),
    ],
};

pub(crate) static ARGUMENT: Object = Object {
    path: "rollout.analysis.args[]",
    about: "An argument of this analysis' queries: `{{args.NAME}}`.",
    fields: &[
        Field::new("name", Shape::Text, "Its name: letters, digits, `-` and `_`.").required(),
        Field::new("value", Shape::Written, "What stands in its place.").required(),
    ],
    elsewhere: &[(
        "valueFrom",
        NotYet(
            "an argument's value stands in the manifest: the release is `{{args.version}}`, and what a query says the \
             journal keeps, so nothing secret",
        ),
    )],
};

pub(crate) static EXPECT: Object = Object {
    path: "rollout.analysis.metrics[].http.expect",
    about: "What an answer has to be.",
    fields: &[
        Field::new(
            "status",
            Shape::Integer { min: 100, max: 599 },
            "Its status. The default is any from 200 to 299; redirects are not followed.",
        ),
        Field::new("bodyContains", Shape::Text, "A text somewhere in the first mebibyte of its body."),
    ],
    elsewhere: &[("body", Use("bodyContains")), ("statusCode", Use("status"))],
};

pub(crate) static CHECK_COMMAND: Object = Object {
    path: "rollout.analysis.metrics[].command",
    about: "A program, run by control in the release's artifact directory with a clean environment and SHIPSHAPE_SERVICE, \
            SHIPSHAPE_ENVIRONMENT, SHIPSHAPE_RELEASE, SHIPSHAPE_REPLICAS, SHIPSHAPE_GATEWAY, and of a preview \
            SHIPSHAPE_PREVIEW_HOST and SHIPSHAPE_PREVIEW_URL.",
    fields: &[
        Field::new("run", Shape::Words, "The command line (no shell), or the list of its words.").required(),
        Field::new("timeout", WAIT, "How long it may run; then it is killed with all it started, a failure.")
            .or("60s"),
    ],
    elsewhere: &[("command", Use("run")), ("args", Use("run")), ("activeDeadlineSeconds", Use("timeout"))],
};
