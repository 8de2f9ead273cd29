//! What a query may take.

use std::time::{Duration, Instant};

use super::Shared;
use crate::Error;

/// The most bytes of a label's value that a query makes: a few calls in each other could double it again and again.
const LONGEST_LABEL: usize = 64 * 1024;
/// How much may be done between two looks at the clock, in values.
const UNWATCHED: usize = 1 << 16;

/// How queries are evaluated, and what one may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// How old the newest sample of a series may be, in milliseconds.
    pub lookback: i64,
    /// The step of a subquery that names none, in milliseconds.
    pub subquery_step: i64,
    /// The most samples that it may read and make.
    pub max_samples: usize,
    /// The most points of a series in its answer.
    pub max_points: usize,
    /// When it has to be done, and how long that was.
    pub deadline: Option<(Instant, Duration)>,
    /// Whether metrics' names are dropped at the end of a query instead of at each operation (Prometheus' feature flag
    /// `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback: 5 * 60 * 1000,
            subquery_step: 60 * 1000,
            max_samples: 50_000_000,
            max_points: 11_000,
            deadline: None,
            delayed_name_removal: false,
        }
    }
}

impl Shared<'_> {
    /// Takes samples from the budget.
    pub(super) fn charge(&self, samples: usize) -> Result<(), Error> {
        let total = self.samples.get().saturating_add(samples);
        self.samples.set(total);
        if total > self.options.max_samples {
            return Err(Error::TooMuch(format!(
                "query processing would load too many samples into memory: the most is {}; ask for fewer series, a \
                 shorter range or a wider step",
                self.options.max_samples
            )));
        }
        self.check()
    }

    /// How many samples are left.
    pub(super) fn left(&self) -> usize {
        self.options.max_samples.saturating_sub(self.samples.get())
    }

    /// Counts work that takes time but no memory, in values, and looks at the clock now and then.
    pub(super) fn spend(&self, values: usize) -> Result<(), Error> {
        let done = self.unwatched.get().saturating_add(values);
        if done < UNWATCHED {
            self.unwatched.set(done);
            return Ok(());
        }
        self.unwatched.set(0);
        self.check()
    }

    /// Whether a label's value of so many bytes may be made; it takes its part of the budget.
    pub(super) fn charge_label(&self, bytes: usize) -> Result<(), Error> {
        if bytes > LONGEST_LABEL {
            let what = format!("the query would make a label of {bytes} bytes; the most is {LONGEST_LABEL}");
            return Err(Error::TooMuch(what));
        }
        self.charge(bytes / size_of::<crate::Point>())
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self.options.deadline {
            Some((deadline, limit)) if Instant::now() > deadline => Err(Error::Timeout(format!("{limit:?}"))),
            Some(_) | None => Ok(()),
        }
    }
}
