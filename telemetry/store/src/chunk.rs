//! A run of samples of one series, compressed: the difference of differences of the times, and of the values either the
//! bits that changed (Pelkonen et al., "Gorilla", VLDB 2015) or, when all are whole numbers, the difference of
//! differences too. Counters and gauges of whole numbers take about half of what the bits that changed take.

use promql::Point;

use crate::bits::{Bits, Reader};

/// The most samples that one holds.
pub(crate) const MOST: usize = 512;
/// Whole numbers up to here are exact.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// How the values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Changed,
    Whole,
}

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) count: u32,
    /// The first sample's time, in milliseconds.
    pub(crate) first: i64,
    /// The last sample's time, in milliseconds.
    pub(crate) last: i64,
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// Samples in order of time, at least one; in the coding that takes less.
    pub(crate) fn of(points: &[Point]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let encode = |coding| {
            let mut writer = Writer::new(coding);
            points.iter().for_each(|point| writer.push(*point));
            writer.bits.into_bytes()
        };
        let changed = encode(Coding::Changed);
        let all_whole = points.iter().all(|point| is_whole(point.value));
        let whole = all_whole.then(|| encode(Coding::Whole));
        let bytes = whole.filter(|whole| whole.len() < changed.len()).unwrap_or(changed);
        Some(Self { count: u32::try_from(points.len()).ok()?, first: first.at, last: last.at, bytes })
    }

    /// Its samples in `(after, until]`, added to `points`. `None` when it is damaged.
    pub(crate) fn read(&self, after: i64, until: i64, points: &mut Vec<Point>) -> Option<()> {
        read(&self.bytes, self.count, after, until, points)
    }
}

/// The samples in `(after, until]` of a chunk's bytes, added to `points`. `None` when they are damaged.
pub(crate) fn read(bytes: &[u8], count: u32, after: i64, until: i64, points: &mut Vec<Point>) -> Option<()> {
    let mut samples = Samples::new(bytes)?;
    for _ in 0..count {
        let point = samples.next()?;
        if point.at > until {
            break;
        }
        if point.at > after {
            points.push(point);
        }
    }
    Some(())
}

fn is_whole(value: f64) -> bool {
    value.abs() < WHOLE && value == value.trunc() && (value != 0.0 || value.is_sign_positive())
}

/// Writes a chunk sample by sample. What was written so far can be read at any time.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    bits: Bits,
    coding: Coding,
    count: u32,
    at: i64,
    step: i64,
    value: f64,
    /// Of whole numbers: the last difference.
    difference: i64,
    /// Of changed bits: leading and trailing zeros of the last window.
    window: Option<(u32, u32)>,
}

impl Writer {
    pub(crate) fn growing() -> Self {
        Self::new(Coding::Changed)
    }

    fn new(coding: Coding) -> Self {
        let mut bits = Bits::default();
        bits.push_bit(coding == Coding::Whole);
        Self { bits, coding, count: 0, at: 0, step: 0, value: 0.0, difference: 0, window: None }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bits.bytes()
    }

    pub(crate) fn push(&mut self, point: Point) {
        let Point { at, value } = point;
        if self.count == 0 {
            self.bits.push(at as u64, 64);
            match self.coding {
                Coding::Changed => self.bits.push(value.to_bits(), 64),
                Coding::Whole => push_varied(&mut self.bits, value as i64),
            }
        } else {
            let step = at.wrapping_sub(self.at);
            push_varied(&mut self.bits, step.wrapping_sub(self.step));
            self.step = step;
            match self.coding {
                Coding::Changed => self.push_changed(value),
                Coding::Whole => {
                    let difference = value as i64 - self.value as i64;
                    push_varied(&mut self.bits, difference - self.difference);
                    self.difference = difference;
                }
            }
        }
        (self.at, self.value) = (at, value);
        self.count += 1;
    }

    fn push_changed(&mut self, value: f64) {
        let changed = value.to_bits() ^ self.value.to_bits();
        if changed == 0 {
            self.bits.push_bit(false);
            return;
        }
        self.bits.push_bit(true);
        let (leading, trailing) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        if let Some((lead, trail)) =
            self.window.filter(|(lead, trail)| leading >= *lead && trailing >= *trail)
        {
            self.bits.push_bit(false);
            self.bits.push(changed >> trail, 64 - lead - trail);
            return;
        }
        self.window = Some((leading, trailing));
        let length = 64 - leading - trailing;
        self.bits.push_bit(true);
        self.bits.push(u64::from(leading), 5);
        self.bits.push(u64::from(length - 1), 6);
        self.bits.push(changed >> trailing, length);
    }
}

/// A signed number in a size of its own: one bit for zero, then 4, 7, 12, 20 or 64 bits behind a prefix.
const SIZES: [u32; 5] = [4, 7, 12, 20, 64];

