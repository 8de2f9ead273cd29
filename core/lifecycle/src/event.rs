//! The journal's events: the domain's history in past tense. The stored form is `record`'s business.

use model::{Place, Release, ReleaseNumber, ServiceName};
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
}
