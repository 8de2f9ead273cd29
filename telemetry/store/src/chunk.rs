//! A run of samples of one series, compressed. While it grows, times and values stand in one stream of bits: the
//! difference of differences of the times, and the bits of the values that changed (Pelkonen et al., "Gorilla", VLDB 2015).
//! A finished one is packed: its times by themselves, because all series of a target have the same, and its values
//! as whole numbers of the smallest decimal when they are such, which counters and most gauges are.

use std::sync::Arc;

use promql::{Point, STALE};

use crate::bits::{Bits, Reader};
use crate::numbers::{self, Row, push_varied, take_varied};
use crate::order;

/// The most samples that one holds.
const MOST: usize = 512;
/// Whole numbers up to here are exact.
const WHOLE: f64 = 9_007_199_254_740_992.0;
/// Stands for the staleness marker among whole numbers.
const ENDED: i64 = i64::MIN;
/// What values are whole numbers of.
const DECIMALS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Instead of a place in [`DECIMALS`]: the bits that changed.
const CHANGED: u64 = 7;

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) count: u32,
    /// The first sample's time, in milliseconds.
    pub(crate) first: i64,
    /// The last sample's time, in milliseconds.
    pub(crate) last: i64,
    /// Its times; empty when it has just grown and they stand among the values.
    pub(crate) times: Arc<[u8]>,
    pub(crate) values: Box<[u8]>,
}

impl Chunk {
    /// Samples in order of time, at least one.
    pub(crate) fn of(points: &[Point]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let times: Vec<i64> = points.iter().map(|point| point.at).collect();
        let mut bits = Bits::default();
        numbers::push(&mut bits, &times);
        let values = packed(points).into();
        let count = u32::try_from(points.len()).ok()?;
        Some(Self { count, first: first.at, last: last.at, times: bits.into_bytes().into(), values })
    }

    /// Its samples in `(after, until]`, added to `points`. `None` when it is damaged.
    pub(crate) fn read(&self, after: i64, until: i64, points: &mut Vec<Point>) -> Option<()> {
        if self.times.is_empty() {
            return read_grown(&self.values, self.count, after, until, points);
        }
        let times = read_times(&self.times, self.count)?;
        read_packed(&times, &self.values, after, until, points)
    }
}

/// The same samples, in the order in which they were written, in as few chunks as they fit in.
pub(crate) fn packed_again(chunks: &[Arc<Chunk>]) -> Vec<Chunk> {
    let mut points = Vec::new();
    for chunk in chunks {
        let before = points.len();
        // What cannot be read is damaged memory; there is nothing to save.
        let _ = chunk.read(i64::MIN, i64::MAX, &mut points);
        order::settle(&mut points, before);
    }
    of_all(&points)
}

/// As few chunks as samples in order of time fit in.
pub(crate) fn of_all(points: &[Point]) -> Vec<Chunk> {
    points.chunks(MOST).filter_map(Chunk::of).collect()
}

/// The times of a packed chunk. `None` when they are damaged.
pub(crate) fn read_times(bytes: &[u8], count: u32) -> Option<Vec<i64>> {
    // An even row needs no bits, so nothing else would end one that says it is endless.
    if count as usize > MOST {
        return None;
    }
    let mut row = Row::new(Reader::new(bytes));
    (0..count).map(|_| row.next()).collect()
}

/// The samples in `(after, until]` of a packed chunk of these times, added to `points`. `None` when they are damaged.
pub(crate) fn read_packed(
    times: &[i64],
    values: &[u8],
    after: i64,
    until: i64,
    points: &mut Vec<Point>,
) -> Option<()> {
    let end = times.partition_point(|at| *at <= until);
    let begin = times[..end].partition_point(|at| *at <= after);
    points.reserve(end - begin);
    let mut bits = Reader::new(values);
    let decimals = bits.take(3)?;
    if decimals == CHANGED {
        let mut changes = Changes::default();
        for (place, at) in times[..end].iter().enumerate() {
            let value = changes.next(&mut bits)?;
            if place >= begin {
                points.push(Point { at: *at, value });
            }
        }
        return Some(());
    }
    let part = DECIMALS.get(decimals as usize)?;
    let base = take_varied(&mut bits)?;
    let times_what = take_varied(&mut bits)?.wrapping_add(1);
    let mut row = Row::new(bits);
    for (place, at) in times[..end].iter().enumerate() {
        let whole = row.next()?;
        if place >= begin {
            let value = match whole {
                ENDED => STALE,
                whole => whole.wrapping_mul(times_what).wrapping_add(base) as f64 / part,
            };
            points.push(Point { at: *at, value });
        }
    }
    Some(())
}

