//! Control with everything outside faked, behind a real socket. The fakes behave; they expect nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::logs::{Follow, Line, Logs};
use api::{Client, Socket};
use model::release::{Artifact, ArtifactKind};
use model::spec::SecretSource;
use model::{Digest, Place, ReleaseNumber, Timestamp};
use ports::fleet::{GroupSeen, ReplicaPhase, ReplicaSeen, SecretValues, Seen, Wanted};
use ports::journal::Entry;
use ports::{Artifacts, Clock, Fleet, Journal, Secret, Secrets};
use runtime::Ports;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// A journal in memory, whose disk can fill up.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    entries: Arc<Mutex<Vec<Entry>>>,
    pub(crate) full: Arc<AtomicBool>,
}

impl Journal for Memory {
    fn append(&self, entries: Vec<Entry>) -> impl Future<Output = Result<(), ports::journal::Error>> + Send {
        let full = self.full.load(Ordering::SeqCst);
        if !full {
            self.entries.lock().unwrap().extend(entries);
        }
        async move {
            match full {
                true => Err(ports::journal::Error::Unavailable("the disk is full".to_owned())),
                false => Ok(()),
            }
        }
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, ports::journal::Error> {
        let entries = self.entries.lock().unwrap();
        Ok(entries.iter().filter(|entry| entry.seq > after).take(limit).cloned().collect())
    }
}

/// A fleet whose replicas are ready as soon as they are wanted.
pub(crate) struct Instant {
    seen: watch::Sender<Seen>,
    pub(crate) reachable: AtomicBool,
}

impl Default for Instant {
    fn default() -> Self {
        let first = Seen {
            instance: "fake".to_owned(),
            version: 1,
            gateway: Some("127.0.0.1:8080".to_owned()),
            ..Seen::default()
        };
        Self { seen: watch::channel(first).0, reachable: AtomicBool::new(true) }
    }
}

impl Instant {
    fn there(&self) -> Result<(), ports::fleet::Error> {
        match self.reachable.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err(ports::fleet::Error::Unreachable("the agent is not running".to_owned())),
        }
    }
}

fn replica(ordinal: u32) -> ReplicaSeen {
    ReplicaSeen {
        ordinal,
        phase: ReplicaPhase::Ready,
        pid: Some(ordinal),
        port: 20_000,
        restarts: 0,
        in_flight: 0,
        last_exit: None,
        reason: None,
    }
}

impl Fleet for Instant {
    async fn want(&self, wanted: Wanted, _: SecretValues) -> Result<(), ports::fleet::Error> {
        self.there()?;
        self.seen.send_modify(|seen| {
            seen.version += 1;
            seen.generation = wanted.generation;
            let groups = wanted.groups.into_iter().map(|group| GroupSeen {
                id: group.id,
                replicas: (1..=group.replicas).map(replica).collect(),
                crash_loop: None,
            });
            seen.groups = groups.collect();
        });
        Ok(())
    }

    async fn seen(
        &self,
        instance: String,
        after: u64,
        patience: Duration,
    ) -> Result<Seen, ports::fleet::Error> {
        self.there()?;
        let mut changes = self.seen.subscribe();
        let news = changes.wait_for(|seen| seen.instance != instance || seen.version != after);
        match tokio::time::timeout(patience, news).await {
            Ok(Ok(seen)) => Ok(seen.clone()),
            Ok(Err(_)) | Err(_) => Ok(self.seen.borrow().clone()),
        }
    }

    async fn stop(&self) -> Result<(), ports::fleet::Error> {
        self.there()
    }
}

/// A store that reads but keeps nothing.
struct Passing;

impl Artifacts for Passing {
    fn put(&self, path: &Path) -> Result<Artifact, ports::artifacts::Error> {
        let bytes = std::fs::read(path)
            .map_err(|error| ports::artifacts::Error(format!("cannot read {}: {error}", path.display())))?;
        Ok(Artifact {
            digest: Digest::of(&bytes),
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            kind: ArtifactKind::File,
            bytes: bytes.len() as u64,
        })
    }

    fn directory(&self, _: &Artifact) -> Result<PathBuf, ports::artifacts::Error> {
        Ok(PathBuf::from("/nowhere"))
    }

    fn retain(&self, _: &BTreeSet<Digest>) -> Result<usize, ports::artifacts::Error> {
        Ok(0)
    }
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, source: &SecretSource) -> Result<Secret, ports::secrets::Error> {
        Err(ports::secrets::Error(format!("{source:?} is not there")))
    }
}

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

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
    pub(crate) journal: Memory,
    pub(crate) fleet: Arc<Instant>,
    pub(crate) written: Written,
    over: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (journal, fleet, written) = (Memory::default(), Arc::new(Instant::default()), Written::default());
        let ports = Ports {
            journal: journal.clone(),
            fleet: fleet.clone(),
            artifacts: Arc::new(Passing),
            secrets: Arc::new(NoSecrets),
            clock: Arc::new(Wall),
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

    /// An artifact.
    pub(crate) fn artifact(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, name).unwrap();
        path
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
