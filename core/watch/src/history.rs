//! Minutes in a row with running sums, so that the sum over any range is a subtraction. For timeslices each minute carries
//! the verdict of its slice. Does not live here: keeping minutes on a disk.

use model::objective::Method;

use crate::exclusion::Exclusions;
use crate::minutes::{Counts, Minute, Range, SECONDS, Sums};

/// Minutes in a row, with corrections taken out, in the unit of a method.
#[derive(Debug, Clone)]
pub struct History {
    first: u64,
    minutes: Vec<Minute>,
    method: Method,
    exclusions: Exclusions,
    /// The sums of all minutes before each, and of all of them at the end.
    before: Vec<Sums>,
}

impl History {
    /// No minutes yet; the first will be `first`.
    pub fn new(first: u64, method: Method, exclusions: Exclusions) -> Self {
        Self { first, minutes: vec![], method, exclusions, before: vec![Sums::default()] }
    }

    /// Of minutes that are known.
    pub fn of(first: u64, minutes: Vec<Minute>, method: Method, exclusions: Exclusions) -> Self {
        let mut history = Self { minutes, ..Self::new(first, method, exclusions) };
        history.sum_from(0);
        history
    }

    /// The minutes that are known.
    pub fn range(&self) -> Range {
        Range { from: self.first, to: self.first + self.minutes.len() as u64 }
    }

    /// The next minute.
    pub fn push(&mut self, minute: Minute) {
        self.minutes.push(minute);
        self.sum_from(self.minutes.len() - 1);
    }

    /// Takes a range out, or lets it count again, as if that had always been so.
    pub fn correct(&mut self, exclusions: Exclusions) {
        self.exclusions = exclusions;
        self.sum_from(0);
    }

    /// Sums anew from an index on; a slice is judged from its beginning.
    fn sum_from(&mut self, index: usize) {
        let length = slice_minutes(&self.method);
        let minute = self.first + index as u64;
        let mut from = usize::try_from((minute - minute % length).saturating_sub(self.first)).unwrap_or(0);
        self.before.truncate(from + 1);
        while from < self.minutes.len() {
            let begin = self.first + from as u64;
            let end = begin - begin % length + length;
            let to = usize::try_from(end - self.first).unwrap_or(usize::MAX).min(self.minutes.len());
            self.sum_slice(from, to);
            from = to;
        }
    }

    /// Sums the minutes of one slice.
    fn sum_slice(&mut self, from: usize, to: usize) {
        let minutes = self.minutes.get(from..to).unwrap_or_default();
        let counted = |offset: usize| !self.exclusions.hold(self.first + (from + offset) as u64);
        let is_good = match &self.method {
            Method::Occurrences => true,
            Method::Timeslices { good, .. } => {
                let of_slice = minutes.iter().enumerate().filter(|(offset, _)| counted(*offset));
                let (good_ones, total) = of_slice.fold((0u128, 0u128), |(good, total), (_, it)| {
                    (good + u128::from(it.good), total + u128::from(it.total))
                });
                good_ones * u128::from(model::objective::Ratio::ONE) >= total * u128::from(good.parts())
            }
        };
        let mut sums = self.before.last().copied().unwrap_or_default();
        let mut all = Vec::with_capacity(minutes.len());
        for (offset, minute) in minutes.iter().enumerate() {
            let measured = u64::from(minute.measured);
            let mine = match &self.method {
                _ if !counted(offset) => Sums { excluded: 1, ..Sums::default() },
                Method::Occurrences => Sums { measured, ..Sums::events(minute.good, minute.total) },
                Method::Timeslices { .. } => Sums {
                    good: if is_good { measured } else { 0 },
                    total: measured,
                    failed: minute.bad(),
                    measured,
                    excluded: 0,
                },
            };
            sums = sums + mine;
            all.push(sums);
        }
        self.before.extend(all);
    }

    fn before(&self, minute: u64) -> Sums {
        let index = minute.saturating_sub(self.first).min(self.minutes.len() as u64);
        usize::try_from(index).ok().and_then(|index| self.before.get(index)).copied().unwrap_or_default()
    }
}

/// How many minutes a slice has; without slices, each minute is on its own.
fn slice_minutes(method: &Method) -> u64 {
    match method {
        Method::Occurrences => 1,
        Method::Timeslices { slice, .. } => (slice.as_secs() / SECONDS).max(1),
    }
}

impl Counts for History {
    fn sums(&self, range: Range) -> Sums {
        if range.is_empty() {
            return Sums::default();
        }
        self.before(range.to) - self.before(range.from)
    }

    fn since(&self) -> u64 {
        self.first
    }
}
