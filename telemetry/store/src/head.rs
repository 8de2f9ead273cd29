//! The newest samples of all series that still get some, in memory.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use promql::Point;

use crate::block::Content;
use crate::chunk::{Chunk, Writer};

/// How many samples a chunk grows to before it is finished: what has to be read to find the newest sample.
const GROWN: u32 = 120;

/// How much older than the newest of its series a sample of this machine's clock has to be to say that the clock was ahead,
/// in milliseconds. Less is only late.
pub const CLOCK_STEP: i64 = 10_000;

/// The newest samples of one series, in the order in which they were written.
#[derive(Debug, Default)]
struct Newest {
    finished: Vec<Arc<Chunk>>,
    growing: Option<Growing>,
    /// The newest sample, since the clock last stepped back.
    last: Option<Point>,
}

#[derive(Debug)]
struct Growing {
    writer: Writer,
    first: i64,
    /// The stretch that it belongs to.
    stretch: i64,
}

/// Why a sample is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The series has a newer one.
    OutOfOrder,
    /// The series has another one at the same time.
    Contradicts,
    /// The same one is there already.
    Known,
    /// It belongs to a stretch that is finished.
    TooOld,
}

/// Spreads numbers that the store itself has given, one after the other: nobody chooses them to collide.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // Knuth's multiplicative hashing: the golden ratio of 64 bits.
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// The newest samples of all series.
#[derive(Debug)]
pub(crate) struct Head {
    series: HashMap<u32, Box<Newest>, BuildHasherDefault<Spread>>,
    /// How long a stretch is that becomes a block, in milliseconds.
    span: i64,
    /// Samples before this are in blocks.
    pub(crate) from: i64,
    /// The newest sample of any series.
    newest: i64,
    /// Whether there may be series whose chunks are not in order of time.
    is_disordered: bool,
}

impl Head {
    pub(crate) fn new(span: i64, from: i64) -> Self {
        Self { series: HashMap::default(), span, from, newest: i64::MIN, is_disordered: false }
    }

    /// How many series have samples here.
    pub(crate) fn active(&self) -> usize {
        self.series.len()
    }

    /// Those that have.
    pub(crate) fn series(&self) -> impl Iterator<Item = u32> {
        self.series.keys().copied()
    }

    pub(crate) fn has(&self, series: u32) -> bool {
        self.series.contains_key(&series)
    }

    pub(crate) fn push(&mut self, series: u32, point: Point) -> Result<(), NotTaken> {
        if point.at < self.from {
            return Err(NotTaken::TooOld);
        }
        let newest = self.series.entry(series).or_default();
        if let Some(last) = newest.last {
            if point.at < last.at {
                return Err(NotTaken::OutOfOrder);
            }
            if point.at == last.at {
                let same = point.value.to_bits() == last.value.to_bits();
                return Err(if same { NotTaken::Known } else { NotTaken::Contradicts });
            }
        }
        newest.push(point, point.at.div_euclid(self.span));
        self.newest = self.newest.max(point.at);
        Ok(())
    }

    /// Takes a sample that was taken just now by this machine's clock. When the series, or a block, has much newer ones, the
    /// clock was ahead when they were taken: this one, and those that follow, hide them. Returns whether that is so.
    pub(crate) fn push_now(&mut self, series: u32, point: Point) -> Result<bool, NotTaken> {
        let mut steps = false;
        if let Some(newest) = self.series.get_mut(&series)
            && newest.last.is_some_and(|last| last.at > point.at.saturating_add(CLOCK_STEP))
        {
            newest.end_growing();
            newest.last = None;
            (self.is_disordered, steps) = (true, true);
        }
        if point.at < self.from {
            self.from = point.at.div_euclid(self.span) * self.span;
            (self.is_disordered, steps) = (true, true);
        }
        self.push(series, point)?;
        // No stretch is finished before its time.
        if self.newest > point.at.saturating_add(CLOCK_STEP) {
            self.newest = point.at;
        }
        Ok(steps)
    }

    /// Forgets everything: what follows in the log is all that there is.
    pub(crate) fn clear(&mut self) {
        self.series.clear();
        (self.newest, self.is_disordered) = (i64::MIN, false);
    }

    /// Whether there may be samples that were written later than others of their series and are older.
    pub(crate) fn is_disordered(&self) -> bool {
        self.is_disordered
    }

