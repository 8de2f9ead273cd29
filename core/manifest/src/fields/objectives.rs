//! The vocabulary of objectives: what is counted, how much of it has to be good, and what follows.

use super::{DURATION, WAIT};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

const SEVERITIES: &[&str] = &["P1", "P2", "P3"];

/// The objectives by name.
pub(crate) const OBJECTIVES: Shape = Shape::NoneOr(&Shape::MapOf {
    key: Key::Label,
    value: &Shape::TextOr(&OBJECTIVE),
    max: model::objective::MOST,
});

pub(crate) static OBJECTIVE: Object = Object {
    path: "objectives.*",
    about: "What is counted (requests that do not fail, unless `within`, `total` or `probe` says something else), how much \
            of it has to be good, and what follows when it is not. In short: `99.9%`, or `99% within 500ms`.",
    fields: &[
        Field::new("description", Shape::Text, "What it means to users, in a sentence."),
        Field::new("target", Shape::Ratio, "How much has to be good: more than 0% and less than 100%.")
            .required(),
        Field::new(
            "within",
            WAIT,
            "Good is a request that is answered within this time: a bound of the latency histogram.",
        ),
        Field::new(
            "routes",
            Shape::List { item: &Shape::Path, max: 50 },
            "Only requests of these routes: templates or path prefixes of `route`. The default is all.",
        ),
        Field::new(
            "methods",
            Shape::List { item: &Shape::Text, max: 20 },
            "Only requests with these methods. The default is all.",
        ),
        Field::new(
            "good",
            Shape::Text,
            "What is good of `total`: a selector of counters, or PromQL with `[$__window]` and one result.",
        ),
        Field::new("bad", Shape::Text, "What is bad of `total`, in place of `good`."),
        Field::new("total", Shape::Text, "All that is counted, as `good`."),
        Field::new("probe", Shape::Text, "The probe whose attempts are counted."),
        Field::new(
            "window",
            Shape::TextOr(&WINDOW),
            "Over how long: 1 to 366 days that roll, as 30d, or a period of the calendar.",
        )
        .or("30d"),
        Field::new(
            "timeslices",
            Shape::Object(&TIMESLICES),
            "Count slices of time instead of events: a slice is good when enough of it is.",
        ),
        Field::new("sla", Shape::TextOr(&SLA), "What customers were promised, which is looser."),
        Field::new(
            "alerts",
            Shape::FalseOr(&ALERTS),
            "Who is told that the budget burns; `false` for nobody.",
        ),
        Field::new(
            "budget",
            Shape::List { item: &Shape::Object(&BUDGET_STEP), max: 3 },
            "What follows when so little of the budget is left. The default warns at 25%, lets only canaries through at \
             10% and freezes at 0%.",
        ),
    ],
    elsewhere: &[
        ("objective", Use("target")),
        ("targetPercent", Use("target")),
        (
            "objectives",
            NotYet("an objective has one target: write another one beside it, under a name of its own"),
        ),
        ("timeWindow", Use("window")),
        ("budgetingMethod", Use("timeslices")),
        ("timeSliceTarget", Use("timeslices.target")),
        ("timeSliceWindow", Use("timeslices.slice")),
        ("sli", NotYet("write what it counts directly: `within: 500ms`, or `good` and `total`")),
        ("indicator", NotYet("write what it counts directly: `within: 500ms`, or `good` and `total`")),
        ("ratioMetric", NotYet("write its queries directly, as `good` or `bad` and `total`")),
        ("thresholdMetric", NotYet("count what is above the threshold by a query under `bad`")),
        ("errorQuery", Use("bad")),
        ("error_query", Use("bad")),
        ("totalQuery", Use("total")),
        ("total_query", Use("total")),
        ("threshold", Use("within")),
        ("latency", Use("within")),
        ("alerting", Use("alerts")),
        ("alertPolicies", Use("alerts")),
        ("policy", Use("budget")),
        ("errorBudgetPolicy", Use("budget")),
        ("name", NotYet("the name of an objective is the word before its colon")),
        ("composite", NotYet("objectives of several indicators are not supported yet: declare one for each")),
    ],
};

pub(crate) static WINDOW: Object = Object {
    path: "objectives.*.window",
    about: "The period of the calendar that is running.",
    fields: &[
        Field::new(
            "calendar",
            Shape::Choice(&["week", "month", "quarter", "year"]),
            "Which: a week begins on Monday.",
        )
        .required(),
        Field::new("timeZone", Shape::Text, "Where, as Europe/Vienna.").or("UTC"),
    ],
    elsewhere: &[
        ("duration", NotYet("a window that rolls is written by itself: `window: 30d`")),
        ("isRolling", NotYet("a window that rolls is written by itself: `window: 30d`")),
        ("rolling", NotYet("a window that rolls is written by itself: `window: 30d`")),
        ("unit", Use("calendar")),
        ("zone", Use("timeZone")),
        ("startTime", NotYet("a period begins with the calendar's: leave it out")),
    ],
};

