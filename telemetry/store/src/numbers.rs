//! Whole numbers in a row, packed: what is left of each after a straight line or its slope, in Rice's code with the best
//! parameter for the row. Meant for counters and times, which grow evenly but for noise.

use crate::bits::{Bits, Reader};

/// A signed number in a size of its own: one bit for zero, then 4, 7, 12, 20 or 64 bits behind a prefix.
const SIZES: [u32; 5] = [4, 7, 12, 20, 64];
/// More than so many ones stand for a number in full.
const ESCAPE: u32 = 24;
/// Instead of Rice's parameter: every remainder is zero, and none is written.
const NOTHING: u32 = 63;

pub(crate) fn push_varied(bits: &mut Bits, value: i64) {
    if value == 0 {
        bits.push_bit(false);
        return;
    }
    let folded = fold(value);
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

pub(crate) fn take_varied(bits: &mut Reader<'_>) -> Option<i64> {
    let ones = bits.ones(SIZES.len() as u32)?;
    let Some(place) = ones.checked_sub(1) else { return Some(0) };
    bits.take(SIZES[place as usize]).map(unfold)
}

/// The sign in the lowest bit.
pub(crate) fn fold(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

pub(crate) fn unfold(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// What of a row is written for each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// How its step differs from the mean step.
    Steps,
    /// How its step differs from the one before.
    Bends,
}

/// Writes a row of at least one number.
pub(crate) fn push(bits: &mut Bits, row: &[i64]) {
    let first = row.first().copied().unwrap_or(0);
    push_varied(bits, first);
    if row.len() < 2 {
        return;
    }
    let steps: Vec<i64> = row.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let mut sorted = steps.clone();
    // The middle step is near the mean one, and a jump somewhere does not move it.
    let middle = sorted.len() / 2;
    let (_, mean, _) = sorted.select_nth_unstable(middle);
    let mean = *mean;
    let from_mean: Vec<u64> = steps.iter().map(|step| fold(step.wrapping_sub(mean))).collect();
    let bends: Vec<u64> = steps.windows(2).map(|pair| fold(pair[1].wrapping_sub(pair[0]))).collect();
    let (by_mean, by_bend) = (parameter(&from_mean), parameter(&bends));
    let (order, (rice, _), start, rest) = match by_mean.1 <= by_bend.1 {
        true => (Order::Steps, by_mean, mean, &from_mean),
        false => (Order::Bends, by_bend, steps[0], &bends),
    };
    bits.push_bit(order == Order::Bends);
    push_varied(bits, start);
    bits.push(u64::from(rice), 6);
    if rice == NOTHING {
        return;
    }
    for folded in rest {
        let ones = folded >> rice;
        if ones >= u64::from(ESCAPE) {
            bits.push(u64::MAX, ESCAPE);
            bits.push(*folded, 64);
        } else {
            let ones = ones as u32;
            bits.push(u64::MAX << 1, ones + 1);
            bits.push(*folded, rice);
        }
    }
}

/// Rice's parameter that takes the fewest bits, and how many.
fn parameter(row: &[u64]) -> (u32, u64) {
    if row.iter().all(|folded| *folded == 0) {
        return (NOTHING, 0);
    }
    let size = |rice: u32| {
        let one = |folded: &u64| match folded >> rice {
            ones if ones >= u64::from(ESCAPE) => u64::from(ESCAPE) + 64,
            ones => ones + 1 + u64::from(rice),
        };
        row.iter().map(one).sum::<u64>()
    };
    // Around what most are like, and up to what few are beyond.
    let mut sorted = row.to_vec();
    let (middle, high) = (sorted.len() / 2, sorted.len() * 9 / 10);
    let length = |folded: u64| 64 - folded.leading_zeros();
    let most = length(*sorted.select_nth_unstable(high).1).min(NOTHING - 1);
    let near = length(*sorted.select_nth_unstable(middle).1);
    let candidates = near.saturating_sub(2).min(most)..=most;
    candidates.map(|rice| (rice, size(rice))).min_by_key(|(_, size)| *size).unwrap_or((0, u64::MAX))
}

/// Reads a row number by number.
pub(crate) struct Row<'a> {
    bits: Reader<'a>,
    order: Order,
    rice: u32,
    step: i64,
    value: i64,
    /// How many were read.
    count: u32,
}

impl<'a> Row<'a> {
    pub(crate) fn new(bits: Reader<'a>) -> Self {
        Self { bits, order: Order::Steps, rice: NOTHING, step: 0, value: 0, count: 0 }
    }

    /// The next number; the caller knows how many there are. `None` when they are damaged.
    pub(crate) fn next(&mut self) -> Option<i64> {
        self.count += 1;
        match self.count {
            1 => self.value = take_varied(&mut self.bits)?,
            2 => {
                self.order = if self.bits.bit()? { Order::Bends } else { Order::Steps };
                self.step = take_varied(&mut self.bits)?;
                self.rice = self.bits.take(6)? as u32;
                match self.order {
                    Order::Steps => self.follow()?,
                    Order::Bends => self.value = self.value.wrapping_add(self.step),
                }
            }
            _ => self.follow()?,
        }
        Some(self.value)
    }

    fn follow(&mut self) -> Option<()> {
        let rest = if self.rice == NOTHING { 0 } else { unfold(self.rest()?) };
        let step = self.step.wrapping_add(rest);
        if self.order == Order::Bends {
            self.step = step;
        }
        self.value = self.value.wrapping_add(step);
        Some(())
    }

    fn rest(&mut self) -> Option<u64> {
        let ones = self.bits.ones(ESCAPE)?;
        if ones == ESCAPE {
            return self.bits.take(64);
        }
        Some(u64::from(ones) << self.rice | self.bits.take(self.rice)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(
            row in prop::collection::vec(prop_oneof![any::<i64>(), -100i64..100, Just(5)], 1..200),
            slope in -20_000i64..20_000,
        ) {
            let row: Vec<i64> =
                row.iter().zip(0..).map(|(value, at)| value.wrapping_add(slope * at)).collect();
            let mut bits = Bits::default();
            push(&mut bits, &row);
            let bytes = bits.into_bytes();
            let mut read = Row::new(Reader::new(&bytes));
            let back: Option<Vec<i64>> = row.iter().map(|_| read.next()).collect();
            prop_assert_eq!(back, Some(row));
        }
    }

    #[test]
    fn an_even_row_takes_next_to_nothing() {
        let row: Vec<i64> = (0..480).map(|it| 1_700_000_000_000 + it * 15_000).collect();
        let mut bits = Bits::default();
        push(&mut bits, &row);
        assert!(bits.into_bytes().len() < 16);
    }
}
