//! The minutes of one day of one objective, in memory and packed for the disk.

use std::ops::{AddAssign, Range};

/// Minutes of a day.
pub(crate) const MINUTES: usize = 1_440;
const HOUR: usize = 60;
/// Set when the minute was measured from its first to its last second; else the seconds follow.
const WHOLE: u8 = 1;
/// Set when there were events: their number follows.
const EVENTS: u8 = 2;
/// Set when some were bad: their number follows.
const BAD: u8 = 4;
/// Seconds of a minute.
const FULL: u8 = 60;

/// What was counted over some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Events that were not good.
    pub bad: u64,
    /// All events.
    pub total: u64,
    /// Seconds in which it is known that these were all.
    pub measured: u64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.bad = self.bad.saturating_add(other.bad);
        self.total = self.total.saturating_add(other.total);
        self.measured = self.measured.saturating_add(other.measured);
    }
}

impl Sums {
    /// Without what another counted, which is a part of it.
    #[must_use]
    pub fn less(self, part: Self) -> Self {
        Self {
            bad: self.bad.saturating_sub(part.bad),
            total: self.total.saturating_sub(part.total),
            measured: self.measured.saturating_sub(part.measured),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cell {
    bad: u32,
    total: u32,
    measured: u8,
}

/// One day.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Day {
    cells: Box<[Cell]>,
    hours: [Sums; MINUTES / HOUR],
}

impl Default for Day {
    fn default() -> Self {
        Self { cells: vec![Cell::default(); MINUTES].into(), hours: [Sums::default(); MINUTES / HOUR] }
    }
}

impl Day {
    /// Counts more in a minute of the day. A minute holds what fits: four thousand million events, and sixty seconds; what it
    /// took is returned.
    pub(crate) fn add(&mut self, minute: usize, more: Sums) -> Sums {
        let Some(cell) = self.cells.get_mut(minute) else { return Sums::default() };
        let room = |held: u32, more: u64| u64::from(u32::MAX - held).min(more);
        let taken = Sums {
            bad: room(cell.bad, more.bad),
            total: room(cell.total, more.total),
            measured: u64::from(FULL.saturating_sub(cell.measured)).min(more.measured),
        };
        cell.bad += u32::try_from(taken.bad).unwrap_or(u32::MAX);
        cell.total += u32::try_from(taken.total).unwrap_or(u32::MAX);
        cell.measured += u8::try_from(taken.measured).unwrap_or(FULL);
        self.hours[minute / HOUR] += taken;
        taken
    }

    /// One minute.
    pub(crate) fn minute(&self, minute: usize) -> Sums {
        self.cells.get(minute).map_or_else(Sums::default, |cell| Sums {
            bad: u64::from(cell.bad),
            total: u64::from(cell.total),
            measured: u64::from(cell.measured),
        })
    }

    /// Several minutes: at most 24 hours and 118 minutes are added.
    pub(crate) fn sums(&self, minutes: Range<usize>) -> Sums {
        let mut sums = Sums::default();
        let mut minute = minutes.start;
        let end = minutes.end.min(MINUTES);
        while minute < end {
            if minute.is_multiple_of(HOUR) && minute + HOUR <= end {
                sums += self.hours[minute / HOUR];
                minute += HOUR;
            } else {
                sums += self.minute(minute);
                minute += 1;
            }
        }
        sums
    }

    /// For the disk: a byte for each minute that says what follows. Minutes at the end in which nothing was measured are
    /// left out.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let used = self.cells.iter().rposition(|cell| *cell != Cell::default()).map_or(0, |last| last + 1);
        let mut out = Vec::with_capacity(used * 3);
        for cell in &self.cells[..used] {
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            out.push(
                flag(cell.measured == FULL, WHOLE) | flag(cell.total > 0, EVENTS) | flag(cell.bad > 0, BAD),
            );
            if cell.measured != FULL {
                out.push(cell.measured);
            }
            for number in [cell.total, cell.bad].into_iter().filter(|number| *number > 0) {
                write(&mut out, number);
            }
        }
        out
    }

    /// Back; `None` when the bytes are no day.
    pub(crate) fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut day = Self::default();
        let mut rest = bytes;
        for minute in 0.. {
            let Some((flags, after)) = rest.split_first() else { break };
            rest = after;
            if minute >= MINUTES || flags & !(WHOLE | EVENTS | BAD) != 0 {
                return None;
            }
            let measured = if flags & WHOLE == 0 { take(&mut rest)? } else { FULL };
            let total = if flags & EVENTS == 0 { 0 } else { read(&mut rest)? };
            let bad = if flags & BAD == 0 { 0 } else { read(&mut rest)? };
            let (bad, total, measured) = (u64::from(bad), u64::from(total), u64::from(measured));
            day.add(minute, Sums { bad, total, measured });
        }
        Some(day)
    }
}

/// Seven bits a byte, the lowest first.
fn write(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read(rest: &mut &[u8]) -> Option<u32> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = take(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok();
        }
    }
    None
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted() -> impl Strategy<Value = Vec<(usize, Sums)>> {
        let sums = (0u64..5_000, 0u64..5_000_000, 0u64..=60).prop_map(|(bad, total, measured)| Sums {
            bad,
            total,
            measured,
        });
        proptest::collection::vec((0..MINUTES, sums), 0..80)
    }

    proptest! {
        #[test]
        fn a_day_comes_back_from_the_disk_as_it_was(counted in counted()) {
            let mut day = Day::default();
            for (minute, sums) in counted {
                day.add(minute, sums);
            }
            prop_assert_eq!(Day::unpack(&day.pack()), Some(day));
        }

        #[test]
        fn sums_are_those_of_the_minutes(counted in counted(), a in 0..=MINUTES, b in 0..=MINUTES) {
            let mut day = Day::default();
            for (minute, sums) in counted {
                day.add(minute, sums);
            }
            let range = a.min(b)..a.max(b);
            let mut slowly = Sums::default();
            for minute in range.clone() {
                slowly += day.minute(minute);
            }
            prop_assert_eq!(day.sums(range), slowly);
        }

        #[test]
        fn bytes_that_are_no_day_are_refused_or_are_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(day) = Day::unpack(&bytes) {
                prop_assert_eq!(Day::unpack(&day.pack()), Some(day));
            }
        }
    }

    #[test]
    fn a_quiet_minute_takes_one_byte_and_a_common_one_three() {
        let mut day = Day::default();
        day.add(0, Sums { bad: 0, total: 0, measured: 60 });
        assert_eq!(day.pack().len(), 1);
        day.add(1, Sums { bad: 0, total: 12_000, measured: 60 });
        assert_eq!(day.pack().len(), 1 + 3);
    }

    #[test]
    fn a_minute_has_no_more_than_sixty_seconds() {
        let mut day = Day::default();
        let taken = day.add(5, Sums { bad: 0, total: 1, measured: 45 });
        assert_eq!(taken.measured, 45);
        assert_eq!(day.add(5, Sums { bad: 0, total: 1, measured: 45 }).measured, 15);
        assert_eq!(day.sums(0..MINUTES), Sums { bad: 0, total: 2, measured: 60 });
    }
}
