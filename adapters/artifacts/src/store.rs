//! The store: putting in, finding, verifying and removing artifacts, safe against a kill at any moment and against
//! other processes on the same store.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use model::Digest;
use model::release::{Artifact, ArtifactKind};
use ports::Artifacts;
use ports::artifacts::Error;

use crate::copy::{self, io};
use crate::listing::Entry;

/// A stored directory, and the text of its listing beside it.
const TREE: &str = "tree";
const LISTING: &str = "listing";

/// How large one artifact may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of all its files together; default 1 GiB.
    pub max_bytes: u64,
    /// The files, directories and links in a directory; default 100 000.
    pub max_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, max_files: 100_000 }
    }
}

/// A store of artifacts. Several may be open on one directory, in one process or many.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    limits: Limits,
    incoming: PathBuf,
    // Held as long as this store lives, so that no other one takes `incoming` for a leftover.
    _lease: File,
    puts: AtomicU64,
}

impl Store {
    /// Opens the store in a directory, or makes a new one, and removes what killed processes left half done.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, Error> {
        private_dir(dir)?;
        let root = dir.canonicalize().map_err(io(dir, "open the directory"))?;
        for part in ["objects", "incoming", "trash"] {
            private_dir(&root.join(part))?;
        }
        let _guard = lock(&root)?;
        clean(&root)?;
        let (incoming, lease) = lease(&root)?;
        Ok(Self { root, limits, incoming, _lease: lease, puts: AtomicU64::new(0) })
    }

    /// Reads a stored artifact again and compares it with its digest. Files that a running service has added to its
    /// directory are not looked at.
    ///
    /// # Errors
    /// When the store does not hold it, or what it holds has changed.
    pub fn verify(&self, artifact: &Artifact) -> Result<(), Error> {
        let directory = self.directory(artifact)?;
        let found = match artifact.kind {
            ArtifactKind::Directory => check_tree(&directory),
            // What is stored was within the limits of its day.
            ArtifactKind::File => {
                let unlimited = Limits { max_bytes: u64::MAX, max_files: usize::MAX };
                copy::file(&directory.join(&artifact.name), None, &unlimited)
                    .map(|entry| file_identity(&entry))
            }
        };
        let why = match found {
            Ok(found) if found == (artifact.digest, artifact.bytes) => return Ok(()),
            Ok((digest, bytes)) => format!("{} now holds {bytes} bytes with {digest}", directory.display()),
            Err(Error(why)) => why,
        };
        let (name, digest) = (&artifact.name, artifact.digest);
        let next = "ship it again from its build to repair the store";
        Err(Error(format!("the stored artifact {name} ({digest}) has changed: {why}: {next}")))
    }

    /// The directory that is put in place, or taken out, as one.
    fn place_of(&self, artifact: &Artifact) -> PathBuf {
        let object = self.root.join("objects").join(artifact.digest.hex());
        match artifact.kind {
            ArtifactKind::File => object.join("file").join(&artifact.name),
            ArtifactKind::Directory => object.join("directory"),
        }
    }

    /// Copies into `scratch` and says what it is and whether it is an executable file.
    fn copy_in(&self, source: &Path, name: String, scratch: &Path) -> Result<(Artifact, bool), Error> {
        let meta = std::fs::metadata(source).map_err(io(source, "read"))?;
        if meta.is_dir() {
            let (tree, text) = (scratch.join(TREE), scratch.join(LISTING));
            std::fs::create_dir(&tree).map_err(io(&tree, "create the directory"))?;
            let listing = copy::tree(source, Some(&tree), &self.limits)?;
            copy::sync(&tree, &listing)?;
            std::fs::write(&text, listing.text()).map_err(io(&text, "write"))?;
            copy::sync_one(&text)?;
            copy::sync_one(scratch)?;
            let (digest, bytes) = (listing.digest(), listing.bytes());
            return Ok((Artifact { digest, name, kind: ArtifactKind::Directory, bytes }, false));
        }
        let to = scratch.join(&name);
        let entry = copy::file(source, Some(&to), &self.limits)?;
        copy::sync_one(&to)?;
        copy::sync_one(scratch)?;
        let (digest, bytes) = file_identity(&entry);
        let executable = matches!(entry, Entry::File { executable: true, .. });
        Ok((Artifact { digest, name, kind: ArtifactKind::File, bytes }, executable))
    }

    /// Moves what was copied to its place, unless it is there already.
    fn place(&self, artifact: &Artifact, executable: bool, scratch: &Path) -> Result<(), Error> {
        let place = self.place_of(artifact);
        // Hashing is slow: outside of the lock. What another put places meanwhile is good.
        let damaged = place.exists() && self.verify(artifact).is_err();
        let _guard = lock(&self.root)?;
        if place.exists() && !damaged {
            // The execute permission is no part of a file's digest: whoever shipped it executable may execute it.
            return if executable { set_executable(&place.join(&artifact.name)) } else { Ok(()) };
        }
        if place.exists() {
            tracing::warn!(artifact = %artifact.digest, "replacing a damaged artifact in the store");
            // It stays in the trash until the store is opened again: a replica may still run from it.
            self.discard(&place)?;
        }
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(io(parent, "create the directory"))?;
            std::fs::rename(scratch, &place).map_err(io(&place, "put in place"))?;
            // From the artifact's parent up to the store: each may be new.
            for dir in parent.ancestors().take_while(|dir| dir.starts_with(&self.root)) {
                copy::sync_one(dir)?;
            }
        }
        Ok(())
    }

    /// Takes something out of the store at once; its content goes when somebody empties the trash.
    fn discard(&self, path: &Path) -> Result<PathBuf, Error> {
        let to = fresh(&self.root.join("trash"))?;
        let inside = to.join("removed");
        std::fs::rename(path, &inside).map_err(io(path, "remove"))?;
        Ok(to)
    }
}

