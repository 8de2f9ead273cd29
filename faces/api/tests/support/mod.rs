//! Control in the simulated world, behind a real socket. Lives here: the stage, and output that a test writes. Does not
//! live here: the world.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::logs::{Follow, Line, Logs};
use api::{Client, Socket};
use model::{Place, ReleaseNumber};
use runtime::Ports;
use sim::{Artifacts, Clock, Fleet, Journal, Secrets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
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

/// Control behind a socket in a directory of its own.
pub(crate) struct Stage {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) client: Client,
    pub(crate) journal: Journal,
    pub(crate) fleet: Fleet,
    pub(crate) written: Written,
    over: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (journal, fleet, written) = (Journal::default(), Fleet::start(7, 0), Written::default());
        let ports = Ports {
            journal: journal.clone(),
            fleet: Arc::new(fleet.clone()),
            artifacts: Arc::new(Artifacts::default()),
            secrets: Arc::new(Secrets::default()),
            clock: Arc::new(Clock::start()),
        };
        let (control, mut deciding) = runtime::start(ports, runtime::Config::default()).await.unwrap();
        let socket = Socket::open(directory.path()).await.unwrap();
        let config = api::Config { control, logs: Arc::new(written.clone()), version: "1.2.3".to_owned() };
        let (over, left) = oneshot::channel::<()>();
        let serving = tokio::spawn(api::serve(socket, config, async move {
            tokio::select! {
                _ = left => {}
                _ = &mut deciding => {}
            }
        }));
        let client = Client::new(directory.path());
        let stage = Self { directory, client, journal, fleet, written, over: Some(over), serving };
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
        tokio::time::timeout(Duration::from_secs(15), &mut self.serving).await.unwrap().unwrap();
    }

    /// An artifact: in the simulated store, its path stands for its content.
    pub(crate) fn artifact(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A request as it is, and the status and body of its answer.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(api::socket(self.directory.path())).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: control\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Whoever refuses a body may hang up before the end of it.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}
