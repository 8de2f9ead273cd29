//! Finished stretches of time: one file each, never changed. Written whole beside, then renamed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use promql::Point;

use crate::chunk::{self, Chunk};
use crate::frame::{Fields, push_varint};
use crate::registry::sync_folder;

const MAGIC: &[u8; 8] = b"SHIPBLK1";
/// At the file's end: where the index begins, its length and checksum, the stretch of time, and the magic bytes.
const FOOTER: u64 = 8 + 4 + 4 + 8 + 8 + 8;
/// Neighbouring chunks are read together up to so many bytes.
const TOGETHER: u64 = 1 << 20;

/// A finished stretch of time.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    file: File,
    /// Every sample is at or after this, in milliseconds.
    pub(crate) from: i64,
    /// Every sample is before this.
    pub(crate) until: i64,
    pub(crate) size: u64,
    /// In order of series and time.
    entries: Vec<Entry>,
}

/// One chunk of one series.
#[derive(Debug, Clone, Copy)]
struct Entry {
    series: u32,
    count: u32,
    offset: u64,
    length: u32,
    /// After the block's begin, in milliseconds.
    first: u32,
    last: u32,
}

/// Chunks by series.
pub(crate) type Content = BTreeMap<u32, Vec<Arc<Chunk>>>;

impl Block {
    /// Writes a block durably and opens it.
    pub(crate) fn write(folder: &Path, from: i64, until: i64, content: &Content) -> io::Result<Self> {
        let path = folder.join(format!("block-{from:020}-{until:020}"));
        let written = path.with_extension("new");
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&written)?);
        file.write_all(MAGIC)?;
        let mut offset = MAGIC.len() as u64;
        let mut index = Vec::new();
        let count: usize = content.values().map(Vec::len).sum();
        push_varint(&mut index, count as u64);
        let mut before = 0;
        for (series, chunks) in content {
            for chunk in chunks {
                file.write_all(&chunk.bytes)?;
                file.write_all(&crc32fast::hash(&chunk.bytes).to_le_bytes())?;
                push_varint(&mut index, u64::from(series - before));
                push_varint(&mut index, u64::from(chunk.count));
                push_varint(&mut index, chunk.bytes.len() as u64);
                push_varint(&mut index, chunk.first.abs_diff(from));
                push_varint(&mut index, chunk.last.abs_diff(chunk.first));
                before = *series;
                offset += chunk.bytes.len() as u64 + 4;
            }
        }
        file.write_all(&index)?;
        file.write_all(&offset.to_le_bytes())?;
        file.write_all(&u32::try_from(index.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        file.write_all(&crc32fast::hash(&index).to_le_bytes())?;
        file.write_all(&from.to_le_bytes())?;
        file.write_all(&until.to_le_bytes())?;
        file.write_all(MAGIC)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
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
        let index = at(&file, offset, length as usize)?;
        if crc32fast::hash(&index) != sum {
            return Err(damaged("its index does not have the checksum that it should"));
        }
        let entries = entries(&index).ok_or_else(|| damaged("its index makes no sense"))?;
        Ok(Self { path: path.to_owned(), file, from, until, size, entries })
    }

    /// The series that it has samples of, each at least once.
    pub(crate) fn series(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| entry.series)
    }

    /// Adds the samples in `(after, until]` of the series of `wanted`, which are in order, to their places in `points`.
    ///
    /// # Errors
    /// When it cannot be read or is damaged; or when more than `limit` would be there.
    pub(crate) fn read(
        &self,
        wanted: &[u32],
        (after, until): (i64, i64),
        points: &mut [Vec<Point>],
        limit: &mut usize,
    ) -> Result<(), ReadError> {
        let found = self.find(wanted, after, until);
        let mut rest = found.as_slice();
        while let Some(((first, _), _)) = rest.split_first() {
            let start = first.offset;
            let near = rest
                .partition_point(|(entry, _)| entry.offset + u64::from(entry.length) + 4 <= start + TOGETHER);
            let (group, later) = rest.split_at(near.max(1));
            rest = later;
            let end = group.last().map_or(start, |(entry, _)| entry.offset + u64::from(entry.length) + 4);
            let bytes = at(&self.file, start, (end - start) as usize).map_err(ReadError::Io)?;
            for (entry, place) in group {
                let from = (entry.offset - start) as usize;
                let (chunk, sum) = bytes[from..].split_at(entry.length as usize);
                if sum.get(..4) != Some(&crc32fast::hash(chunk).to_le_bytes()) {
                    return Err(ReadError::Damaged);
                }
                let before = points[*place].len();
                chunk::read(chunk, entry.count, after, until, &mut points[*place])
                    .ok_or(ReadError::Damaged)?;
                let read = points[*place].len() - before;
                *limit = limit.checked_sub(read).ok_or(ReadError::TooMuch)?;
            }
        }
        Ok(())
    }

    /// The chunks of these series that may have samples in `(after, until]`, with the places of their series.
    fn find(&self, wanted: &[u32], after: i64, until: i64) -> Vec<(Entry, usize)> {
        let mut found = Vec::new();
        let mut rest = self.entries.as_slice();
        for (place, series) in wanted.iter().enumerate() {
            // Those wanted are mostly neighbours: look near first.
            let near = rest.len().min(16);
            let within = rest[..near].last().is_none_or(|entry| entry.series >= *series);
            let ahead = if within { &rest[..near] } else { rest };
            rest = &rest[ahead.partition_point(|entry| entry.series < *series)..];
            let mine = rest.iter().take_while(|entry| entry.series == *series);
            found.extend(
                mine.filter(|entry| {
                    self.from + i64::from(entry.first) <= until && self.from + i64::from(entry.last) > after
                })
                .map(|entry| (*entry, place)),
            );
        }
        found
    }
}

/// Why a block's samples cannot be had.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    Damaged,
    TooMuch,
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

fn entries(index: &[u8]) -> Option<Vec<Entry>> {
    let mut fields = Fields(index);
    let count = usize::try_from(fields.varint()?).ok()?;
    let mut entries = Vec::with_capacity(count.min(index.len()));
    let (mut series, mut offset) = (0u32, MAGIC.len() as u64);
    for _ in 0..count {
        series = series.checked_add(u32::try_from(fields.varint()?).ok()?)?;
        let count = u32::try_from(fields.varint()?).ok()?;
        let length = u32::try_from(fields.varint()?).ok()?;
        let first = u32::try_from(fields.varint()?).ok()?;
        let last = first.checked_add(u32::try_from(fields.varint()?).ok()?)?;
        entries.push(Entry { series, count, offset, length, first, last });
        offset += u64::from(length) + 4;
    }
    Some(entries)
}
