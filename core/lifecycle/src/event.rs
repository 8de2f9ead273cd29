//! The journal's events: the domain's history in past tense. The stored form is `record`'s business.

use model::drift::Drift;
use model::{Digest, ObjectiveName, Place, Release, ReleaseNumber, RolloutNumber, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alert::Changed;
use crate::group::Stage;
use crate::inbox::Decision;
use crate::lock::Scope;
use crate::request::Change;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "events are handled one by one and kept nowhere but as bytes")]
pub enum Event {
    /// Control began to act on this journal.
    ControlStarted {
        /// The version of Shipshape.
        version: String,
    },
    /// Control and everything it ran was stopped on purpose.
    ControlStopped,
    /// An artifact and its configurations became a release.
    ReleaseRegistered(Release),
    /// A release was forgotten: nothing runs it, and newer ones are kept instead.
    ReleaseRetired {
        /// Of which service.
        service: ServiceName,
        /// Which.
        number: ReleaseNumber,
    },
    /// Something happened in the rollout at a place.
    Rollout {
        /// Where.
        place: Place,
        /// What.
        event: ship::Event,
    },
    /// No rollout begins there any more.
    Locked {
        /// Where.
        scope: Scope,
        /// Who locked it.
        by: String,
        /// Why, in their words; whoever is refused reads it.
        reason: String,
        /// When it ends by itself; until it is unlocked when absent.
        until: Option<Timestamp>,
    },
    /// Rollouts may begin there again.
    Unlocked {
        /// Where.
        scope: Scope,
    },
    /// A rollout begins in spite of a lock: the next event of the same unit.
    LockOverridden {
        /// Where it begins.
        place: Place,
        /// What was locked.
        scope: Scope,
        /// Who had locked it.
        by: String,
    },
    /// A rollout begins in spite of a spent error budget: the next event of the same unit.
    BudgetOverridden {
        /// Where it begins.
        place: Place,
        /// Whose budget.
        objective: ObjectiveName,
        /// What it would have allowed.
        level: watch::Level,
    },
    /// A rollout begins in spite of a freeze: the next event of the same unit.
    FreezeOverridden {
        /// Where it begins.
        place: Place,
        /// The freeze, by its name.
        freeze: String,
        /// When it would have been free to begin.
        until: Timestamp,
    },
    /// Something happened to a request for change.
    Change(Change),
    /// A release burns an error budget after its rollout and is taken back by itself: the next event of the same unit begins
    /// the return.
    TakenBack {
        /// Where.
        place: Place,
        /// Whose budget.
        objective: ObjectiveName,
        /// The release that is to blame.
        release: ReleaseNumber,
        /// Its rollout.
        rollout: RolloutNumber,
        /// What was counted.
        blame: watch::Blame,
    },
    /// Something happened to an objective at a place.
    Objective {
        /// Where.
        place: Place,
        /// Which.
        objective: ObjectiveName,
        /// What.
        event: watch::Event,
    },
    /// An alert of a rule, or of somebody outside, came to stand elsewhere. Those of objectives are told by [`Event::Objective`].
    AlertChanged(Changed),
    /// Somebody decided about an error that a service prints.
    ErrorDecided {
        /// Where it is printed.
        place: Place,
        /// Which error.
        fingerprint: String,
        /// What was decided, by whom, and on what.
        decision: Decision,
    },
    /// Something happened to a silence, or to a test of who is told.
    Paging(paging::Event),
    /// Something was not as wanted, unasked, and was put right.
    DriftCorrected {
        /// In which life of the agent.
        instance: String,
        /// What was found and done; its times are those of that life.
        drift: Drift,
        /// How often since it was said before.
        new: u64,
    },
    /// These rollouts are one: they end alike.
    GroupBegun {
        /// Its number.
        number: u64,
        /// What its team calls it.
        name: String,
        /// Where, and which rollout there.
        members: Vec<(Place, RolloutNumber)>,
    },
    /// A member of a group came so far.
    GroupReached {
        /// The group's number.
        number: u64,
        /// Which member.
        place: Place,
        /// How far.
        stage: Stage,
    },
    /// A command that carried an idempotency key was answered. It stands in one unit with what the command caused.
    CommandAnswered {
        /// The key.
        key: String,
        /// What was asked with it: the same key may not come with another request.
        request: Digest,
        /// What was answered; nothing for a stop.
        answer: Option<Answer>,
    },
}

/// What a command did. When it is given, it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Where.
    pub place: Place,
    /// The release that shall serve.
    pub release: ReleaseNumber,
    /// The rollout that brings it there; `None` when everything was as asked already.
    pub rollout: Option<RolloutNumber>,
    /// The request for change that waits for somebody else; there is no rollout then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// What it did for the other members of a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Self>,
}
