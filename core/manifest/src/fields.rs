//! The manifest's vocabulary: every field with its form, bounds, default and meaning, in one table. What a section's
//! values mean together is not decided here, but by the section's own reader.

mod alerts;
mod analysis;
mod assignment;
mod changes;
mod hooks;
mod logs;
mod metrics;
mod notify;
mod objectives;
mod probes;
mod route;
mod rules;
mod traces;

use crate::shape::Elsewhere::{NotYet, Use};
use crate::shape::{Field, Key, Object, Shape};

pub(crate) use alerts::ALERT_RULE;
pub(crate) use analysis::{ANALYSIS, JUDGE, JUDGE_LATENCY, STEP_ANALYSIS};
pub(crate) use assignment::{
    AFFINITY_COOKIE, AFFINITY_HEADER, HEADER_MATCH, HEADER_ROUTE, HEADER_VALUE, SCALE, SESSION_AFFINITY,
};
pub(crate) use changes::{APPROVALS, CHANGES, FREEZE, WEEKLY};
pub(crate) use hooks::{HOOK_AFTER, HOOK_BEFORE, HOOKS};
pub(crate) use logs::{LOGS, LOGS_EXPORT, RETENTION};
pub(crate) use metrics::{BASIC_AUTH, METRICS, MOST_RECORDING_RULES, RECORDING_RULE, SCRAPE};
pub(crate) use notify::{INHIBIT, NOTIFY, RECEIVER, ROUTE_TO};
pub(crate) use objectives::{
    ALERTS, BUDGET_STEP, LOW_TRAFFIC, NO_DATA, OBJECTIVE, PAIR, SLA, TIMESLICES, WINDOW,
};
pub(crate) use probes::{
    PROBE_BASIC_AUTH, PROBE_DNS, PROBE_EXPECT, PROBE_HTTP, PROBE_TCP, PROBE_TLS, PROBES,
};
pub(crate) use route::{LIMITS, ROUTE, TIMEOUTS};
pub(crate) use rules::{ARGUMENT, CHECK_COMMAND, CHECK_HTTP, CHECK_PROMQL, EXPECT, METRIC};
pub(crate) use traces::{EXPORT, OTLP, SAMPLE, TRACES};

const DURATION: Shape = Shape::Duration { positive: false };
const WAIT: Shape = Shape::Duration { positive: true };
const SHARE: Shape = Shape::Number { min: 0.0, max: 1.0, open: true };
const LIMIT: Shape = Shape::Integer { min: -1, max: 1_000_000 };

