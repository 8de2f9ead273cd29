//! Where samples come from.

use crate::Error;
use crate::expr::Matcher;
use crate::value::Series;

/// A store of series.
pub trait Source {
    /// The series that all matchers match, with their samples in `(after, until]`, in milliseconds since 1970, sorted by
    /// time, staleness markers included. A series without a sample there may be left out.
    ///
    /// # Errors
    /// When they cannot be read, or are more samples than `limit`.
    fn select(
        &self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
        limit: usize,
    ) -> Result<Vec<Series>, Error>;
}
