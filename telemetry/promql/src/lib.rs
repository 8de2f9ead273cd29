//! PromQL over any [`Source`]: the subset that Shipshape serves, with Prometheus' answers. Where samples are kept and how
//! answers are written for HTTP is not here.

pub mod expr;
pub mod labels;
pub mod testfile;
pub mod value;

mod error;
mod eval;
mod guard;
mod read;
mod source;

pub use error::Error;
pub use eval::{Answer, Options, Query, evaluate};
pub use guard::LONGEST;
pub use labels::{Label, Labels};
pub use read::read;
pub use source::{Selected, Source};
pub use value::{Point, STALE, Sample, Series, Value, is_stale};
