//! Records side by side, a column for each of their parts: how they are held in memory and searched. Does not live here:
//! files (`segment`, `wal`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::level::Level;
use crate::wire::{Wire, push_bytes, push_signed, push_varint};

/// Which replica wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// Of which release.
    pub release: u64,
    /// Which replica of it.
    pub replica: u32,
}

/// One line of output, or several that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its number at its place: later ones are higher.
    pub number: u64,
    /// When it happened, in microseconds since 1970: as it says, or else when it was read.
    pub at: i64,
    /// How grave it is.
    pub level: Level,
    /// Which release wrote it.
    pub release: u64,
    /// Which replica of it.
    pub replica: u32,
    /// What was written, without secrets and without the last newline.
    pub line: String,
}

/// Records whose numbers follow each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    /// The number of the first.
    pub(crate) first: u64,
    times: Vec<i64>,
    levels: Vec<u8>,
    /// Places in `sources`.
    written_by: Vec<u32>,
    sources: Vec<Source>,
    /// Where each line ends in the text; lines are bounded by newlines that belong to none.
    ends: Vec<u32>,
    text: Vec<u8>,
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// A bit for each level that is there.
    pub(crate) graveness: u8,
}

/// A record where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'c> {
    pub(crate) number: u64,
    pub(crate) at: i64,
    pub(crate) level: Level,
    pub(crate) source: Source,
    pub(crate) line: &'c str,
}

impl Row<'_> {
    pub(crate) fn record(&self) -> Record {
        let Row { number, at, level, source: Source { release, replica }, line } = *self;
        Record { number, at, level, release, replica, line: line.to_owned() }
    }
}

impl Columns {
    pub(crate) fn beginning_at(first: u64) -> Self {
        Self { first, from: i64::MAX, until: i64::MIN, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// All lines, a newline after each.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn next(&self) -> u64 {
        self.first + self.len() as u64
    }

    pub(crate) fn push(&mut self, source: Source, at: i64, level: Level, line: &str) {
        let known = self.sources.iter().rposition(|known| *known == source).unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        });
        self.times.push(at);
        self.levels.push(level as u8);
        self.written_by.push(known as u32);
        self.text.extend_from_slice(line.as_bytes());
        self.ends.push(self.text.len() as u32);
        self.text.push(b'\n');
        self.from = self.from.min(at);
        self.until = self.until.max(at);
        self.graveness |= level.bit();
    }

    /// The row in which this byte of the text is.
    pub(crate) fn row_of(&self, byte: usize) -> usize {
        self.ends.partition_point(|end| (*end as usize) < byte)
    }

    /// Where the text of the row behind this one begins.
    pub(crate) fn behind(&self, row: usize) -> usize {
        self.ends[row] as usize + 1
    }

    pub(crate) fn level(&self, row: usize) -> Level {
        Level::of_byte(self.levels[row])
    }

    pub(crate) fn row(&self, row: usize) -> Row<'_> {
        let start = row.checked_sub(1).map_or(0, |before| self.behind(before));
        Row {
            number: self.first + row as u64,
            at: self.times[row],
            level: self.level(row),
            source: self.sources[self.written_by[row] as usize],
            // It was a text when it was pushed, or was found to be one when it was read.
            line: std::str::from_utf8(&self.text[start..self.ends[row] as usize]).unwrap_or_default(),
        }
    }

    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = Row<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// As bytes, not compressed yet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.text.len() + 10 * self.len() + 64);
        push_varint(&mut bytes, self.first);
        push_varint(&mut bytes, self.len() as u64);
        push_varint(&mut bytes, self.sources.len() as u64);
        for source in &self.sources {
            push_varint(&mut bytes, source.release);
            push_varint(&mut bytes, u64::from(source.replica));
        }
        let mut before = 0;
        for at in &self.times {
            push_signed(&mut bytes, at.wrapping_sub(before));
            before = *at;
        }
        bytes.extend_from_slice(&self.levels);
        for by in &self.written_by {
            push_varint(&mut bytes, u64::from(*by));
        }
        let mut start = 0;
        for end in &self.ends {
            push_varint(&mut bytes, u64::from(end - start));
            start = end + 1;
        }
        push_bytes(&mut bytes, &self.text);
        bytes
    }

    /// From its bytes; `None` when they make no sense.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let mut wire = Wire(bytes);
        let mut columns = Self::beginning_at(wire.varint()?);
        // Each has a byte at least, so a wrong count is noticed before memory is taken for it.
        let counted = |count: u64| usize::try_from(count).ok().filter(|count| *count <= bytes.len());
        let count = counted(wire.varint()?)?;
        for _ in 0..counted(wire.varint()?)? {
            let release = wire.varint()?;
            columns.sources.push(Source { release, replica: u32::try_from(wire.varint()?).ok()? });
        }
        let mut before = 0i64;
        for _ in 0..count {
            before = before.wrapping_add(wire.signed()?);
            columns.times.push(before);
            columns.from = columns.from.min(before);
            columns.until = columns.until.max(before);
        }
        columns.levels = wire.take(count)?.to_vec();
        columns.graveness = columns.levels.iter().fold(0, |bits, byte| bits | Level::of_byte(*byte).bit());
        for _ in 0..count {
            let by = u32::try_from(wire.varint()?).ok()?;
            columns.written_by.push(by);
            columns.sources.get(by as usize)?;
        }
        let mut end = 0u64;
        for _ in 0..count {
            end = end.checked_add(wire.varint()?)?;
            columns.ends.push(u32::try_from(end).ok()?);
            end += 1;
        }
        let text = wire.text()?;
        let cut_well = columns.ends.iter().all(|end| text.as_bytes().get(*end as usize) == Some(&b'\n'));
        columns.text = text.as_bytes().to_vec();
        (cut_well && end == text.len() as u64).then_some(columns)
    }
}

/// Columns that are read by several.
pub(crate) type Shared = Arc<Columns>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_come_back_from_their_bytes(
            lines in proptest::collection::vec((any::<i64>(), 0u8..7, 0u64..3, 0u32..3, "[a-z\n é]{0,12}"), 0..50),
            first in 0u64..1000,
        ) {
            let mut columns = Columns::beginning_at(first);
            for (at, level, release, replica, line) in &lines {
                columns.push(Source { release: *release, replica: *replica }, *at, Level::of_byte(*level), line);
            }
            let back = Columns::of_bytes(&columns.bytes()).unwrap();
            let records = |columns: &Columns| columns.rows().map(|row| row.record()).collect::<Vec<_>>();
            prop_assert_eq!(records(&back), records(&columns));
            prop_assert_eq!((back.from, back.until, back.graveness, back.next()), (columns.from, columns.until, columns.graveness, first + lines.len() as u64));
            for row in 0..columns.len() {
                let end = columns.behind(row) - 1;
                prop_assert_eq!(columns.row_of(end), row);
            }
        }

        #[test]
        fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(columns) = Columns::of_bytes(&bytes) {
                columns.rows().for_each(|row| drop(row.record()));
            }
        }
    }
}
