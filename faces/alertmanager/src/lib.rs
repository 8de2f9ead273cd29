//! Alertmanager's HTTP API, version 2, as far as Prometheus, `amtool` and dashboards need it: alerts from outside come in, and
//! what fires, who is told and what is silenced is shown. Who may ask is decided before.
//!
//! Does not live here: who is told (`paging`), and the journal: an alert that comes or goes is a command to control; that it is
//! told of again and again is only remembered.

mod intake;
mod listed;
mod posted;
mod silences;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use model::Timestamp;
use model::alert::Fingerprint;
use paging::Muted;
use ports::Clock;
use runtime::Handle;
use serde_json::json;

pub use intake::Intake;

/// The largest request in bytes: Prometheus sends 256 alerts at once.
const LARGEST_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Who is told of what fires, as it was planned last.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// What is not told, and why.
    pub muted: BTreeMap<Fingerprint, Muted>,
    /// Who takes each alert.
    pub taken: BTreeMap<Fingerprint, BTreeSet<String>>,
}

/// What the API answers from.
#[derive(Clone)]
pub struct Backend {
    /// Who decides.
    pub control: Handle,
    /// What was told of from outside.
    pub intake: Arc<Intake>,
    /// Who is told.
    pub told: Arc<dyn Fn() -> Told + Send + Sync>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Since when control runs.
    pub since: Timestamp,
    /// The version of Shipshape.
    pub version: &'static str,
}

/// Why a request was not carried out: a status, and words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// In words.
    pub what: String,
}

impl Refused {
    fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into() }
    }
}

impl IntoResponse for Refused {
    /// As Alertmanager does: a string of JSON.
    fn into_response(self) -> Response {
        (self.status, Json(self.what)).into_response()
    }
}

impl From<runtime::Error> for Refused {
    fn from(error: runtime::Error) -> Self {
        let status = match &error {
            runtime::Error::Refused(_) => StatusCode::BAD_REQUEST,
            // Whoever sends tries again on this, and only on this.
            runtime::Error::Manifest(_)
            | runtime::Error::Artifact(_)
            | runtime::Error::Journal(_)
            | runtime::Error::KeyReused { .. }
            | runtime::Error::Unread(_)
            | runtime::Error::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

/// The API's routes, from `/api/v2/` on.
pub fn router(backend: Backend) -> Router {
    Router::new()
        .route("/api/v2/alerts", get(listed::alerts).post(posted::post))
        .route("/api/v2/alerts/groups", get(listed::groups))
        .route("/api/v2/receivers", get(listed::receivers))
        .route("/api/v2/silences", get(silences::all).post(silences::post))
        .route("/api/v2/silence/{id}", get(silences::one).delete(silences::delete))
        .route("/api/v2/status", get(status))
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .with_state(backend)
}

async fn status(State(backend): State<Backend>) -> Response {
    let body = json!({
        "cluster": {"status": "disabled", "peers": []},
        "config": {"original": ""},
        "uptime": backend.since,
        "versionInfo": {
            "version": backend.version, "branch": "", "revision": "", "buildDate": "", "buildUser": "", "goVersion": "",
        },
    });
    Json(body).into_response()
}
