//! Control's end of the agent's socket: a [`Fleet`] that is another process. Does not live here: starting the agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use model::Generation;
use ports::Fleet;
use ports::fleet::{Error, SecretValues, Seen, Wanted};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::wire::{Problem, Want};

/// How long the agent may take for anything but waiting that it was asked to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer in bytes.
const LARGEST_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A client of the agent that has a home directory. Each call is a connection of its own; nothing is kept between them.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// What an agent says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// Its process.
    pub pid: u32,
    /// The version of its program.
    pub version: String,
    /// Changes with each start.
    pub instance: String,
    /// The wanted state in force.
    pub generation: Generation,
    /// Where the gateway listens.
    pub gateway: Option<String>,
    /// Where it serves `/metrics` and `/healthz`, if anywhere but on this socket.
    pub admin: Option<String>,
}

impl Client {
    /// A client of the agent in this home directory, whether it runs yet or not.
    pub fn new(home: &Path) -> Self {
        Self { socket: crate::socket(home) }
    }

    /// Whether the agent is there, and what it says about itself.
    ///
    /// # Errors
    /// `Unreachable` when it does not answer.
    pub async fn health(&self) -> Result<HealthReport, Error> {
        parse(&self.call(Method::GET, "/health", Vec::new(), PATIENCE).await?.1)
    }

    /// The gateway's metrics in OpenMetrics, or in Prometheus' text format from an agent of before.
    ///
    /// # Errors
    /// `Unreachable` when the agent does not answer.
    pub async fn metrics(&self) -> Result<String, Error> {
        let (_, body) = self.call(Method::GET, "/metrics", Vec::new(), PATIENCE).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// One request; an answer that is no success is an error.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), Error> {
        match tokio::time::timeout(patience, self.exchange(method, path, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Error::Unreachable(format!("the agent did not answer: {error}"))),
            Err(_) => {
                let waited = model::time::format_duration(patience);
                Err(Error::Unreachable(format!("the agent did not answer within {waited}")))
            }
        }
        .map_err(|error| if self.is_absent(&error) { absent() } else { error })
    }

    fn is_absent(&self, error: &Error) -> bool {
        matches!(error, Error::Unreachable(_))
            && std::os::unix::net::UnixStream::connect(&self.socket).is_err()
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "agent")
            .header("content-type", "application/json")
            .header("accept", "application/openmetrics-text, application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await?.to_bytes();
            Ok((status, body))
        }
        .await;
        connection.abort();
        answer
    }
}

fn absent() -> Error {
    Error::Unreachable("the agent is not running: `shipshape up` starts it".to_owned())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::Unreachable(format!("the agent's answer cannot be understood: {error}")))
}

/// Percent-encodes what is not plain in a query.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Fleet for Client {
    async fn want(&self, wanted: Wanted, secrets: SecretValues) -> Result<(), Error> {
        let offered = wanted.generation;
        let body = serde_json::to_vec(&Want { wanted, secrets })
            .map_err(|error| Error::Refused(format!("the wanted state cannot be sent: {error}")))?;
        let (status, body) = self.call(Method::PUT, "/wanted", body, PATIENCE).await?;
        if status.is_success() {
            return Ok(());
        }
        let problem: Problem = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Problem { message: String::from_utf8_lossy(&body).into_owned(), has: None });
        match problem.has {
            Some(has) => Err(Error::Stale { has, offered }),
            None => Err(Error::Refused(problem.message)),
        }
    }

    async fn seen(&self, instance: String, after: u64, patience: Duration) -> Result<Seen, Error> {
        let (instance, patience_ms) = (encoded(&instance), patience.as_millis());
        let path = format!("/seen?instance={instance}&after={after}&patienceMs={patience_ms}");
        let (_, body) = self.call(Method::GET, &path, Vec::new(), patience.saturating_add(PATIENCE)).await?;
        parse(&body)
    }

    async fn stop(&self) -> Result<(), Error> {
        let (status, _) = self.call(Method::POST, "/stop", Vec::new(), PATIENCE).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(Error::Refused(format!("the agent answered {status}"))),
        }
    }
}
