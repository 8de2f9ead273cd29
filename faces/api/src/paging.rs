//! Silences, and who is told of alerts. Does not live here: telling; whoever wires control brings [`Receivers`].

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use paging::{SilenceId, Way};
use runtime::{EndSilence, SetSilence, TestReceivers};
use serde::{Deserialize, Serialize};
pub use views::paging::{FailingStatus, ReceiverStatus, SilenceStatus, TestStatus};

use crate::caller::Asked;
use crate::objectives::Which;
use crate::problem::Problem;
use crate::routes::{Faces, asked as read};

/// Who knows how receivers stand.
pub trait Receivers: Send + Sync + 'static {
    /// Each of them.
    fn all(&self) -> Vec<ReceiverStatus>;
}

/// A silence that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silenced {
    /// Its number.
    pub id: SilenceId,
}

pub(crate) async fn silences(State(faces): State<Faces>) -> Json<Vec<SilenceStatus>> {
    let snapshot = faces.control.snapshot();
    Json(views::paging::silences(&snapshot.world, snapshot.at))
}

pub(crate) async fn silence(asked: Asked<SetSilence>) -> Result<Json<Silenced>, Problem> {
    Ok(Json(Silenced { id: asked.control.silence(asked.request).await? }))
}

pub(crate) async fn expire(asked: Asked<EndSilence>) -> Result<StatusCode, Problem> {
    asked.control.end_silence(asked.request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn receivers(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Vec<ReceiverStatus>>, Problem> {
    let which = read(which)?;
    let mut all = faces.receivers.all();
    all.retain(|it| which.holds(&it.place));
    Ok(Json(all))
}

pub(crate) async fn test(asked: Asked<TestReceivers>) -> Result<Json<Vec<Way>>, Problem> {
    Ok(Json(asked.control.test_receivers(asked.request).await?))
}
