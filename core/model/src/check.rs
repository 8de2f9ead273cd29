//! One look at a release from outside: a request or a command, as declared, and what it found. Does not live here: how
//! it is carried out (`adapters/checks`), and what follows from it (`ship`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done to look at a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A request.
    Http(Http),
    /// A command.
    Command(Command),
    /// A question to the metrics.
    Promql(Promql),
}

impl Check {
    /// How long it may take.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Http(http) => http.timeout,
            Self::Command(command) => command.timeout,
            Self::Promql(promql) => promql.timeout,
        }
    }

    /// Its kind in the manifest and in every report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Command(_) => "command",
            Self::Promql(_) => "promql",
        }
    }
}

/// A request and the answer that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// Whom it goes to.
    pub target: Target,
    /// Its method, in capitals.
    pub method: String,
    /// Its headers beside `host`, which follows from the target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What the answer has to be.
    #[serde(default)]
    pub expect: Expect,
    /// How long the whole answer may take.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
}

/// Whom a request goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The new release, at this path: at its preview address, or else at each of its ready replicas.
    Path(String),
    /// Whatever answers at this absolute address.
    Url(String),
}

/// What an answer has to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expect {
    /// This status; any from 200 to 299 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// This text somewhere in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
}

/// A program whose exit status tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// The program and its arguments. A relative program is looked for in the artifact first, then on the `PATH`.
    pub run: Vec<String>,
    /// How long it may run before it is killed with everything it started.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
}

/// A question to the metrics, and what its answer means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promql {
    /// In PromQL, with [`crate::placeholder`]s for what is known only when it is asked.
    pub query: String,
    /// What makes an answer a success: an expression over `result` (crate `condition`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_condition: Option<String>,
    /// What makes an answer a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_condition: Option<String>,
    /// How long the answer may take.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
}

/// What a question to the metrics gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// One number.
    Scalar(f64),
    /// A number of each series, in the order in which they came.
    Vector(Vec<f64>),
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What it means.
    pub verdict: Verdict,
    /// The number that it measured: of a request the seconds until its whole answer, the slowest when there were
    /// several; of a command its exit status; of a question the first number of the answer, when it is finite.
    pub value: Option<f64>,
    /// What happened, in words: short, on one line, without anything secret.
    pub detail: String,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It found what it expected.
    Passed,
    /// It found something else.
    Failed,
    /// It looked, and what it found says neither.
    Inconclusive,
    /// It could not look. That says nothing about the release.
    Error,
}

impl Outcome {
    /// A look that was not possible, and why.
    pub fn error(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, value: None, detail: detail.into() }
    }
}
