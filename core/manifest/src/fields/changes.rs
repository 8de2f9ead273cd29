//! The vocabulary of changes: when no rollout begins, and who else has to agree. What is refused because of them is control's business.

use super::WAIT;
use crate::shape::Elsewhere::Use;
use crate::shape::{Field, Object, Shape};

pub(crate) static CHANGES: Object = Object {
    path: "changes",
    about: "When and by whom the service may be changed. What serves and what is deployed are both asked.",
    fields: &[
        Field::new(
            "freeze",
            Shape::List { item: &Shape::Object(&FREEZE), max: model::change::MOST_FREEZES },
            "Times in which no rollout begins; going back is always free, and a rollout under way goes on.",
        ),
        Field::new("approvals", Shape::Object(&APPROVALS), "Who else has to agree before a rollout begins."),
    ],
    elsewhere: &[
        ("calendar", Use("freeze")),
        ("blackout", Use("freeze")),
        ("syncWindows", Use("freeze")),
        ("reviewers", Use("approvals.approvers")),
    ],
};

pub(crate) static FREEZE: Object = Object {
    path: "changes.freeze[]",
    about: "Time in which no rollout begins: once, by `from` and `to`, or `weekly`.",
    fields: &[
        Field::new("name", Shape::Text, "What the team calls it.").required(),
        Field::new("from", Shape::Text, "From when, by the clock of `timeZone`: 2026-12-20T16:00, or 2026-12-20."),
        Field::new("to", Shape::Text, "Until before when, as `from`."),
        Field::new("weekly", Shape::Object(&WEEKLY), "In every week, in place of `from` and `to`."),
        Field::new(
            "timeZone",
            Shape::Text,
            "Whose clock it goes by, as Europe/Vienna. When the clock is set, a freeze is never shortened: a time that comes \
             twice begins it the first time and ends it the second, one that is skipped begins it early and ends it late.",
        )
        .or("UTC"),
        Field::new("reason", Shape::Text, "Why; whoever is refused reads it."),
    ],
    elsewhere: &[("zone", Use("timeZone")), ("timezone", Use("timeZone")), ("start", Use("from")), ("end", Use("to"))],
};

pub(crate) static WEEKLY: Object = Object {
    path: "changes.freeze[].weekly",
    about: "A part of every week.",
    fields: &[
        Field::new("from", Shape::Text, "From when, as `Fri 16:00`.").required(),
        Field::new(
            "to",
            Shape::Text,
            "Until before when, as `Mon 08:00`; in the next week when it is not after `from`.",
        )
        .required(),
    ],
    elsewhere: &[],
};

pub(crate) static APPROVALS: Object = Object {
    path: "changes.approvals",
    about: "`deploy`, `promote` to another environment and `retry` then make a request, and the rollout begins when it is approved.",
    fields: &[
        Field::new("required", Shape::Integer { min: 1, max: 5 }, "How many others have to approve.").or("1"),
        Field::new(
            "approvers",
            Shape::List { item: &Shape::Text, max: 100 },
            "Who may approve, by name. The default is everybody but who asks.",
        ),
        Field::new("expires", WAIT, "How long a request waits for them.").or("24h"),
    ],
    elsewhere: &[("reviewers", Use("approvers")), ("count", Use("required"))],
};
