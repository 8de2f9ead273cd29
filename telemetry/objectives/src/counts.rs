//! The ledger's counts in the terms of the rules: corrections taken out, in the unit of the objective's method.

use std::cell::RefCell;

use meter::{Error, Ledger};
use model::objective::Method;
use watch::{Counts, Exclusions, History, Minute, Range, Sums};

/// What one objective counted.
pub(crate) struct Kept<'a> {
    ledger: RefCell<&'a mut Ledger>,
    key: &'a str,
    exclusions: &'a Exclusions,
    since: u64,
    /// The first thing that could not be read: then sums are too low, and nothing may follow from them.
    failed: RefCell<Option<Error>>,
}

impl<'a> Kept<'a> {
    pub(crate) fn of(
        ledger: &'a mut Ledger,
        key: &'a str,
        exclusions: &'a Exclusions,
    ) -> Result<Self, Error> {
        let first = ledger.first_measured(key)?;
        let since = first.and_then(|minute| u64::try_from(minute).ok()).unwrap_or(u64::MAX);
        Ok(Self { ledger: RefCell::new(ledger), key, exclusions, since, failed: RefCell::new(None) })
    }

    /// Whether everything could be read.
    pub(crate) fn done(self) -> Result<(), Error> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }

    fn read(&self, range: Range) -> Sums {
        let minutes = signed(range.from)..signed(range.to);
        match self.ledger.borrow_mut().sums(self.key, minutes) {
            Ok(sums) => Sums {
                good: sums.total - sums.bad.min(sums.total),
                total: sums.total,
                failed: sums.bad,
                measured: sums.measured,
                excluded: 0,
            },
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
                Sums::default()
            }
        }
    }
}

impl Counts for Kept<'_> {
    fn sums(&self, range: Range) -> Sums {
        let parts = self.exclusions.ranges().iter().map(|excluded| excluded.both(range));
        parts.filter(|part| !part.is_empty()).fold(self.read(range), |sums, part| {
            let left = sums - self.read(part);
            Sums { excluded: left.excluded + part.len(), ..left }
        })
    }

    fn since(&self) -> u64 {
        self.since
    }
}

/// The same minute by minute, where a slice of time is judged as a whole, and for looking back.
pub(crate) fn history(
    ledger: &mut Ledger,
    key: &str,
    range: Range,
    method: &Method,
    exclusions: &Exclusions,
) -> Result<History, Error> {
    let known = ledger.minutes(key, signed(range.from)..signed(range.to))?;
    let Some(first) = known.first().and_then(|(minute, _)| u64::try_from(*minute).ok()) else {
        return Ok(History::new(range.to, method.clone(), exclusions.clone()));
    };
    let mut minutes = Vec::new();
    for (minute, sums) in known {
        let index = usize::try_from(minute - signed(first)).unwrap_or(0);
        minutes.resize(index, Minute::default());
        let measured = u8::try_from(sums.measured).unwrap_or(u8::MAX);
        minutes.push(Minute::new(sums.total - sums.bad.min(sums.total), sums.total, measured));
    }
    Ok(History::of(first, minutes, method.clone(), exclusions.clone()))
}

fn signed(minute: u64) -> i64 {
    i64::try_from(minute).unwrap_or(i64::MAX)
}