impl Artifacts for Store {
    fn put(&self, path: &Path) -> Result<Artifact, Error> {
        let (source, name) = identify(path)?;
        if source.starts_with(&self.root) || self.root.starts_with(&source) {
            return Err(Error(format!(
                "{} and the store of artifacts {} lie inside one another: name the build's own directory",
                path.display(),
                self.root.display()
            )));
        }
        let scratch = self.incoming.join(self.puts.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&scratch).map_err(io(&scratch, "create the directory"))?;
        let result = self.copy_in(&source, name, &scratch).and_then(|(artifact, executable)| {
            self.place(&artifact, executable, &scratch)?;
            Ok(artifact)
        });
        remove_all(&scratch);
        result
    }

    fn directory(&self, artifact: &Artifact) -> Result<PathBuf, Error> {
        check_name(&artifact.name)?;
        let place = self.place_of(artifact);
        let directory = match artifact.kind {
            ArtifactKind::File => place,
            ArtifactKind::Directory => place.join(TREE),
        };
        if directory.is_dir() {
            return Ok(directory);
        }
        Err(Error(format!(
            "the store {} does not hold the artifact {} ({}): it was removed by retention or never stored here; ship it \
             again",
            self.root.display(),
            artifact.name,
            artifact.digest
        )))
    }

    /// An artifact that [`Artifacts::put`] has returned goes too unless `keep` names it: take `keep` from a state that
    /// no put is missing from. One that is being put is safe.
    fn retain(&self, keep: &BTreeSet<Digest>) -> Result<usize, Error> {
        let objects = self.root.join("objects");
        let keep: BTreeSet<String> = keep.iter().map(Digest::hex).collect();
        let mut trash = Vec::new();
        {
            let _guard = lock(&self.root)?;
            for entry in std::fs::read_dir(&objects).map_err(io(&objects, "read the directory"))? {
                let entry = entry.map_err(io(&objects, "read the directory"))?;
                let name = entry.file_name();
                let is_artifact =
                    name.to_str().is_some_and(|name| format!("sha256:{name}").parse::<Digest>().is_ok());
                if is_artifact && !name.to_str().is_some_and(|name| keep.contains(name)) {
                    trash.push(self.discard(&entry.path())?);
                }
            }
            copy::sync_one(&objects)?;
        }
        trash.iter().for_each(|path| remove_all(path));
        Ok(trash.len())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        remove_all(&self.incoming);
        let _ = std::fs::remove_file(self.incoming.with_extension("lock"));
    }
}

