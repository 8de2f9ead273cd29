//! The vocabulary of who serves a request beside chance: header routes, session affinity, and a canary's own scale.

use super::WAIT;
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Object, Shape};

pub(crate) static SCALE: Object = Object {
    path: "rollout.canary.steps[].setCanaryScale",
    about: "How many replicas of the new release: exactly one of the three. Never fewer than its traffic needs.",
    fields: &[
        Field::new("replicas", Shape::Integer { min: 1, max: 100 }, "So many."),
        Field::new("weight", Shape::Percent, "This share of the full number, rounded up."),
        Field::new(
            "matchTrafficWeight",
            Shape::True,
            "As many as its traffic needs, which ends a scale set before.",
        ),
    ],
    elsewhere: &[("percent", Use("weight")), ("setWeight", Use("weight"))],
};

pub(crate) static HEADER_ROUTE: Object = Object {
    path: "rollout.canary.steps[].setHeaderRoute",
    about: "Requests that reach the new release whatever its weight, until it has all of them or goes back. The judge \
            does not count them: who sends them was not drawn.",
    fields: &[
        Field::new("name", Shape::Text, "Its name: a step that names it again replaces it.").required(),
        Field::new(
            "match",
            Shape::List { item: &Shape::Object(&HEADER_MATCH), max: 8 },
            "What a request has to meet, all of it. None at all removes the route.",
        ),
    ],
    elsewhere: &[("matches", Use("match")), ("headers", Use("match"))],
};

pub(crate) static HEADER_MATCH: Object = Object {
    path: "rollout.canary.steps[].setHeaderRoute.match[]",
    about: "What one header has to be; when it is repeated, one value that meets it is enough.",
    fields: &[
        Field::new("headerName", Shape::Text, "Its name, in any case.").required(),
        Field::new("headerValue", Shape::Object(&HEADER_VALUE), "What its value has to be.").required(),
    ],
    elsewhere: &[("name", Use("headerName")), ("value", Use("headerValue"))],
};

pub(crate) static HEADER_VALUE: Object = Object {
    path: "rollout.canary.steps[].setHeaderRoute.match[].headerValue",
    about: "What a header's value has to be: exactly one of the three.",
    fields: &[
        Field::new("exact", Shape::Written, "This, byte by byte."),
        Field::new("prefix", Shape::Written, "Something that begins with this."),
        Field::new(
            "regex",
            Shape::Written,
            "Something that this regular expression matches from its first to its last byte: ASCII, no look-around, no \
             back-references; a value of more than 1024 bytes matches none.",
        ),
    ],
    elsewhere: &[("suffix", NotYet("suffix is not supported yet: use `regex: .*SUFFIX`"))],
};

pub(crate) static SESSION_AFFINITY: Object = Object {
    path: "rollout.canary.sessionAffinity",
    about: "By what a user is known: exactly one of the two. The judge then compares users, not requests.",
    fields: &[
        Field::new(
            "cookie",
            Shape::Object(&AFFINITY_COOKIE),
            "A cookie that the gateway gives to whom has none; `{}` takes the defaults.",
        ),
        Field::new("header", Shape::Object(&AFFINITY_HEADER), "A header that the client sends."),
    ],
    elsewhere: &[("cookieName", Use("cookie.name")), ("headerName", Use("header.name"))],
};

pub(crate) static AFFINITY_COOKIE: Object = Object {
    path: "rollout.canary.sessionAffinity.cookie",
    about: "A cookie with Path=/, HttpOnly and SameSite=Lax, given while two releases serve.",
    fields: &[
        Field::new("name", Shape::Text, "Its name.").or("shipshape-user"),
        Field::new("maxAge", WAIT, "How long the client keeps it; at least 1s.").or("168h"),
    ],
    elsewhere: &[("ttl", Use("maxAge")), ("max-age", Use("maxAge"))],
};

pub(crate) static AFFINITY_HEADER: Object = Object {
    path: "rollout.canary.sessionAffinity.header",
    about: "A header. Without it, each request is on its own, and counts as a user of its own.",
    fields: &[Field::new("name", Shape::Text, "Its name, in any case.").required()],
    elsewhere: &[],
};