fn push_varied(bits: &mut Bits, value: i64) {
    if value == 0 {
        bits.push_bit(false);
        return;
    }
    let folded = (value << 1 ^ value >> 63) as u64;
    for (place, size) in SIZES.iter().enumerate() {
        bits.push_bit(true);
        let last = place == SIZES.len() - 1;
        if last || folded < 1 << size {
            if !last {
                bits.push_bit(false);
            }
            bits.push(folded, *size);
            return;
        }
    }
}

fn take_varied(bits: &mut Reader<'_>) -> Option<i64> {
    let mut ones = 0;
    while ones < SIZES.len() && bits.bit()? {
        ones += 1;
    }
    let Some(place) = ones.checked_sub(1) else { return Some(0) };
    let folded = bits.take(SIZES[place])?;
    Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
}

/// Reads a chunk sample by sample.
struct Samples<'a> {
    bits: Reader<'a>,
    coding: Coding,
    started: bool,
    at: i64,
    step: i64,
    value: u64,
    whole: i64,
    difference: i64,
    window: (u32, u32),
}

impl<'a> Samples<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut bits = Reader::new(bytes);
        let coding = if bits.bit()? { Coding::Whole } else { Coding::Changed };
        let window = (0, 0);
        Some(Self { bits, coding, started: false, at: 0, step: 0, value: 0, whole: 0, difference: 0, window })
    }

    fn next(&mut self) -> Option<Point> {
        if !self.started {
            self.started = true;
            self.at = self.bits.take(64)? as i64;
            match self.coding {
                Coding::Changed => self.value = self.bits.take(64)?,
                Coding::Whole => self.whole = take_varied(&mut self.bits)?,
            }
        } else {
            self.step = self.step.wrapping_add(take_varied(&mut self.bits)?);
            self.at = self.at.wrapping_add(self.step);
            match self.coding {
                Coding::Changed => self.take_changed()?,
                Coding::Whole => {
                    self.difference = self.difference.wrapping_add(take_varied(&mut self.bits)?);
                    self.whole = self.whole.wrapping_add(self.difference);
                }
            }
        }
        let value = match self.coding {
            Coding::Changed => f64::from_bits(self.value),
            Coding::Whole => self.whole as f64,
        };
        Some(Point { at: self.at, value })
    }

    fn take_changed(&mut self) -> Option<()> {
        if !self.bits.bit()? {
            return Some(());
        }
        if self.bits.bit()? {
            let leading = self.bits.take(5)? as u32;
            let length = self.bits.take(6)? as u32 + 1;
            self.window = (length, 64u32.checked_sub(leading + length)?);
        }
        let (length, trailing) = self.window;
        if length == 0 {
            return None;
        }
        self.value ^= self.bits.take(length)? << trailing;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::STALE;
    use proptest::prelude::*;

    fn back(chunk: &Chunk) -> Vec<(i64, u64)> {
        let mut points = Vec::new();
        chunk.read(i64::MIN, i64::MAX, &mut points).unwrap();
        points.iter().map(|point| (point.at, point.value.to_bits())).collect()
    }

    fn values() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            (-1000i64..1000).prop_map(|value| value as f64),
            Just(STALE),
            Just(-0.0),
            Just(f64::INFINITY),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(samples in prop::collection::vec((1i64..100_000, values()), 1..MOST), start in any::<i32>()) {
            let mut at = i64::from(start);
            let points: Vec<Point> = samples.iter().map(|(step, value)| {
                at += step;
                Point { at, value: *value }
            }).collect();
            let written: Vec<(i64, u64)> = points.iter().map(|point| (point.at, point.value.to_bits())).collect();
            let chunk = Chunk::of(&points).unwrap();
            prop_assert_eq!(back(&chunk), written.clone());
            let mut growing = Writer::growing();
            points.iter().for_each(|point| growing.push(*point));
            let grown = Chunk { bytes: growing.bytes().to_vec(), ..chunk };
            prop_assert_eq!(back(&grown), written);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..600) {
            let _ = read(&bytes, count, i64::MIN, i64::MAX, &mut Vec::new());
        }
    }

    #[test]
    fn a_counter_of_requests_takes_about_a_byte_a_sample() {
        let mut value = 0.0;
        let points: Vec<Point> = (0..480)
            .map(|index| {
                value += 100.0 + f64::from(index * 7919 % 13);
                Point { at: 1_700_000_000_000 + i64::from(index) * 15_000, value }
            })
            .collect();
        let chunk = Chunk::of(&points).unwrap();
        assert!(chunk.bytes.len() < 600, "{} bytes for 480 samples", chunk.bytes.len());
    }
}
