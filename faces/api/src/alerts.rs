//! Alerts: what is pending and firing, and how their rules stand. Does not live here: when an alert begins and ends; whoever
//! wires control brings [`Rules`].

use model::{EnvironmentName, ServiceName, Timestamp};
use runtime::Snapshot;
use serde::{Deserialize, Serialize};
pub use views::alert::{AlertStatus, RuleHealth, RuleState, RuleStatus};

use crate::objectives::Which;

/// What is pending and firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    /// When this was true.
    pub at: Timestamp,
    /// What fires first, the most urgent first.
    pub alerts: Vec<AlertStatus>,
}

/// The rules of alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleList {
    /// When this was true.
    pub at: Timestamp,
    /// Each where it holds, as it stood at the last look.
    pub rules: Vec<RuleStatus>,
}

/// Who knows how the rules of alerts stand.
pub trait Rules: Send + Sync + 'static {
    /// Each where it holds, as it stood at the last look.
    fn all(&self) -> Vec<RuleStatus>;
}

pub(crate) fn alerts(snapshot: &Snapshot, which: &Which) -> Alerts {
    let mut alerts = views::alert::alerts(&snapshot.world);
    alerts.retain(|it| is_of(which, it.service.as_ref(), it.environment.as_ref()));
    Alerts { at: snapshot.at, alerts }
}

/// Whether something is meant. What belongs to no service is everybody's.
pub(crate) fn is_of(
    which: &Which,
    service: Option<&ServiceName>,
    environment: Option<&EnvironmentName>,
) -> bool {
    let service = service.is_none_or(|it| which.service.as_ref().is_none_or(|asked| asked == it));
    let here = environment.is_none_or(|it| which.environment.as_ref().is_none_or(|asked| asked == it));
    service && here
}
