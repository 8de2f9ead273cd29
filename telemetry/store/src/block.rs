//! Finished stretches of time: one file each, never changed. Written whole beside, then renamed.

mod name;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::chunk::Chunk;
use crate::frame::{Fields, push_varint};
use crate::registry::sync_folder;
pub(crate) use name::Name;
pub(crate) use read::{Ask, TooMuch};

const MAGIC: &[u8; 8] = b"SHIPBLK2";
/// At the file's end: where the index begins, its length and checksum, the stretch of time, and the magic bytes.
const FOOTER: u64 = 8 + 4 + 4 + 8 + 8 + 8;
/// The checksum behind each piece.
const SUM: u64 = 4;

/// A finished stretch of time. Its index stays on disk until it is asked.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    pub(crate) name: Name,
    file: File,
    pub(crate) size: u64,
    /// Where the index is.
    index: (u64, u32),
    sum: u32,
    /// The series that it has samples of: the differences between their numbers.
    members: Box<[u8]>,
    /// Where damaged chunks were found so far.
    damaged: Mutex<BTreeSet<u64>>,
}

/// What is where.
#[derive(Debug, Default)]
pub(crate) struct Index {
    times: Vec<Times>,
    /// In order of series and time.
    entries: Vec<Entry>,
}

/// The times of one or many chunks.
#[derive(Debug, Clone, Copy)]
struct Times {
    offset: u64,
    length: u32,
    count: u32,
    first: i64,
    last: i64,
}

/// One chunk of one series.
#[derive(Debug, Clone, Copy)]
struct Entry {
    series: u32,
    /// Their place in the index.
    times: u32,
    /// Where what has to be read for it begins: its values, or the times that stand before them.
    begin: u64,
    /// Where its values are.
    offset: u64,
    length: u32,
}

impl Entry {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.length) + SUM
    }
}

/// Chunks by series.
pub(crate) type Content = BTreeMap<u32, Vec<Arc<Chunk>>>;

impl Block {
    /// Writes a block durably, its chunks packed as tightly as it goes, and opens it.
    ///
    /// # Errors
    /// When the disk refuses, or that of the content; what was written until then is removed.
    pub(crate) fn write(
        folder: &Path,
        name: Name,
        content: impl Iterator<Item = io::Result<(u32, Vec<Chunk>)>>,
    ) -> io::Result<Self> {
        let path = folder.join(name.file());
        let written = path.with_extension("new");
        if let Err(error) = write_all(&written, name, content) {
            let _ = std::fs::remove_file(&written);
            return Err(error);
        }
        std::fs::rename(&written, &path)?;
        sync_folder(&path)?;
        Self::open(&path)
    }

    /// Opens a block.
    ///
    /// # Errors
    /// When it cannot be read, or is not whole.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let damaged =
            |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let start = size.checked_sub(FOOTER).ok_or_else(|| damaged("it is too short to be a block"))?;
        let footer = at(&file, start, FOOTER as usize)?;
        let (offset, length, sum, from, until) =
            footer_of(&footer).ok_or_else(|| damaged("it is no block, or its end is cut off"))?;
        if offset.saturating_add(u64::from(length)) != start {
            return Err(damaged("it is no block, or its end is cut off"));
        }
        let known = path.file_name().and_then(|file| Name::read(file.to_str()?));
        let name = known.filter(|name| (name.from, name.until) == (from, until));
        let name = name.ok_or_else(|| damaged("its name does not say what is in it"))?;
        let (path, index, members) = (path.to_owned(), (offset, length), Box::default());
        let mut block = Self { path, name, file, size, index, sum, members, damaged: Mutex::default() };
        let (mut members, mut before) = (Vec::new(), 0);
        for (place, entry) in block.index()?.entries.iter().enumerate() {
            if place == 0 || entry.series != before {
                push_varint(&mut members, u64::from(entry.series - before));
                before = entry.series;
            }
        }
        block.members = members.into();
        Ok(block)
    }

    /// The series that it has samples of, in order.
    pub(crate) fn series(&self) -> impl Iterator<Item = u32> {
        let (mut fields, mut number) = (Fields(&self.members), 0);
        std::iter::from_fn(move || {
            number += fields.varint()? as u32;
            Some(number)
        })
    }

    /// What is where in it, read anew.
    fn index(&self) -> io::Result<Index> {
        let damaged = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", self.path.display()))
        };
        let (offset, length) = self.index;
        let bytes = at(&self.file, offset, length as usize)?;
        if crc32fast::hash(&bytes) != self.sum {
            return Err(damaged("its index does not have the checksum that it should"));
        }
        index_of(&bytes, self.name.from).ok_or_else(|| damaged("its index makes no sense"))
    }
}

