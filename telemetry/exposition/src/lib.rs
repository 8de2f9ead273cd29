//! How metrics come in: the text that a service exposes (Prometheus' format and OpenMetrics), and what others send by
//! remote write. Neither asks anybody, nor keeps anything.

mod line;
pub mod remote;
mod text;

pub use text::{Entry, Error, Exemplar, Family, Format, Kind, Limits, Page, labels, read};
