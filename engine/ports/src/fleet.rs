//! The fleet: replicas and traffic on one machine, driven by wanted state and reported as seen state.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use model::assignment::{HeaderRoute, SessionAffinity};
use model::drift::Drift;
use model::latency::Histogram;
use model::otlp::Traces;
use model::route::Route;
use model::spec::{Health, Logs, Resources, Run, Shutdown};
use model::{Epoch, Generation, Place, ReleaseNumber, Weight};
use serde::{Deserialize, Serialize};

use crate::Secret;

/// Everything that should be running and routed. An executor replaces what it had by this, whole; it refuses a
/// generation below the one it has. It may be stored on disk: it holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Its version.
    pub generation: Generation,
    /// The replicas that should exist.
    pub groups: Vec<Group>,
    /// The requests that should be served, and by whom.
    pub splits: Vec<Split>,
}

/// Which replicas: one release at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId {
    /// Where.
    pub place: Place,
    /// Which release.
    pub release: ReleaseNumber,
}

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.place, self.release)
    }
}

/// Replicas of one release at one place. Two wanted states may differ in `replicas` of a group, never in the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// How many.
    pub replicas: u32,
    /// The directory with the artifact's content; read-only for the replica by convention.
    pub artifact: PathBuf,
    /// What to start.
    pub run: Run,
    /// Plain environment variables.
    pub config: BTreeMap<String, String>,
    /// The names of the variables whose values come as [`SecretValues`].
    pub secrets: Vec<String>,
    /// How health is told.
    pub health: Health,
    /// What each replica may use.
    pub resources: Resources,
    /// How a replica is let go.
    pub shutdown: Shutdown,
    /// How much output is kept.
    pub logs: Logs,
}

/// How the requests of one place are shared among its releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Where.
    pub place: Place,
    /// Which requests.
    pub route: Route,
    /// The stretch of time that this split opens; tallies are kept for each epoch apart.
    pub epoch: Epoch,
    /// Each release's share. The weights add up to all traffic. A release may have the weight zero.
    pub shares: Vec<Share>,
    /// Which requests reach a release for a look at it, whatever its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Which requests reach a release by their headers, whatever its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aim: Option<Aim>,
    /// Whether users keep the release that they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// What becomes of the traces of its requests. Values of secret headers come as [`SecretValues`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
}

/// Header routes, and where they lead. What they lead is in no comparison of releases: it was not drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aim {
    /// The release, which must have a share, if only of zero. Another one stands in while it has no ready replica.
    pub release: ReleaseNumber,
    /// A request that meets one of them is led there.
    pub routes: Vec<HeaderRoute>,
}

/// Users who keep the release that they were given: the draw is a hash of the salt and the user. The release whose share
/// grows stands last among the shares, so that users move to it and never back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// By what a user is known.
    pub by: SessionAffinity,
    /// Deals the users: the same for a whole rollout, another one for the next. No secret.
    pub salt: String,
}

/// The requests that reach a release before it serves, and are in no tally.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Which requests. They are claimed while nothing is previewed, too: who looks at a preview never gets the release
    /// that serves instead.
    pub route: Route,
    /// The release, which must have a share, if only of zero; `None` while nothing is previewed.
    pub release: Option<ReleaseNumber>,
}

/// One release's share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Which release.
    pub release: ReleaseNumber,
    /// How much.
    pub weight: Weight,
}

/// The values of secret variables, by group and name. Kept in memory only.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SecretValues(pub Vec<GroupSecrets>);

/// The secret variables of one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupSecrets {
    /// Whose.
    pub group: GroupId,
    /// Values by variable.
    pub values: BTreeMap<String, Secret>,
    /// The secret headers with which the place's traces are sent, by name, when this is the release whose route is in force.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trace_headers: BTreeMap<String, Secret>,
}

/// What an executor sees. Counters are cumulative since the executor's start, which `instance` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Changes with each start of the executor; counters of different instances add up.
    pub instance: String,
    /// Grows with each change of anything below, within one instance.
    pub version: u64,
    /// The wanted state that is in force: its routing table is the one all new requests use.
    pub generation: Generation,
    /// The replicas that exist, wanted or on their way out.
    pub groups: Vec<GroupSeen>,
    /// Counts per place, epoch and release: those of the current epoch and of the most recent ones (at least 64).
    pub tallies: Vec<Tally>,
    /// What the machine cannot do that was asked for (limits that are not enforced ...), for people.
    pub warnings: Vec<String>,
    /// What was not as wanted, unasked, and was put right; counted in this instance.
    #[serde(default)]
    pub drifts: Vec<Drift>,
    /// Where the gateway listens.
    pub gateway: Option<String>,
}