fn packed(points: &[Point]) -> Vec<u8> {
    let mut bits = Bits::default();
    let Some((decimals, mut row)) = whole(points) else {
        bits.push(CHANGED, 3);
        let mut changes = Changes::default();
        points.iter().for_each(|point| changes.push(&mut bits, point.value));
        return bits.into_bytes();
    };
    bits.push(decimals as u64, 3);
    let base = row.iter().copied().find(|it| *it != ENDED).unwrap_or(0);
    let common = common(&row, base);
    push_varied(&mut bits, base);
    push_varied(&mut bits, common - 1);
    for it in row.iter_mut().filter(|it| **it != ENDED) {
        *it -= base;
        if common > 1 {
            *it /= common;
        }
    }
    numbers::push(&mut bits, &row);
    bits.into_bytes()
}

/// What all differences to the base are multiples of: bytes of memory come in pages, times in whole seconds.
fn common(row: &[i64], base: i64) -> i64 {
    let mut common = 0;
    for it in row.iter().filter(|it| **it != ENDED) {
        common = divisor(common, it.abs_diff(base));
        if common == 1 {
            break;
        }
    }
    i64::try_from(common).unwrap_or(1).max(1)
}

/// The values as whole numbers of the largest decimal that all are, and its place in [`DECIMALS`].
fn whole(points: &[Point]) -> Option<(usize, Vec<i64>)> {
    let mut row = Vec::with_capacity(points.len());
    let mut decimals = 0;
    for point in points {
        if promql::is_stale(point.value) {
            row.push(ENDED);
            continue;
        }
        let whole = loop {
            match whole_of(point.value, DECIMALS[decimals]) {
                Some(whole) => break whole,
                None if decimals + 1 < DECIMALS.len() => decimals += 1,
                None => return None,
            }
        };
        row.push(whole);
    }
    if decimals > 0 {
        // All of them once more: what is whole in tenths may be too large for hundredths.
        for (whole, point) in row.iter_mut().zip(points).filter(|(whole, _)| **whole != ENDED) {
            *whole = whole_of(point.value, DECIMALS[decimals])?;
        }
    }
    Some((decimals, row))
}

/// How many of these parts a value is, if it comes back from that bit for bit.
fn whole_of(value: f64, part: f64) -> Option<i64> {
    let parts = value * part;
    let whole = (parts + 0.5f64.copysign(parts)) as i64;
    let same = (whole as f64 / part).to_bits() == value.to_bits();
    (same && parts.abs() < WHOLE).then_some(whole)
}

fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Values by the bits that changed.
#[derive(Debug, Clone, Default)]
struct Changes {
    started: bool,
    value: u64,
    /// Length and trailing zeros of the last window; no length before the first.
    window: (u32, u32),
}

impl Changes {
    fn push(&mut self, bits: &mut Bits, value: f64) {
        let changed = value.to_bits() ^ self.value;
        self.value = value.to_bits();
        if !self.started {
            self.started = true;
            bits.push(self.value, 64);
            return;
        }
        if changed == 0 {
            bits.push_bit(false);
            return;
        }
        bits.push_bit(true);
        let (leading, trailing) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        let (length, below) = self.window;
        if length > 0 && leading + length + below >= 64 && trailing >= below {
            bits.push_bit(false);
            bits.push(changed >> below, length);
            return;
        }
        let length = 64 - leading - trailing;
        self.window = (length, trailing);
        bits.push_bit(true);
        bits.push(u64::from(leading), 5);
        bits.push(u64::from(length - 1), 6);
        bits.push(changed >> trailing, length);
    }

    fn next(&mut self, bits: &mut Reader<'_>) -> Option<f64> {
        if !self.started {
            self.started = true;
            self.value = bits.take(64)?;
        } else if bits.bit()? {
            if bits.bit()? {
                let leading = bits.take(5)? as u32;
                let length = bits.take(6)? as u32 + 1;
                self.window = (length, 64u32.checked_sub(leading + length)?);
            }
            let (length, below) = self.window;
            if length == 0 {
                return None;
            }
            self.value ^= bits.take(length)? << below;
        }
        Some(f64::from_bits(self.value))
    }
}

/// Writes a chunk sample by sample. What was written so far can be read at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer {
    bits: Bits,
    count: u32,
    at: i64,
    step: i64,
    changes: Changes,
}

impl Writer {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bits.bytes()
    }

    pub(crate) fn push(&mut self, point: Point) {
        if self.count == 0 {
            self.bits.push(point.at as u64, 64);
        } else {
            let step = point.at.wrapping_sub(self.at);
            push_varied(&mut self.bits, step.wrapping_sub(self.step));
            self.step = step;
        }
        self.changes.push(&mut self.bits, point.value);
        self.at = point.at;
        self.count += 1;
    }
}

