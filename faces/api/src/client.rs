//! The client for control, over its socket or its TCP door: one connection for each request. Does not live here: how anything is shown.

mod changes;
mod errors;
mod events;
mod paging;

use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use runtime::{Answer, Correct, Deploy, DeployGroup, LiftLock, Operate, Retry, Rollback, SetLock, Ship};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub use self::events::{Event, Events};
use crate::alerts::{Alerts, RuleList};
use crate::caller::KEY;
use crate::objectives::{AskBacktest, AskReport, BacktestReport, MonthReport, ObjectiveStatus, Which};
use crate::problem::{self, Problem};
use crate::socket::{self, LONGEST_PATH};
use crate::token::{self, Token};
use crate::{Health, Stop, logs, records};

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
        at: String,
    },
    /// The socket is there, but may not be opened, or its path is too long.
    #[error("cannot connect to control at {at}: {why}")]
    Refused {
        /// Where.
        at: String,
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
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Socket(PathBuf),
    /// The host and port, and what opens it.
    Door(String, Token),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Door(address, _) => write!(f, "http://{address}"),
        }
    }
}

/// Why a request has no answer, and whether asking again with the same key is worth it.
enum Failed {
    Cut(Error),
    For(Error),
}

impl Client {
    /// For the control of a home directory, running or not.
    pub fn new(home: &Path) -> Self {
        Self { way: Way::Socket(socket::socket(home)) }
    }

    /// For the control whose TCP door is at `url`, as `http://127.0.0.1:9465`.
    ///
    /// # Errors
    /// When it is no such address. The token travels as it is, so the address must be one of this machine.
    pub fn at(url: &str, token: Token) -> Result<Self, String> {
        let address = url.strip_prefix("http://").unwrap_or(url);
        let address = address.strip_suffix('/').unwrap_or(address);
        let parts = address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let Some((host, _)) = parts else {
            return Err(format!("{url} is no address of control's API: write http://127.0.0.1:PORT"));
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare != "localhost" && !bare.parse::<IpAddr>().is_ok_and(|host| host.is_loopback()) {
            return Err(format!(
                "{url} is not of this machine, and the token would travel for all to read; a tunnel makes it one, \
                 as `ssh -L PORT:127.0.0.1:PORT {bare}`"
            ));
        }
        Ok(Self { way: Way::Door(address.to_owned(), token) })
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
        self.get(&format!("/v1/status?{}", which(service, environment))).await
    }

    /// What the probes found last: of every place, or of those of a service or an environment.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn probes(
        &self,
        service: Option<&model::ServiceName>,
        environment: Option<&model::EnvironmentName>,
    ) -> Result<ports::probes::Reports, Error> {
        self.get(&format!("/v1/probes?{}", which(service, environment))).await
    }

