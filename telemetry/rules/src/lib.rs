//! Rules over metrics: expressions that are evaluated at their interval, and whose results become series of their own, as
//! Prometheus' recording rules do. Who declares them is not here, nor what is done about an alert.

mod evaluate;
mod rounds;

use std::collections::BTreeMap;
use std::time::Duration;

pub use evaluate::Evaluator;
pub use rounds::{Told, run};

/// Rules that are evaluated together, one after the other: each may build on those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Told apart by it.
    pub name: String,
    /// How often.
    pub interval: Duration,
    /// In order.
    pub rules: Vec<Rule>,
}

/// An expression, and the series that its results become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name of the series.
    pub record: String,
    /// In PromQL: a vector or a scalar.
    pub expr: String,
    /// Labels that its series get, in place of those of the same names.
    pub labels: BTreeMap<String, String>,
}

/// A group as it was last evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupHealth {
    /// The group.
    pub group: Group,
    /// When, in milliseconds since 1970; `None` before the first time.
    pub at: Option<i64>,
    /// How long it took.
    pub lasted: Duration,
    /// Its rules, in order.
    pub rules: Vec<RuleHealth>,
}

/// A rule as it was last evaluated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleHealth {
    /// How long it took.
    pub lasted: Duration,
    /// How many series it gave.
    pub series: usize,
    /// Why it gave none; then those that it gave before go on until they are too old.
    pub error: Option<String>,
}