pub(crate) static ROOT: Object = Object {
    path: "",
    about: "A service as its team declares it.",
    fields: &[
        Field::new("service", Shape::Text, "The service's name: a DNS label.").required(),
        Field::new("description", Shape::Text, "What the service does, in one sentence."),
        Field::new("owner", Shape::Text, "The owning team."),
        Field::new(
            "tier",
            Shape::Integer { min: 1, max: 4 },
            "How much the business depends on it: 1 (most) to 4.",
        ),
        Field::new(
            "links",
            Shape::MapOf { key: Key::Title, value: &Shape::Text, max: 50 },
            "Links by title: dashboards, repository, chat.",
        ),
        Field::new("artifact", Shape::Text, "The file or directory to ship, relative to the manifest."),
        Field::new("run", Shape::TextOr(&RUN), "What to start: a command line (no shell), or its parts.")
            .required(),
        Field::new(
            "config",
            Shape::MapOf { key: Key::Variable, value: &Shape::Written, max: 500 },
            "Plain environment variables; values are taken as written.",
        ),
        Field::new(
            "secrets",
            Shape::MapOf { key: Key::Variable, value: &Shape::Object(&SECRET), max: 200 },
            "Environment variables whose values are secret, by reference.",
        ),
        Field::new("health", Shape::Object(&HEALTH), "How health is told."),
        Field::new("replicas", Shape::Integer { min: 1, max: 100 }, "How many replicas run.").or("2"),
        Field::new("resources", Shape::Object(&RESOURCES), "What each replica may use."),
        Field::new("shutdown", Shape::Object(&SHUTDOWN), "How a replica is let go."),
        Field::new("logs", Shape::Object(&LOGS), "What becomes of captured output."),
        Field::new("metrics", Shape::Object(&METRICS), "Which metrics are collected beside the gateway's."),
        Field::new("traces", Shape::Object(&TRACES), "Where the gateway's traces go, and which are kept."),
        Field::new(
            "objectives",
            objectives::OBJECTIVES,
            "What is good enough, by name; `none` for nothing. The default is `availability: 99.9%` and \
             `latency: 99% within 500ms`, with budgets that warn and stop nobody.",
        ),
        Field::new(
            "alerts",
            alerts::ALERT_RULES,
            "When somebody should know something: rules by name, ready-made or one's own; `none` for nothing. Ready-made rules \
             hold unless they are switched off, as in `DiskFull: false`.",
        ),
        Field::new(
            "probes",
            Shape::List { item: &Shape::Object(&PROBES), max: probes::MOST },
            "Looks from outside, by control: at the service through the gateway, and at others. `health` asks each replica.",
        ),
        Field::new("notify", Shape::Object(&NOTIFY), "Who is told of alerts; nobody by default."),
        Field::new("route", Shape::Object(&ROUTE), "Which requests the service answers."),
        Field::new("rollout", Shape::Object(&ROLLOUT), "How a new release replaces an old one."),
        Field::new("changes", Shape::Object(&CHANGES), "When and by whom it may be changed."),
        Field::new(
            "environments",
            Shape::MapOf { key: Key::Label, value: &Shape::Object(&OVERLAY), max: 20 },
            "Environments by name; each changes some of the fields above. Mappings merge, lists and values \
             replace, `null` removes.",
        ),
    ],
    elsewhere: &[
        ("name", Use("service")),
        ("env", Use("config")),
        ("command", Use("run")),
        ("args", Use("run.args")),
        ("tracing", Use("traces")),
        ("healthcheck", Use("health")),
        ("strategy", Use("rollout.strategy")),
        ("calendar", Use("changes.freeze")),
        ("freeze", Use("changes.freeze")),
        ("approvals", Use("changes.approvals")),
        ("receivers", Use("notify.receivers")),
        ("alertmanager", Use("notify.receivers")),
        ("slo", Use("objectives")),
        ("alerting", Use("alerts")),
        ("alertRules", Use("alerts")),
        ("slos", Use("objectives")),
        ("sli", Use("objectives")),
        ("image", NotYet("containers are not supported yet: name a file or directory under `artifact`")),
        ("version", NotYet("a manifest has no version; releases are numbered by `shipshape deploy`")),
    ],
};

/// An overlay holds the root's fields except these; its own list of fields is the root's.
pub(crate) const NOT_IN_OVERLAYS: [&str; 2] = ["service", "environments"];

/// Stands for an environment in [`ROOT`]; its fields are the root's, apart from [`NOT_IN_OVERLAYS`].
pub(crate) static OVERLAY: Object = Object {
    path: "environments.*",
    about: "What is different in one environment.",
    fields: &[],
    elsewhere: &[],
};

pub(crate) static RUN: Object = Object {
    path: "run",
    about: "What to start for each replica.",
    fields: &[
        Field::new("command", Shape::Text, "The program: looked for in the artifact, then on the PATH.")
            .required(),
        Field::new("args", Shape::List { item: &Shape::Written, max: 256 }, "Its arguments."),
        Field::new("workingDirectory", Shape::Text, "The working directory, relative to the artifact."),
        Field::new("portVariable", Shape::Text, "The environment variable that names the port to listen on.")
            .or("PORT"),
    ],
    elsewhere: &[("cwd", Use("workingDirectory")), ("workingDir", Use("workingDirectory"))],
};

pub(crate) static SECRET: Object = Object {
    path: "secrets.*",
    about: "Where the value is found: exactly one of the two.",
    fields: &[
        Field::new("environment", Shape::Text, "An environment variable of the control process."),
        Field::new("file", Shape::Text, "A file that the control process can read."),
    ],
    elsewhere: &[
        ("env", Use("environment")),
        (
            "value",
            NotYet(
                "a secret's value never stands in the manifest: name an `environment` variable or a `file`",
            ),
        ),
        ("secretKeyRef", NotYet("secrets of Kubernetes are not supported yet: use `environment` or `file`")),
        ("vault", NotYet("Vault is not supported yet: use `environment` or `file`")),
    ],
};

