//! Silences, and who is told, as faces show them. Does not live here: how telling stands, which the notifier knows.

use lifecycle::World;
use model::matcher::Matcher;
use model::{Place, Timestamp};
use paging::SilenceId;
use serde::{Deserialize, Serialize};

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceStatus {
    /// Its number.
    pub id: SilenceId,
    /// The alerts of which all of these hold, as `alertname="DiskFull"`.
    pub matchers: Vec<String>,
    /// Whether it silences now; otherwise it is still to come.
    pub active: bool,
    /// Since when, or from when on.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
}

/// The silences that are not over.
pub fn silences(world: &World, at: Timestamp) -> Vec<SilenceStatus> {
    let open = world.paging.silences.iter().filter(|(_, silence)| silence.is_open(at));
    open.map(|(id, silence)| SilenceStatus {
        id: *id,
        matchers: silence.matchers.iter().map(Matcher::to_string).collect(),
        active: silence.holds(at),
        from: silence.from,
        until: silence.until,
        by: silence.by.clone(),
        reason: silence.reason.clone(),
    })
    .collect()
}

/// How a receiver stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverStatus {
    /// Whose.
    #[serde(flatten)]
    pub place: Place,
    /// Its name.
    pub receiver: String,
    /// How it is told: `webhook` or `alertmanager`.
    pub kind: String,
    /// When it took a notification last, in this life of control.
    pub told_at: Option<Timestamp>,
    /// Notifications that it took, in this life of control.
    pub told: u64,
    /// Attempts that it did not take, in this life of control.
    pub failed: u64,
    /// Notifications that are due and that it did not take yet.
    pub waiting: u64,
    /// Since when it takes nothing, and why.
    pub failing: Option<FailingStatus>,
    /// What is known of its tests; `None` when it is not tested.
    pub test: Option<TestStatus>,
}

/// Why a receiver takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailingStatus {
    /// Since when.
    pub since: Timestamp,
    /// What went wrong last.
    pub why: String,
    /// Whether it refused; otherwise there was trouble on the way.
    pub refused: bool,
    /// When it is tried again.
    pub again_at: Timestamp,
}

/// What is known of the tests of a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestStatus {
    /// When the last test began.
    pub begun: Timestamp,
    /// Whether it is not passed yet.
    pub open: bool,
    /// When a test was passed last.
    pub passed_at: Option<Timestamp>,
    /// Whether that is too long ago.
    pub overdue: bool,
}

/// What is known of the tests of a receiver.
pub fn test(world: &World, place: &Place, receiver: &str) -> Option<TestStatus> {
    let way = paging::Way { place: place.clone(), receiver: receiver.to_owned() };
    let test = world.paging.tests.get(&way)?;
    Some(TestStatus { begun: test.begun, open: test.open, passed_at: test.passed, overdue: test.overdue })
}
