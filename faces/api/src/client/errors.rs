//! Asking for the inbox of errors, and deciding about them. Does not live here: what is decided.

use super::{Client, Error, asking, body};
use crate::errors::{Ask, Decide, Errors};

impl Client {
    /// The errors that services print.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn errors(&self, ask: &Ask) -> Result<Errors, Error> {
        self.get(&asking("/v1/errors", ask)?).await
    }

    /// Remembers what somebody decided about one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn decide_error(&self, request: &Decide) -> Result<(), Error> {
        self.change("/v1/errors/decide", body(request)?).await.map(drop)
    }
}