pub(crate) static HEALTH: Object = Object {
    path: "health",
    about: "How health is told. Without `ready`, a replica is ready when its port accepts connections.",
    fields: &[
        Field::new("startup", Shape::Object(&PROBE), "Has it started? Its failure restarts the replica."),
        Field::new("live", Shape::Object(&PROBE), "Is it still working? Its failure restarts the replica."),
        Field::new(
            "ready",
            Shape::Object(&PROBE),
            "Can it take requests? Its failure takes it out of traffic.",
        ),
    ],
    elsewhere: &[
        ("startupProbe", Use("startup")),
        ("liveness", Use("live")),
        ("livenessProbe", Use("live")),
        ("readiness", Use("ready")),
        ("readinessProbe", Use("ready")),
    ],
};

pub(crate) static PROBE: Object = Object {
    path: "health.*",
    about: "One probe, with Kubernetes' defaults: exactly one of `http` and `tcp`.",
    fields: &[
        Field::new("http", Shape::Path, "GET this path; 200 to 399 is a success."),
        Field::new("tcp", Shape::True, "A connection to the port can be opened."),
        Field::new("initialDelay", DURATION, "How long after the start the first probe is sent.").or("0s"),
        Field::new("period", WAIT, "How often.").or("10s"),
        Field::new("timeout", WAIT, "How long an answer may take.").or("1s"),
        Field::new(
            "successThreshold",
            Shape::Integer { min: 1, max: 1000 },
            "Successes in a row that make it pass; 1 for startup and live.",
        )
        .or("1"),
        Field::new(
            "failureThreshold",
            Shape::Integer { min: 1, max: 1000 },
            "Failures in a row that make it fail.",
        )
        .or("3"),
    ],
    elsewhere: &[
        ("httpGet", Use("http")),
        ("path", Use("http")),
        ("tcpSocket", Use("tcp")),
        ("initialDelaySeconds", Use("initialDelay")),
        ("periodSeconds", Use("period")),
        ("interval", Use("period")),
        ("timeoutSeconds", Use("timeout")),
        ("exec", NotYet("probes by command are not supported yet: use `http` or `tcp`")),
        ("grpc", NotYet("gRPC probes are not supported yet: use `http` or `tcp`")),
    ],
};

pub(crate) static RESOURCES: Object = Object {
    path: "resources",
    about: "What each replica may use; absent means no limit.",
    fields: &[
        Field::new("memory", Shape::Bytes { min: 1 << 20 }, "Memory: 256Mi, 1Gi, 512M."),
        Field::new("cpu", Shape::Cpu, "CPU time in cores: 500m, 0.5, 2."),
    ],
    elsewhere: &[
        ("limits", NotYet("limits and requests are not told apart: write `memory` and `cpu` directly")),
        ("requests", NotYet("limits and requests are not told apart: write `memory` and `cpu` directly")),
    ],
};

pub(crate) static SHUTDOWN: Object = Object {
    path: "shutdown",
    about: "How a replica is let go: out of the routing table, drained, asked to stop, killed.",
    fields: &[
        Field::new("drainTimeout", DURATION, "How long requests in flight may go on.").or("30s"),
        Field::new("gracePeriod", DURATION, "How long after SIGTERM before SIGKILL.").or("30s"),
    ],
    elsewhere: &[("terminationGracePeriodSeconds", Use("gracePeriod"))],
};

