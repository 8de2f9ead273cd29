//! Where artifacts are kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::Digest;
use model::release::Artifact;

/// Why an artifact could not be stored or found.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// The content-addressed store. All calls may block on the disk.
pub trait Artifacts: Send + Sync + 'static {
    /// Copies a file or directory into the store and returns what it is. Storing the same content twice is no error.
    /// When this returns, the content is durable.
    ///
    /// # Errors
    /// When the path cannot be read, is too large, or holds what cannot be shipped.
    fn put(&self, path: &Path) -> Result<Artifact, Error>;

    /// The directory that holds the artifact: the tree itself, or a directory with the one file in it under its name.
    ///
    /// # Errors
    /// When the store does not hold it.
    fn directory(&self, artifact: &Artifact) -> Result<PathBuf, Error>;

    /// Removes every artifact that is not in `keep`; returns how many went.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn retain(&self, keep: &BTreeSet<Digest>) -> Result<usize, Error>;
}
