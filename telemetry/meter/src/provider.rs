//! Who has the metrics that are counted: control's own store, or a server that answers as one. Does not live here: asking a
//! server.

use promql::expr::Matcher;
use promql::{Options, Query, Series, Source, Value};

/// Samples of one objective's counters at most, in one round.
const MOST_SAMPLES: usize = 5_000_000;

/// Who has metrics.
pub trait Provider {
    /// The series that all matchers match, with their samples in `(after, until]`, in milliseconds since 1970.
    ///
    /// # Errors
    /// When they cannot be had, in words.
    fn samples(&self, matchers: &[Matcher], after: i64, until: i64) -> Result<Vec<Series>, String>;

    /// What a query gives at a time: a number for each series, or one.
    ///
    /// # Errors
    /// When it is not answered, in words.
    fn ask(&self, query: &str, at: i64) -> Result<Vec<f64>, String>;

    /// How long (milliseconds) after a time it surely has what was measured until then.
    fn settles(&self) -> i64;
}

/// All who have metrics.
pub trait Providers {
    /// Control's own store, or the server of this name.
    ///
    /// # Errors
    /// When it is not known, in words.
    fn of(&self, server: Option<&str>) -> Result<&dyn Provider, String>;
}

/// A store in this process.
pub struct Embedded<'a>(pub &'a dyn Source);

impl Provider for Embedded<'_> {
    fn samples(&self, matchers: &[Matcher], after: i64, until: i64) -> Result<Vec<Series>, String> {
        // A damaged stretch is one that the counters went on through.
        let found = self.0.select(matchers, after, until, MOST_SAMPLES).map_err(|error| error.to_string())?;
        Ok(found.series)
    }

    fn ask(&self, query: &str, at: i64) -> Result<Vec<f64>, String> {
        let options = Options { max_samples: MOST_SAMPLES, ..Options::default() };
        let answered = promql::read(query)
            .and_then(|expr| promql::evaluate(self.0, &expr, Query::Instant(at), &options))
            .map_err(|error| error.to_string())?;
        match answered.value {
            Value::Scalar(point) => Ok(vec![point.value]),
            Value::Vector(samples) => Ok(samples.iter().map(|sample| sample.point.value).collect()),
            Value::Text { .. } | Value::Matrix(_) => Err("it does not give numbers".to_owned()),
        }
    }

    /// A page that is read now is told a moment later, under the time at which it was asked for.
    fn settles(&self) -> i64 {
        3_000
    }
}
