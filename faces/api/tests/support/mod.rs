//! Control in the simulated world, behind a real socket. Lives here: the stage, and output that a test writes. Does not
//! live here: the world.

pub(crate) mod schema;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::alerts::{RuleHealth, RuleState, RuleStatus, Rules};
use api::logs::{Follow, Line, Logs};
use api::objectives::{
    AskBacktest, AskReport, BacktestReport, MonthReport, NoAnswer, ObjectiveStatus, Objectives,
};
use api::{Client, Door, Socket, Token};
use model::{Place, ReleaseNumber, Timestamp};
use ports::probes::{Found, Look, Report, Reports};
use runtime::Ports;
use sim::{Artifacts, Clock, Fleet, Journal, Secrets};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Output that a test writes, by place.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<BTreeMap<Place, Vec<Line>>>>);

impl Written {
    pub(crate) fn write(&self, place: &Place, replica: u32, line: &str) {
        let line = Line { release: ReleaseNumber(1), replica, line: line.to_owned() };
        self.0.lock().unwrap().entry(place.clone()).or_default().push(line);
    }
}

impl Logs for Written {
    fn open(
        &self,
        place: &Place,
        _: Option<ReleaseNumber>,
        lines: usize,
    ) -> io::Result<(Vec<Line>, Box<dyn Follow>)> {
        let all = self.0.lock().unwrap().get(place).cloned().unwrap_or_default();
        let known = all.len();
        let last = all[known.saturating_sub(lines)..].to_vec();
        Ok((last, Box::new(Later { written: self.clone(), place: place.clone(), known })))
    }
}

/// Of objectives nothing is known.
struct NoObjectives;

impl Objectives for NoObjectives {
    fn all(&self) -> Vec<ObjectiveStatus> {
        vec![]
    }

    fn backtest(&self, ask: &AskBacktest) -> Result<BacktestReport, NoAnswer> {
        let what = format!("there is no objective {}", ask.objective);
        Err(NoAnswer { what, instead: "declare one".to_owned(), unknown: true })
    }

    fn report(&self, _: &AskReport) -> Result<Vec<MonthReport>, NoAnswer> {
        Ok(vec![])
    }
}

/// One rule, which nobody could look at.
struct OneRule;

impl Rules for OneRule {
    fn all(&self) -> Vec<RuleStatus> {
        vec![RuleStatus {
            service: Some("shop".parse().unwrap()),
            environment: Some("production".parse().unwrap()),
            name: "QueueTooLong".to_owned(),
            ready_made: false,
            state: RuleState::Inactive,
            health: RuleHealth::Err,
            last_error: Some("no answer within 10s".to_owned()),
            query: "queue_length > 100".to_owned(),
            hold: "5m".to_owned(),
            keep_firing_for: "0s".to_owned(),
            severity: model::objective::Severity::P2,
            runbook: Some("queue-too-long".to_owned()),
            holding: 0,
            last_evaluation: Timestamp::from_micros(1_700_000_000_000_000),
            evaluation_seconds: 10.0,
        }]
    }
}

struct Later {
    written: Written,
    place: Place,
    known: usize,
}

impl Follow for Later {
    fn poll(&mut self) -> io::Result<Vec<Line>> {
        let all = self.written.0.lock().unwrap().get(&self.place).cloned().unwrap_or_default();
        let news = all[self.known..].to_vec();
        self.known = all.len();
        Ok(news)
    }
}

/// One probe that failed, and one that has not looked yet.
struct Watched;

impl ports::Probes for Watched {
    fn reports(&self) -> Reports {
        let place = |environment: &str| Place {
            service: "shop".parse().unwrap(),
            environment: environment.parse().unwrap(),
        };
        let new = Report {
            place: place("staging"),
            probe: "home".to_owned(),
            kind: "http".to_owned(),
            instance: "/".to_owned(),
            attempts: 0,
            failures: 0,
            last: None,
        };
        let look = Look {
            at: Timestamp::default(),
            result: Found::Bad,
            since: Timestamp::default(),
            seconds: 0.25,
            reason: Some("status".to_owned()),
            detail: "answered 500, expected 2xx".to_owned(),
            status: Some(500),
            certificate_expires: Some(Timestamp::default()),
        };
        let bad =
            Report { place: place("production"), attempts: 3, failures: 2, last: Some(look), ..new.clone() };
        Reports { at: Timestamp::default(), probes: vec![new, bad] }
    }
}

