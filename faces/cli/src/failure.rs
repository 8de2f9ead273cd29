//! What went wrong, as the user reads it: the fact, then the way out. Does not live here: how it is printed.

use serde::Serialize;

/// Why a verb did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// What is wrong; may have several lines.
    pub(crate) error: String,
    /// What to do next; may have several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instead: Option<String>,
    /// A stable code with a page in `docs/errors/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
}

impl Failure {
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), instead: None, code: None }
    }

    pub(crate) fn instead(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::new(error)
    }
}

impl From<api::client::Error> for Failure {
    fn from(error: api::client::Error) -> Self {
        let code = match &error {
            api::client::Error::Said(problem) => Some(problem.code.clone()),
            api::client::Error::NotRunning { .. }
            | api::client::Error::Refused { .. }
            | api::client::Error::Lost(_)
            | api::client::Error::Strange(_) => None,
        };
        Self { error: error.to_string(), instead: error.instead(), code }
    }
}
