//! Secret values: resolved late, held in memory, never written down.

use std::fmt;

use model::spec::SecretSource;
use serde::{Deserialize, Serialize};

/// A secret value. It shows itself to nobody: `Debug` and `Display` hide it. It serializes only for the agent's
/// socket, never for a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that hands it to a replica.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Why a secret has no value. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Where secrets are looked up.
pub trait Secrets: Send + Sync + 'static {
    /// The value behind a reference.
    ///
    /// # Errors
    /// When there is none; the message names the reference and what to do.
    fn resolve(&self, source: &SecretSource) -> Result<Secret, Error>;
}
