//! Read models: the shapes that faces show, made from the world and from what is seen. Disposable: nothing is kept here.
//!
//! Does not live here: how a face shows them, and any decision.

pub mod alert;
mod calendar;
pub mod objective;
pub mod paging;
mod probes;
mod requests;

use std::collections::BTreeMap;

pub use calendar::{Calendar, ClosedTime, calendar};
pub use lifecycle::Stage;
use lifecycle::{Lane, Lock, Scope, World};
use model::hook::Moment;
use model::{Digest, Place, ReleaseNumber, RolloutNumber, Timestamp, Weight};
use ports::fleet::{ReplicaSeen, Seen};
pub use probes::probe_warnings;
pub use requests::{Approval, ChangeStatus, requests};
use serde::{Deserialize, Serialize};
pub use ship::hooks::State as HookState;
use ship::{Cause, Phase, Report, Rollout};

/// Everything at one glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The version of control.
    pub version: String,
    /// When this was true.
    pub at: Timestamp,
    /// Whether the agent answers; when not, replicas are the last that were seen.
    pub agent_reachable: bool,
    /// Where the gateway listens.
    pub gateway: Option<String>,
    /// What needs somebody's attention, in words.
    pub warnings: Vec<String>,
    /// The locks that hold: no rollout begins where they say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<LockStatus>,
    /// Every place where something was deployed.
    pub places: Vec<PlaceStatus>,
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// What it covers.
    #[serde(flatten)]
    pub scope: Scope,
    /// Who, why, since when and until when.
    #[serde(flatten)]
    pub lock: Lock,
}

/// One service in one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceStatus {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The release that takes all requests; `None` during a rollout and before the first.
    pub serving: Option<ReleaseNumber>,
    /// The hosts it answers.
    pub hosts: Vec<String>,
    /// The path prefixes it answers.
    pub path_prefixes: Vec<String>,
    /// The hosts at which the new release is previewed; empty when none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preview_hosts: Vec<String>,
    /// The group that the rollout under way belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupStatus>,
    /// The latest rollout, ended or not.
    pub rollout: Option<RolloutStatus>,
    /// The releases that run.
    pub releases: Vec<ReleaseStatus>,
    /// The releases that served here, oldest first.
    pub history: Vec<ReleaseNumber>,
}

/// Rollouts that go together and end alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// What its team calls it.
    pub name: String,
    /// Its number.
    pub number: u64,
    /// Each member, this one among them.
    pub members: Vec<MemberStatus>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Which rollout.
    pub rollout: RolloutNumber,
    /// `underway`, `atGate` or `proved`.
    pub stage: Stage,
}

/// A release at a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Which.
    pub release: ReleaseNumber,
    /// Of its artifact.
    pub artifact: Option<Digest>,
    /// Of its effective configuration here.
    pub configuration: Option<Digest>,
    /// Its share of the requests, in basis points.
    pub weight: Weight,
    /// How many replicas are wanted.
    pub wanted: u32,
    /// How many are ready.
    pub ready: u32,
    /// Each replica.
    pub replicas: Vec<ReplicaSeen>,
    /// Why they keep dying, when they do.
    pub crash_loop: Option<String>,
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Its number at its place.
    pub number: RolloutNumber,
    /// The release before.
    pub from: Option<ReleaseNumber>,
    /// The release that shall serve.
    pub to: ReleaseNumber,
    /// What asked for it.
    pub cause: Cause,
    /// `rolling`, `canary` or `blueGreen`.
    pub strategy: String,
    /// `progressing`, `paused`, `promoted`, `rollingBack`, `completed` or `rolledBack`.
    pub phase: String,
    /// Why it is paused or goes back, or what is inconclusive after its switch.
    pub reason: Option<String>,
    /// The canary's step, from 0; equal to `steps` in the full promotion. Of a blue-green rollout, 0 is the preview.
    pub step: u32,
    /// How many steps.
    pub steps: u32,
    /// The new release's share of the requests, in basis points.
    pub weight: Weight,
    /// When it began.
    pub started_at: Timestamp,
    /// When it entered its phase.
    pub phase_since: Timestamp,
    /// Its hooks, in the order in which they run; absent without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookStatus>,
    /// Whether it takes all requests and still has to pass an analysis, to be shown to be good, or to run its hooks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proving: bool,
    /// Whether it has ended.
    pub ended: bool,
    /// Why it stands where it stands; absent once it has ended.
    pub report: Option<Report>,
}

/// A hook of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    /// Its name.
    pub name: String,
    /// `before` or `after`.
    pub moment: Moment,
    /// `waiting`, `running`, `passed` or `failed`.
    pub state: HookState,
    /// How often it was begun.
    pub attempt: u32,
    /// When it was begun last; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How its last attempt ended, in words; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The locks that hold at this time, of the places that `wanted` accepts; one of a whole environment always.
pub fn locks(world: &World, at: Timestamp, wanted: impl Fn(&Scope) -> bool) -> Vec<LockStatus> {
    let locks = world.locks_at(at).filter(|(scope, _)| wanted(scope));
    locks.map(|(scope, lock)| LockStatus { scope: scope.clone(), lock: lock.clone() }).collect()
}