    /// Makes an artifact a release and starts its rollout.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn deploy(&self, request: &Deploy) -> Result<Answer, Error> {
        self.post("/v1/deploy", request).await
    }

    /// Makes several artifacts releases and starts their rollouts as one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn deploy_group(&self, request: &DeployGroup) -> Result<Answer, Error> {
        self.post("/v1/deploy-group", request).await
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

    /// Tries the rollout that was rolled back last again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn retry(&self, request: &Retry) -> Result<Answer, Error> {
        self.post("/v1/retry", request).await
    }

    /// Moves the rollout under way.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn operate(&self, request: &Operate) -> Result<Answer, Error> {
        self.post("/v1/operate", request).await
    }

    /// Lets no rollout begin there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn lock(&self, request: &SetLock) -> Result<(), Error> {
        self.change("/v1/lock", body(request)?).await.map(drop)
    }

    /// Lets rollouts begin there again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unlock(&self, request: &LiftLock) -> Result<(), Error> {
        self.change("/v1/unlock", body(request)?).await.map(drop)
    }

    /// What is pending and firing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alerts(&self, which: &Which) -> Result<Alerts, Error> {
        self.get(&asking("/v1/alerts", which)?).await
    }

    /// How the rules of alerts stand.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alert_rules(&self, which: &Which) -> Result<RuleList, Error> {
        self.get(&asking("/v1/alerts/rules", which)?).await
    }

    /// How objectives stand.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn objectives(&self, which: &Which) -> Result<Vec<ObjectiveStatus>, Error> {
        self.get(&asking("/v1/objectives", which)?).await
    }

    /// What an objective would have done.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn backtest(&self, ask: &AskBacktest) -> Result<BacktestReport, Error> {
        self.get(&asking("/v1/objectives/backtest", ask)?).await
    }

    /// What objectives came to in a month.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn objectives_report(&self, ask: &AskReport) -> Result<Vec<MonthReport>, Error> {
        self.get(&asking("/v1/objectives/report", ask)?).await
    }

    /// Takes time out of an objective's counts, or lets it count again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn correct(&self, request: &Correct) -> Result<(), Error> {
        self.change("/v1/objectives/correct", body(request)?).await.map(drop)
    }

    /// Drains and stops everything. Returns when the order is taken.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stop(&self, request: &Stop) -> Result<(), Error> {
        self.change("/v1/stop", body(request)?).await.map(|_| ())
    }

    /// The output of replicas.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn logs(&self, ask: &logs::Ask) -> Result<Output, Error> {
        self.stream(&format!("/v1/logs?{}", query(ask))).await
    }

    /// The records that were made of the replicas' output.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn search(&self, ask: &records::Ask) -> Result<records::Answer, Error> {
        let path = format!("/v1/logs/search?{}", ask.written().map_err(Error::Strange)?);
        let request = self.request(Method::GET, &path, Bytes::new())?;
        within(LONG_PATIENCE, async { understood(&collect(self.send(request).await?).await?) }).await
    }

    /// The records that come, a line of JSON each.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn follow_records(&self, ask: &records::Ask) -> Result<Output, Error> {
        self.stream(&format!("/v1/logs/search?{}", ask.written().map_err(Error::Strange)?)).await
    }

    /// The events after number `after`, and those to come when `follow` says so.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self, after: u64, follow: bool) -> Result<Events, Error> {
        let path = format!("/v1/events?after={after}&follow={follow}");
        Ok(Events::new(self.stream(&path).await?))
    }

    /// The number of the last event.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn last_event(&self) -> Result<u64, Error> {
        #[derive(serde::Deserialize)]
        struct Page {
            last: u64,
        }
        Ok(self.get::<Page>("/v1/events?format=json&limit=1").await?.last)
    }

    /// What a PromQL expression gives now, as Prometheus' API answers.
    ///
    /// # Errors
    /// See [`Error`]; an expression that cannot be evaluated is [`Error::Said`].
    pub async fn query(&self, expression: &str) -> Result<serde_json::Value, Error> {
        self.ask_metrics("query", &[("query", expression)]).await
    }

    /// What it gives over a stretch of time, whose ends count from 1970.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn query_range(
        &self,
        expression: &str,
        start: Duration,
        end: Duration,
        step: Duration,
    ) -> Result<serde_json::Value, Error> {
        let [start, end, step] = [start, end, step].map(|time| time.as_secs_f64().to_string());
        let query = [("query", expression), ("start", &start), ("end", &end), ("step", &step)];
        self.ask_metrics("query_range", &query).await
    }

    async fn ask_metrics(&self, route: &str, query: &[(&str, &str)]) -> Result<serde_json::Value, Error> {
        let query = serde_urlencoded::to_string(query).map_err(|error| Error::Strange(error.to_string()))?;
        let request = self.request(Method::GET, &format!("/api/v1/{route}?{query}"), Bytes::new())?;
        within(LONG_PATIENCE, async { understood(&collect(self.send(request).await?).await?) }).await
    }

    async fn stream(&self, path: &str) -> Result<Output, Error> {
        let request = self.request(Method::GET, path, Bytes::new())?;
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
        understood(&self.change(path, body(request)?).await?)
    }

    /// Asks once more with the same key when the connection is lost: what was done is not done again.
    async fn change(&self, path: &str, body: Bytes) -> Result<Bytes, Error> {
        let key = token::random::<16>().map_err(|error| Error::Strange(error.to_string()))?;
        within(LONG_PATIENCE, async {
            let lost = match self.try_change(path, &key, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::For(error)) => return Err(error),
                Err(Failed::Cut(lost)) => lost,
            };
            match self.try_change(path, &key, body).await {
                Ok(answer) => Ok(answer),
                // That it is gone now is less to know than that it went in the middle.
                Err(Failed::For(Error::NotRunning { .. })) => Err(lost),
                Err(Failed::For(error) | Failed::Cut(error)) => Err(error),
            }
        })
        .await
    }

    async fn try_change(&self, path: &str, key: &str, body: Bytes) -> Result<Bytes, Failed> {
        let mut request = self.request(Method::POST, path, body).map_err(Failed::For)?;
        let key = key.parse().map_err(|_| Failed::For(Error::Strange("a key that is none".to_owned())))?;
        request.headers_mut().insert(KEY, key);
        let cut = |error: Error| match error {
            Error::Lost(_) => Failed::Cut(error),
            Error::NotRunning { .. } | Error::Refused { .. } | Error::Strange(_) | Error::Said(_) => {
                Failed::For(error)
            }
        };
        collect(self.send(request).await.map_err(cut)?).await.map_err(cut)
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/json");
        let request = match &self.way {
            Way::Socket(_) => request.header(http::header::HOST, "control"),
            Way::Door(address, token) => request
                .header(http::header::HOST, address)
                .header(http::header::AUTHORIZATION, token.bearer()),
        };
        request.body(Full::new(body)).map_err(|error| Error::Strange(error.to_string()))
    }

    fn unreachable(&self, error: &std::io::Error) -> Error {
        let at = self.way.to_string();
        if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind()) {
            return Error::NotRunning { at };
        }
        Error::Refused { at, why: error.to_string() }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match &self.way {
            Way::Socket(socket) => {
                if socket.as_os_str().len() > LONGEST_PATH {
                    let why = format!("its path is longer than {LONGEST_PATH} bytes");
                    return Err(Error::Refused { at: self.way.to_string(), why });
                }
                let stream = UnixStream::connect(socket).await.map_err(|error| self.unreachable(&error))?;
                exchange(stream, request).await
            }
            Way::Door(address, _) => {
                let stream = TcpStream::connect(address).await.map_err(|error| self.unreachable(&error))?;
                exchange(stream, request).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    let lost = |error: hyper::Error| Error::Lost(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(async move {
        // Its errors reach whoever waits for the answer.
        let _ = connection.await;
    });
    sender.send_request(request).await.map_err(lost)
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

/// Names are DNS labels: nothing in them needs escaping.
fn which(service: Option<&model::ServiceName>, environment: Option<&model::EnvironmentName>) -> String {
    let service = service.map(|name| format!("service={name}"));
    let environment = environment.map(|name| format!("environment={name}"));
    service.into_iter().chain(environment).collect::<Vec<String>>().join("&")
}

/// A path with what is asked as its query.
fn asking(path: &str, ask: &impl Serialize) -> Result<String, Error> {
    let query = serde_urlencoded::to_string(ask).map_err(|error| Error::Strange(error.to_string()))?;
    Ok(format!("{path}?{query}"))
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
    /// What Prometheus' routes say.
    #[derive(serde::Deserialize)]
    struct Refused {
        error: String,
    }

    let status = response.status();
    let body = match whole(response).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    if let Ok(problem) = serde_json::from_slice::<Problem>(&body) {
        return Error::Said(Problem { status: status.as_u16(), ..problem });
    }
    match serde_json::from_slice::<Refused>(&body) {
        Ok(Refused { error }) => Error::Said(Problem::new(status, problem::MALFORMED, error)),
        Err(_) => Error::Strange(format!("status {status}: {}", String::from_utf8_lossy(&body))),
    }
}

fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Strange(error.to_string()))
}
