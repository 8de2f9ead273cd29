//! Selectors: the newest sample of each series at each step.

use super::rows::{ABSENT, Row};
use super::{Evaluator, Shared};
use crate::Error;
use crate::expr::{Matcher, Selector};
use crate::source::Selected;
use crate::value::{Point, Series, is_stale};

impl Shared<'_> {
    pub(super) fn select(&self, matchers: &[Matcher], after: i64, until: i64) -> Result<Vec<Series>, Error> {
        let Selected { series, warnings } = self.source.select(matchers, after, until, self.left())?;
        self.notes.borrow_mut().warnings.extend(warnings);
        self.charge(series.iter().map(|series| series.points.len()).sum())?;
        Ok(series)
    }
}

impl Evaluator<'_> {
    /// The newest sample of each series at each step.
    pub(super) fn instant(&self, selector: &Selector) -> Result<Vec<Row>, Error> {
        self.newest(selector, |point| point.value)
    }

    /// When the newest sample of each series at each step was taken, in seconds.
    pub(super) fn timestamps(&self, selector: &Selector) -> Result<Vec<Row>, Error> {
        let rows = self.newest(selector, |point| point.at as f64 / 1000.0)?;
        self.unnamed(rows)
    }

    fn newest(&self, selector: &Selector, value: impl Fn(Point) -> f64) -> Result<Vec<Row>, Error> {
        let fixed = self.fixed(selector.at);
        let count = if fixed.is_some() { self.steps.count.min(1) } else { self.steps.count };
        let time = |index: usize| fixed.unwrap_or_else(|| self.steps.at(index)) - selector.offset;
        let lookback = self.shared.options.lookback;
        let (first, last) = (time(0), time(count.saturating_sub(1)));
        let series = self.shared.select(&selector.matchers, first - lookback, last)?;
        let mut rows = Vec::with_capacity(series.len());
        for Series { labels, points } in series {
            let mut row = self.blank(labels)?;
            let mut seen = 0;
            for index in 0..count {
                let at = time(index);
                while points.get(seen).is_some_and(|point| point.at <= at) {
                    seen += 1;
                }
                let newest = seen.checked_sub(1).map(|newest| points[newest]);
                let alive = |point: &Point| point.at > at - lookback && !is_stale(point.value);
                row.values[index] = newest.filter(alive).map_or(ABSENT, &value);
            }
            if fixed.is_some() {
                let value = row.values.first().copied().unwrap_or(ABSENT);
                row.values.fill(value);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}