/// The status of every place, or of those that `wanted` accepts.
pub fn status(
    world: &World,
    seen: &Seen,
    reports: &BTreeMap<Place, Report>,
    wanted: impl Fn(&Place) -> bool,
) -> Vec<PlaceStatus> {
    let lanes = world.lanes.iter().filter(|(place, _)| wanted(place));
    lanes.map(|(place, lane)| place_status(world, seen, place, lane, reports.get(place))).collect()
}

fn place_status(
    world: &World,
    seen: &Seen,
    place: &Place,
    lane: &Lane,
    report: Option<&Report>,
) -> PlaceStatus {
    let serving = world.serving(place);
    let route = serving.as_ref().and_then(|s| s.route_of).and_then(|of| world.spec(place, of));
    let previewed = serving.as_ref().and_then(|s| s.preview).and_then(|of| world.spec(place, of));
    let preview = previewed.and_then(model::Spec::preview);
    let share = |number: ReleaseNumber| {
        let shares = serving.iter().flat_map(|s| &s.shares);
        shares.filter(|(release, _)| *release == number).map(|(_, weight)| *weight).next().unwrap_or_default()
    };
    let wanted = |number: ReleaseNumber| {
        let groups = serving.iter().flat_map(|s| &s.groups);
        groups.filter(|(release, _)| *release == number).map(|(_, replicas)| *replicas).sum()
    };
    let mut numbers: Vec<ReleaseNumber> =
        serving.iter().flat_map(|s| &s.groups).map(|(release, _)| *release).collect();
    let existing = seen.groups.iter().filter(|group| group.id.place == *place && !group.replicas.is_empty());
    numbers.extend(existing.map(|group| group.id.release));
    numbers.sort_unstable();
    numbers.dedup();
    let releases = numbers
        .into_iter()
        .map(|number| {
            let group = seen.groups.iter().find(|g| g.id.place == *place && g.id.release == number);
            let replicas = group.map_or_else(Vec::new, |group| group.replicas.clone());
            ReleaseStatus {
                release: number,
                artifact: world.release(&place.service, number).map(|release| release.artifact.digest),
                configuration: world.spec(place, number).map(model::Spec::digest),
                weight: share(number),
                wanted: wanted(number),
                ready: ready(&replicas),
                replicas,
                crash_loop: group.and_then(|group| group.crash_loop.clone()),
            }
        })
        .collect();
    PlaceStatus {
        place: place.clone(),
        serving: lane.settled(),
        hosts: route.map_or_else(Vec::new, |spec| spec.route.hosts.clone()),
        path_prefixes: route.map_or_else(Vec::new, |spec| spec.route.path_prefixes.clone()),
        preview_hosts: preview.map_or_else(Vec::new, |route| route.hosts),
        group: group_status(world, place),
        rollout: lane.rollout.as_ref().map(|rollout| {
            let status = rollout_status(rollout, report);
            // Nobody asked for this return: it says by itself why it is.
            let why = lane.takes_back().map(|why| format!("the release before it is taken back: {why}"));
            RolloutStatus { reason: status.reason.or(why), ..status }
        }),
        releases,
        history: lane.history.clone(),
    }
}

fn group_status(world: &World, place: &Place) -> Option<GroupStatus> {
    let (number, group) = world.group_of(place)?;
    let member = |(place, member): (&Place, &lifecycle::Member)| MemberStatus {
        place: place.clone(),
        rollout: member.rollout,
        stage: member.stage,
    };
    Some(GroupStatus {
        name: group.name.clone(),
        number,
        members: group.members.iter().map(member).collect(),
    })
}

/// How many replicas take requests.
pub fn ready(replicas: &[ReplicaSeen]) -> u32 {
    let ready = replicas.iter().filter(|replica| replica.phase == ports::fleet::ReplicaPhase::Ready);
    u32::try_from(ready.count()).unwrap_or(u32::MAX)
}

/// The status of one rollout.
pub fn rollout_status(rollout: &Rollout, report: Option<&Report>) -> RolloutStatus {
    let reason = match &rollout.phase {
        Phase::Paused(reason) => Some(reason.to_string()),
        Phase::RollingBack(reason) | Phase::RolledBack(reason) => Some(reason.to_string()),
        // Nobody but an operator can decide it.
        Phase::Promoted => ship::rules::inconclusive(rollout.run_states())
            .or_else(|| report.and_then(|report| report.inconclusive.clone()))
            .map(|why| format!("inconclusive: {why}")),
        Phase::Progressing | Phase::Completed => None,
    };
    let ended = rollout.phase.is_terminal();
    RolloutStatus {
        number: rollout.number,
        from: rollout.from,
        to: rollout.to,
        cause: rollout.cause,
        strategy: rollout.strategy.kind.name().to_owned(),
        phase: rollout.phase.name().to_owned(),
        reason,
        step: rollout.step,
        steps: rollout.last_step(),
        weight: rollout.weight,
        started_at: rollout.started_at,
        phase_since: rollout.phase_since,
        hooks: hooks(rollout),
        proving: rollout.is_proving(),
        ended,
        report: report.filter(|_| !ended).cloned(),
    }
}

fn hooks(rollout: &Rollout) -> Vec<HookStatus> {
    let of = |moment| {
        rollout.hooks(moment).map(move |(hook, progress)| HookStatus {
            name: hook.name.clone(),
            moment,
            state: progress.state,
            attempt: progress.attempt,
            since: (progress.attempt > 0).then_some(progress.since),
            detail: progress.detail.clone(),
        })
    };
    of(Moment::Before).chain(of(Moment::After)).collect()
}
