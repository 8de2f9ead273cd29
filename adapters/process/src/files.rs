//! The files of a replica: what the agent and its shim tell each other on disk. No secret ever stands in them.
//!
//! ```text
//! <home>/run/<service>.<environment>.<release>.<ordinal>/
//!     lock          held (flock) as long as the shim lives; it is the shim's standard output
//!     replica.json  by the agent: what runs here, on which port
//!     started.json  by the shim: which process it started
//!     exit.json     by the shim: how it ended
//!     shim.log      what the shim itself had to say, normally nothing
//! <home>/logs/<service>/<environment>/<release>/<ordinal>/
//!     current.log, 00000001.log ...
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ports::fleet::Group;
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::{Error, Exit, ReplicaId};

pub(crate) const LOCK: &str = "lock";
pub(crate) const REPLICA: &str = "replica.json";
pub(crate) const STARTED: &str = "started.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const SHIM_LOG: &str = "shim.log";

/// What the agent must know to take a replica over from an earlier agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) group: Group,
    pub(crate) ordinal: u32,
    pub(crate) port: u16,
    pub(crate) restarts: u32,
    /// How often the kernel killed it for its memory.
    #[serde(default)]
    pub(crate) out_of_memory: u32,
    pub(crate) last_exit: Option<String>,
    pub(crate) cgroup: Option<PathBuf>,
}

impl Record {
    /// Takes in how its process ended, before the next one is started.
    pub(crate) fn ended(&mut self, exit: &Exit) {
        self.restarts = self.restarts.saturating_add(1);
        self.last_exit = Some(exit.to_string());
        if matches!(exit, Exit::OutOfMemory(_)) {
            self.out_of_memory = self.out_of_memory.saturating_add(1);
        }
    }
}

/// Which process the shim started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Started {
    pub(crate) replica: Identity,
    pub(crate) shim_pid: i32,
}

/// How the replica's process ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// Bytes of output that could not be written down.
    pub(crate) dropped_bytes: u64,
}

pub(crate) fn run_root(home: &Path) -> PathBuf {
    home.join("run")
}

pub(crate) fn run_directory(home: &Path, id: &ReplicaId) -> PathBuf {
    let place = &id.group.place;
    run_root(home)
        .join(format!("{}.{}.{}.{}", place.service, place.environment, id.group.release, id.ordinal))
}

/// Creates a directory that only its owner can enter.
pub(crate) fn make_private(directory: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(Error::file("create the directory", directory))
}

/// Writes a file whole: nobody ever reads half of it.
pub(crate) fn write_whole<T: Serialize>(directory: &Path, name: &str, value: &T) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    serde_json::to_writer(&mut file, value)?;
    file.flush()?;
    fs::rename(&temporary, directory.join(name))
}

/// Reads a file; `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> io::Result<Option<T>> {
    match fs::read(directory.join(name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a file that may have been damaged by a power cut: such a one counts as absent.
pub(crate) fn read_if_sound<T: DeserializeOwned>(directory: &Path, name: &str) -> Option<T> {
    read(directory, name).unwrap_or_else(|error| {
        tracing::warn!(directory = %directory.display(), name, %error, "unreadable, taken as absent");
        None
    })
}

/// Removes a file that may not be there.
pub(crate) fn remove(directory: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(directory.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Takes the directory's lock; `None` while a shim holds it. The shim inherits the returned file, so the lock passes
/// to it without a gap and is free again the moment it ends, however it ends.
pub(crate) fn try_lock(directory: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How many replicas run in a home directory, whoever supervises them, if anybody does.
pub fn left(home: &Path) -> u64 {
    let entries = fs::read_dir(run_root(home)).into_iter().flatten().flatten();
    let alive = entries.filter(|entry| entry.path().join(LOCK).exists() && has_shim(&entry.path()));
    u64::try_from(alive.count()).unwrap_or(u64::MAX)
}

/// Whether a shim is at work in this directory.
pub(crate) fn has_shim(directory: &Path) -> bool {
    matches!(try_lock(directory), Ok(None))
}
