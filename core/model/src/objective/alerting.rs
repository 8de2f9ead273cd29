//! When somebody is told that a budget burns. Only data: what the numbers mean for a window is decided in `core/watch`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ratio;

/// When somebody is told that a budget burns, or that nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alerting {
    /// Two windows each, over both of which the budget has to burn; any of them alerts. `None`: those that the field uses,
    /// scaled to the objective's window. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Vec<Pair>>,
    /// Fewer bad events than this never alert: a client that tries three times is no outage.
    pub minimum_events: u64,
    /// The rule for services whose requests are too few for burn rates; `None`: none.
    pub low_traffic: Option<LowTraffic>,
    /// When it is told that nothing is measured; `None`: never.
    pub no_data: Option<NoData>,
    /// How long a rule has to hold before it alerts, beyond its own windows.
    #[serde(default, rename = "for", with = "crate::time::words")]
    pub hold: Duration,
    /// How long an alert goes on after its rule last held, so that one that comes and goes is one alert.
    #[serde(with = "crate::time::words")]
    pub keep_firing: Duration,
}

impl Default for Alerting {
    fn default() -> Self {
        Self {
            pairs: None,
            minimum_events: 5,
            low_traffic: Some(LowTraffic::default()),
            no_data: Some(NoData::default()),
            hold: Duration::ZERO,
            keep_firing: Duration::from_secs(300),
        }
    }
}

impl Alerting {
    /// Nobody is told anything.
    pub fn none() -> Self {
        Self { pairs: Some(vec![]), low_traffic: None, no_data: None, ..Self::default() }
    }

    /// Whether nobody is told anything.
    pub fn is_none(&self) -> bool {
        self.pairs.as_ref().is_some_and(Vec::is_empty) && self.low_traffic.is_none() && self.no_data.is_none()
    }
}

/// Two windows and a factor: an alert while the budget burns faster than the factor over both of them. The long one says
/// that it matters, the short one that it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The long window: whole minutes.
    #[serde(with = "crate::time::words")]
    pub long: Duration,
    /// The short window: whole minutes, at most as long.
    #[serde(with = "crate::time::words")]
    pub short: Duration,
    /// How many times as fast as would just use the budget up, in thousandths.
    pub factor: u32,
    /// How urgent.
    pub severity: Severity,
}

/// How urgent an alert is, in descending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Somebody is woken up.
    P1,
    /// Somebody looks at it today.
    P2,
    /// It is put on the list.
    P3,
}

impl Severity {
    /// Every severity, the most urgent first.
    pub const ALL: [Self; 3] = [Self::P1, Self::P2, Self::P3];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        }
    }

    /// Whether somebody is called out for it at any hour.
    pub const fn pages(self) -> bool {
        matches!(self, Self::P1)
    }
}

/// The absolute rule: surely more than this share of all events was bad over a long time, whatever the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LowTraffic {
    /// The share.
    pub errors: Ratio,
    /// Over how long: whole minutes.
    #[serde(with = "crate::time::words")]
    pub over: Duration,
    /// How urgent.
    pub severity: Severity,
}

impl Default for LowTraffic {
    fn default() -> Self {
        Self { errors: Ratio::percent(50), over: Duration::from_secs(6 * 3_600), severity: Severity::P1 }
    }
}

/// When it is told that nothing is measured although the service should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoData {
    /// Nothing was measured for so long: whole minutes.
    #[serde(with = "crate::time::words")]
    pub after: Duration,
    /// How urgent.
    pub severity: Severity,
}

impl Default for NoData {
    fn default() -> Self {
        Self { after: Duration::from_secs(300), severity: Severity::P2 }
    }
}
