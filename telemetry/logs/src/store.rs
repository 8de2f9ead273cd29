//! The records of one place on disk. Does not live here: compressed blocks (`segment`), the newest batches (`wal`), and what a
//! question means (`search`).
//!
//! A batch of lines and the mark of how far its source was read are written together, so that whoever reads on from the
//! mark after a crash leaves out no line and brings none twice. Records are numbered; a batch that is in a block already is
//! told by its number.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bloom::{self, Bloom};
use crate::columns::{Columns, Source};
use crate::inbox::{Seen, Tally};
use crate::level::Level;
use crate::parse::parse;
use crate::query::{Found, Limits, Query};
use crate::search::{Sources, search};
use crate::segment::Segment;
use crate::wal::{Wal, Written};

/// A longer value of a field is not in a block's filter.
pub(crate) const LONGEST_INDEXED: usize = 256;
/// The longest record in bytes; the rest is left out, which the record says.
pub const LONGEST_RECORD: usize = 64 << 10;
/// A block is finished when it has so many records or bytes.
const BLOCK_RECORDS: usize = 8192;
const BLOCK_BYTES: usize = 2 << 20;
/// A file of blocks is left when it has so many bytes.
const SEGMENT_BYTES: u64 = 16 << 20;
/// How many files of blocks the limits are spread over at least: the oldest goes as a whole.
const FEWEST_SEGMENTS: u64 = 8;
/// A record whose own time is further away from when it was read has that time instead.
const OLDEST_OWN_US: i64 = 86_400_000_000;
const LATEST_OWN_US: i64 = 60_000_000;
const WAL: &str = "newest";
const TALLY: &str = "tally.json";

/// What was not possible.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Bytes on disk.
    pub bytes: u64,
    /// How old a record may become.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { bytes: 1 << 30, age: Duration::from_secs(14 * 86_400) }
    }
}

/// A line to be kept, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was read, in microseconds since 1970.
    pub at: i64,
    /// The line, or several that belong together.
    pub text: String,
}

/// The records of one place.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    segments: Vec<Arc<Segment>>,
    newest: Arc<Columns>,
    filter: Bloom,
    wal: Option<Wal>,
    marks: BTreeMap<String, String>,
    tally: Tally,
    retention: Retention,
}

