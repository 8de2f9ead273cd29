//! The effective configuration of a service in one environment: the manifest's base with that environment's overlay
//! applied and every default filled in. Secrets stand in it by reference only.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{self, Declared};
use crate::change::Changes;
use crate::notify::Notify;
use crate::objective::Objective;
use crate::otlp::{Export, Traces};
use crate::probe;
use crate::records::Records;
use crate::route::Route;
use crate::strategy::{Kind, Strategy};
use crate::{Digest, EnvironmentName, Place, ServiceName};

/// Everything that is needed to run and route one service in one environment, except the artifact itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The service.
    pub service: ServiceName,
    /// The environment that this configuration is for.
    pub environment: EnvironmentName,
    /// What people should know; not part of the configuration's digest.
    pub about: About,
    /// The path of the artifact to ship when none is named, relative to the manifest.
    pub artifact: Option<String>,
    /// What to start.
    pub run: Run,
    /// Plain environment variables.
    pub config: BTreeMap<String, String>,
    /// Environment variables whose values are secret, by reference.
    pub secrets: BTreeMap<String, SecretSource>,
    /// How health is told.
    pub health: Health,
    /// How many replicas.
    pub replicas: u32,
    /// What each replica may use.
    pub resources: Resources,
    /// How a replica is let go.
    pub shutdown: Shutdown,
    /// How much captured output is kept, for each replica.
    pub logs: Logs,
    /// What becomes of the records made of it.
    #[serde(default, skip_serializing_if = "Records::is_default")]
    pub records: Records,
    /// Which metrics are collected beside the gateway's.
    #[serde(default, skip_serializing_if = "Metrics::is_default")]
    pub metrics: Metrics,
    /// What becomes of the gateway's traces of it; `None` when it is not traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
    /// Looks from outside, at the service and at others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<probe::Probe>,
    /// Which requests it answers.
    pub route: Route,
    /// How a new release replaces an old one.
    pub rollout: Strategy,
    /// When and by whom it may be changed.
    #[serde(default, skip_serializing_if = "Changes::is_default")]
    pub changes: Changes,
    /// What is good enough, as declared; `None` when nothing is said. [`Self::objectives`] knows what holds then: the
    /// product's own objectives are not stored, so that a manifest that says nothing has the digest that it always had.
    #[serde(default, rename = "objectives", skip_serializing_if = "Option::is_none")]
    pub declared_objectives: Option<Vec<Objective>>,
    /// When somebody should know something, as declared. [`Self::alerts`] knows which rules hold then.
    #[serde(default, rename = "alerts", skip_serializing_if = "Declared::is_default")]
    pub declared_alerts: Declared,
    /// Who is told of its alerts; `None`: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

impl Spec {
    /// Where it runs.
    pub fn place(&self) -> Place {
        Place { service: self.service.clone(), environment: self.environment.clone() }
    }

    /// The requests that reach a release of this configuration while it is previewed; `None` when it never is.
    pub fn preview(&self) -> Option<Route> {
        match &self.rollout.kind {
            Kind::BlueGreen { preview_hosts, .. } => {
                Some(Route { hosts: preview_hosts.clone(), ..self.route.clone() })
            }
            Kind::Rolling { .. } | Kind::Canary { .. } => None,
        }
    }

    /// What is good enough: the declared objectives, or the product's own when the manifest says nothing.
    pub fn objectives(&self) -> Vec<Objective> {
        self.declared_objectives.clone().unwrap_or_else(Objective::defaults)
    }

    /// The rules of alerts that hold: those declared, and the ready-made ones that nobody switched off.
    pub fn alerts(&self) -> Vec<alert::Rule> {
        self.declared_alerts.rules()
    }

    /// The digest of everything that changes how the service behaves: all but [`About`].
    pub fn digest(&self) -> Digest {
        let behaviour = Self { about: About::default(), ..self.clone() };
        let json = serde_json::to_vec(&behaviour).unwrap_or_default();
        Digest::of(&json)
    }
}

/// What people should know about a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// One sentence.
    pub description: Option<String>,
    /// The owning team.
    pub owner: Option<String>,
    /// How much the business depends on it: 1 (most) to 4.
    pub tier: Option<u8>,
    /// Links by title.
    pub links: BTreeMap<String, String>,
}

