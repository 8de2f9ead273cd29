//! One process of a replica, behind its shim: starting it, watching it, signalling it, learning how it ended. Does not
//! live here: when any of that is done.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use crate::files::{self, Ended, Started};
use crate::logs::CURRENT;
use crate::shim::Order;
use crate::supervisor::ShimCommand;
use crate::{Error, Exit, logs};

/// How long a shim may take for what it does at once on a machine that is not overloaded.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the shim of an ended replica may linger before it is killed.
const LINGER: Duration = Duration::from_secs(3);
/// How many lines of output belong to the reason of a death, and how many bytes of them.
const LAST_LINES: usize = 5;
const LAST_BYTES: usize = 600;

/// A process that was started, by this agent or an earlier one.
pub(crate) struct Process {
    directory: PathBuf,
    log_directory: PathBuf,
    started: Started,
    /// Readable when the process exits; `None` when it had exited before it could be watched.
    watch: Option<AsyncFd<OwnedFd>>,
    /// The shim, when it is our child: it must be reaped.
    shim: Option<Child>,
    /// How long the log was when it started.
    log_mark: u64,
}

/// What became of an attempt to start.
pub(crate) enum Launched {
    /// It runs, or has just ended.
    Running(Box<Process>),
    /// It never ran.
    Failed(Exit),
}

/// Starts a process through a new shim in a run directory.
pub(crate) async fn launch(directory: &Path, shim: &ShimCommand, order: Order) -> Result<Launched, Error> {
    let lock = until(PATIENCE, || files::try_lock(directory).transpose())
        .await
        .ok_or_else(|| Error::Shim("the earlier shim of this replica does not end".to_owned()))?
        .map_err(Error::file("lock", directory))?;
    for name in [files::STARTED, files::EXIT] {
        files::remove(directory, name).map_err(Error::file("clear", directory))?;
    }
    let shim_log = directory.join(files::SHIM_LOG);
    let shim_log = File::create(&shim_log).map_err(Error::file("create", &shim_log))?;
    let log_directory = order.log_directory.clone();
    let log_mark = log_length(&log_directory);
    let text = serde_json::to_vec(&order).map_err(|error| Error::Shim(error.to_string()))?;
    drop(order);
    let mut child = tokio::process::Command::new(&shim.program)
        .args(&shim.args)
        .arg(directory)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::from(lock))
        .stderr(Stdio::from(shim_log))
        .spawn()
        .map_err(|error| Error::Shim(format!("cannot start the shim {}: {error}", shim.program.display())))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A shim that does not read has ended, which is noticed below.
        let _ = stdin.write_all(&text).await;
        let _ = stdin.shutdown().await;
    }
    let log = Log { directory: log_directory, mark: log_mark };
    match started(directory, Some(&mut child)).await? {
        Ok(started) => Ok(Launched::Running(Box::new(Process::watch(directory, log, started, Some(child))?))),
        Err(exit) => {
            let _ = child.wait().await;
            Ok(Launched::Failed(exit))
        }
    }
}

/// What an earlier agent left in a run directory.
pub(crate) enum Found {
    /// A process that still runs.
    Alive(Box<Process>),
    /// A process that ended.
    Dead(Exit),
    /// None was started.
    Nothing,
}

/// Looks at a run directory that an earlier agent used.
pub(crate) async fn adopt(directory: &Path, log_directory: &Path) -> Result<Found, Error> {
    if files::has_shim(directory) {
        // It may have got its order a moment before the earlier agent ended.
        let _ = until(PATIENCE, || {
            let told = [files::STARTED, files::EXIT].iter().any(|name| directory.join(name).exists());
            (told || !files::has_shim(directory)).then_some(())
        })
        .await;
    }
    let started: Option<Started> = files::read_if_sound(directory, files::STARTED);
    let ended: Option<Ended> = files::read_if_sound(directory, files::EXIT);
    match (started, ended) {
        (_, Some(ended)) => Ok(Found::Dead(ended.exit)),
        (Some(started), None) => {
            let log = Log { directory: log_directory.to_owned(), mark: 0 };
            let process = Process::watch(directory, log, started, None)?;
            match process.watch {
                Some(_) => Ok(Found::Alive(Box::new(process))),
                None => Ok(Found::Dead(process.end().await.exit)),
            }
        }
        (None, None) => Ok(Found::Nothing),
    }
}