impl Store {
    /// Opens a folder, or makes it. Only one may have it open.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path, retention: Retention) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::of("make the folder", folder))?;
        let mut inner = Inner::read(folder, true, retention)?;
        let path = folder.join(WAL);
        let mut batches = Vec::new();
        let wal = Wal::open(&path, |batch| batches.push(batch)).map_err(Error::of("read", &path))?;
        batches.into_iter().for_each(|batch| inner.replay(batch));
        // Records that are gone had their numbers.
        if inner.newest.len() == 0 {
            let next = inner.newest.first.max(inner.tally.next);
            inner.newest = Arc::new(Columns::beginning_at(next));
        }
        inner.wal = Some(wal);
        Ok(Self { folder: folder.to_owned(), inner: Mutex::new(inner) })
    }

    /// Looks at a folder that another may have open. Nothing is changed, and nothing can be added.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn look(folder: &Path) -> Result<Self, Error> {
        let mut inner = Inner::read(folder, false, Retention::default())?;
        let path = folder.join(WAL);
        Wal::look(&path, |batch| inner.replay(batch)).map_err(Error::of("read", &path))?;
        Ok(Self { folder: folder.to_owned(), inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a panic left is as whole as what a crash leaves.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps no more than this from now on.
    pub fn retain(&self, retention: Retention) {
        self.inner().retention = retention;
    }

    /// How far each source was read.
    pub fn marks(&self) -> BTreeMap<String, String> {
        self.inner().marks.clone()
    }

    /// Forgets how far a source was read that will not come back.
    pub fn forget(&self, of: &str) {
        self.inner().marks.remove(of);
    }

    /// Adds lines, and that their source was read up to this mark. They are found at once, and durable after
    /// [`Store::flush`].
    ///
    /// # Errors
    /// When a block is full and cannot be written; the lines are kept in memory and written with the next.
    pub fn append(&self, of: &str, mark: &str, source: Source, lines: &[Line]) -> Result<(), Error> {
        let mut inner = self.inner();
        let first = inner.newest.next();
        for line in lines {
            inner.add(source, line.at, cut(&line.text).as_ref(), None);
        }
        inner.marks.insert(of.to_owned(), mark.to_owned());
        let Inner { wal: Some(wal), newest, .. } = &mut *inner else { return Ok(()) };
        let begin = (first - newest.first) as usize;
        let rows: Vec<_> = (begin..newest.len())
            .map(|row| newest.row(row))
            .map(|row| (row.at, row.level, row.line))
            .collect();
        wal.push(first, of, mark, source, rows.into_iter());
        if inner.newest.len() >= BLOCK_RECORDS || inner.newest.text_bytes() >= BLOCK_BYTES {
            inner.seal(&self.folder)?;
        }
        Ok(())
    }

    /// Makes everything added so far durable.
    ///
    /// # Errors
    /// When the disk refuses; nothing is lost as long as this lives, and it is tried again.
    pub fn flush(&self) -> Result<(), Error> {
        let path = self.folder.join(WAL);
        match &mut self.inner().wal {
            Some(wal) => wal.sync().map_err(Error::of("write", &path)),
            None => Ok(()),
        }
    }

    /// Lets go of what is too much or too old, and writes down what was counted.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn tidy(&self, now: i64) -> Result<(), Error> {
        let mut inner = self.inner();
        let age = i64::try_from(inner.retention.age.as_micros()).unwrap_or(i64::MAX);
        let spread = age / FEWEST_SEGMENTS as i64;
        if inner.newest.len() > 0 && inner.newest.from < now.saturating_sub(spread) {
            inner.seal(&self.folder)?;
        }
        let mut bytes: u64 = inner.segments.iter().map(|segment| segment.size).sum();
        while let Some(oldest) = inner.segments.first() {
            if bytes <= inner.retention.bytes && oldest.until() >= now.saturating_sub(age) {
                break;
            }
            fs::remove_file(&oldest.path).map_err(Error::of("remove", &oldest.path))?;
            bytes -= oldest.size;
            inner.segments.remove(0);
        }
        inner.save(&self.folder)
    }

    /// Answers a question.
    pub fn search(&self, query: &Query, limits: &Limits) -> Found {
        let sources = {
            let inner = self.inner();
            Sources {
                blocks: inner.segments.iter().map(|segment| segment.blocks.len()).collect(),
                segments: inner.segments.clone(),
                newest: Arc::clone(&inner.newest),
            }
        };
        search(&sources, query, limits)
    }

    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.inner().newest.next()
    }

    /// The errors that were seen, the last seen first, and how many others made room for them.
    pub fn errors(&self) -> (Vec<Seen>, u64) {
        let inner = self.inner();
        let mut all: Vec<Seen> = inner.tally.errors.values().cloned().collect();
        all.sort_by_key(|seen| std::cmp::Reverse(seen.last));
        (all, inner.tally.forgotten)
    }

    /// How many records of each level there were, by release: since the beginning, also of those that are gone.
    pub fn counts(&self) -> BTreeMap<u64, [u64; 7]> {
        self.inner().tally.counts.clone()
    }

    /// Bytes on disk, without the newest.
    pub fn bytes(&self) -> u64 {
        self.inner().segments.iter().map(|segment| segment.size).sum()
    }
}

