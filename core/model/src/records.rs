//! What becomes of the records that are made of a service's output: how long they are kept, what is taken out of them, and where
//! they are sent on to. Does not live here: the files that replicas write to (`spec`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::otlp::Otlp;

/// What becomes of a service's records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Records {
    /// How much is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Patterns of what is taken out of every line, beside what looks like a credential: their first group, or all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// Where they are sent on to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Otlp>,
}

impl Records {
    /// Whether nothing was said of them.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How much is kept: what is older goes, and the oldest when there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How old a record may become.
    #[serde(with = "crate::time::words")]
    pub time: Duration,
    /// How many bytes they may take on disk, compressed.
    pub size: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { time: Duration::from_secs(14 * 86_400), size: 1 << 30 }
    }
}
