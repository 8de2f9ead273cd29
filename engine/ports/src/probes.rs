//! Looks from outside: what the latest of each found. Their metrics travel another way, with all others.

use model::{Place, Timestamp};
use serde::{Deserialize, Serialize};

/// Whoever looks.
pub trait Probes: Send + Sync + 'static {
    /// Every probe that is in force, with what it found last.
    fn reports(&self) -> Reports;
}

/// What the probes found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reports {
    /// Now.
    pub at: Timestamp,
    /// By service, environment and name.
    pub probes: Vec<Report>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The service and environment that declare it.
    #[serde(flatten)]
    pub place: Place,
    /// Its name.
    pub probe: String,
    /// `http`, `tcp`, `tls` or `dns`.
    pub kind: String,
    /// Who is asked.
    pub instance: String,
    /// How often it looked, since control started.
    pub attempts: u64,
    /// How often that failed.
    pub failures: u64,
    /// What it found last; absent when it has not looked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Look>,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// When it began.
    pub at: Timestamp,
    /// What it means.
    pub result: Found,
    /// Since when every look found that.
    pub since: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Why it failed, in one word, as in the label `reason`; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What happened, in words: on one line, without anything secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// When the first of the certificates that were shown expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires: Option<Timestamp>,
}

/// What a look means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Found {
    /// All is as expected.
    Good,
    /// Something is not.
    Bad,
    /// It was not possible to look, which says nothing about who would have been asked.
    Unknown,
}

impl Found {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}
