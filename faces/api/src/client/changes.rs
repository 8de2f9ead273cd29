//! Asking when something may be changed, and what waits for whom.

use runtime::{Ballot, Vote};

use super::{Client, Error, asking, body};
use crate::objectives::Which;

impl Client {
    /// The change calendar of the next two weeks.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn calendar(&self, which: &Which) -> Result<Vec<views::Calendar>, Error> {
        self.get(&asking("/v1/calendar", which)?).await
    }

    /// Requests for change, the newest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn changes(&self, which: &Which) -> Result<Vec<views::ChangeStatus>, Error> {
        self.get(&asking("/v1/changes", which)?).await
    }

    /// Approves, rejects or reviews a request for change.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn vote(&self, vote: &Vote, ballot: &Ballot) -> Result<(), Error> {
        let path = match vote {
            Vote::Approve => "/v1/changes/approve",
            Vote::Reject => "/v1/changes/reject",
            Vote::Review => "/v1/changes/review",
        };
        self.change(path, body(ballot)?).await.map(drop)
    }
}
