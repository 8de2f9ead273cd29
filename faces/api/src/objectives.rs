//! Objectives: how they stand, what they would have done, what they came to in a month. Does not live here: their counts;
//! whoever wires control brings [`Objectives`].

use model::objective::Target;
use model::{EnvironmentName, ObjectiveName, Place, ServiceName};
use serde::{Deserialize, Serialize};
pub use views::objective::{BacktestReport, MonthReport, ObjectiveStatus};

/// Which objectives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Which {
    /// Of this service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// In this environment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
}

impl Which {
    /// Whether a place is meant.
    pub fn holds(&self, place: &Place) -> bool {
        self.service.as_ref().is_none_or(|service| *service == place.service)
            && self.environment.as_ref().is_none_or(|environment| *environment == place.environment)
    }
}

/// What an objective would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskBacktest {
    /// Of which service.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
    /// Which.
    pub objective: ObjectiveName,
    /// With this target in place of its own, as `99.95%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Over the last so many days; all that is known by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

impl AskBacktest {
    /// Where.
    pub fn place(&self) -> Place {
        Place { service: self.service.clone(), environment: self.environment.clone() }
    }

    /// The target, if one is named.
    ///
    /// # Errors
    /// When it is none, with the reason.
    pub fn target(&self) -> Result<Option<Target>, String> {
        self.target.as_deref().map(str::parse).transpose().map_err(|error| format!("{error}"))
    }
}

/// What objectives came to in a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskReport {
    /// Of this service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// In this environment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Which month, as `2026-11`; the running one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// In words.
    pub what: String,
    /// What to do instead.
    pub instead: String,
    /// Whether what was asked for is not there; otherwise what was asked makes no sense.
    pub unknown: bool,
}

/// Who knows how objectives stand. The calls may block on the disk.
pub trait Objectives: Send + Sync + 'static {
    /// Each of them, as it stood at the last look.
    fn all(&self) -> Vec<ObjectiveStatus>;

    /// What one would have done.
    ///
    /// # Errors
    /// When there is none, or its counts cannot be read.
    fn backtest(&self, ask: &AskBacktest) -> Result<BacktestReport, NoAnswer>;

    /// What they came to in a month.
    ///
    /// # Errors
    /// When it is no month, or counts cannot be read.
    fn report(&self, ask: &AskReport) -> Result<Vec<MonthReport>, NoAnswer>;
}