struct Log {
    directory: PathBuf,
    mark: u64,
}

/// Waits until the shim has started the process, or failed to.
async fn started(directory: &Path, mut child: Option<&mut Child>) -> Result<Result<Started, Exit>, Error> {
    let told = until(PATIENCE, || {
        let over = child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
        match files::read::<Started>(directory, files::STARTED) {
            Ok(Some(started)) => return Some(Ok(Ok(started))),
            Ok(None) => {}
            Err(error) => return Some(Err(error)),
        }
        match files::read::<Ended>(directory, files::EXIT) {
            Ok(Some(ended)) => Some(Ok(Err(ended.exit))),
            Ok(None) => over.then_some(Ok(Err(Exit::Unknown))),
            Err(error) => Some(Err(error)),
        }
    })
    .await;
    told.ok_or_else(|| Error::Shim("the shim did not start the replica in time".to_owned()))?
        .map_err(Error::file("read", directory))
}

/// How a process ended, with what it last said.
pub(crate) struct End {
    pub(crate) exit: Exit,
    pub(crate) last_words: Option<String>,
}

impl Process {
    fn watch(directory: &Path, log: Log, started: Started, shim: Option<Child>) -> Result<Self, Error> {
        let watch = started.replica.open().and_then(|fd| fd.map(async_fd).transpose());
        let watch = watch.map_err(Error::file("watch the process of", directory))?;
        let (log_directory, log_mark) = (log.directory, log.mark);
        Ok(Self { directory: directory.to_owned(), log_directory, started, watch, shim, log_mark })
    }

    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.started.replica.pid).unwrap_or(0)
    }

    /// When it started, by the clock of this process.
    pub(crate) fn begun(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.started.replica.age()).unwrap_or(now)
    }

    /// Waits for its exit.
    pub(crate) async fn exited(&self) {
        if let Some(watch) = &self.watch {
            let _ = watch.readable().await;
        }
    }

    /// Sends a signal to it and all processes of its group, while it is alive.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.started.replica.pid) else { return };
        if self.started.replica.is_alive() {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// After its exit: how it ended. Returns when its shim has ended too.
    pub(crate) async fn end(mut self) -> End {
        let ended = until(PATIENCE, || {
            let over = !files::has_shim(&self.directory);
            match files::read::<Ended>(&self.directory, files::EXIT) {
                Ok(Some(ended)) => Some(ended.exit),
                Ok(None) if !over => None,
                Ok(None) | Err(_) => Some(Exit::Unknown),
            }
        })
        .await;
        let shim_ended = until(LINGER, || (!files::has_shim(&self.directory)).then_some(())).await;
        if shim_ended.is_none()
            && let Some(pid) = Pid::from_raw(self.started.shim_pid)
        {
            // The lock is held, so this number is still the shim's.
            let _ = kill_process(pid, Signal::KILL);
        }
        if let Some(shim) = &mut self.shim {
            let _ = shim.wait().await;
        }
        End { exit: ended.unwrap_or(Exit::Unknown), last_words: self.last_words() }
    }

    fn last_words(&self) -> Option<String> {
        let length = log_length(&self.log_directory);
        if length == self.log_mark {
            return None;
        }
        let lines = logs::tail(&self.log_directory, LAST_LINES).ok()?;
        let text: Vec<String> = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        let text = text.join("\n");
        let mut from = text.len().saturating_sub(LAST_BYTES);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        Some(text[from..].trim().to_owned()).filter(|text| !text.is_empty())
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may lie about their descriptor; this one owns it"
)]
fn async_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

fn log_length(directory: &Path) -> u64 {
    std::fs::metadata(directory.join(CURRENT)).map_or(0, |found| found.len())
}

/// Looks again and again, a little less often each time, until there is something or patience is over.
async fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    let mut wait = Duration::from_millis(1);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 3 / 2).min(Duration::from_millis(20));
    }
}
