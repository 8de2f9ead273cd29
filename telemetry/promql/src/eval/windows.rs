//! Range vectors: the samples of each series in a window that moves with the steps.

use super::rows::{Cells, Row};
use super::{Evaluator, Steps};
use crate::Error;
use crate::expr::{Expr, Subquery};
use crate::labels::Labels;
use crate::value::{Point, is_stale};

/// A range vector at all steps.
pub(super) struct Windows {
    pub(super) series: Vec<Track>,
    /// How long a window is, in milliseconds.
    pub(super) range: i64,
    /// Where each step's window ends.
    ends: Ends,
}

/// A series without staleness markers.
pub(super) struct Track {
    pub(super) labels: Labels,
    pub(super) drop_name: bool,
    pub(super) points: Vec<Point>,
}

enum Ends {
    Fixed(i64),
    Moving { steps: Steps, offset: i64 },
}

/// A window of one series at one step: it holds `(after, until]`.
pub(super) struct Window<'a> {
    pub(super) points: &'a [Point],
    pub(super) after: i64,
    pub(super) until: i64,
}

impl Windows {
    /// The bounds of a step's window: after the first, up to the second.
    pub(super) fn bounds(&self, index: usize) -> (i64, i64) {
        let until = match self.ends {
            Ends::Fixed(at) => at,
            Ends::Moving { steps, offset } => steps.at(index) - offset,
        };
        (until - self.range, until)
    }
}

impl Evaluator<'_> {
    /// The range vector that an expression gives.
    pub(super) fn windows(&self, expr: &Expr) -> Result<Windows, Error> {
        match expr {
            Expr::Range(selector, range) => {
                let ends = self.ends(self.fixed(selector.at), selector.offset);
                let (after, until) = self.whole(&ends, *range);
                let series = self.shared.select(&selector.matchers, after, until)?;
                let track = |mut series: crate::Series| {
                    series.points.retain(|point| !is_stale(point.value));
                    Track { labels: series.labels, drop_name: false, points: series.points }
                };
                Ok(Windows { series: series.into_iter().map(track).collect(), range: *range, ends })
            }
            Expr::Subquery(subquery) => self.subquery(subquery),
            Expr::Number(_)
            | Expr::Text(_)
            | Expr::Instant(_)
            | Expr::Negated(_)
            | Expr::Call(..)
            | Expr::Aggregate(_)
            | Expr::Binary(_) => Err(Error::Syntax("a range vector is needed here".to_owned())),
        }
    }

    fn ends(&self, fixed: Option<i64>, offset: i64) -> Ends {
        match fixed {
            Some(at) => Ends::Fixed(at - offset),
            None => Ends::Moving { steps: self.steps, offset },
        }
    }

    /// From the first window's begin to the last one's end.
    fn whole(&self, ends: &Ends, range: i64) -> (i64, i64) {
        match ends {
            Ends::Fixed(at) => (at - range, *at),
            Ends::Moving { steps, offset } => {
                (steps.start - offset - range, steps.at(steps.count.saturating_sub(1)) - offset)
            }
        }
    }

    /// Its steps are multiples of the step in absolute time.
    fn subquery(&self, subquery: &Subquery) -> Result<Windows, Error> {
        let ends = self.ends(self.fixed(subquery.at), subquery.offset);
        let (after, until) = self.whole(&ends, subquery.range);
        let step = subquery.step.unwrap_or(self.shared.options.subquery_step).max(1);
        let start = (after.div_euclid(step) + 1) * step;
        let count = usize::try_from((until - start).div_euclid(step) + 1).unwrap_or(0);
        self.shared.charge(count)?;
        let inner = Evaluator { shared: self.shared, steps: Steps { start, step, count } };
        let rows = match inner.cells(&subquery.inner)? {
            Cells::Rows(rows) => rows,
            Cells::Scalar(values) => vec![Row { labels: Labels::default(), drop_name: false, values }],
            Cells::Text(_) => return Err(Error::Syntax("a subquery of a text".to_owned())),
        };
        self.shared.charge(rows.len().saturating_mul(count))?;
        let track = |row: Row| {
            let points = inner.steps.iter().enumerate();
            let points =
                points.filter_map(|(index, at)| Some(Point { at, value: row.present(index)? })).collect();
            Track { labels: row.labels, drop_name: row.drop_name, points }
        };
        Ok(Windows { series: rows.into_iter().map(track).collect(), range: subquery.range, ends })
    }

    /// What `function` makes of each series' window at each step; nothing where it gives nothing.
    pub(super) fn over(
        &self,
        windows: Windows,
        function: impl Fn(&Labels, &Window<'_>, usize) -> Option<f64>,
    ) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(windows.series.len());
        for track in &windows.series {
            let mut row = self.blank(track.labels.clone())?;
            row.drop_name = track.drop_name;
            let (mut from, mut to) = (0, 0);
            for index in 0..self.steps.count {
                let (after, until) = windows.bounds(index);
                while track.points.get(from).is_some_and(|point| point.at <= after) {
                    from += 1;
                }
                to = to.max(from);
                while track.points.get(to).is_some_and(|point| point.at <= until) {
                    to += 1;
                }
                self.shared.spend(to - from + 1)?;
                let window = Window { points: &track.points[from..to], after, until };
                if !window.points.is_empty()
                    && let Some(value) = function(&track.labels, &window, index)
                {
                    row.values[index] = value;
                }
            }
            rows.push(row);
        }
        Ok(rows)
    }
}