impl Index {
    /// The chunks of these series that may have samples in `(after, until]`, with the places of their series.
    fn find(&self, ask: Ask<'_>) -> Vec<(Entry, usize)> {
        let mut found = Vec::new();
        let mut rest = self.entries.as_slice();
        for (place, series) in ask.series.iter().enumerate() {
            // Those wanted are mostly neighbours: look near first.
            let near = rest.len().min(16);
            let within = rest[..near].last().is_none_or(|entry| entry.series >= *series);
            let ahead = if within { &rest[..near] } else { rest };
            rest = &rest[ahead.partition_point(|entry| entry.series < *series)..];
            let mine = rest.iter().take_while(|entry| entry.series == *series);
            let reaches = |entry: &&Entry| {
                let Times { first, last, .. } = self.times[entry.times as usize];
                first <= ask.until && last > ask.after
            };
            found.extend(mine.filter(reaches).map(|entry| (*entry, place)));
        }
        found
    }
}

fn write_all(
    path: &Path,
    name: Name,
    content: impl Iterator<Item = io::Result<(u32, Vec<Chunk>)>>,
) -> io::Result<()> {
    let Name { from, until, .. } = name;
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(MAGIC)?;
    let mut piece = |bytes: &[u8]| {
        file.write_all(bytes)?;
        file.write_all(&crc32fast::hash(bytes).to_le_bytes())?;
        Ok::<u64, io::Error>(bytes.len() as u64 + SUM)
    };
    let mut offset = MAGIC.len() as u64;
    let mut index = Vec::new();
    // All series of a target have the same times: they are written once.
    let mut known: HashMap<Arc<[u8]>, u64> = HashMap::new();
    let (mut before, mut count) = (0, 0);
    for part in content {
        let (series, chunks) = part?;
        for chunk in chunks {
            count += 1;
            push_varint(&mut index, u64::from(series - before));
            push_varint(&mut index, chunk.values.len() as u64);
            before = series;
            let next = known.len() as u64 + 1;
            let place = *known.entry(chunk.times.clone()).or_insert(next);
            if place == next {
                push_varint(&mut index, 0);
                push_varint(&mut index, chunk.times.len() as u64);
                push_varint(&mut index, u64::from(chunk.count));
                push_varint(&mut index, chunk.first.abs_diff(from));
                push_varint(&mut index, chunk.last.abs_diff(chunk.first));
                offset += piece(&chunk.times)?;
            } else {
                push_varint(&mut index, place);
            }
            offset += piece(&chunk.values)?;
        }
    }
    let mut whole = Vec::with_capacity(index.len() + 8);
    push_varint(&mut whole, count);
    whole.extend_from_slice(&index);
    let index = whole;
    file.write_all(&index)?;
    file.write_all(&offset.to_le_bytes())?;
    file.write_all(&u32::try_from(index.len()).unwrap_or(u32::MAX).to_le_bytes())?;
    file.write_all(&crc32fast::hash(&index).to_le_bytes())?;
    file.write_all(&from.to_le_bytes())?;
    file.write_all(&until.to_le_bytes())?;
    file.write_all(MAGIC)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn footer_of(bytes: &[u8]) -> Option<(u64, u32, u32, i64, i64)> {
    let mut fields = Fields(bytes);
    let footer = (fields.u64()?, fields.u32()?, fields.u32()?, fields.i64()?, fields.i64()?);
    (fields.0 == MAGIC).then_some(footer)
}

fn at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn index_of(bytes: &[u8], from: i64) -> Option<Index> {
    let mut fields = Fields(bytes);
    let count = usize::try_from(fields.varint()?).ok()?;
    let mut index = Index { times: vec![], entries: Vec::with_capacity(count.min(bytes.len())) };
    let (mut series, mut offset) = (0u32, MAGIC.len() as u64);
    for _ in 0..count {
        series = series.checked_add(u32::try_from(fields.varint()?).ok()?)?;
        let length = u32::try_from(fields.varint()?).ok()?;
        let begin = offset;
        let times = match fields.varint()? {
            0 => {
                let length = u32::try_from(fields.varint()?).ok()?;
                let count = u32::try_from(fields.varint()?).ok()?;
                let first = from.checked_add_unsigned(fields.varint()?)?;
                let last = first.checked_add_unsigned(fields.varint()?)?;
                index.times.push(Times { offset, length, count, first, last });
                offset += u64::from(length) + SUM;
                index.times.len()
            }
            known => usize::try_from(known).ok().filter(|known| *known <= index.times.len())?,
        };
        let times = u32::try_from(times - 1).ok()?;
        index.entries.push(Entry { series, times, begin, offset, length });
        offset += u64::from(length) + SUM;
    }
    Some(index)
}
