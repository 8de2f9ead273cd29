//! The journal's events: the domain's history in past tense. The stored form is `record`'s business.

use model::{Digest, Place, Release, ReleaseNumber, RolloutNumber, ServiceName};
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}