impl Inner {
    fn read(folder: &Path, mend: bool, retention: Retention) -> Result<Self, Error> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(Error::of("read the folder", folder))? {
            let path = entry.map_err(Error::of("read the folder", folder))?.path();
            if path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("segment-"))
            {
                paths.push(path);
            }
        }
        paths.sort();
        let (mut segments, mut marks, mut next) = (Vec::new(), BTreeMap::new(), 0);
        let last = paths.len().saturating_sub(1);
        for (index, path) in paths.iter().enumerate() {
            let mut segment = Segment::open(path, mend && index == last).map_err(Error::of("read", path))?;
            if segment.damaged > 0 {
                tracing::error!(path = %path.display(), bytes = segment.damaged, "a file of log records is damaged; what is whole in it is kept");
            }
            for block in &mut segment.blocks {
                next = block.next().max(next);
                let of_block = std::mem::take(&mut block.head.marks);
                if !of_block.is_empty() {
                    marks = of_block;
                }
            }
            segments.push(Arc::new(segment));
        }
        let mut tally: Tally = fs::read(folder.join(TALLY))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let counted = tally.next;
        // The blocks with the marks may have become too old since.
        if counted >= next && !tally.marks.is_empty() {
            marks = std::mem::take(&mut tally.marks);
        }
        for segment in &segments {
            for block in segment.blocks.iter().filter(|block| block.next() > counted) {
                let Ok(columns) = segment.columns(block) else { continue };
                for row in columns.rows().filter(|row| row.number >= counted) {
                    tally.count(row.number, row.source, row.at, row.level, &parse(row.line, |_, _| {}));
                }
            }
        }
        Ok(Self {
            segments,
            newest: Arc::new(Columns::beginning_at(next)),
            filter: Bloom::new(),
            wal: None,
            marks,
            tally,
            retention,
        })
    }

    fn replay(&mut self, batch: Written) {
        // It is in a block already.
        if batch.first < self.newest.next() {
            return;
        }
        if self.newest.len() == 0 {
            self.newest = Arc::new(Columns::beginning_at(batch.first));
        }
        for (source, at, level, line) in &batch.records {
            self.add(*source, *at, line, Some(*level));
        }
        self.marks.insert(batch.of, batch.mark);
    }

    /// Adds a record: one that was kept before with the level and the time that it had then.
    fn add(&mut self, source: Source, read_at: i64, line: &str, before: Option<Level>) {
        let filter = &mut self.filter;
        let parsed = parse(line, |path, value| {
            let text = value.text();
            if text.len() <= LONGEST_INDEXED {
                filter.insert(bloom::pair(path, &text));
            }
        });
        for (path, value) in
            [("error.type", &parsed.error_type), ("trace_id", &parsed.trace), ("span_id", &parsed.span)]
        {
            if let Some(value) = value.as_ref().filter(|value| value.len() <= LONGEST_INDEXED) {
                filter.insert(bloom::pair(path, value));
            }
        }
        bloom::words(line.as_bytes()).for_each(|(_, word)| filter.insert(bloom::word(word)));
        let own = parsed
            .at
            .filter(|own| (read_at - OLDEST_OWN_US..=read_at + LATEST_OWN_US).contains(own))
            .filter(|_| before.is_none());
        let (at, level) = (own.unwrap_or(read_at), before.or(parsed.level).unwrap_or(Level::Unknown));
        let newest = Arc::make_mut(&mut self.newest);
        let number = newest.next();
        newest.push(source, at, level, line);
        if number >= self.tally.next {
            self.tally.count(number, source, at, level, &parsed);
        }
    }

    /// Makes the newest records a block.
    fn seal(&mut self, folder: &Path) -> Result<(), Error> {
        let age = i64::try_from(self.retention.age.as_micros()).unwrap_or(i64::MAX) / FEWEST_SEGMENTS as i64;
        let full = SEGMENT_BYTES.min(self.retention.bytes / FEWEST_SEGMENTS);
        let last = self.segments.last().filter(|segment| {
            let begun = segment.blocks.first().map_or(i64::MAX, |block| block.head.from);
            segment.size < full && self.newest.until.saturating_sub(begun) < age
        });
        let mut segment = match last {
            // The blocks are known; the file is the same.
            Some(last) => Segment {
                path: last.path.clone(),
                file: last.file.try_clone().map_err(Error::of("use", &last.path))?,
                blocks: last.blocks.clone(),
                size: last.size,
                damaged: last.damaged,
            },
            None => {
                Segment::create(folder, self.newest.first).map_err(Error::of("make a file in", folder))?
            }
        };
        let is_new = segment.blocks.is_empty();
        segment.append(&self.newest, &self.filter, &self.marks).map_err(Error::of("write", &segment.path))?;
        if !is_new {
            self.segments.pop();
        }
        self.segments.push(Arc::new(segment));
        self.newest = Arc::new(Columns::beginning_at(self.newest.next()));
        self.filter.clear();
        if let Some(wal) = &mut self.wal {
            let path = folder.join(WAL);
            wal.clear().map_err(Error::of("empty", &path))?;
        }
        Ok(())
    }

    fn save(&mut self, folder: &Path) -> Result<(), Error> {
        if let Some(wal) = &mut self.wal {
            // Counts of records that a crash would take must not be ahead of them.
            let path = folder.join(WAL);
            wal.sync().map_err(Error::of("write", &path))?;
        }
        let (path, new) = (folder.join(TALLY), folder.join("tally.new"));
        self.tally.marks = self.marks.clone();
        let write = || {
            fs::write(&new, serde_json::to_vec(&self.tally)?)?;
            fs::File::open(&new)?.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(Error::of("write", &path))
    }
}

/// The text, at most [`LONGEST_RECORD`] of it, and how much is missing.
fn cut(text: &str) -> std::borrow::Cow<'_, str> {
    let kept = crate::shorter(text, LONGEST_RECORD);
    if kept.len() == text.len() {
        return text.into();
    }
    format!("{kept} [shipshape: {} bytes of this line are left out]", text.len() - kept.len()).into()
}

#[cfg(test)]
mod tests;