/// The samples in `(after, until]` of what a [`Writer`] wrote, added to `points`. `None` when they are damaged.
pub(crate) fn read_grown(
    bytes: &[u8],
    count: u32,
    after: i64,
    until: i64,
    points: &mut Vec<Point>,
) -> Option<()> {
    let mut bits = Reader::new(bytes);
    let (mut at, mut step, mut changes) = (0i64, 0i64, Changes::default());
    for place in 0..count {
        if place == 0 {
            at = bits.take(64)? as i64;
        } else {
            step = step.wrapping_add(take_varied(&mut bits)?);
            at = at.wrapping_add(step);
        }
        let value = changes.next(&mut bits)?;
        if at > until {
            break;
        }
        if at > after {
            points.push(Point { at, value });
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(chunk: &Chunk) -> Vec<(i64, u64)> {
        let mut points = Vec::new();
        chunk.read(i64::MIN, i64::MAX, &mut points).unwrap();
        points.iter().map(|point| (point.at, point.value.to_bits())).collect()
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let any = prop_oneof![
            any::<f64>(),
            (-1000i64..1000).prop_map(|value| value as f64),
            Just(STALE),
            Just(-0.0),
            Just(f64::INFINITY),
        ];
        let whole = prop_oneof![
            (-1000i64..1000).prop_map(|value| value as f64),
            (0i64..1 << 52).prop_map(|value| value as f64),
            Just(STALE),
        ];
        let decimal = (-100_000i64..100_000, 0usize..7).prop_map(|(it, at)| it as f64 / DECIMALS[at]);
        prop_oneof![
            prop::collection::vec(any, 1..MOST),
            prop::collection::vec(whole, 1..MOST),
            prop::collection::vec(decimal, 1..MOST),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(values in values(), start in any::<i32>(), jitter in 1u64..100_000) {
            let (mut at, mut seed) = (i64::from(start), 7u64);
            let points: Vec<Point> = values.iter().map(|value| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                at += 1 + ((seed >> 33) % jitter) as i64;
                Point { at, value: *value }
            }).collect();
            let written: Vec<(i64, u64)> = points.iter().map(|point| (point.at, point.value.to_bits())).collect();
            let chunk = Chunk::of(&points).unwrap();
            prop_assert_eq!(back(&chunk), written.clone());
            let mut growing = Writer::default();
            points.iter().for_each(|point| growing.push(*point));
            let grown = Chunk { times: Arc::default(), values: growing.bytes().into(), ..chunk };
            prop_assert_eq!(back(&grown), written);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..600) {
            let _ = read_grown(&bytes, count, i64::MIN, i64::MAX, &mut Vec::new());
            let (times, values) = bytes.split_at(bytes.len() / 2);
            if let Some(times) = read_times(times, count) {
                let _ = read_packed(&times, values, i64::MIN, i64::MAX, &mut Vec::new());
            }
        }
    }

    fn bytes_a_sample(value: impl Fn(u32) -> f64) -> f64 {
        let at = |index| 1_700_000_000_000 + i64::from(index) * 15_000;
        let points: Vec<Point> = (0..480).map(|index| Point { at: at(index), value: value(index) }).collect();
        let chunk = Chunk::of(&points).unwrap();
        (chunk.times.len() + chunk.values.len()) as f64 / 480.0
    }

    #[test]
    fn a_chunk_that_says_it_is_endless_is_damaged() {
        let chunk = Chunk::of(&[Point { at: 1, value: 1.0 }, Point { at: 2, value: 1.0 }]).unwrap();
        let endless = Chunk { count: u32::MAX, ..chunk };
        assert_eq!(endless.read(i64::MIN, i64::MAX, &mut Vec::new()), None);
    }

    #[test]
    fn what_services_tell_takes_little() {
        let noise = |index: u32, most: u32| {
            f64::from(index.wrapping_mul(2_654_435_761) >> 8 & 0xffff) * f64::from(most) / 65536.0
        };
        let counter = bytes_a_sample(|index| f64::from(index) * 100.0 + noise(index, 13).floor());
        assert!(counter < 1.0, "a counter of requests: {counter}");
        let pages = bytes_a_sample(|index| 4096.0 * (10_000.0 + noise(index, 16).floor()));
        assert!(pages < 1.0, "bytes of memory: {pages}");
        let ratio = bytes_a_sample(|index| (900.0 + noise(index, 100).floor()) / 1000.0);
        assert!(ratio < 1.4, "a ratio: {ratio}");
        assert!(bytes_a_sample(|_| 1.0) < 0.1);
    }
}
