//! The client for control's socket: one connection for each request. Does not live here: how anything is shown.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use runtime::{Answer, Deploy, Operate, Rollback, Ship};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::problem::Problem;
use crate::socket::{self, LONGEST_PATH};
use crate::{Health, Stop, logs};

/// The largest answer that is taken, in bytes. Output is taken piece by piece and has no such limit.
const LARGEST_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// How long control may take for what it has at hand.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long control may take for what has to be stored first: an artifact is copied.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("control is not running")]
    NotRunning {
        /// Where it would.
        socket: PathBuf,
    },
    /// The socket is there, but may not be opened, or its path is too long.
    #[error("cannot connect to control at {}: {why}", socket.display())]
    Refused {
        /// Where.
        socket: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Control went away in the middle, or is too slow.
    #[error("control did not answer: {0}")]
    Lost(String),
    /// What it said makes no sense here.
    #[error("control's answer is not understood: {0}")]
    Strange(String),
    /// It said no.
    #[error(transparent)]
    Said(#[from] Problem),
}

impl Error {
    /// What to do next.
    pub fn instead(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some("`shipshape up` starts it".to_owned()),
            Self::Refused { .. } => Some(
                "is this the right --home, and are you its owner? its path must be short, too".to_owned(),
            ),
            Self::Lost(_) => {
                Some("`shipshape status` says whether it was done; control.log says more".to_owned())
            }
            Self::Strange(_) => Some(
                "is control of the same version? `shipshape down` and `shipshape up` renew it".to_owned(),
            ),
            Self::Said(problem) => problem.instead.clone(),
        }
    }

    /// Whether the same question may find an answer a moment later.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::Lost(_))
    }
}

/// Asks control.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// For the control of a home directory, running or not.
    pub fn new(home: &Path) -> Self {
        Self { socket: socket::socket(home) }
    }

    /// Who control is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn health(&self) -> Result<Health, Error> {
        self.get("/v1/health").await
    }

    /// The status of every place, or of those of a service or an environment.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(
        &self,
        service: Option<&model::ServiceName>,
        environment: Option<&model::EnvironmentName>,
    ) -> Result<views::Status, Error> {
        // Names are DNS labels: nothing in them needs escaping.
        let service = service.map(|name| format!("service={name}"));
        let environment = environment.map(|name| format!("environment={name}"));
        let query: Vec<String> = service.into_iter().chain(environment).collect();
        self.get(&format!("/v1/status?{}", query.join("&"))).await
    }

    /// Makes an artifact a release and starts its rollout.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn deploy(&self, request: &Deploy) -> Result<Answer, Error> {
        self.post("/v1/deploy", request).await
    }

    /// Rolls out in one environment what serves in another.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ship(&self, request: &Ship) -> Result<Answer, Error> {
        self.post("/v1/ship", request).await
    }

    /// Returns to an earlier release.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rollback(&self, request: &Rollback) -> Result<Answer, Error> {
        self.post("/v1/rollback", request).await
    }

    /// Moves the rollout under way.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn operate(&self, request: &Operate) -> Result<Answer, Error> {
        self.post("/v1/operate", request).await
    }

    /// Drains and stops everything. Returns when the order is taken.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stop(&self, request: &Stop) -> Result<(), Error> {
        let request = self.request(Method::POST, "/v1/stop", body(request)?)?;
        let response = within(LONG_PATIENCE, self.send(request)).await?;
        collect(response).await.map(|_| ())
    }

    /// The output of replicas.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn logs(&self, ask: &logs::Ask) -> Result<Output, Error> {
        let request = self.request(Method::GET, &format!("/v1/logs?{}", query(ask)), Bytes::new())?;
        let response = within(PATIENCE, self.send(request)).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(Output { body: response.into_body() })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        within(PATIENCE, async { understood(&collect(self.send(request).await?).await?) }).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<T, Error> {
        let request = self.request(Method::POST, path, body(request)?)?;
        within(LONG_PATIENCE, async { understood(&collect(self.send(request).await?).await?) }).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "control")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Error::Strange(error.to_string()))
    }

    async fn connect(&self) -> Result<UnixStream, Error> {
        let socket = self.socket.clone();
        if socket.as_os_str().len() > LONGEST_PATH {
            let why = format!("its path is longer than {LONGEST_PATH} bytes");
            return Err(Error::Refused { socket, why });
        }
        let dead = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
        UnixStream::connect(&self.socket).await.map_err(|error| {
            if dead.contains(&error.kind()) {
                Error::NotRunning { socket }
            } else {
                Error::Refused { socket, why: error.to_string() }
            }
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let lost = |error: hyper::Error| Error::Lost(error.to_string());
        let io = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(lost)?;
        tokio::spawn(async move {
            // Its errors reach whoever waits for the answer.
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(lost)
    }
}

/// The output of replicas, piece by piece.
#[derive(Debug)]
pub struct Output {
    body: Incoming,
}

impl Output {
    /// The next piece; `None` at the end. Pieces end with a whole line.
    ///
    /// # Errors
    /// When control went away.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| Error::Lost(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

fn body(request: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(request).map(Bytes::from).map_err(|error| Error::Strange(error.to_string()))
}

/// Names and numbers alone: nothing in them needs escaping.
fn query(ask: &logs::Ask) -> String {
    let mut query = format!("service={}&environment={}&follow={}", ask.service, ask.environment, ask.follow);
    let options = [
        ask.release.map(|release| format!("&release={release}")),
        ask.replica.map(|replica| format!("&replica={replica}")),
        ask.lines.map(|lines| format!("&lines={lines}")),
        matches!(ask.format, logs::Format::Text).then(|| "&format=text".to_owned()),
    ];
    query.extend(options.into_iter().flatten());
    query
}

async fn within<T>(patience: Duration, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error::Lost(format!("not within {}", model::time::format_duration(patience)));
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err(late()))
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, Error> {
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    whole(response).await
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| Error::Lost(error.to_string()))
}

async fn refusal(response: Response<Incoming>) -> Error {
    let status = response.status().as_u16();
    match whole(response).await {
        Ok(body) => match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Error::Said(Problem { status, ..problem }),
            Err(_) => Error::Strange(format!("status {status}: {}", String::from_utf8_lossy(&body))),
        },
        Err(error) => error,
    }
}

fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Strange(error.to_string()))
}
