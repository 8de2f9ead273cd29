//! The journal's SQLite file: its marks, its table, and how connections to it are made.

use std::path::Path;
use std::time::Duration;

use model::Digest;
use ports::journal::Entry;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::fault::{self, Fault};
use crate::head::Head;

/// `SHIP`: marks an SQLite file as a journal of ours.
const APPLICATION: i32 = 0x5348_4950;

/// The version of the table; a newer one is refused.
const VERSION: i32 = 1;

/// How long to wait for another program that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this after a checkpoint, in bytes.
const WAL_KEPT_BYTES: i64 = 16 << 20;

// An entry is never changed or removed, not by a bug of ours either.
const CREATE: &str = "
    CREATE TABLE journal (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TRIGGER journal_is_not_changed BEFORE UPDATE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER journal_is_not_cut BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
";

/// Opens the connection that writes; makes the table in a new file.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<(Connection, i32, i32)> {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        let (application, version) = marks(&conn)?;
        Ok((conn, application, version))
    };
    let (mut conn, application, version) = open().map_err(|error| explain(path, &error))?;
    let tables = conn
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0))
        .map_err(|error| explain(path, &error))?;
    let is_new = (application, version, tables) == (0, 0, 0);
    if !is_new {
        check_marks(path, application, version)?;
    }
    let prepare = |conn: &mut Connection| -> rusqlite::Result<()> {
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        if is_new {
            let tx = conn.transaction()?;
            tx.execute_batch(CREATE)?;
            tx.pragma_update(None, "application_id", APPLICATION)?;
            tx.pragma_update(None, "user_version", VERSION)?;
            tx.commit()?;
        }
        Ok(())
    };
    prepare(&mut conn).map_err(|error| fault::sqlite(path, "open", &error))?;
    Ok(conn)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<(Connection, i32, i32)> {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        let (application, version) = marks(&conn)?;
        Ok((conn, application, version))
    };
    let (conn, application, version) = open().map_err(|error| explain(path, &error))?;
    check_marks(path, application, version)?;
    Ok(conn)
}

fn marks(conn: &Connection) -> rusqlite::Result<(i32, i32)> {
    let mark = |name| conn.pragma_query_value(None, name, |row| row.get(0));
    Ok((mark("application_id")?, mark("user_version")?))
}

fn check_marks(path: &Path, application: i32, version: i32) -> Result<(), Fault> {
    let path = path.display();
    if application != APPLICATION {
        return Err(Fault::damaged(
            format!("{path} is an SQLite file, but not a journal of shipshape"),
            "name another file, or restore a backup",
        ));
    }
    if version > VERSION {
        return Err(Fault::unavailable(
            format!(
                "the journal {path} was written by a newer shipshape (format {version}, this one knows up to \
                 {VERSION})"
            ),
            "use the newer one",
        ));
    }
    if version < 1 {
        return Err(Fault::damaged(
            format!("the journal {path} carries the impossible format {version}"),
            fault::RESTORE,
        ));
    }
    Ok(())
}

fn explain(path: &Path, error: &rusqlite::Error) -> Fault {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) {
        return Fault::damaged(
            format!("{} is not a journal, or its beginning is destroyed", path.display()),
            "name another file, or restore a backup",
        );
    }
    fault::sqlite(path, "open", error)
}

/// The last entry's number and digest.
pub(crate) fn last(conn: &Connection) -> rusqlite::Result<Option<Head>> {
    at_order(conn, "SELECT seq, bytes FROM journal ORDER BY seq DESC LIMIT 1", ())
}

/// The digest of one entry.
pub(crate) fn at(conn: &Connection, seq: u64) -> rusqlite::Result<Option<Head>> {
    let Ok(seq) = i64::try_from(seq) else { return Ok(None) };
    at_order(conn, "SELECT seq, bytes FROM journal WHERE seq = ?1", (seq,))
}

fn at_order(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Option<Head>> {
    let row = |row: &rusqlite::Row<'_>| {
        let bytes = row.get_ref(1)?.as_blob().map_err(|_| wrong_type(1))?;
        Ok(Head { seq: seq_of(row)?, digest: Digest::of(bytes) })
    };
    conn.prepare(sql)?.query_row(params, row).optional()
}

fn wrong_type(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "journal".to_owned(), rusqlite::types::Type::Null)
}

fn seq_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    let seq: i64 = row.get(0)?;
    u64::try_from(seq).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, seq))
}

/// Some entries in order, and what stopped the reading early.
pub(crate) struct Page {
    /// What was readable.
    pub(crate) entries: Vec<Entry>,
    /// Why there is no more, when that is not the end or the limit.
    pub(crate) error: Option<rusqlite::Error>,
}

/// Up to `limit` entries after a number, fewer once they are together larger than `enough_bytes`.
pub(crate) fn page(conn: &Connection, after: u64, limit: usize, enough_bytes: usize) -> Page {
    let mut entries = Vec::new();
    let error = read_into(conn, after, limit, enough_bytes, &mut entries).err();
    Page { entries, error }
}

fn read_into(
    conn: &Connection,
    after: u64,
    limit: usize,
    enough_bytes: usize,
    entries: &mut Vec<Entry>,
) -> rusqlite::Result<()> {
    let (Ok(after), limit) = (i64::try_from(after), i64::try_from(limit).unwrap_or(i64::MAX)) else {
        return Ok(());
    };
    let mut statement =
        conn.prepare("SELECT seq, bytes FROM journal WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query((after, limit))?;
    let mut bytes_read = 0;
    while let Some(row) = rows.next()? {
        let entry = Entry { seq: seq_of(row)?, bytes: row.get(1)? };
        bytes_read += entry.bytes.len();
        entries.push(entry);
        if bytes_read >= enough_bytes {
            break;
        }
    }
    Ok(())
}

/// The size of the journal, what is still in the write-ahead log included, in bytes.
pub(crate) fn size_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let size: i64 = conn.prepare_cached(sql)?.query_row((), |row| row.get(0))?;
    Ok(u64::try_from(size).unwrap_or(0))
}
