//! Why a query has no answer.

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not PromQL.
    #[error("{0}")]
    Syntax(String),
    /// It is PromQL, but outside of the subset; names what.
    #[error("{0} is not served here; docs/promql.md lists what is")]
    Refused(String),
    /// It cannot be evaluated on what is there.
    #[error("{0}")]
    Execution(String),
    /// It would take more than it may.
    #[error("{0}")]
    TooMuch(String),
    /// It took longer than it may.
    #[error("query timed out after {0}")]
    Timeout(String),
    /// The store failed.
    #[error("{0}")]
    Storage(String),
}
