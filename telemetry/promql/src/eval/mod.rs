//! Evaluation: every expression gives its values at all steps at once. A series that has no value at a step holds the
//! staleness marker there, so that a row is one flat array.

mod aggregate;
mod binary;
mod calls;
mod histogram;
mod limits;
mod notes;
mod numbers;
mod over_time;
mod rows;
mod select;
mod windows;

use std::cell::{Cell, RefCell};

use crate::Error;
use crate::expr::{At, Expr, Kind};
use crate::source::Source;
use crate::value::{Point, Sample, Series, Value};

pub use limits::Options;
use notes::Notes;
use rows::{ABSENT, Cells, Row, merged};

/// The longest duration and the farthest time from 1970 of a query, in milliseconds (31,688 years): sums of them, however
/// deep a query nests, stay within 64 bits.
pub(crate) const FARTHEST: i64 = 1_000_000_000_000_000;

/// When a query is evaluated; times in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Once.
    Instant(i64),
    /// At `start`, `start + step` and so on, not after `end`.
    Range {
        /// The first time.
        start: i64,
        /// The last possible time.
        end: i64,
        /// Between two; above zero.
        step: i64,
    },
}

/// What a query gives, and what its asker should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The values.
    pub value: Value,
    /// What is probably wrong.
    pub warnings: Vec<String>,
    /// What may be wrong.
    pub infos: Vec<String>,
}

/// Evaluates a query.
///
/// # Errors
/// When it cannot be evaluated on this source within the limits.
pub fn evaluate(source: &dyn Source, expr: &Expr, query: Query, options: &Options) -> Result<Answer, Error> {
    let (start, end, step) = match query {
        Query::Instant(at) => (at, at, 1),
        Query::Range { start, end, step } => (start, end, step),
    };
    if step <= 0 {
        return Err(Error::Execution("the step has to be above zero".to_owned()));
    }
    if [start, end, step].iter().any(|time| !(-FARTHEST..=FARTHEST).contains(time)) {
        return Err(Error::Execution(format!("a time or step beyond {FARTHEST} milliseconds")));
    }
    let count = usize::try_from((end - start).div_euclid(step) + 1).unwrap_or(0);
    if count > options.max_points {
        let most = options.max_points;
        return Err(Error::Execution(format!(
            "exceeded maximum resolution of {most} points per timeseries; widen the step or shorten the range"
        )));
    }
    let instant = matches!(query, Query::Instant(_));
    let unfit = match expr.kind() {
        Kind::Matrix => Some("range vector"),
        Kind::Text => Some("string"),
        Kind::Scalar | Kind::Vector => None,
    };
    if let Some(kind) = unfit.filter(|_| !instant) {
        let what =
            format!("invalid expression type {kind:?} for range query, must be Scalar or instant Vector");
        return Err(Error::Syntax(what));
    }
    let shared = Shared {
        source,
        options,
        whole: (start, end),
        instant,
        notes: RefCell::default(),
        samples: Cell::new(0),
        unwatched: Cell::new(0),
    };
    let evaluator = Evaluator { shared: &shared, steps: Steps { start, step, count } };
    let value = evaluator.value(expr)?;
    let Notes { warnings, infos } = shared.notes.into_inner();
    Ok(Answer { value, warnings: warnings.into_iter().collect(), infos: infos.into_iter().collect() })
}

/// What all parts of one evaluation share.
struct Shared<'a> {
    source: &'a dyn Source,
    options: &'a Options,
    /// The query's start and end.
    whole: (i64, i64),
    /// Whether the query asks for one time.
    instant: bool,
    notes: RefCell<Notes>,
    /// Samples in memory, roughly: what was made and what was read, never given back.
    samples: Cell<usize>,
    /// What was done since the last look at the clock.
    unwatched: Cell<usize>,
}

/// The times of an evaluation, in milliseconds.
#[derive(Clone, Copy)]
struct Steps {
    start: i64,
    step: i64,
    count: usize,
}

impl Steps {
    fn at(self, index: usize) -> i64 {
        self.start + self.step * i64::try_from(index).unwrap_or(i64::MAX)
    }

    fn iter(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |index| self.at(index))
    }
}

struct Evaluator<'a> {
    shared: &'a Shared<'a>,
    steps: Steps,
}

