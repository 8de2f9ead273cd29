//! A release: one immutable artifact and the effective configuration for each environment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, EnvironmentName, ReleaseNumber, ServiceName, Spec};

/// What was shipped under one number. Rolling back to it restores artifact *and* configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Of which service.
    pub service: ServiceName,
    /// Its number, the same in every environment.
    pub number: ReleaseNumber,
    /// What runs.
    pub artifact: Artifact,
    /// The effective configuration for each declared environment, as it was when the release was registered.
    pub specs: BTreeMap<EnvironmentName, Spec>,
}

/// An artifact in the content-addressed store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// The digest of its content.
    pub digest: Digest,
    /// Its name when it was shipped: the last part of its path.
    pub name: String,
    /// File or directory.
    pub kind: ArtifactKind,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArtifactKind {
    /// One file.
    File,
    /// A directory tree.
    Directory,
}
