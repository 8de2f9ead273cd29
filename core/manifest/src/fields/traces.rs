//! The vocabulary of what is sent to OpenTelemetry: traces, metrics, and to whom. The words are those of the
//! `OTEL_EXPORTER_OTLP_*` variables where they have one.

use super::{SECRET, WAIT};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

pub(crate) static TRACES: Object = Object {
    path: "traces",
    about: "Where the gateway's traces go, and which are kept: a span for each request, and one for each attempt to have a \
            replica answer.",
    fields: &[
        Field::new("otlp", Shape::Object(&OTLP), "Who gets them.").required(),
        Field::new("sample", Shape::Object(&SAMPLE), "Which are kept. This is decided when a request ends."),
    ],
    elsewhere: &[
        ("endpoint", Use("traces.otlp.endpoint")),
        ("exporter", Use("otlp")),
        ("sampler", Use("sample")),
        ("sampling", Use("sample")),
        ("ratio", Use("traces.sample.ratio")),
        ("zipkin", NotYet("spans are sent by OTLP only: a collector turns them into anything else")),
        ("jaeger", NotYet("spans are sent by OTLP only, which Jaeger takes: name its OTLP `endpoint`")),
    ],
};

pub(crate) static SAMPLE: Object = Object {
    path: "traces.sample",
    about: "Which traces are kept: all that failed (5xx, or trouble between gateway and replica), all that were slow, those \
            that the client's own trace marks as sampled, and a share of the rest.",
    fields: &[
        Field::new(
            "ratio",
            Shape::Number { min: 0.0, max: 1.0, open: false },
            "The share of those that neither failed nor were slow, drawn from the trace's id, so that everybody who draws \
             with this ratio draws the same.",
        )
        .or("0.01"),
        Field::new("slowerThan", WAIT, "A request is slow when the head of its answer takes longer.").or("1s"),
        Field::new(
            "limit",
            Shape::Integer { min: 1, max: 10_000 },
            "Traces a second at most, so that an outage does not flood anybody. Half of it is kept free for those that \
             failed or were slow; what is left out is counted.",
        )
        .or("50"),
    ],
    elsewhere: &[
        ("percentage", Use("ratio")),
        ("probability", Use("ratio")),
        ("rate", Use("ratio")),
        ("latency", Use("slowerThan")),
        ("threshold", Use("slowerThan")),
    ],
};

pub(crate) static EXPORT: Object = Object {
    path: "metrics.export",
    about: "Metrics of this service that are sent on: the gateway's, its processes', and those of its own pages.",
    fields: &[
        Field::new("otlp", Shape::Object(&OTLP), "Who gets them.").required(),
        Field::new("interval", WAIT, "How often.").or("1m"),
    ],
    elsewhere: &[("endpoint", Use("metrics.export.otlp.endpoint"))],
};

pub(crate) static OTLP: Object = Object {
    path: "otlp",
    about: "Whoever takes OpenTelemetry's protocol: a collector, or a backend itself.",
    fields: &[
        Field::new(
            "endpoint",
            Shape::Text,
            "Its address, as in http://127.0.0.1:4318, or http://127.0.0.1:4317 for grpc. Over HTTP, /v1/traces or \
             /v1/metrics is added.",
        )
        .required(),
        Field::new("protocol", Shape::Choice(&["http/protobuf", "grpc"]), "How it is spoken to.")
            .or("http/protobuf"),
        Field::new(
            "headers",
            Shape::MapOf { key: Key::Title, value: &Shape::WrittenOr(&SECRET), max: 50 },
            "Headers that it asks for: a text, which the journal keeps, or a reference to a secret, as in \
             {environment: OTLP_TOKEN}, whose value is the whole header.",
        ),
        Field::new(
            "caFile",
            Shape::Text,
            "A file on this machine with the certificates (PEM) that are trusted, instead of the machine's own.",
        ),
        Field::new("timeout", WAIT, "How long it may take to answer one request.").or("10s"),
    ],
    elsewhere: &[
        ("address", Use("endpoint")),
        ("url", Use("endpoint")),
        ("certificate", Use("caFile")),
        ("tls", Use("caFile")),
        ("bearerToken", NotYet("name the whole header: `headers: {authorization: {environment: OTLP_AUTHORIZATION}}`")),
        ("insecure", NotYet("an `endpoint` with http:// is not encrypted, one with https:// is always checked")),
        ("compression", NotYet("requests are not compressed: batches are small")),
    ],
};
