//! What faces ask for, and the answer.

use std::path::PathBuf;

use model::{EnvironmentName, Place, ReleaseNumber, ServiceName};
use serde::{Deserialize, Serialize};

/// Make an artifact a release and roll it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deploy {
    /// The manifest's text.
    pub manifest: String,
    /// The directory that the manifest's paths are relative to; absolute.
    pub directory: PathBuf,
    /// The artifact, absolute; what the manifest names when absent.
    pub artifact: Option<PathBuf>,
    /// Where; the manifest's only environment when absent.
    pub environment: Option<EnvironmentName>,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// Roll out in one environment what serves in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ship {
    /// The service.
    pub service: ServiceName,
    /// Where the release serves.
    pub from: EnvironmentName,
    /// Where it shall serve.
    pub to: EnvironmentName,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// Return to an earlier release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// Where.
    pub place: Place,
    /// To which; the one before when absent.
    pub to: Option<ReleaseNumber>,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// Move the rollout under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operate {
    /// Where.
    pub place: Place,
    /// How.
    pub operation: Operation,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// How an operator moves a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// On from a pause.
    Promote,
    /// Past the rest of the steps.
    PromoteFull,
    /// Stand still.
    Pause,
    /// Go back.
    Abort,
}