    /// Takes a chunk from the log, those of a series in the order in which they were written: as it is where that can be, sample
    /// by sample otherwise. `None` when it is damaged.
    pub(crate) fn adopt(&mut self, series: u32, mut chunk: Chunk) -> Option<()> {
        let mut points = Vec::with_capacity(chunk.count as usize);
        chunk.read(i64::MIN, i64::MAX, &mut points)?;
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Some(()) };
        if let Some(newest) = self.series.get_mut(&series)
            && newest.last.is_some_and(|last| last.at >= first.at)
        {
            newest.end_growing();
            newest.last = None;
            self.is_disordered = true;
        }
        let fits = first.at >= self.from && first.at.div_euclid(self.span) == last.at.div_euclid(self.span);
        if fits && !chunk.times.is_empty() {
            let newest = self.series.entry(series).or_default();
            if newest.growing.is_none() {
                (chunk.first, chunk.last, newest.last) = (first.at, last.at, Some(*last));
                newest.finished.push(Arc::new(chunk));
                self.newest = self.newest.max(last.at);
                return Some(());
            }
        }
        for point in points {
            // What is known, or in a block already, is refused, and rightly so.
            let _ = self.push(series, point);
        }
        Some(())
    }

    /// The series' chunks that may have samples in `(after, until]`, finished and growing.
    pub(crate) fn chunks(&self, series: u32, after: i64, until: i64, into: &mut Vec<Arc<Chunk>>) {
        let Some(newest) = self.series.get(&series) else { return };
        let within = |chunk: &&Arc<Chunk>| chunk.first <= until && chunk.last > after;
        into.extend(newest.finished.iter().filter(within).cloned());
        if let Some(chunk) = newest.growing_chunk().filter(|chunk| chunk.first <= until && chunk.last > after)
        {
            into.push(Arc::new(chunk));
        }
    }

    /// Whether a series may have samples in `(after, until]`.
    pub(crate) fn reaches(&self, series: u32, after: i64, until: i64) -> bool {
        self.series
            .get(&series)
            .is_some_and(|newest| newest.bounds().is_some_and(|(first, last)| last > after && first <= until))
    }

    /// The end of the oldest stretch, once no more samples of it are to be expected: half a stretch after.
    pub(crate) fn finished_until(&self) -> Option<i64> {
        let oldest =
            self.series.values().filter_map(|newest| newest.bounds()).map(|(first, _)| first).min()?;
        let until = (oldest.div_euclid(self.span) + 1) * self.span;
        (self.newest >= until + self.span / 2).then_some(until)
    }

    /// All samples before `until`, as they are. From now on none is taken there.
    pub(crate) fn finish(&mut self, until: i64) -> Content {
        self.from = self.from.max(until);
        let mut content = Content::new();
        for (series, newest) in &mut self.series {
            if newest.growing.as_ref().is_some_and(|growing| growing.first < until) {
                // Packed with the others when the block is written: nobody waits for that.
                newest.finished.extend(newest.growing_chunk().map(Arc::new));
                newest.growing = None;
            }
            let old = newest.finished.iter().filter(|chunk| chunk.first < until);
            let old: Vec<Arc<Chunk>> = old.cloned().collect();
            if !old.is_empty() {
                content.insert(*series, old);
            }
        }
        content
    }

    /// Lets go of what [`Head::finish`] gave, now that it is in a block, and of series that have nothing newer.
    pub(crate) fn forget(&mut self, until: i64) {
        self.series.retain(|_, newest| {
            newest.finished.retain(|chunk| chunk.first >= until);
            newest.growing.is_some() || !newest.finished.is_empty()
        });
        self.is_disordered &= self.series.values().any(|newest| newest.is_disordered());
    }

    /// Everything, as chunks.
    pub(crate) fn content(&self) -> BTreeMap<u32, Vec<Arc<Chunk>>> {
        let all = |newest: &Newest| {
            let growing = newest.growing_chunk().map(Arc::new);
            newest.finished.iter().cloned().chain(growing).collect()
        };
        self.series.iter().map(|(series, newest)| (*series, all(newest))).collect()
    }
}

impl Newest {
    fn push(&mut self, point: Point, stretch: i64) {
        let full = |growing: &Growing| growing.writer.count() >= GROWN || growing.stretch != stretch;
        if self.growing.as_ref().is_some_and(full) {
            self.end_growing();
        }
        let fresh = || Growing { writer: Writer::default(), first: point.at, stretch };
        self.growing.get_or_insert_with(fresh).writer.push(point);
        self.last = Some(point);
    }

    /// When its chunks begin and end, in the order in which they were written.
    fn times(&self) -> impl Iterator<Item = (i64, i64)> {
        let growing = self.growing.as_ref().map(|it| it.first).zip(self.last.map(|last| last.at));
        self.finished.iter().map(|chunk| (chunk.first, chunk.last)).chain(growing)
    }

    /// The oldest and the newest sample's times.
    fn bounds(&self) -> Option<(i64, i64)> {
        self.times().reduce(|(first, last), (begin, end)| (first.min(begin), last.max(end)))
    }

    fn is_disordered(&self) -> bool {
        self.times().zip(self.times().skip(1)).any(|((_, before), (next, _))| next <= before)
    }

    fn growing_chunk(&self) -> Option<Chunk> {
        let (growing, last) = (self.growing.as_ref()?, self.last?);
        let (count, values) = (growing.writer.count(), growing.writer.bytes().into());
        Some(Chunk { count, first: growing.first, last: last.at, times: Arc::default(), values })
    }

    fn end_growing(&mut self) {
        let Some(grown) = self.growing_chunk() else { return };
        let mut points = Vec::with_capacity(grown.count as usize);
        let packed = grown.read(i64::MIN, i64::MAX, &mut points).and_then(|()| Chunk::of(&points));
        let chunk = packed.unwrap_or(grown);
        self.finished.push(Arc::new(chunk));
        self.growing = None;
    }
}