/// Control behind a socket in a directory of its own.
pub(crate) struct Stage {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) client: Client,
    pub(crate) journal: Journal,
    pub(crate) fleet: Fleet,
    pub(crate) written: Written,
    pub(crate) door: SocketAddr,
    pub(crate) token: Token,
    /// To ask control beside its API.
    pub(crate) control: Option<runtime::Handle>,
    over: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::on(tempfile::tempdir().unwrap(), Journal::default()).await
    }

    /// With what a control before this one left.
    pub(crate) async fn again(mut self) -> Self {
        self.leave().await;
        let (directory, journal) = (self.directory, self.journal);
        Self::on(directory, journal).await
    }

    async fn on(directory: tempfile::TempDir, journal: Journal) -> Self {
        let (fleet, written) = (Fleet::start(7, 0), Written::default());
        let ports = Ports {
            journal: journal.clone(),
            fleet: Arc::new(fleet.clone()),
            artifacts: Arc::new(Artifacts::default()),
            checks: Arc::new(sim::Checks::default()),
            secrets: Arc::new(Secrets::default()),
            clock: Arc::new(Clock::start()),
        };
        let (control, mut deciding) = runtime::start(ports, runtime::Config::default()).await.unwrap();
        let socket = Socket::open(directory.path()).await.unwrap();
        let door = Door::open(directory.path(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = door.address();
        let token = Token::read(directory.path()).unwrap();
        let control_too = control.clone();
        let records = Arc::new(logs::Keep::new(directory.path().join("records")));
        let config = api::Config {
            control,
            logs: Arc::new(written.clone()),
            records,
            objectives: Arc::new(NoObjectives),
            rules: Arc::new(OneRule),
            receivers: Arc::new(NoReceivers),
            version: "1.2.3".to_owned(),
            probes: Arc::new(Watched),
            beside: Default::default(),
        };
        let (over, left) = oneshot::channel::<()>();
        let serving = tokio::spawn(api::serve(socket, Some(door), config, async move {
            tokio::select! {
                _ = left => {}
                _ = &mut deciding => {}
            }
        }));
        let client = Client::new(directory.path());
        let stage = Self {
            directory,
            client,
            journal,
            fleet,
            written,
            door: address,
            token,
            control: Some(control_too),
            over: Some(over),
            serving,
        };
        stage.until("control sees the fleet", |status| status.agent_reachable).await;
        stage
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&views::Status) -> bool) -> views::Status {
        let asking = async {
            loop {
                let status = self.client.status(None, None).await.unwrap();
                if wanted(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(15), asking).await;
        asked.unwrap_or_else(|_| panic!("waited in vain until {what}"))
    }

    /// Ends serving, as a signal would, and waits until it has ended.
    pub(crate) async fn leave(&mut self) {
        let _ = self.over.take().unwrap().send(());
        self.ended().await;
    }

    /// Waits until serving has ended by itself.
    pub(crate) async fn ended(&mut self) {
        self.control = None;
        tokio::time::timeout(Duration::from_secs(15), &mut self.serving).await.unwrap().unwrap();
    }

    /// An artifact: in the simulated store, its path stands for its content.
    pub(crate) fn artifact(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A request as it is, and the status and body of its answer.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.with(method, path, "Host: control\r\n", body).await;
        (status, body)
    }

    /// A request with these headers over the socket; the status, head and body of its answer.
    pub(crate) async fn with(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String, String) {
        let stream = UnixStream::connect(api::socket(self.directory.path())).await.unwrap();
        exchange(stream, method, path, headers, body).await
    }

    /// A request with these headers over TCP.
    pub(crate) async fn at_door(&self, method: &str, path: &str, headers: &str) -> (u16, String, String) {
        let stream = TcpStream::connect(self.door).await.unwrap();
        exchange(stream, method, path, headers, "").await
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    {
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Whoever refuses a body may hang up before the end of it.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }
}

/// Nobody is told.
struct NoReceivers;

impl api::paging::Receivers for NoReceivers {
    fn all(&self) -> Vec<api::paging::ReceiverStatus> {
        vec![]
    }
}
