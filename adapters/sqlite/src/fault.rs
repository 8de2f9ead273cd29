//! What SQLite's and the file system's errors mean to whoever runs the journal, and what to do next.

use std::fmt;
use std::path::Path;

use ports::journal::Error;
use rusqlite::{ErrorCode, ffi};

/// Why the journal's file did not do what it should. Becomes one text only where it leaves this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    kind: Kind,
    /// What is wrong, and where.
    pub(crate) what: String,
    /// What to do next.
    pub(crate) next: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Damaged,
    Unavailable,
}

impl Fault {
    /// The content is wrong.
    pub(crate) fn damaged(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { kind: Kind::Damaged, what: what.into(), next: next.into() }
    }

    /// The content cannot be got at, or nothing can be written.
    pub(crate) fn unavailable(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { kind: Kind::Unavailable, what: what.into(), next: next.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.next)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            Kind::Damaged => Self::Damaged(fault.to_string()),
            Kind::Unavailable => Self::Unavailable(fault.to_string()),
        }
    }
}

/// What to do with a damaged journal.
pub(crate) const RESTORE: &str =
    "export what is readable with `shipshape journal export`, then restore a backup";

/// Whether SQLite says that the file's content is wrong, rather than that it could not get at it.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    let content = matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    );
    let code = error.sqlite_error_code();
    let short_read = error.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_IOERR_SHORT_READ);
    content || short_read || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Says what an SQLite error means; `doing` completes "cannot ...".
pub(crate) fn sqlite(path: &Path, doing: &str, error: &rusqlite::Error) -> Fault {
    let path = path.display();
    if is_damage(error) {
        return Fault::damaged(format!("the journal {path} is damaged ({error})"), RESTORE);
    }
    let code = error.sqlite_error_code();
    let (why, next) = if code == Some(ErrorCode::DiskFull) {
        (": the disk is full; nothing was written", "free some space and try again")
    } else if matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) {
        (": another program holds the file (an SQLite shell or a backup?)", "close it and try again")
    } else if matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
    {
        ("", "check that this user may write the file and its directory")
    } else {
        ("", "check the disk and the system's log")
    };
    Fault::unavailable(format!("cannot {doing} the journal {path}: {error}{why}"), next)
}

/// Says what a file system's error means.
pub(crate) fn io(path: &Path, doing: &str, error: &std::io::Error) -> Fault {
    Fault::unavailable(
        format!("cannot {doing} {}: {error}", path.display()),
        "check that the directory exists and this user may write it",
    )
}