/// The replicas of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSeen {
    /// Which.
    pub id: GroupId,
    /// Each replica, draining ones included.
    pub replicas: Vec<ReplicaSeen>,
    /// Set when replicas of this group keep dying or failing soon after their start: the verdict in words.
    pub crash_loop: Option<String>,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSeen {
    /// Unique within its group for the life of the executor's directory.
    pub ordinal: u32,
    /// What it is doing.
    pub phase: ReplicaPhase,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// The loopback port it was given.
    pub port: u16,
    /// How often it was started again.
    pub restarts: u32,
    /// How often the kernel killed it for its memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub out_of_memory: u32,
    /// Requests in flight to it.
    pub in_flight: u32,
    /// How its last process ended, in words (`exit status 1`, `killed by signal 9 (SIGKILL)`).
    pub last_exit: Option<String>,
    /// Why it is in this phase, in words.
    pub reason: Option<String>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplicaPhase {
    /// Started, not yet ready for the first time.
    Starting,
    /// Takes requests.
    Ready,
    /// Was ready, or started and is not: takes no requests.
    Unready,
    /// Waits before it is started again.
    Backoff,
    /// Out of the routing table; requests in flight go on.
    Draining,
    /// Asked to stop.
    Stopping,
}

/// Requests that the gateway assigned in one epoch, finished ones only. A request that had to go to another release
/// than the one drawn, because that one had no ready replica, is in no tally: its weight was not the epoch's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Where.
    pub place: Place,
    /// When.
    pub epoch: Epoch,
    /// Which release.
    pub release: ReleaseNumber,
    /// Finished requests.
    pub requests: u64,
    /// Of those: answered 5xx, or failed by the fault of the replica.
    pub errors: u64,
    /// Their latencies, from the request's head to the response's head.
    pub latency: Histogram,
    /// What header routes led to the release, in none of the above.
    #[serde(default, skip_serializing_if = "Aimed::is_none")]
    pub aimed: Aimed,
    /// With session affinity, the users behind `requests`; else all zero.
    #[serde(default, skip_serializing_if = "UserTally::is_none")]
    pub users: UserTally,
}

/// Finished requests that a header route led to a release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aimed {
    /// Finished requests.
    pub requests: u64,
    /// Of those: answered 5xx, or failed by the fault of the replica.
    pub errors: u64,
    /// Their latencies.
    pub latency: Histogram,
}

/// Users behind the requests of a tally. An executor may take two users for one, never one for two: that loses evidence
/// and makes none. A request whose user nobody knows is a user of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserTally {
    /// Seen in this epoch.
    pub seen: u64,
    /// Of those, with an error in this epoch.
    pub erred: u64,
    /// Of those, with their first error on any release since the salt deals the users and the executor counts.
    pub first_erred: u64,
}

impl Aimed {
    fn is_none(&self) -> bool {
        self.requests == 0
    }
}

impl UserTally {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the fleet did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has a newer wanted state.
    #[error("the agent already holds generation {has}, newer than {offered}")]
    Stale {
        /// The generation in force.
        has: Generation,
        /// The one it refused.
        offered: Generation,
    },
    /// It cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// It refused, and says why.
    #[error("{0}")]
    Refused(String),
}

/// Whoever runs replicas and routes requests.
pub trait Fleet: Send + Sync + 'static {
    /// Puts a wanted state in force. When this returns, it is stored, and no request starts on the old routing table.
    /// Replicas follow in their own time. The same generation again is no error.
    fn want(&self, wanted: Wanted, secrets: SecretValues) -> impl Future<Output = Result<(), Error>> + Send;

    /// What is seen, as soon as it differs from version `after` of `instance` (at once for another instance), or
    /// unchanged when `patience` is over.
    fn seen(
        &self,
        instance: String,
        after: u64,
        patience: Duration,
    ) -> impl Future<Output = Result<Seen, Error>> + Send;

    /// Drains and stops every replica, then the executor itself. Returns when the order is taken.
    fn stop(&self) -> impl Future<Output = Result<(), Error>> + Send;
}
