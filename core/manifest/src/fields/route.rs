//! The vocabulary of routes: which requests, and within which bounds.

use super::WAIT;
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Object, Shape};

pub(crate) static ROUTE: Object = Object {
    path: "route",
    about: "Which requests the service answers, and within which bounds.",
    fields: &[
        Field::new(
            "hosts",
            Shape::List { item: &Shape::Text, max: 64 },
            "Host names without port; `*` is any, `*.example.org` any below. The default is `*` in production \
             and SERVICE.ENVIRONMENT.localhost elsewhere.",
        ),
        Field::new(
            "pathPrefixes",
            Shape::List { item: &Shape::Path, max: 64 },
            "Path prefixes by whole segments; the longest match wins. The default is `/`.",
        ),
        Field::new(
            "templates",
            Shape::List { item: &Shape::Path, max: 500 },
            "Templates for the metrics' route label: /orders/{id}, /static/{rest...}.",
        ),
        Field::new("timeouts", Shape::Object(&TIMEOUTS), "How long the gateway waits for what."),
        Field::new("limits", Shape::Object(&LIMITS), "What a request may cost."),
    ],
    elsewhere: &[
        ("host", Use("hosts")),
        ("path", Use("pathPrefixes")),
        ("paths", Use("pathPrefixes")),
        ("tls", NotYet("TLS is not supported yet: put a TLS terminator in front of the gateway")),
    ],
};

pub(crate) static TIMEOUTS: Object = Object {
    path: "route.timeouts",
    about: "How long the gateway waits before it answers 504.",
    fields: &[
        Field::new("connect", WAIT, "To open a connection to a replica.").or("1s"),
        Field::new("response", WAIT, "From the request's end to the response's first byte.").or("30s"),
        Field::new("idle", WAIT, "Between two pieces of a body, or on an upgraded connection.").or("60s"),
    ],
    elsewhere: &[],
};

pub(crate) static LIMITS: Object = Object {
    path: "route.limits",
    about: "What a request may cost before the gateway refuses it.",
    fields: &[
        Field::new("maxBodySize", Shape::Bytes { min: 0 }, "The largest request body; more is 413.")
            .or("10Mi"),
        Field::new(
            "maxInFlight",
            Shape::Integer { min: 1, max: 1_000_000 },
            "The most requests at a time in this environment; more is 503.",
        )
        .or("1000"),
    ],
    elsewhere: &[],
};