pub(crate) static ROLLOUT: Object = Object {
    path: "rollout",
    about: "How a new release replaces an old one.",
    fields: &[
        Field::new(
            "strategy",
            Shape::Choice(&["rolling", "canary", "blueGreen"]),
            "The order in which replicas and traffic move.",
        )
        .or("rolling"),
        Field::new("rolling", Shape::Object(&ROLLING), "Replica by replica; traffic follows the ready ones."),
        Field::new(
            "canary",
            Shape::Object(&CANARY),
            "By steps of traffic, beside a full-sized stable release.",
        ),
        Field::new(
            "blueGreen",
            Shape::Object(&BLUE_GREEN),
            "Whole beside the stable release, at a preview address, then all traffic in one swap.",
        ),
        Field::new(
            "progressDeadline",
            WAIT,
            "Without progress for so long, the rollout fails and rolls back.",
        )
        .or("600s"),
        Field::new(
            "minReady",
            DURATION,
            "How long a new replica must have been ready before it counts (Kubernetes' minReadySeconds).",
        )
        .or("1s"),
        Field::new(
            "scaleDownDelay",
            DURATION,
            "How long the old release stays warm after a canary or a blue-green switch: a rollback is then one swap.",
        )
        .or("30s"),
        Field::new(
            "bakeTime",
            DURATION,
            "How long the new release is watched, and taken back when it turns bad, after it took all traffic. The old \
             one stays warm meanwhile, but after a rolling update.",
        )
        .or("0s"),
        Field::new(
            "rollbackWindow",
            DURATION,
            "For how long after the rollout a release that burns an error budget is taken back by itself; 0s: never.",
        )
        .or("1h"),
        Field::new(
            "onFailure",
            Shape::Choice(&["rollback", "freeze"]),
            "What becomes of a rollout that fails: it goes back, or it stands still until somebody decides, because a \
             migration may forbid to go back.",
        )
        .or("rollback"),
        Field::new("analysis", Shape::Object(&ANALYSIS), "What is watched while both releases serve."),
        Field::new("hooks", Shape::Object(&HOOKS), "Commands that run before and after it, as a migration."),
    ],
    elsewhere: &[
        ("steps", Use("rollout.canary.steps")),
        ("maxSurge", Use("rollout.rolling.maxSurge")),
        ("maxUnavailable", Use("rollout.rolling.maxUnavailable")),
        ("progressDeadlineSeconds", Use("progressDeadline")),
        ("scaleDownDelaySeconds", Use("scaleDownDelay")),
        ("minReadySeconds", Use("minReady")),
        ("judge", Use("rollout.analysis.judge")),
        ("metrics", Use("rollout.analysis.metrics")),
        ("sessionAffinity", Use("rollout.canary.sessionAffinity")),
        ("progressDeadlineAbort", NotYet("it is always on: a rollout past its deadline rolls back")),
        ("retry", NotYet("replicas are started again until progressDeadline; after that deploy the same again")),
    ],
};

/// Strategies of other tools.
pub(crate) const STRATEGIES_NOT_YET: [&str; 2] = ["recreate", "abTesting"];

pub(crate) static ROLLING: Object = Object {
    path: "rollout.rolling",
    about: "Replica by replica.",
    fields: &[
        Field::new("maxSurge", Shape::Amount, "How many replicas more than wanted may exist; rounded up.")
            .or("25%"),
        Field::new("maxUnavailable", Shape::Amount, "How many fewer than wanted may be ready; rounded down.")
            .or("0"),
    ],
    elsewhere: &[(
        "sessionAffinity",
        NotYet(
            "a rolling update has no weights: use `strategy: canary` with `rollout.canary.sessionAffinity`",
        ),
    )],
};

pub(crate) static CANARY: Object = Object {
    path: "rollout.canary",
    about: "By steps of traffic.",
    fields: &[
        Field::new(
            "steps",
            Shape::List { item: &Shape::Object(&STEP), max: 100 },
            "The steps; after the last one the new release takes all traffic. The default is 5, 25 and 50 percent, \
             with a pause of 1m after each.",
        ),
        Field::new(
            "sessionAffinity",
            Shape::Object(&SESSION_AFFINITY),
            "Users keep the release they were given. Without it each request is on its own.",
        ),
    ],
    elsewhere: &[
        ("maxSurge", NotYet("a canary is scaled by the weight of its step")),
        ("maxUnavailable", NotYet("a canary leaves the stable release at its full size")),
        ("analysis", Use("rollout.analysis")),
        ("trafficRouting", NotYet("the built-in gateway routes the traffic: leave it out")),
        ("stableService", NotYet("the built-in gateway routes the traffic: leave it out")),
        ("canaryService", NotYet("the built-in gateway routes the traffic: leave it out")),
        ("dynamicStableScale", NotYet("it is not supported yet: the stable release keeps its full size")),
        ("abortScaleDownDelaySeconds", NotYet("it is not supported yet")),
    ],
};

