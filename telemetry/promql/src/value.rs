//! Samples, series, and what a query gives.

use crate::labels::Labels;

/// A number at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970.
    pub at: i64,
    /// The number.
    pub value: f64,
}

/// A series with its samples in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its identity.
    pub labels: Labels,
    /// Its samples; of a source they may hold [`STALE`] markers, of a result never.
    pub points: Vec<Point>,
}

/// One series at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its identity.
    pub labels: Labels,
    /// Its number.
    pub point: Point,
}

/// What a query gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels.
    Scalar(Point),
    /// A text.
    Text {
        /// When, in milliseconds since 1970.
        at: i64,
        /// What.
        text: String,
    },
    /// Series at one time.
    Vector(Vec<Sample>),
    /// Series over time, sorted by labels.
    Matrix(Vec<Series>),
}

/// The marker that ends a series at once: a NaN of its own, told from others by its bits
/// (Prometheus' staleness marker).
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a number is the marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}
