//! An artifact store in memory. A path stands for its content: the same path is the same artifact.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use model::Digest;
use model::release::{Artifact, ArtifactKind};
use ports::artifacts::Error;

use crate::locked;

/// The simulated store; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Artifacts {
    held: Arc<Mutex<BTreeSet<Digest>>>,
}

impl Artifacts {
    /// The digest that the artifact at a path has.
    pub fn digest_of(path: &Path) -> Digest {
        Digest::of(path.as_os_str().as_encoded_bytes())
    }

    /// What is in the store.
    pub fn held(&self) -> BTreeSet<Digest> {
        locked(&self.held).clone()
    }

    /// Loses an artifact, as somebody who removes files by hand does.
    pub fn lose(&self, path: &Path) {
        locked(&self.held).remove(&Self::digest_of(path));
    }
}

impl ports::Artifacts for Artifacts {
    fn put(&self, path: &Path) -> Result<Artifact, Error> {
        let name = path.file_name().ok_or_else(|| Error(format!("{} has no name", path.display())))?;
        let digest = Self::digest_of(path);
        locked(&self.held).insert(digest);
        let bytes = path.as_os_str().len() as u64;
        Ok(Artifact { digest, name: name.to_string_lossy().into_owned(), kind: ArtifactKind::File, bytes })
    }

    fn directory(&self, artifact: &Artifact) -> Result<PathBuf, Error> {
        if locked(&self.held).contains(&artifact.digest) {
            return Ok(PathBuf::from("/artifacts").join(artifact.digest.hex()));
        }
        Err(Error(format!("the store does not hold {} ({})", artifact.name, artifact.digest)))
    }

    fn retain(&self, keep: &BTreeSet<Digest>) -> Result<usize, Error> {
        let mut held = locked(&self.held);
        let before = held.len();
        held.retain(|digest| keep.contains(digest));
        Ok(before - held.len())
    }
}
