//! What SQLite's and the file system's errors mean to whoever runs the journal, and what to do next.

use std::path::Path;

use ports::journal::Error;
use rusqlite::{ErrorCode, ffi};

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
pub(crate) fn sqlite(path: &Path, doing: &str, error: &rusqlite::Error) -> Error {
    let path = path.display();
    if is_damage(error) {
        return Error::Damaged(format!("the journal {path} is damaged ({error}): {RESTORE}"));
    }
    let code = error.sqlite_error_code();
    let next = if code == Some(ErrorCode::DiskFull) {
        "the disk is full; nothing was written: free some space and try again"
    } else if matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) {
        "another program holds the file (an SQLite shell or a backup?): close it and try again"
    } else if matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
    {
        "check that this user may write the file and its directory"
    } else {
        "check the disk and the system's log"
    };
    Error::Unavailable(format!("cannot {doing} the journal {path}: {error}: {next}"))
}

/// Says what a file system's error means.
pub(crate) fn io(path: &Path, doing: &str, error: &std::io::Error) -> Error {
    Error::Unavailable(format!(
        "cannot {doing} {}: {error}: check that the directory exists and this user may write it",
        path.display()
    ))
}

/// The same error again, for the next of several callers.
pub(crate) fn copy(error: &Error) -> Error {
    match error {
        Error::Damaged(what) => Error::Damaged(what.clone()),
        Error::Unavailable(what) => Error::Unavailable(what.clone()),
    }
}