impl Evaluator<'_> {
    fn value(&self, expr: &Expr) -> Result<Value, Error> {
        let at = self.steps.start;
        if expr.kind() == Kind::Matrix {
            let windows = self.windows(expr)?;
            let (after, until) = windows.bounds(0);
            let within = |point: &&Point| point.at > after && point.at <= until;
            let series = windows.series.into_iter().map(|series| Series {
                points: series.points.iter().filter(within).copied().collect(),
                labels: if series.drop_name { series.labels.unnamed() } else { series.labels },
            });
            let mut series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            return Ok(Value::Matrix(series));
        }
        Ok(match self.cells(expr)? {
            Cells::Text(text) => Value::Text { at, text },
            Cells::Scalar(values) if self.shared.instant => {
                Value::Scalar(Point { at, value: values.first().copied().unwrap_or(f64::NAN) })
            }
            Cells::Scalar(values) => {
                let row = Row { labels: crate::Labels::default(), drop_name: false, values };
                Value::Matrix(vec![self.series(row)])
            }
            Cells::Rows(rows) => {
                let named = rows.into_iter().map(Row::cleaned).collect();
                let rows = merged(named)?;
                if self.shared.instant {
                    Value::Vector(self.samples(rows))
                } else {
                    let mut series: Vec<Series> = rows.into_iter().map(|row| self.series(row)).collect();
                    series.retain(|series| !series.points.is_empty());
                    series.sort_by(|a, b| a.labels.cmp(&b.labels));
                    Value::Matrix(series)
                }
            }
        })
    }

    fn samples(&self, rows: Vec<Row>) -> Vec<Sample> {
        let sample = |row: Row| {
            let value = row.present(0)?;
            Some(Sample { labels: row.labels, point: Point { at: self.steps.start, value } })
        };
        rows.into_iter().filter_map(sample).collect()
    }

    fn series(&self, row: Row) -> Series {
        let points = self.steps.iter().enumerate();
        let points =
            points.filter_map(|(index, at)| Some(Point { at, value: row.present(index)? })).collect();
        Series { labels: row.labels, points }
    }

    /// The values of an expression at all steps; of all but those that give a range vector.
    fn cells(&self, expr: &Expr) -> Result<Cells, Error> {
        self.shared.check()?;
        match expr {
            Expr::Number(number) => self.constant(*number),
            Expr::Text(text) => Ok(Cells::Text(text.clone())),
            Expr::Instant(selector) => Ok(Cells::Rows(self.instant(selector)?)),
            Expr::Range(..) | Expr::Subquery(_) => {
                Err(Error::Syntax("a range vector stands where a function of it is needed".to_owned()))
            }
            Expr::Negated(inner) => Ok(match self.cells(inner)? {
                Cells::Scalar(values) => Cells::Scalar(values.into_iter().map(|value| -value).collect()),
                Cells::Rows(rows) => Cells::Rows(self.mapped(rows, |value, _| -value)?),
                Cells::Text(_) => return Err(Error::Syntax("a text has no negative".to_owned())),
            }),
            Expr::Call(function, args) => self.call(*function, args),
            Expr::Aggregate(aggregate) => Ok(Cells::Rows(self.aggregate(aggregate)?)),
            Expr::Binary(binary) => self.binary(binary),
        }
    }

    /// The same number at all steps.
    fn constant(&self, number: f64) -> Result<Cells, Error> {
        self.shared.charge(self.steps.count)?;
        Ok(Cells::Scalar(vec![number; self.steps.count]))
    }

    fn rows(&self, expr: &Expr) -> Result<Vec<Row>, Error> {
        match self.cells(expr)? {
            Cells::Rows(rows) => Ok(rows),
            Cells::Scalar(_) | Cells::Text(_) => {
                Err(Error::Syntax("an instant vector is needed here".to_owned()))
            }
        }
    }

    fn scalar(&self, expr: &Expr) -> Result<Vec<f64>, Error> {
        match self.cells(expr)? {
            Cells::Scalar(values) => Ok(values),
            Cells::Rows(_) | Cells::Text(_) => Err(Error::Syntax("a scalar is needed here".to_owned())),
        }
    }

    /// Every value changed, and the names with it: what was calculated is not the metric any more.
    fn mapped(&self, mut rows: Vec<Row>, change: impl Fn(f64, usize) -> f64) -> Result<Vec<Row>, Error> {
        for row in &mut rows {
            row.change(&change);
        }
        self.unnamed(rows)
    }

    /// Without the metrics' names; at the end of the query when names are kept that long.
    fn unnamed(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, Error> {
        if self.shared.options.delayed_name_removal {
            rows.iter_mut().for_each(|row| row.drop_name = true);
            return Ok(rows);
        }
        // Series of one metric differ in their other labels.
        let of_one = rows.windows(2).all(|pair| pair[0].labels.name() == pair[1].labels.name());
        for row in &mut rows {
            row.labels = row.labels.unnamed();
        }
        if of_one { Ok(rows) } else { merged(rows) }
    }

    /// A row without a value.
    fn blank(&self, labels: crate::Labels) -> Result<Row, Error> {
        self.shared.charge(self.steps.count)?;
        Ok(Row { labels, drop_name: false, values: vec![ABSENT; self.steps.count] })
    }

    fn fixed(&self, at: Option<At>) -> Option<i64> {
        Some(match at? {
            At::Time(at) => at,
            At::Start => self.shared.whole.0,
            At::End => self.shared.whole.1,
        })
    }
}
