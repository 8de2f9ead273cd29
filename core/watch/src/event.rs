//! What happened to an objective, as facts. Does not live here: how they are stored, and whose objective it is.

use model::objective::Severity;
use model::{ReleaseNumber, RolloutNumber};
use serde::{Deserialize, Serialize};

use crate::alert::To;
use crate::burn::{Cause, Rule};
use crate::charge::Charge;
use crate::level::Level;
use crate::minutes::Range;

/// Something that happened to an objective.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// Its budget allows something else.
    #[serde(rename_all = "camelCase")]
    LevelChanged {
        /// What it allows now.
        level: Level,
        /// What was left, in parts of a million.
        remaining: i64,
        /// Why, in words.
        why: String,
    },
    /// An alert of it came to stand elsewhere.
    #[serde(rename_all = "camelCase")]
    AlertChanged {
        /// Which.
        rule: Rule,
        /// Where it stands now.
        to: To,
        /// How urgent.
        severity: Severity,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// Somebody took minutes out of its counts.
    #[serde(rename_all = "camelCase")]
    Corrected {
        /// Which.
        range: Range,
        /// Who.
        by: String,
        /// Why, in their words.
        reason: String,
    },
    /// Somebody let minutes count again.
    #[serde(rename_all = "camelCase")]
    Restored {
        /// Which.
        range: Range,
        /// Who.
        by: String,
        /// Why, in their words.
        reason: String,
    },
    /// A rollout and its bake are over, and this is what it burned.
    #[serde(rename_all = "camelCase")]
    Charged {
        /// Which rollout.
        rollout: RolloutNumber,
        /// To which release.
        release: ReleaseNumber,
        /// What it burned.
        charge: Charge,
    },
}

impl Event {
    /// Its name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LevelChanged { .. } => "levelChanged",
            Self::AlertChanged { .. } => "alertChanged",
            Self::Corrected { .. } => "corrected",
            Self::Restored { .. } => "restored",
            Self::Charged { .. } => "charged",
        }
    }
}
