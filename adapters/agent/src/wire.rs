//! What goes over the agent's socket, as JSON. Does not live here: what is done about it.

use model::Generation;
use ports::fleet::{SecretValues, Wanted};
use serde::{Deserialize, Serialize};

/// The largest request body in bytes.
pub(crate) const LARGEST_BODY_BYTES: usize = 16 * 1024 * 1024;

/// `PUT /wanted`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Want {
    pub(crate) wanted: Wanted,
    pub(crate) secrets: SecretValues,
}

/// `GET /seen`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ask {
    #[serde(default)]
    pub(crate) instance: String,
    #[serde(default)]
    pub(crate) after: u64,
    #[serde(default)]
    pub(crate) patience_ms: u64,
}

/// The body of every answer that is no success.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// For people.
    pub(crate) message: String,
    /// Set when a newer wanted state is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) has: Option<Generation>,
}
