//! The form of every error: what is wrong, the way out, and a code to look up. Does not live here: who decides that
//! something is wrong.

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::told::Code;

/// The request cannot be understood.
pub(crate) const MALFORMED: &str = "SHP-API-REQUEST";
/// There is no such thing.
pub(crate) const UNKNOWN: &str = "SHP-API-UNKNOWN";
/// It makes no sense now.
pub(crate) const REFUSED: &str = "SHP-API-REFUSED";
/// The request is larger than anything sensible.
pub(crate) const TOO_LARGE: &str = "SHP-API-TOO-LARGE";
/// The manifest has errors.
pub(crate) const MANIFEST: &str = "SHP-API-MANIFEST";
/// The artifact cannot be stored.
pub(crate) const ARTIFACT: &str = "SHP-API-ARTIFACT";
/// Something inside failed that the request is not to blame for.
pub(crate) const INTERNAL: &str = "SHP-API-INTERNAL";
/// The idempotency key belongs to another request.
pub(crate) const KEY: &str = "SHP-API-KEY";
/// The bearer token is missing or wrong.
pub(crate) const UNAUTHORIZED: &str = "SHP-API-UNAUTHORIZED";
/// The request comes by way of another site.
pub(crate) const FORBIDDEN: &str = "SHP-API-FORBIDDEN";
/// The events were not read in time.
pub(crate) const SLOW: &str = "SHP-API-SLOW";
/// The journal did not take it, or control is stopping.
pub(crate) const UNAVAILABLE: &str = "SHP-API-UNAVAILABLE";

/// The body of every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct Problem {
    /// What is wrong, in words.
    pub error: String,
    /// What to do next, in words.
    pub instead: Option<String>,
    /// Stable; `docs/errors/` has a page for each.
    pub code: String,
    /// The HTTP status it came with; not part of the body.
    #[serde(skip)]
    pub status: u16,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        Self { error: error.into(), instead: None, code: code.to_owned(), status: status.as_u16() }
    }

    pub(crate) fn instead(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }

    pub(crate) fn malformed(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, MALFORMED, error)
    }
}

impl From<runtime::Error> for Problem {
    fn from(error: runtime::Error) -> Self {
        match error {
            runtime::Error::Refused(refusal) => {
                Self::new(StatusCode::CONFLICT, REFUSED, refusal.what).instead(refusal.instead)
            }
            runtime::Error::Manifest(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, MANIFEST, error.to_string().trim_end())
                    .instead("`shipshape check` shows the same errors without deploying")
            }
            runtime::Error::Artifact(error) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, ARTIFACT, error.to_string())
            }
            runtime::Error::KeyReused { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, KEY, error.to_string())
                    .instead("send a fresh key with each new request, and the same one only to ask again")
            }
            runtime::Error::Unread(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, error.to_string())
                    .instead("`shipshape journal verify` says what is whole and what is not")
            }
            runtime::Error::Journal(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, error.to_string())
                    .instead("what runs goes on as it was; see to the journal's disk, then try again")
            }
            runtime::Error::Stopped(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, error.to_string())
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = Code(self.code.clone());
        (status, Extension(code), Json(self)).into_response()
    }
}
