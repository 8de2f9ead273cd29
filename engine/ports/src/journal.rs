//! The journal: append-only, durable, one writer.

use std::future::Future;

/// Why the journal did not take or give a record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal's file is damaged: where, and what to do.
    #[error("{0}")]
    Damaged(String),
    /// The disk or the file system said no; nothing was written.
    #[error("{0}")]
    Unavailable(String),
}

/// A stored event. Its content is opaque here; `record` gives it meaning and checks the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the journal: 1, 2, 3 ... without a gap.
    pub seq: u64,
    /// Its stored form.
    pub bytes: Vec<u8>,
}

/// An append-only store of entries.
pub trait Journal: Send + Sync + 'static {
    /// Appends entries as one unit; when this returns they are durable. Their numbers must follow the last one.
    ///
    /// # Errors
    /// When nothing was written.
    fn append(&self, entries: Vec<Entry>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Up to `limit` entries with a number above `after`, in order.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Error>;
}