pub(crate) static BLUE_GREEN: Object = Object {
    path: "rollout.blueGreen",
    about: "The new release whole beside the stable one, then all traffic in one swap.",
    fields: &[
        Field::new(
            "autoPromotionEnabled",
            Shape::Bool,
            "Whether the switch happens by itself; otherwise somebody promotes.",
        )
        .or("true"),
        Field::new(
            "autoPromotionDelay",
            DURATION,
            "How long the ready preview is held before the switch happens by itself (Argo's autoPromotionSeconds).",
        )
        .or("0s"),
        Field::new(
            "previewReplicaCount",
            Shape::Integer { min: 1, max: 100 },
            "How many replicas the preview has. The default is all; all are ready before the switch in any case.",
        ),
        Field::new(
            "previewHosts",
            Shape::List { item: &Shape::Text, max: 64 },
            "Where the new release answers before the switch. The default is preview.SERVICE.ENVIRONMENT.localhost.",
        ),
        Field::new(
            "prePromotionAnalysis",
            Shape::Object(&PRE_PROMOTION),
            "Rules that the preview has to pass before the switch: a failure goes back before any request has moved.",
        ),
        Field::new(
            "postPromotionAnalysis",
            Shape::Object(&POST_PROMOTION),
            "Rules that the switch has to pass: a failure switches back, and the old release stays warm until then.",
        ),
    ],
    elsewhere: &[
        ("autoPromotionSeconds", Use("autoPromotionDelay")),
        ("autoPromotion", Use("autoPromotionEnabled")),
        ("scaleDownDelay", Use("rollout.scaleDownDelay")),
        ("scaleDownDelaySeconds", Use("rollout.scaleDownDelay")),
        (
            "sessionAffinity",
            NotYet(
                "all users switch at once: use `strategy: canary` with `rollout.canary.sessionAffinity`",
            ),
        ),
        ("previewService", Use("previewHosts")),
        ("activeService", NotYet("the built-in gateway routes the traffic: leave it out")),
        ("abortScaleDownDelaySeconds", NotYet("it is not supported yet")),
        ("scaleDownDelayRevisionLimit", NotYet("at most two releases run at one place")),
    ],
};

pub(crate) static PRE_PROMOTION: Object = Object {
    path: "rollout.blueGreen.prePromotionAnalysis",
    about: "What is measured of the preview, by http, command or restarts: nobody's requests reach it yet.",
    fields: STEP_ANALYSIS.fields,
    elsewhere: STEP_ANALYSIS.elsewhere,
};

pub(crate) static POST_PROMOTION: Object = Object {
    path: "rollout.blueGreen.postPromotionAnalysis",
    about: "What is measured after the switch, while the old release is warm.",
    fields: STEP_ANALYSIS.fields,
    elsewhere: STEP_ANALYSIS.elsewhere,
};

pub(crate) static STEP: Object = Object {
    path: "rollout.canary.steps[]",
    about: "One step: exactly one of these.",
    fields: &[
        Field::new("setWeight", Shape::Percent, "Give the new release this share of the traffic."),
        Field::new(
            "pause",
            Shape::Object(&PAUSE),
            "Wait for a time, or without one until somebody promotes.",
        ),
        Field::new(
            "analysis",
            Shape::Object(&STEP_ANALYSIS),
            "Wait until these rules are done: a failure rolls back, an inconclusive one pauses.",
        ),
        Field::new(
            "setCanaryScale",
            Shape::Object(&SCALE),
            "From here on, keep so many replicas of the new release, or as many as its traffic needs if that is more.",
        ),
        Field::new(
            "setHeaderRoute",
            Shape::Object(&HEADER_ROUTE),
            "From here on, send the requests that match to the new release whatever its weight.",
        ),
    ],
    elsewhere: &[
        ("weight", Use("setWeight")),
        ("setMirrorRoute", NotYet("setMirrorRoute is not supported yet")),
        ("replicaProgressThreshold", NotYet("replicaProgressThreshold is not supported yet")),
        ("experiment", NotYet("experiment is not supported yet")),
        ("plugin", NotYet("plugin is not supported yet")),
    ],
};

pub(crate) static PAUSE: Object = Object {
    path: "rollout.canary.steps[].pause",
    about: "A pause; `{}` waits until somebody promotes.",
    fields: &[Field::new("duration", WAIT, "How long.")],
    elsewhere: &[],
};
