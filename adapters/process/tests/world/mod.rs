//! A supervisor in a directory of its own, and groups to run in it.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "part of tests")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::spec::{Check, Health, Logs, Probe, Resources, Run, Shutdown};
use model::{Place, ReleaseNumber};
use ports::fleet::{Group, GroupId, ReplicaPhase, ReplicaSeen};
use process::{Pace, ReplicaId, Settings, ShimCommand, Supervisor};

pub const DOUBLE: &str = env!("CARGO_BIN_EXE_process-double");
const DEADLINE: Duration = Duration::from_secs(20);

pub fn probe(check: Check, period_ms: u64, failures: u32) -> Probe {
    Probe {
        check,
        initial_delay: Duration::ZERO,
        period: Duration::from_millis(period_ms),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: failures,
    }
}

/// A group of release 1 that is ready as soon as its port answers.
pub fn group(command: &str, args: &[&str]) -> Group {
    let place = Place { service: "shop".parse().unwrap(), environment: "test".parse().unwrap() };
    Group {
        id: GroupId { place, release: ReleaseNumber(1) },
        replicas: 1,
        artifact: std::env::temp_dir(),
        run: Run {
            command: command.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            working_directory: None,
            port_variable: "PORT".to_owned(),
        },
        config: [("GREETING".to_owned(), "hello".to_owned())].into(),
        secrets: Vec::new(),
        health: Health {
            startup: None,
            live: None,
            ready: Some(probe(Check::Http("/ready".to_owned()), 100, 2)),
        },
        resources: Resources::default(),
        shutdown: Shutdown { drain_timeout: Duration::from_secs(5), grace_period: Duration::from_secs(5) },
        logs: Logs { file_bytes: 64 * 1024, files: 3 },
    }
}

pub fn server() -> Group {
    group(DOUBLE, &["serve"])
}

pub fn shell(script: &str) -> Group {
    group("sh", &["-c", script])
}

pub fn settings(home: &Path) -> Settings {
    Settings {
        home: home.to_owned(),
        shim: ShimCommand { program: PathBuf::from(DOUBLE), args: vec!["shim".into()] },
        pace: Pace {
            backoff_first: Duration::from_millis(20),
            backoff_longest: Duration::from_millis(100),
            ..Pace::default()
        },
    }
}

pub struct World {
    pub supervisor: Supervisor,
    pub home: Home,
}

/// A directory that is left as empty of processes as of files.
pub struct Home(pub tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        reap(self.path());
    }
}

/// Ends whatever a failed test left running in its home directory, so that it outlives no test.
pub fn reap(home: &Path) {
    for entry in std::fs::read_dir(home.join("run")).into_iter().flatten().flatten() {
        let started = std::fs::read(entry.path().join("started.json")).unwrap_or_default();
        let Ok(started) = serde_json::from_slice::<serde_json::Value>(&started) else { continue };
        for pid in [&started["shimPid"], &started["replica"]["pid"]] {
            let pid = pid.as_i64().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
            let own = |pid: &rustix::process::Pid| rustix::process::getpgid(Some(*pid)) == Ok(*pid);
            if let Some(pid) = pid.filter(own) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl World {
    pub async fn new() -> Self {
        let home = Home::new();
        let supervisor = Supervisor::open(settings(home.path())).await.unwrap();
        Self { home, supervisor }
    }

    /// The same directory under a new supervisor; the old one is gone without a word.
    pub async fn successor(self) -> Self {
        drop(self.supervisor);
        let supervisor = Supervisor::open(settings(self.home.path())).await.unwrap();
        Self { home: self.home, supervisor }
    }

    pub fn start(&self, group: &Group) -> ReplicaId {
        let ordinal = self.supervisor.start(group).unwrap();
        ReplicaId { group: group.id.clone(), ordinal }
    }

    pub fn see(&self, id: &ReplicaId) -> Option<ReplicaSeen> {
        self.supervisor
            .replicas()
            .remove(&id.group)?
            .into_iter()
            .find(|replica| replica.ordinal == id.ordinal)
    }

    /// Waits until the supervisor shows what is asked for.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let mut changes = self.supervisor.changes();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            changes.borrow_and_update();
            if let Some(found) = look() {
                return found;
            }
            let changed = tokio::time::timeout_at(deadline, changes.changed()).await;
            assert!(changed.is_ok(), "waited in vain for: {what}; {:#?}", self.supervisor.replicas());
        }
    }

    pub async fn until_replica(
        &self,
        id: &ReplicaId,
        what: &str,
        is: impl Fn(&ReplicaSeen) -> bool,
    ) -> ReplicaSeen {
        self.until(what, || self.see(id).filter(&is)).await
    }

    pub async fn ready(&self, id: &ReplicaId) -> ReplicaSeen {
        self.until_replica(id, "ready", |replica| replica.phase == ReplicaPhase::Ready).await
    }

    pub async fn gone(&self, id: &ReplicaId) {
        self.until("gone", || self.see(id).is_none().then_some(())).await;
    }

    pub async fn end(self, id: &ReplicaId) {
        self.supervisor.stop(id);
        self.gone(id).await;
    }

    pub fn logs(&self, id: &ReplicaId) -> PathBuf {
        process::logs::directory(self.home.path(), id)
    }
}

/// Waits for something that no event tells.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
