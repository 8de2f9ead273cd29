//! The files of a journal: where they lie, who may read them, who may write.
//!
//! A rule that everything here keeps: the journal's own file is never opened and closed with `std::fs` once SQLite
//! may have it open, because closing any descriptor of a file drops the process's POSIX locks on it, SQLite's too.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::fault::{self, Fault};

const OWNER_ONLY: u32 = 0o600;

/// What lies at a journal's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// An empty file.
    Empty,
    /// A file with content.
    Content,
}

/// The path with every link resolved, so that one journal has one lock under all its names.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Fault> {
    if let Ok(resolved) = path.canonicalize() {
        return Ok(resolved);
    }
    let Some(name) = path.file_name() else {
        return Err(Fault::unavailable(
            format!("{} is not a file's path", path.display()),
            "name the journal's file",
        ));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().map_err(|error| fault::io(parent, "open the directory", &error))?;
    Ok(parent.join(name))
}

/// The path with something appended to the file's name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// What lies at the path, and whether SQLite's write-ahead log beside it holds anything.
pub(crate) fn look(path: &Path) -> Result<(Found, bool), Fault> {
    let wal = std::fs::metadata(beside(path, "-wal")).is_ok_and(|meta| meta.len() > 0);
    let found = match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            let what = format!("{} is not a file", path.display());
            return Err(Fault::unavailable(what, "name the journal's file"));
        }
        Ok(meta) if meta.len() == 0 => Found::Empty,
        Ok(_) => Found::Content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => return Err(fault::io(path, "open", &error)),
    };
    Ok((found, wal))
}

/// Creates the journal's empty file, durably, for its owner only; or, when it exists, takes it from the others.
pub(crate) fn create(path: &Path, found: Found) -> Result<(), Fault> {
    if found == Found::Nothing {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(OWNER_ONLY)
            .open(path)
            .map_err(|error| fault::io(path, "create", &error))?;
        if let Some(parent) = path.parent() {
            File::open(parent)
                .and_then(|dir| dir.sync_all())
                .map_err(|error| fault::io(parent, "write the directory", &error))?;
        }
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(OWNER_ONLY))
        .map_err(|error| fault::io(path, "restrict the access to", &error))
}

/// Opens a file beside the journal for reading and writing, for its owner only.
pub(crate) fn open_beside(path: &Path) -> Result<File, Fault> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ONLY)
        .open(path)
        .map_err(|error| fault::io(path, "open", &error))
}

/// The right to write the journal, until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the right to write, or says who has it.
    pub(crate) fn take(journal: &Path) -> Result<Self, Fault> {
        let path = beside(journal, ".lock");
        let mut file = open_beside(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let who = match file.read_to_string(&mut pid) {
                    Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                    Ok(_) | Err(_) => "another process".to_owned(),
                };
                return Err(Fault::unavailable(
                    format!("the journal {} is in use by {who}", journal.display()),
                    "stop that control (`shipshape down`), or give this one another data directory",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(fault::io(&path, "lock", &error)),
        }
        // Only for the message above: the lock itself is the kernel's.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
