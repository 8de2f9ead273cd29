//! Questions about silences and about who is told.

use paging::Way;
use runtime::{EndSilence, SetSilence, TestReceivers};

use super::{Client, Error, asking, body};
use crate::objectives::Which;
use crate::paging::{ReceiverStatus, SilenceStatus, Silenced};

impl Client {
    /// The silences that are not over.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn silences(&self) -> Result<Vec<SilenceStatus>, Error> {
        self.get("/v1/silences").await
    }

    /// Tells nobody of some alerts for a while.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn silence(&self, request: &SetSilence) -> Result<Silenced, Error> {
        self.post("/v1/silences", request).await
    }

    /// Tells of what was silenced again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn end_silence(&self, request: &EndSilence) -> Result<(), Error> {
        self.change("/v1/silences/expire", body(request)?).await.map(drop)
    }

    /// How receivers stand.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn receivers(&self, which: &Which) -> Result<Vec<ReceiverStatus>, Error> {
        self.get(&asking("/v1/receivers", which)?).await
    }

    /// Begins a test of each receiver that is meant, and says which.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn test_receivers(&self, request: &TestReceivers) -> Result<Vec<Way>, Error> {
        self.post("/v1/receivers/test", request).await
    }
}
