//! What faces ask for, and the answer.

use std::path::PathBuf;

use lifecycle::{Scope, Words};
use model::{EnvironmentName, ObjectiveName, Place, ReleaseNumber, ServiceName, Timestamp};
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
    /// Whether a lock there is passed; that needs a reason.
    #[serde(default)]
    pub override_lock: bool,
    /// Whether a spent error budget is passed; that needs a reason.
    #[serde(default)]
    pub override_budget: bool,
    /// Whether a freeze of the change calendar is passed; that needs a reason.
    #[serde(default)]
    pub override_freeze: bool,
    /// What whoever has to approve it should know.
    #[serde(default)]
    pub change: Words,
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
    /// Whether a lock there is passed; that needs a reason.
    #[serde(default)]
    pub override_lock: bool,
    /// Whether a spent error budget is passed; that needs a reason.
    #[serde(default)]
    pub override_budget: bool,
    /// Whether a freeze of the change calendar is passed; that needs a reason.
    #[serde(default)]
    pub override_freeze: bool,
    /// What whoever has to approve it should know.
    #[serde(default)]
    pub change: Words,
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
    /// Whether a lock there is passed; that needs a reason.
    #[serde(default)]
    pub override_lock: bool,
}

/// Try the rollout that was rolled back last again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Where.
    pub place: Place,
    /// Who asks.
    pub actor: String,
    /// Why it shall go better, in their words.
    pub reason: String,
    /// Whether a lock there is passed.
    #[serde(default)]
    pub override_lock: bool,
    /// Whether a spent error budget is passed; that needs a reason.
    #[serde(default)]
    pub override_budget: bool,
    /// Whether a freeze of the change calendar is passed; that needs a reason.
    #[serde(default)]
    pub override_freeze: bool,
    /// What whoever has to approve it should know.
    #[serde(default)]
    pub change: Words,
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

/// Let no rollout begin at a place, or anywhere in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetLock {
    /// Where.
    pub scope: Scope,
    /// For how long, in seconds; until it is unlocked when absent.
    #[serde(default)]
    pub for_seconds: Option<u64>,
    /// Who asks.
    pub actor: String,
    /// Why, in their words; whoever is refused reads it.
    pub reason: Option<String>,
}

/// Take time out of an objective's counts, or let it count again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Correct {
    /// Where.
    pub place: Place,
    /// Which objective.
    pub objective: ObjectiveName,
    /// The first instant; the whole minute that it is in.
    pub from: Timestamp,
    /// The end; the last minute is the one before it.
    pub to: Timestamp,
    /// Whether it counts again.
    #[serde(default)]
    pub restore: bool,
    /// Who asks.
    pub actor: String,
    /// Why, in their words; it stands in every report.
    pub reason: String,
}

/// Let rollouts begin again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LiftLock {
    /// Where.
    pub scope: Scope,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// Deploy several services as one: all or none is started, and all end alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployGroup {
    /// What its team calls it.
    pub name: ServiceName,
    /// Each member.
    pub members: Vec<GroupMember>,
    /// Where; each manifest's only environment when absent.
    pub environment: Option<EnvironmentName>,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Whether locks there are passed; that needs a reason.
    #[serde(default)]
    pub override_lock: bool,
    /// Whether a spent error budget is passed; that needs a reason.
    #[serde(default)]
    pub override_budget: bool,
    /// Whether a freeze of the change calendar is passed; that needs a reason.
    #[serde(default)]
    pub override_freeze: bool,
    /// What whoever has to approve it should know.
    #[serde(default)]
    pub change: Words,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupMember {
    /// The manifest's text.
    pub manifest: String,
    /// The directory that the manifest's paths are relative to; absolute.
    pub directory: PathBuf,
    /// The artifact, absolute; what the manifest names when absent.
    pub artifact: Option<PathBuf>,
}

/// Say what you think of somebody else's request for change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ballot {
    /// Which request.
    pub number: u64,
    /// Who says so.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}
