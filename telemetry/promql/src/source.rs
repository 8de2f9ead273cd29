//! Where samples come from.

use crate::Error;
use crate::expr::Matcher;
use crate::value::Series;

/// What a source has of what was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selected {
    /// With their samples.
    pub series: Vec<Series>,
    /// What is missing that should be there, for the asker to know.
    pub warnings: Vec<String>,
}

impl From<Vec<Series>> for Selected {
    fn from(series: Vec<Series>) -> Self {
        Self { series, warnings: vec![] }
    }
}

/// A store of series.
pub trait Source {
    /// The series that all matchers match, with their samples in `(after, until]`, in milliseconds since 1970, sorted by
    /// time, staleness markers included. A series without a sample there may be left out.
    ///
    /// # Errors
    /// When they cannot be read, or are more samples than `limit`.
    fn select(&self, matchers: &[Matcher], after: i64, until: i64, limit: usize) -> Result<Selected, Error>;
}
