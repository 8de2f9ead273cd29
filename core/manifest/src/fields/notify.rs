//! The vocabulary of who is told of alerts: receivers, routes, grouping, inhibition. The words are Alertmanager's.

use super::{SECRET, WAIT};
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

/// The most receivers, routes and rules of a service.
pub(crate) const MOST: usize = 50;

const MATCHERS: Shape = Shape::List { item: &Shape::Text, max: 20 };
const LABELS: Shape = Shape::List { item: &Shape::Text, max: 20 };

const GROUP_BY: Field = Field::new(
    "groupBy",
    LABELS,
    "Alerts with the same values of these labels are told together; `[...]` tells each alone. The default is \
     `[alertname, app, environment]`.",
);
const SEVERITY: Field = Field::new(
    "severity",
    Shape::List { item: &Shape::Choice(&["P1", "P2", "P3"]), max: 3 },
    "Only alerts that are so urgent; all by default.",
);

pub(crate) static NOTIFY: Object = Object {
    path: "notify",
    about: "Who is told of the service's alerts.",
    fields: &[
        Field::new(
            "receivers",
            Shape::MapOf { key: Key::Label, value: &Shape::Object(&RECEIVER), max: MOST },
            "Who is told, by name.",
        )
        .required(),
        Field::new(
            "routes",
            Shape::List { item: &Shape::Object(&ROUTE_TO), max: MOST },
            "Which alerts go to whom: the first route that takes an alert, and those after it only where it says \
             `continue`. Without routes, every receiver gets every alert.",
        ),
        GROUP_BY,
        Field::new("groupWait", WAIT, "How long the first alert of a group waits for others.").or("30s"),
        Field::new("groupInterval", WAIT, "A group is told of news no sooner than this after it was told.")
            .or("5m"),
        Field::new("repeatInterval", WAIT, "A group without news is told again after this, while it fires.")
            .or("4h"),
        Field::new(
            "inhibitRules",
            Shape::List { item: &Shape::Object(&INHIBIT), max: MOST },
            "Which alerts keep others from being told. By default, of two alerts of one place with one name, or about one \
             objective, the more urgent one speaks for both; `[]` for no rules.",
        ),
        Field::new(
            "selfTest",
            Shape::Bool,
            "Whether an alert is made up once a day for each receiver, to prove that it would be told.",
        )
        .or("true"),
    ],
    elsewhere: &[
        ("route", Use("routes")),
        ("group_by", Use("groupBy")),
        ("group_wait", Use("groupWait")),
        ("group_interval", Use("groupInterval")),
        ("repeat_interval", Use("repeatInterval")),
        ("inhibit_rules", Use("inhibitRules")),
        ("inhibit", Use("inhibitRules")),
        (
            "timeIntervals",
            NotYet("time intervals are not supported yet: `shipshape silence add` mutes for a while"),
        ),
    ],
};

pub(crate) static RECEIVER: Object = Object {
    path: "notify.receivers.*",
    about: "One that is told: exactly one of `webhook` and `alertmanager`.",
    fields: &[
        Field::new(
            "webhook",
            Shape::WrittenOr(&SECRET),
            "The address that gets each notification as Alertmanager's webhook sends it (version 4): a text, which the \
             journal keeps, or a reference to a secret, as in {environment: PAGER_URL}.",
        ),
        Field::new(
            "alertmanager",
            Shape::List { item: &Shape::Text, max: 10 },
            "The addresses of one Alertmanager cluster, as in http://127.0.0.1:9093. It gets every alert and groups by \
             itself.",
        ),
        Field::new(
            "headers",
            Shape::MapOf { key: Key::Title, value: &Shape::WrittenOr(&SECRET), max: 50 },
            "Headers that it asks for: a text, which the journal keeps, or a reference to a secret, as in \
             {environment: PAGER_AUTHORIZATION}, whose value is the whole header.",
        ),
        Field::new(
            "caFile",
            Shape::Text,
            "A file on control's machine with the certificates (PEM) that are trusted, instead of the machine's own.",
        ),
        Field::new("timeout", WAIT, "How long it may take to answer.").or("10s"),
        Field::new("sendResolved", Shape::Bool, "Whether it is told when an alert ends.").or("true"),
    ],
    elsewhere: &[
        ("url", Use("webhook")),
        ("webhookConfigs", Use("webhook")),
        ("alertmanagers", Use("alertmanager")),
        ("send_resolved", Use("sendResolved")),
        (
            "bearerToken",
            NotYet("name the whole header: `headers: {authorization: {environment: PAGER_AUTHORIZATION}}`"),
        ),
        ("email", NotYet("email is not supported yet: an Alertmanager sends it")),
        (
            "slack",
            NotYet("chats are not supported yet: an Alertmanager writes to them, or a `webhook` of your own"),
        ),
        (
            "pagerduty",
            NotYet("pagers are not supported yet: an Alertmanager calls them, or a `webhook` of your own"),
        ),
    ],
};

pub(crate) static ROUTE_TO: Object = Object {
    path: "notify.routes[]",
    about: "Which alerts go to a receiver.",
    fields: &[
        Field::new("receiver", Shape::Text, "To whom.").required(),
        SEVERITY,
        Field::new(
            "matchers",
            MATCHERS,
            "Only alerts of which all of these hold, as in `alertname=~\"Disk.*\"`.",
        ),
        Field::new("continue", Shape::Bool, "Whether the routes after it may take the same alert, too.")
            .or("false"),
        GROUP_BY,
        Field::new("groupWait", WAIT, "As for all, and only here."),
        Field::new("groupInterval", WAIT, "As for all, and only here."),
        Field::new("repeatInterval", WAIT, "As for all, and only here."),
    ],
    elsewhere: &[
        ("match", Use("matchers")),
        ("match_re", Use("matchers")),
        (
            "receivers",
            NotYet("a route has one receiver: write a route for each, the first with `continue: true`"),
        ),
        ("routes", NotYet("routes do not nest: write them one after the other, the narrow ones first")),
    ],
};

pub(crate) static INHIBIT: Object = Object {
    path: "notify.inhibitRules[]",
    about: "While one alert fires, others are not told.",
    fields: &[
        Field::new("sourceMatchers", MATCHERS, "The alert that speaks for others.").required(),
        Field::new("targetMatchers", MATCHERS, "The others.").required(),
        Field::new("equal", LABELS, "The labels that both have alike; `app` and `environment` by default."),
    ],
    elsewhere: &[
        ("source_matchers", Use("sourceMatchers")),
        ("target_matchers", Use("targetMatchers")),
        ("source", Use("sourceMatchers")),
        ("target", Use("targetMatchers")),
    ],
};
