//! Reading the journal beside the loop that writes it. Does not live here: how events are shown or streamed.

use ports::Journal;
use ports::journal::{Entry, Error};
use record::Record;

/// How many entries are read at once: with the largest ones, a few megabytes.
const CHUNK: usize = 16;
/// No more is read once this many bytes are: a page is no larger than this and one chunk.
const PAGE_BYTES: usize = 1024 * 1024;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the journal.
    pub seq: u64,
    /// What happened, as `rollout.started`.
    pub kind: String,
    /// Its stored form: one JSON object on one line, without the newline.
    pub line: String,
}

/// A journal of any kind, for reading.
pub(crate) trait History: Send + Sync {
    fn chunk(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Error>;
}

impl<J: Journal> History for J {
    fn chunk(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        self.read(after, limit)
    }
}

/// Up to `limit` events after `after`; fewer when they are large, at least one when there is one.
pub(crate) fn page(journal: &dyn History, after: u64, limit: usize) -> Result<Vec<Recorded>, String> {
    let (mut page, mut bytes, mut after) = (Vec::new(), 0, after);
    while page.len() < limit && bytes < PAGE_BYTES {
        let wanted = CHUNK.min(limit - page.len());
        let chunk = journal.chunk(after, wanted).map_err(|error| error.to_string())?;
        let last = chunk.len() < wanted;
        for entry in chunk {
            let record = Record::from_bytes(&entry.bytes).map_err(|error| error.to_string())?;
            let line = String::from_utf8(entry.bytes).map_err(|error| error.to_string())?;
            (after, bytes) = (entry.seq, bytes + line.len());
            page.push(Recorded { seq: entry.seq, kind: record.kind, line });
        }
        if last {
            break;
        }
    }
    Ok(page)
}
