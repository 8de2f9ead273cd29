//! Metrics: questions in PromQL, to whoever keeps them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use model::check::Measured;
use model::spec::Prometheus;

pub use crate::authorization::Authorization;
use crate::secrets::Secrets;

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    /// In PromQL, complete.
    pub query: String,
    /// How long the answer may take.
    pub timeout: Duration,
    /// Who is asked.
    pub provider: Provider,
}

/// Who keeps the metrics.
#[derive(Debug, Clone, Default)]
pub enum Provider {
    /// This control.
    #[default]
    Embedded,
    /// A Prometheus server, or whatever answers as one.
    Prometheus(Box<Server>),
}

impl Provider {
    /// Who is declared, with the values behind the references.
    ///
    /// # Errors
    /// When there is none, in words.
    pub fn resolve(declared: Option<Prometheus>, secrets: &dyn Secrets) -> Result<Self, String> {
        let Some(Prometheus { address, authentication, headers, ca_file }) = declared else {
            return Ok(Self::Embedded);
        };
        let authorization =
            authentication.map(|declared| Authorization::resolve(&declared, secrets)).transpose();
        let authorization = authorization.map_err(|error| error.to_string())?;
        Ok(Self::Prometheus(Box::new(Server { address, authorization, headers, ca_file })))
    }
}

/// A server, and what it asks of those who ask it.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// Its address, up to where `/api/v1/query` begins.
    pub address: String,
    /// How it is told who asks.
    pub authorization: Option<Authorization>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// A file with the certificates that are trusted, instead of the machine's.
    pub ca_file: Option<String>,
}

/// A question under way. Dropping it ends it.
pub type Asking = Pin<Box<dyn Future<Output = Result<Measured, String>> + Send>>;

/// Whoever asks.
pub trait Metrics: Send + Sync + 'static {
    /// Asks once, as of now. It ends by itself within the question's timeout and a moment more; when there is no answer, it
    /// says why, in words and without anything secret.
    fn ask(&self, question: Question) -> Asking;
}
