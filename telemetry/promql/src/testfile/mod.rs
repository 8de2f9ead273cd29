//! Prometheus' format of PromQL tests (`promqltest`): samples that are loaded, queries, and what they should give. Files
//! in it are the judge of this crate.

mod data;
mod parse;
mod run;

pub use parse::{Case, Expected, File, Line, parse};
pub use run::{Outcome, Report, run};
