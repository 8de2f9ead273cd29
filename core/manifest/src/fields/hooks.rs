//! The vocabulary of hooks: commands that run beside a rollout. When they run and what follows is the rollout's business.

use super::WAIT;
use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Elsewhere, Field, Object, Shape};

/// The most hooks of one moment.
const MOST: usize = 16;

pub(crate) static HOOKS: Object = Object {
    path: "rollout.hooks",
    about: "Commands that run beside the rollout. A return to an earlier release runs none.",
    fields: &[
        Field::new(
            "before",
            Shape::List { item: &Shape::Object(&HOOK_BEFORE), max: MOST },
            "Commands that run one after the other before any replica of the new release starts, as a migration of the \
             database. When one fails, the rollout goes back before anything has moved.",
        ),
        Field::new(
            "after",
            Shape::List { item: &Shape::Object(&HOOK_AFTER), max: MOST },
            "Commands that run one after the other once the new release takes all requests, and bakeTime and \
             postPromotionAnalysis have passed. The rollout is not over before they are.",
        ),
    ],
    elsewhere: &[
        ("pre-install", Use("before")),
        ("pre-upgrade", Use("before")),
        ("PreSync", Use("before")),
        ("pre-rollout", Use("before")),
        ("post-install", Use("after")),
        ("post-upgrade", Use("after")),
        ("PostSync", Use("after")),
        ("post-rollout", Use("after")),
        ("pre-rollback", NotYet("a return to an earlier release runs no hooks: it waits for nothing")),
        ("post-rollback", NotYet("a return to an earlier release runs no hooks: it waits for nothing")),
        ("SyncFail", NotYet("a rollout that goes back runs no hooks: it waits for nothing")),
    ],
};

const NAME: Field =
    Field::new("name", Shape::Text, "Its name in reports, told to it as SHIPSHAPE_HOOK.").required();
const RUN: Field = Field::new(
    "run",
    Shape::Words,
    "The command line (no shell), or the list of its words. It runs in the new release's artifact directory, with the \
     service's config and secrets, SHIPSHAPE_SERVICE, SHIPSHAPE_ENVIRONMENT, SHIPSHAPE_RELEASE, SHIPSHAPE_ROLLOUT, \
     SHIPSHAPE_HOOK and SHIPSHAPE_ATTEMPT.",
)
.required();
const TIMEOUT: Field = Field::new(
    "timeout",
    WAIT,
    "How long one attempt may run; then it is killed with all it started, and has failed.",
)
.or("5m");
const IDEMPOTENT: Field = Field::new(
    "idempotent",
    Shape::Bool,
    "Whether it may run again. When control dies, the command dies with it; the next control runs it once more, as the \
     next SHIPSHAPE_ATTEMPT (5 at most), or with `false` counts it as failed.",
)
.or("true");

pub(crate) static HOOK_BEFORE: Object = Object {
    path: "rollout.hooks.before[]",
    about: "A command that has to succeed before anything moves.",
    fields: &[NAME, RUN, TIMEOUT, IDEMPOTENT],
    elsewhere: &[
        COMMAND,
        ARGS,
        DEADLINE,
        ("onFailure", NotYet("a hook that fails before a rollout ends it: nothing has moved by then")),
        ("retryable", Use("idempotent")),
        RETRIES,
        RESTARTS,
    ],
};

pub(crate) static HOOK_AFTER: Object = Object {
    path: "rollout.hooks.after[]",
    about: "A command that runs when the new release takes all requests.",
    fields: &[
        NAME,
        RUN,
        TIMEOUT,
        IDEMPOTENT,
        Field::new(
            "onFailure",
            Shape::Choice(&["warn", "rollback"]),
            "What becomes of the rollout when it fails: `warn` leaves the new release where it is and says so, \
             `rollback` fails the rollout, and `rollout.onFailure` says what follows.",
        )
        .or("warn"),
    ],
    elsewhere: &[COMMAND, ARGS, DEADLINE, RETRIES, RESTARTS, ("retryable", Use("idempotent"))],
};

const COMMAND: (&str, Elsewhere) = ("command", Use("run"));
const ARGS: (&str, Elsewhere) = ("args", Use("run"));
const DEADLINE: (&str, Elsewhere) = ("activeDeadlineSeconds", Use("timeout"));
const RETRIES: (&str, Elsewhere) =
    ("backoffLimit", NotYet("a hook that failed is not tried again: let the command itself try again"));
const RESTARTS: (&str, Elsewhere) = ("restartPolicy", Use("idempotent"));
