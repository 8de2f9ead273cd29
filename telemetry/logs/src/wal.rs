//! The newest records, not yet in a block: batches in an append-only file, each with how far its source was read. What a crash
//! leaves at the end is cut off. Does not live here: when it is made durable (`store`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::columns::Source;
use crate::level::Level;
use crate::wire::{Wire, push_bytes, push_signed, push_varint};

/// The longest batch when it is read.
const LONGEST: u32 = 64 << 20;
/// How much memory is kept after a burst.
const MOST_KEPT: usize = 1 << 20;

/// Records of one source, and how far it was read with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) first: u64,
    pub(crate) of: String,
    pub(crate) mark: String,
    pub(crate) records: Vec<(Source, i64, Level, String)>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Wal {
    file: File,
    waiting: Vec<u8>,
    length: u64,
}

impl Wal {
    /// Opens the file, gives every whole batch to `each`, and cuts off what follows.
    pub(crate) fn open(path: &Path, each: impl FnMut(Written)) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let total = file.metadata()?.len();
        let length = replay(&mut file, each)?;
        if length < total {
            tracing::info!(path = %path.display(), bytes = total - length, "an unfinished batch was cut off; its lines are read again");
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(Self { file, waiting: Vec::new(), length })
    }

    /// Gives every whole batch of a file that another may be writing to `each`.
    pub(crate) fn look(path: &Path, each: impl FnMut(Written)) -> io::Result<()> {
        match File::open(path) {
            Ok(mut file) => replay(&mut file, each).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn push<'r>(
        &mut self,
        first: u64,
        of: &str,
        mark: &str,
        source: Source,
        records: impl ExactSizeIterator<Item = (i64, Level, &'r str)>,
    ) {
        let begin = self.waiting.len();
        self.waiting.extend_from_slice(&[0; 8]);
        let into = &mut self.waiting;
        push_varint(into, first);
        push_bytes(into, of.as_bytes());
        push_bytes(into, mark.as_bytes());
        push_varint(into, source.release);
        push_varint(into, u64::from(source.replica));
        push_varint(into, records.len() as u64);
        for (at, level, line) in records {
            push_signed(into, at);
            into.push(level as u8);
            push_bytes(into, line.as_bytes());
        }
        let (head, batch) = into[begin..].split_at_mut(8);
        head[..4].copy_from_slice(&(batch.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(batch).to_le_bytes());
    }

    /// Whether something is not durable yet.
    #[cfg(test)]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Makes everything pushed so far durable. After an error it is still waiting.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // A part may be there from a try that the disk refused.
        self.file.set_len(self.length)?;
        self.file.write_all(&self.waiting)?;
        self.file.sync_data()?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        self.waiting.shrink_to(MOST_KEPT);
        Ok(())
    }

    /// Forgets everything: it is in a block now. Batches that stay because the disk refuses have numbers that the block has.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.waiting.clear();
        self.waiting.shrink_to(MOST_KEPT);
        if self.length > 0 {
            self.file.set_len(0)?;
            self.length = 0;
        }
        Ok(())
    }
}

fn replay(file: &mut File, mut each: impl FnMut(Written)) -> io::Result<u64> {
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    let mut wire = Wire(&all);
    let mut whole = 0;
    while let Some(batch) = batch(&mut wire) {
        whole = all.len() - wire.0.len();
        each(batch);
    }
    Ok(whole as u64)
}

fn batch(wire: &mut Wire<'_>) -> Option<Written> {
    let (length, sum) = (wire.u32()?, wire.u32()?);
    let bytes = wire.take(usize::try_from(length).ok().filter(|_| length <= LONGEST)?)?;
    if crc32fast::hash(bytes) != sum {
        return None;
    }
    let mut wire = Wire(bytes);
    let first = wire.varint()?;
    let (of, mark) = (wire.text()?.to_owned(), wire.text()?.to_owned());
    let source = Source { release: wire.varint()?, replica: u32::try_from(wire.varint()?).ok()? };
    let mut records = Vec::new();
    for _ in 0..wire.varint()? {
        let at = wire.signed()?;
        let level = Level::of_byte(wire.byte()?);
        records.push((source, at, level, wire.text()?.to_owned()));
    }
    Some(Written { first, of, mark, records })
}
