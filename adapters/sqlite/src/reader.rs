//! Reading a journal, also one that another process is writing. Never writes an entry, never takes the lock.

use std::path::{Path, PathBuf};

use ports::journal::{Entry, Error};
use rusqlite::Connection;

use crate::fault::{self, Fault};
use crate::files::Found;
use crate::schema::Page;
use crate::{files, schema};

/// Entries fetched at once while iterating. Pages keep each read transaction short: a long one would stop SQLite
/// from folding the write-ahead log into the file.
const PAGE_ENTRIES: usize = 256;

/// A page ends early when it is this large, in bytes.
const PAGE_BYTES: usize = 8 << 20;

/// A journal open for reading.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    conn: Connection,
}

impl Reader {
    /// Opens the journal at a path. Its writer may be alive.
    ///
    /// # Errors
    /// When there is none, it is not one of ours, or it is too damaged to be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::try_open(path)?)
    }

    pub(crate) fn try_open(path: &Path) -> Result<Self, Fault> {
        let path = files::resolve(path)?;
        let (found, _) = files::look(&path)?;
        match found {
            Found::Nothing => {
                let what = format!("there is no journal at {}", path.display());
                return Err(Fault::unavailable(what, "check the data directory"));
            }
            Found::Empty => {
                let what = format!("the journal {} is an empty file", path.display());
                return Err(Fault::damaged(what, "restore a backup"));
            }
            Found::Content => {}
        }
        let conn = schema::open_reader(&path)?;
        Ok(Self { path, conn })
    }

    /// The number of the last entry; 0 when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn last_seq(&self) -> Result<u64, Error> {
        let last = schema::last(&self.conn).map_err(|error| fault::sqlite(&self.path, "read", &error))?;
        Ok(last.map_or(0, |head| head.seq))
    }

    /// Up to `limit` entries with a number above `after`, in order.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or an entry is missing.
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        let page = self.page(after, limit, usize::MAX);
        if let Some(error) = &page.error {
            return Err(fault::sqlite(&self.path, "read", error).into());
        }
        match gap(&page.entries, after) {
            Some(seq) => Err(self.missing(seq).into()),
            None => Ok(page.entries),
        }
    }

    /// All entries with a number above `after`, in order, fetched page by page. At damage it gives everything
    /// readable before it, then the error, then ends; start again behind the damage to get the rest.
    pub fn entries(&self, after: u64) -> Entries<'_> {
        Entries { reader: self, after, page: Vec::new().into_iter(), error: None, done: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(crate) fn page(&self, after: u64, limit: usize, enough_bytes: usize) -> Page {
        schema::page(&self.conn, after, limit, enough_bytes)
    }

    fn missing(&self, seq: u64) -> Fault {
        let path = self.path.display();
        Fault::damaged(format!("the journal {path} is damaged: event {seq} is missing"), fault::RESTORE)
    }
}

/// The first number that is missing.
fn gap(entries: &[Entry], after: u64) -> Option<u64> {
    let expected = after.saturating_add(1)..=u64::MAX;
    entries.iter().zip(expected).find(|(entry, seq)| entry.seq != *seq).map(|(_, seq)| seq)
}

/// See [`Reader::entries`].
#[derive(Debug)]
pub struct Entries<'a> {
    reader: &'a Reader,
    after: u64,
    page: std::vec::IntoIter<Entry>,
    error: Option<Fault>,
    done: bool,
}

impl Entries<'_> {
    fn fetch(&mut self) {
        let Page { mut entries, error } = self.reader.page(self.after, PAGE_ENTRIES, PAGE_BYTES);
        self.error = error.map(|error| fault::sqlite(self.reader.path(), "read", &error));
        if let Some(seq) = gap(&entries, self.after) {
            entries.retain(|entry| entry.seq < seq);
            self.error = Some(self.reader.missing(seq));
        }
        self.done = self.error.is_some() || entries.is_empty();
        self.page = entries.into_iter();
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.done {
            self.fetch();
        }
        if let Some(entry) = self.page.next() {
            self.after = entry.seq;
            return Some(Ok(entry));
        }
        self.error.take().map(|fault| Err(fault.into()))
    }
}