/// What a stored directory is, by its listing, once every entry has been found as listed.
fn check_tree(tree: &Path) -> Result<(Digest, u64), Error> {
    let listing = tree.with_file_name(LISTING);
    let text = std::fs::read(&listing).map_err(io(&listing, "read"))?;
    Ok((Digest::of(&text), copy::check(tree, &text)?))
}

fn file_identity(entry: &Entry) -> (Digest, u64) {
    match entry {
        Entry::File { digest, bytes, .. } => (*digest, *bytes),
        Entry::Directory | Entry::Link { .. } => (Digest::of(b""), 0),
    }
}

/// The real path of what is to be shipped, and the name it was given.
fn identify(path: &Path) -> Result<(PathBuf, String), Error> {
    let source = path.canonicalize().map_err(|error| {
        Error(format!("cannot read the artifact {}: {error}: check the path and build first", path.display()))
    })?;
    let Some(name) = path.file_name().or_else(|| source.file_name()).map(OsStr::to_owned) else {
        return Err(Error(format!("{} cannot be shipped: name the build's own directory", path.display())));
    };
    let Some(name) = name.to_str() else {
        return Err(Error(format!("the name of {} is not UTF-8: rename it", path.display())));
    };
    check_name(name)?;
    let name = name.to_owned();
    Ok((source, name))
}

/// A name becomes a part of a path, also when it comes from elsewhere than [`identify`].
fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(Error(format!("{name:?} is not the name of an artifact: it must be one part of a path")));
    }
    Ok(())
}

fn private_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path, "create the directory"))
}

/// Keeps every other put, removal and opening of this store out until dropped.
fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join("lock");
    let file = open_lock(&path)?;
    file.lock().map_err(io(&path, "lock"))?;
    Ok(file)
}

fn open_lock(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io(path, "open"))
}

/// Makes a directory with a number that nobody has.
fn fresh(parent: &Path) -> Result<PathBuf, Error> {
    for number in 0..u64::MAX {
        let path = parent.join(number.to_string());
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(&path, "create the directory")(error)),
        }
    }
    Err(Error(format!("{} is full: empty it", parent.display())))
}

/// Makes this store's own directory for what is coming in. Call under the store's lock.
fn lease(root: &Path) -> Result<(PathBuf, File), Error> {
    let incoming = fresh(&root.join("incoming"))?;
    let path = incoming.with_extension("lock");
    let lease = open_lock(&path)?;
    lease.try_lock().map_err(|error| io(&path, "lock")(error.into()))?;
    Ok((incoming, lease))
}

/// Removes what killed processes left. Call under the store's lock.
fn clean(root: &Path) -> Result<(), Error> {
    let trash = root.join("trash");
    for entry in std::fs::read_dir(&trash).map_err(io(&trash, "read the directory"))? {
        remove_all(&entry.map_err(io(&trash, "read the directory"))?.path());
    }
    let incoming = root.join("incoming");
    for entry in std::fs::read_dir(&incoming).map_err(io(&incoming, "read the directory"))? {
        let path = entry.map_err(io(&incoming, "read the directory"))?.path();
        let lock = path.with_extension("lock");
        let in_use = match File::open(&lock) {
            Ok(file) => matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        };
        if !in_use {
            remove_all(&path.with_extension(""));
            let _ = std::fs::remove_file(&lock);
        }
    }
    Ok(())
}

/// Removes a directory if it is there. What stays behind is tried again at the next opening.
fn remove_all(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a leftover of the artifact store")
        }
    }
}

fn set_executable(path: &Path) -> Result<(), Error> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555))
        .map_err(io(path, "make executable"))
}
