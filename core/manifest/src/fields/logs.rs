//! The vocabulary of captured output: the files of each replica, and the records made of them.

use super::{OTLP, WAIT};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Object, Shape};

pub(crate) static LOGS: Object = Object {
    path: "logs",
    about: "What becomes of captured output: how much of each replica's files is kept, and of the records made of them.",
    fields: &[
        Field::new(
            "maxFileSize",
            Shape::Bytes { min: 4096 },
            "A replica's file is rotated before it grows beyond this.",
        )
        .or("10Mi"),
        Field::new(
            "maxFiles",
            Shape::Integer { min: 1, max: 1000 },
            "Files kept for each replica, the current one included.",
        )
        .or("5"),
        Field::new("retention", Shape::Object(&RETENTION), "How many records are kept in each environment."),
        Field::new(
            "redact",
            Shape::List { item: &Shape::Text, max: 32 },
            "Patterns (as of Rust's regex, without look-around) of what is taken out of every line before it is kept, \
             shown or sent: their first group, or all of it. Values of secrets and what looks like a credential go anyhow.",
        ),
        Field::new(
            "export",
            Shape::Object(&LOGS_EXPORT),
            "Where this service's records are sent on to, by OTLP.",
        ),
    ],
    elsewhere: &[
        ("otlp", Use("logs.export.otlp")),
        ("mask", Use("redact")),
        ("maxAge", Use("logs.retention.time")),
        ("maxSize", Use("logs.retention.size")),
        (
            "level",
            NotYet(
                "every line is kept: set the level where it is written, and ask with `shipshape logs --level`",
            ),
        ),
    ],
};

pub(crate) static RETENTION: Object = Object {
    path: "logs.retention",
    about: "How many records are kept in each environment: what is older goes, and the oldest when there is more.",
    fields: &[
        Field::new("time", WAIT, "How old a record may become, from 1h on: 336h are 14 days.").or("336h"),
        Field::new(
            "size",
            Shape::Bytes { min: 16 << 20 },
            "How many bytes they may take on disk, compressed.",
        )
        .or("1Gi"),
    ],
    elsewhere: &[
        ("age", Use("time")),
        ("days", Use("time")),
        ("maxAge", Use("time")),
        ("maxSize", Use("size")),
        ("bytes", Use("size")),
    ],
};

pub(crate) static LOGS_EXPORT: Object = Object {
    path: "logs.export",
    about: "Records of this service that are sent on, in order, each at least once as long as it is kept.",
    fields: &[Field::new("otlp", Shape::Object(&OTLP), "Who gets them.").required()],
    elsewhere: &[
        ("endpoint", Use("logs.export.otlp.endpoint")),
        ("interval", NotYet("records are sent as they come, a second later at most")),
    ],
};