pub(crate) static TIMESLICES: Object = Object {
    path: "objectives.*.timeslices",
    about: "Slices of time, each good or bad as a whole; one without events is good.",
    fields: &[
        Field::new("slice", WAIT, "How long a slice is: whole minutes that an hour has a whole number of.")
            .or("5m"),
        Field::new("target", Shape::Ratio, "How much has to be good in a good slice.").or("95%"),
    ],
    elsewhere: &[
        ("window", Use("slice")),
        ("timeSliceWindow", Use("slice")),
        ("timeSliceTarget", Use("target")),
    ],
};

pub(crate) static SLA: Object = Object {
    path: "objectives.*.sla",
    about: "What customers were promised. In short: `99%`.",
    fields: &[
        Field::new("target", Shape::Ratio, "How much has to be good; less than the objective's own target.")
            .required(),
        Field::new(
            "window",
            Shape::TextOr(&WINDOW),
            "Over how long. The default is the month of the calendar, in UTC.",
        ),
    ],
    elsewhere: &[],
};

pub(crate) static ALERTS: Object = Object {
    path: "objectives.*.alerts",
    about: "When somebody is told that the budget burns.",
    fields: &[
        Field::new(
            "pairs",
            Shape::List { item: &Shape::Object(&PAIR), max: 10 },
            "Two windows each, over both of which the budget has to burn. The default is 1h/5m at 14.4, 6h/30m at 6, \
             1d/2h at 3 and 3d/6h at 1 for 30 days, scaled to the window.",
        ),
        Field::new(
            "minimumEvents",
            Shape::Integer { min: 1, max: 1_000_000 },
            "Fewer bad events than this tell nobody anything.",
        )
        .or("5"),
        Field::new(
            "lowTraffic",
            Shape::FalseOr(&LOW_TRAFFIC),
            "The rule without a target, for services with few requests; `false` for none.",
        ),
        Field::new(
            "noData",
            Shape::FalseOr(&NO_DATA),
            "When it is told that nothing is measured; `false` for never.",
        ),
        Field::new("for", DURATION, "How long a rule has to hold, beyond its windows.").or("0s"),
        Field::new("keepFiringFor", DURATION, "How long an alert goes on after its rule last held.").or("5m"),
    ],
    elsewhere: &[
        ("disable", NotYet("write `alerts: false`")),
        ("pageAlert", NotYet("write `pairs` with `severity: P1`, or leave it out for the field's own")),
        ("page_alert", NotYet("write `pairs` with `severity: P1`, or leave it out for the field's own")),
        ("ticketAlert", NotYet("write `pairs` with `severity: P3`, or leave it out for the field's own")),
        ("ticket_alert", NotYet("write `pairs` with `severity: P3`, or leave it out for the field's own")),
        ("alertAfter", Use("for")),
        ("keep_firing_for", Use("keepFiringFor")),
        ("windows", Use("pairs")),
    ],
};

pub(crate) static PAIR: Object = Object {
    path: "objectives.*.alerts.pairs[]",
    about: "An alert while the budget burns faster than the factor over both windows.",
    fields: &[
        Field::new("long", WAIT, "The long window, in whole minutes: says that it matters.").required(),
        Field::new(
            "short",
            WAIT,
            "The short window: says that it goes on. The default is a twelfth of the long one.",
        ),
        Field::new(
            "factor",
            Shape::Number { min: 0.0, max: 1_000_000.0, open: true },
            "How many times as fast as would just use the budget up.",
        )
        .required(),
        Field::new("severity", Shape::Choice(SEVERITIES), "P1 calls somebody out, P3 is put on the list.")
            .or("P1"),
    ],
    elsewhere: &[
        ("lookbackWindow", Use("long")),
        ("longWindow", Use("long")),
        ("shortWindow", Use("short")),
        ("threshold", Use("factor")),
        ("burnRate", Use("factor")),
        ("burnrate", Use("factor")),
    ],
};

pub(crate) static LOW_TRAFFIC: Object = Object {
    path: "objectives.*.alerts.lowTraffic",
    about: "An alert while surely more than a share of all events was bad over a long time, whatever the target.",
    fields: &[
        Field::new("errors", Shape::Ratio, "The share.").or("50%"),
        Field::new("over", WAIT, "Over how long, in whole minutes.").or("6h"),
        Field::new("severity", Shape::Choice(SEVERITIES), "How urgent.").or("P1"),
    ],
    elsewhere: &[("window", Use("over")), ("threshold", Use("errors"))],
};

pub(crate) static NO_DATA: Object = Object {
    path: "objectives.*.alerts.noData",
    about: "An alert while nothing is measured though replicas are wanted.",
    fields: &[
        Field::new("after", WAIT, "Nothing was measured for so long, in whole minutes.").or("5m"),
        Field::new("severity", Shape::Choice(SEVERITIES), "How urgent.").or("P2"),
    ],
    elsewhere: &[("for", Use("after")), ("over", Use("after"))],
};

pub(crate) static BUDGET_STEP: Object = Object {
    path: "objectives.*.budget[]",
    about: "What follows while so much of the budget or less is left.",
    fields: &[
        Field::new("remaining", Shape::Ratio, "What is left of the budget.").required(),
        Field::new(
            "then",
            Shape::Choice(&["warn", "canaryOnly", "freeze"]),
            "Whoever deploys is told; only canaries are let through; nothing is but what goes back.",
        )
        .required(),
    ],
    elsewhere: &[("action", Use("then")), ("left", Use("remaining"))],
};
