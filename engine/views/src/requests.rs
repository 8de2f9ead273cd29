//! Requests for change as faces show them. Does not live here: who may decide about them (`lifecycle`).

use lifecycle::{Kept, Stand, World};
use model::{Place, ReleaseNumber, RolloutNumber, Timestamp};
use serde::{Deserialize, Serialize};
use ship::Cause;

/// A request for change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeStatus {
    /// Its number.
    pub number: u64,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// `waiting`, `approved`, `begun`, `rejected`, `voided`, `unreviewed` or `reviewed`.
    pub stand: String,
    /// Why it ended, or what was found, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The release that shall serve.
    pub release: ReleaseNumber,
    /// The one that served when it was asked for.
    pub from: Option<ReleaseNumber>,
    /// What asked for it.
    pub cause: Cause,
    /// The rollout that it became.
    pub rollout: Option<RolloutNumber>,
    /// Who asks.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How long it waits.
    pub until: Timestamp,
    /// What will be better.
    pub outcome: String,
    /// What can go wrong.
    pub risk: String,
    /// How it comes back.
    pub plan_back: String,
    /// What is passed with it: `lock`, `budget`, `freeze`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<String>,
    /// How many have to approve.
    pub required: u32,
    /// Who may; everybody else when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// Who has.
    pub approvals: Vec<Approval>,
}

/// Somebody's approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The requests of the places that `wanted` accepts, the newest first.
pub fn requests(world: &World, wanted: impl Fn(&Place) -> bool) -> Vec<ChangeStatus> {
    world.requests.all.values().rev().filter(|kept| wanted(&kept.request.place)).map(one).collect()
}

fn one(kept: &Kept) -> ChangeStatus {
    let request = kept.request.clone();
    let (stand, detail, rollout) = match &kept.stand {
        Stand::Waiting if kept.is_approved() => ("approved", None, None),
        Stand::Waiting => ("waiting", None, None),
        Stand::Begun(rollout) => ("begun", None, Some(*rollout)),
        Stand::Rejected(by, why) => ("rejected", Some(format!("{by}: {why}")), None),
        Stand::Voided(why) => ("voided", Some(why.clone()), None),
        Stand::Unreviewed(rollout) => ("unreviewed", None, Some(*rollout)),
        Stand::Reviewed(rollout, by, what) => ("reviewed", Some(format!("{by}: {what}")), Some(*rollout)),
    };
    let names = ["lock", "budget", "freeze"].into_iter().zip(request.passes);
    let approval = |(by, at, reason): &(String, Timestamp, Option<String>)| Approval {
        by: by.clone(),
        at: *at,
        reason: reason.clone(),
    };
    ChangeStatus {
        number: request.number,
        place: request.place,
        stand: stand.to_owned(),
        detail,
        release: request.release,
        from: request.from,
        cause: request.cause,
        rollout,
        by: request.by,
        at: kept.at,
        until: request.until,
        outcome: request.outcome,
        risk: request.risk,
        plan_back: request.plan_back,
        passes: names.filter(|(_, passes)| *passes).map(|(name, _)| name.to_owned()).collect(),
        required: request.required,
        approvers: request.approvers,
        approvals: kept.approvals.iter().map(approval).collect(),
    }
}
