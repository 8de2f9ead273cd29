//! Commands that run beside a rollout, as declared. Does not live here: when they run and what follows from their end
//! (`ship`), and how they are run (`adapters/checks`).

use serde::{Deserialize, Serialize};

use crate::check::Command;

/// Commands that run at moments of a rollout, each list in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Before any replica of the new release starts, as a migration of the database: each must succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Hook>,
    /// When the new release takes all requests, and nothing is left to be watched that would take it back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Hook>,
}

impl Hooks {
    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Those of one moment.
    pub fn of(&self, moment: Moment) -> &[Hook] {
        match moment {
            Moment::Before => &self.before,
            Moment::After => &self.after,
        }
    }
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// Before anything moves.
    Before,
    /// After everything moved.
    After,
}

impl Moment {
    /// Its name in the manifest and in every report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A command that runs at a moment of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Its name in reports; no other hook of the rollout has it.
    pub name: String,
    /// What is run, in the new release's artifact.
    #[serde(flatten)]
    pub command: Command,
    /// Whether it may be run again when control died while it ran.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub idempotent: bool,
    /// What becomes of the rollout when it fails.
    #[serde(default, skip_serializing_if = "OnFailure::is_rollback")]
    pub on_failure: OnFailure,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
fn is_yes(it: &bool) -> bool {
    *it
}

/// What becomes of a rollout whose hook fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// It fails: what follows is the rollout's own `onFailure`, or nothing has moved yet.
    #[default]
    Rollback,
    /// It goes on, and says so.
    Warn,
}

impl OnFailure {
    fn is_rollback(&self) -> bool {
        *self == Self::Rollback
    }

    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Warn => "warn",
        }
    }
}