/// What to start for a replica. A relative command is looked for in the artifact first, then on the `PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The working directory, relative to the artifact; the artifact itself when absent.
    pub working_directory: Option<String>,
    /// The environment variable that tells the program which port of the loopback interface to listen on.
    pub port_variable: String,
}

/// Where a secret's value is found. The value itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretSource {
    /// An environment variable of the control process.
    Environment(String),
    /// A file that the control process can read; one trailing newline is dropped.
    File(String),
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderValue {
    /// In the open.
    Text(String),
    /// A secret, by reference.
    Secret(SecretSource),
}

/// The three questions of health. An absent probe is never asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Has it started? Until this succeeds the others are not asked; its failure restarts the replica.
    pub startup: Option<Probe>,
    /// Is it still working? Its failure restarts the replica.
    pub live: Option<Probe>,
    /// Can it take requests now? Its failure takes the replica out of traffic.
    pub ready: Option<Probe>,
}

/// One probe, with Kubernetes' meaning of each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// How long after the start of the replica the first probe is sent.
    #[serde(with = "crate::time::words")]
    pub initial_delay: Duration,
    /// How often.
    #[serde(with = "crate::time::words")]
    pub period: Duration,
    /// How long an answer may take.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
    /// Successes in a row that turn a failing probe into a passing one.
    pub success_threshold: u32,
    /// Failures in a row that turn a passing probe into a failing one.
    pub failure_threshold: u32,
}

/// What a probe asks of a replica's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// `GET` this path; 200 to 399 is a success.
    Http(String),
    /// A TCP connection can be opened.
    Tcp,
}

/// What each replica may use; absent means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Memory in bytes; a replica above it is killed by the kernel.
    pub memory_bytes: Option<u64>,
    /// CPU time in thousandths of a core.
    pub cpu_millis: Option<u32>,
}

/// How a replica is let go: out of the routing table, drained, asked to stop, killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shutdown {
    /// How long requests in flight may go on after the replica left the routing table.
    #[serde(with = "crate::time::words")]
    pub drain_timeout: Duration,
    /// How long after SIGTERM before SIGKILL.
    #[serde(with = "crate::time::words")]
    pub grace_period: Duration,
}

/// Which metrics of a service are collected beside those that the gateway has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// The page on which each replica tells its own; `None` when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape: Option<Scrape>,
    /// The server that rules in PromQL ask; `None` when control's own store answers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,
    /// Expressions whose results become series of their own in control's store, in order; each may build on those before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RecordingRule>,
    /// How often these are evaluated.
    #[serde(
        default = "evaluation_interval",
        with = "crate::time::words",
        skip_serializing_if = "is_evaluation_interval"
    )]
    pub evaluation_interval: Duration,
    /// Where they are sent on to, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
}

/// The interval of rules that name none: that of pages that name none.
const fn evaluation_interval() -> Duration {
    Duration::from_secs(15)
}

fn is_evaluation_interval(interval: &Duration) -> bool {
    *interval == evaluation_interval()
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            scrape: None,
            prometheus: None,
            rules: vec![],
            evaluation_interval: evaluation_interval(),
            export: None,
        }
    }
}

impl Metrics {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An expression whose results become series of their own, as in Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingRule {
    /// The name of its series.
    pub record: String,
    /// In PromQL.
    pub expr: String,
    /// Labels that its series get, in place of those of the same names; one with an empty value takes a label away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A Prometheus server, or whatever answers as one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prometheus {
    /// Its address, up to where `/api/v1/query` begins.
    pub address: String,
    /// How it is told who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Further headers, by their names in small letters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A file of control's machine with the certificates that are trusted, instead of the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// How somebody shows who he is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Authentication {
    /// By a token.
    BearerToken(SecretSource),
    /// By a name and a password.
    BasicAuth {
        /// The name.
        username: String,
        /// The password.
        password: SecretSource,
    },
}

/// How a replica's own metrics are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scrape {
    /// The page, with its query if it takes one.
    pub path: String,
    /// How often.
    #[serde(with = "crate::time::words")]
    pub interval: Duration,
    /// How long an answer may take; never longer than the interval.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
    /// A page with more samples is refused as a whole.
    pub sample_limit: u32,
}

/// How much captured output is kept, for each replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// A file is rotated before it grows beyond this many bytes.
    pub file_bytes: u64,
    /// How many files are kept, the one being written included.
    pub files: u32,
}
