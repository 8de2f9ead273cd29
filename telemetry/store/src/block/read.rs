//! Reading a block. What is damaged in it is left out, said once, and counted; everything else is there.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::sync::{MutexGuard, PoisonError};

use promql::Point;

use super::{Block, Entry, Index, SUM, Times, at};
use crate::{chunk, order};

/// Neighbouring chunks are read together up to so many bytes.
const TOGETHER: u64 = 1 << 20;
/// How many damaged chunks of a block are said one by one.
const TOLD: usize = 10;
/// Stands for the index among the places of damaged chunks.
const INDEX: u64 = u64::MAX;

/// There are more samples than may be read.
#[derive(Debug)]
pub(crate) struct TooMuch;

/// What is asked of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The series, in order.
    pub(crate) series: &'a [u32],
    /// Samples after this, in milliseconds.
    pub(crate) after: i64,
    /// Samples up to this.
    pub(crate) until: i64,
}

/// Times that were read already, by their place in the index; `None` where they are damaged.
type Known = HashMap<u32, Option<Vec<i64>>>;

impl Block {
    /// Adds the samples that are asked for to the places of their series in `points`, which take `limit` at most. Returns how
    /// many chunks were left out because they are damaged.
    ///
    /// # Errors
    /// When there are more.
    pub(crate) fn read(
        &self,
        ask: Ask<'_>,
        points: &mut [Vec<Point>],
        limit: &mut usize,
    ) -> Result<usize, TooMuch> {
        match self.sound_index() {
            Some(index) => self.read_by(&index, ask, points, limit),
            None => Ok(1),
        }
    }

    /// What is where in it; `None` when that is damaged.
    pub(crate) fn sound_index(&self) -> Option<Index> {
        self.index().map_err(|error| self.is_damaged(INDEX, &error.to_string())).ok()
    }

    /// The same, with the index at hand.
    pub(crate) fn read_by(
        &self,
        index: &Index,
        ask: Ask<'_>,
        points: &mut [Vec<Point>],
        limit: &mut usize,
    ) -> Result<usize, TooMuch> {
        let found = index.find(ask);
        let (mut known, mut damaged) = (Known::new(), 0);
        let mut rest = found.as_slice();
        while let Some(((first, _), _)) = rest.split_first() {
            let start = first.begin;
            let near = rest.partition_point(|(entry, _)| entry.end() <= start + TOGETHER);
            let (group, later) = rest.split_at(near.max(1));
            rest = later;
            let end = group.last().map_or(start, |(entry, _)| entry.end());
            let together = at(&self.file, start, (end - start) as usize).ok();
            for (entry, place) in group {
                // Where one sector cannot be read, its neighbours perhaps can.
                let alone = || at(&self.file, entry.begin, (entry.end() - entry.begin) as usize).ok();
                let read = match &together {
                    Some(bytes) => Some((start, std::borrow::Cow::Borrowed(bytes.as_slice()))),
                    None => alone().map(|bytes| (entry.begin, std::borrow::Cow::Owned(bytes))),
                };
                let into = &mut points[*place];
                let before = into.len();
                let whole = read.and_then(|(start, bytes)| {
                    self.chunk(index, entry, (start, &bytes), &mut known, ask, into)
                });
                if whole.is_none() {
                    into.truncate(before);
                    damaged += 1;
                    self.is_damaged(entry.offset, "a chunk cannot be read, or not as it was written");
                    continue;
                }
                *limit = limit.checked_sub(into.len() - before).ok_or(TooMuch)?;
                order::settle(into, before);
            }
        }
        Ok(damaged)
    }

    /// One chunk's samples, from what was read of the file at some place.
    fn chunk(
        &self,
        index: &Index,
        entry: &Entry,
        (start, bytes): (u64, &[u8]),
        known: &mut Known,
        ask: Ask<'_>,
        into: &mut Vec<Point>,
    ) -> Option<()> {
        let times = match known.entry(entry.times) {
            Occupied(known) => known.into_mut(),
            Vacant(unknown) => {
                unknown.insert(self.times(index.times.get(entry.times as usize)?, start, bytes))
            }
        };
        let values = piece(bytes, entry.offset.checked_sub(start)?, entry.length)?;
        chunk::read_packed(times.as_deref()?, values, ask.after, ask.until, into)
    }

    /// Times that are perhaps among the bytes from `start` on, which were read already. `None` when they are damaged.
    fn times(&self, times: &Times, start: u64, bytes: &[u8]) -> Option<Vec<i64>> {
        let end = times.offset + u64::from(times.length) + SUM;
        if times.offset >= start && end <= start + bytes.len() as u64 {
            return chunk::read_times(piece(bytes, times.offset - start, times.length)?, times.count);
        }
        let bytes = at(&self.file, times.offset, (end - times.offset) as usize).ok()?;
        chunk::read_times(piece(&bytes, 0, times.length)?, times.count)
    }

    /// How many chunks were found damaged so far; the index counts as one.
    pub(crate) fn damages(&self) -> usize {
        self.damaged().len()
    }

    fn is_damaged(&self, place: u64, why: &str) {
        let mut damaged = self.damaged();
        if damaged.insert(place) && damaged.len() <= TOLD {
            let (block, more) = (self.path.display(), damaged.len() == TOLD);
            tracing::error!(%block, place, why, more, "metrics are damaged on disk; queries go on without them");
        }
    }

    fn damaged(&self) -> MutexGuard<'_, std::collections::BTreeSet<u64>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of what was read, when it has the checksum that it should.
fn piece(bytes: &[u8], offset: u64, length: u32) -> Option<&[u8]> {
    let from = usize::try_from(offset).ok()?;
    let (piece, sum) = bytes.get(from..)?.split_at_checked(length as usize)?;
    (sum.get(..SUM as usize)? == crc32fast::hash(piece).to_le_bytes()).then_some(piece)
}
