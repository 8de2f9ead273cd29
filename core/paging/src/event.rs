//! What happened to silences and self-tests.

use model::{Place, Timestamp};
use serde::{Deserialize, Serialize};

use crate::silence::{Silence, SilenceId};

/// A way to be told: whose receiver, and which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    /// Whose.
    pub place: Place,
    /// The receiver.
    pub receiver: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// Somebody said what is not to be told.
    Silenced {
        /// Which silence.
        id: SilenceId,
        /// What it says.
        silence: Silence,
    },
    /// Somebody ended a silence before its time.
    SilenceEnded {
        /// Which.
        id: SilenceId,
        /// Who.
        by: String,
    },
    /// An alert was made up, to prove a way.
    TestBegun {
        /// Which way.
        way: Way,
    },
    /// The receiver took the alert that was made up.
    TestPassed {
        /// Which way.
        way: Way,
        /// When the test that passed began.
        begun: Timestamp,
    },
    /// A way is not proved for too long.
    TestOverdue {
        /// Which way.
        way: Way,
    },
    /// A way is not tested any more.
    TestsEnded {
        /// Which way.
        way: Way,
    },
}

impl Event {
    /// Its kind.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Silenced { .. } => "silenced",
            Self::SilenceEnded { .. } => "silence-ended",
            Self::TestBegun { .. } => "test-begun",
            Self::TestPassed { .. } => "test-passed",
            Self::TestOverdue { .. } => "test-overdue",
            Self::TestsEnded { .. } => "tests-ended",
        }
    }

    /// What it is about, in a few words.
    pub fn subject(&self) -> String {
        match self {
            Self::Silenced { id, .. } | Self::SilenceEnded { id, .. } => format!("silence {id}"),
            Self::TestBegun { way }
            | Self::TestPassed { way, .. }
            | Self::TestOverdue { way }
            | Self::TestsEnded { way } => format!("{} {}", way.place, way.receiver),
        }
    }
}
