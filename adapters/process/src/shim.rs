//! The shim: a small process for each replica, so that an agent can be killed and the replica, its exit status and the
//! capture of its output live on. Synchronous and single-threaded on purpose.
//!
//! It reads its order, the environment with the secrets included, from standard input: never from its arguments, never
//! from a file. Its standard output is the lock of its run directory (see `files`). Does not live here: any decision
//! about restarts, probes or stopping; a shim starts once, watches once, and ends.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, setsid};
use serde::{Deserialize, Serialize};

use crate::Exit;
use crate::capture::{Lines, Log};
use crate::files::{self, Ended, Started};
use crate::identity::Identity;

/// The largest order it reads.
const ORDER_BYTES: u64 = 8 * 1024 * 1024;
/// How long an unfinished line is held back.
const HOLD: Duration = Duration::from_millis(200);
/// How long output is still read after the replica's exit while a process that left its group holds the pipe open.
const LINGER: Duration = Duration::from_millis(500);

/// What a shim is told on standard input.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) log_directory: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) files: u32,
    pub(crate) cgroup: Option<Membership>,
}

/// Which cgroup the replica is born into. The shim enters it, starts the replica, and goes back, so that it is itself
/// neither limited nor killed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Membership {
    pub(crate) enter: PathBuf,
    pub(crate) back: PathBuf,
    pub(crate) memory_bytes: Option<u64>,
}

/// Runs a shim. The binary calls this for its hidden `shim` subcommand with the arguments that follow it: the run
/// directory, alone. The agent is the only one who starts it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(directory) = args.into_iter().next().map(PathBuf::from) else { return ExitCode::from(2) };
    match run(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let ended = Ended { exit: Exit::NotStarted(error.to_string()), dropped_bytes: 0 };
            // Nobody else could be told: without this file the agent says that the status is unknown.
            let _ = files::write_whole(&directory, files::EXIT, &ended);
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path) -> io::Result<()> {
    let order = read_order()?;
    // Fails only for the leader of a process group, as when somebody runs it by hand in a shell.
    let _ = setsid();
    let mut log = Log::new(&order.log_directory, order.file_bytes, order.files);
    let limit = order.cgroup.as_ref().and_then(|cgroup| cgroup.memory_bytes);
    let cgroup = order.cgroup.as_ref().map(|cgroup| cgroup.enter.clone());
    let mut child = start(order)?;
    let pid = Pid::from_child(&child);
    let streams = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut pipes: Vec<Pipe> = streams.into_iter().flatten().filter_map(|fd| Pipe::new(fd).ok()).collect();
    let exited = pidfd_open(pid, PidfdFlags::empty())?;
    let replica = Identity::of(pid.as_raw_pid())?;
    let shim_pid = rustix::process::getpid().as_raw_pid();
    if let Err(error) = files::write_whole(directory, files::STARTED, &Started { replica, shim_pid }) {
        // Without that file no agent could ever find the replica again.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.wait();
        return Err(error);
    }
    copy_until(&mut pipes, Some(&exited), None, &mut log)?;
    let exit = reap(&mut child, pid, cgroup.as_deref(), limit)?;
    // What was written before the exit is captured before the exit is told.
    for pipe in &mut pipes {
        pipe.drain(&mut log);
        pipe.lines.flush(&mut log);
    }
    let told = files::write_whole(directory, files::EXIT, &Ended { exit, dropped_bytes: log.dropped() });
    copy_until(&mut pipes, None, Some(Instant::now() + LINGER), &mut log)?;
    told
}

fn read_order() -> io::Result<Order> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(ORDER_BYTES).read_to_end(&mut bytes)?;
    // An agent that was killed while it wrote leaves half an order: nothing is started then.
    serde_json::from_slice(&bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the order is not whole"))
}

fn start(order: Order) -> io::Result<Child> {
    let me = rustix::process::getpid().as_raw_pid().to_string();
    let moved = |path: &Path| fs::write(path.join("cgroup.procs"), &me);
    if let Some(cgroup) = &order.cgroup {
        moved(&cgroup.enter)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot enter its cgroup: {error}")))?;
    }
    let child = Command::new(&order.program)
        .args(&order.args)
        .current_dir(&order.directory)
        .env_clear()
        .envs(&order.environment)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    if let Some(cgroup) = &order.cgroup {
        // Staying inside costs the replica a few megabytes of its limit, no more.
        let _ = moved(&cgroup.back);
    }
    child.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", order.program.display())))
}

/// Ends what is left of the replica's process group, then takes its status. The group's number cannot be reused before
/// the leader is reaped, so nobody else is hit.
fn reap(child: &mut Child, pid: Pid, cgroup: Option<&Path>, limit: Option<u64>) -> io::Result<Exit> {
    let _ = kill_process_group(pid, Signal::KILL);
    let exit = Exit::of(child.wait()?);
    let Some(cgroup) = cgroup else { return Ok(exit) };
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    let events = fs::read_to_string(cgroup.join("memory.events")).unwrap_or_default();
    Ok(match limit {
        Some(limit) if exit == Exit::Signal(9) && crate::cgroup::oom_kills(&events) > 0 => {
            Exit::OutOfMemory(limit)
        }
        _ => exit,
    })
}

/// One of the replica's two streams.
struct Pipe {
    fd: OwnedFd,
    lines: Lines,
    open: bool,
}

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, lines: Lines::default(), open: true })
    }

    /// Reads all that is there now.
    fn drain(&mut self, log: &mut Log) {
        let mut buffer = [0; 16 * 1024];
        // Bounded, so that one stream that never pauses cannot keep the other, or the exit, waiting.
        for _ in 0..64 {
            if !self.open {
                return;
            }
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => {
                    self.lines.flush(log);
                    self.open = false;
                }
                Ok(read) => self.lines.push(&buffer[..read], log),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.open = false,
            }
        }
    }
}

/// Copies output until the replica exits, the deadline passes, or, without an exit to wait for, both streams end.
fn copy_until(
    pipes: &mut [Pipe],
    exited: Option<&OwnedFd>,
    deadline: Option<Instant>,
    log: &mut Log,
) -> io::Result<()> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) || (exited.is_none() && pipes.iter().all(|pipe| !pipe.open)) {
            break;
        }
        let held = pipes.iter().any(|pipe| !pipe.lines.is_empty());
        let wait = if held { Some(left.map_or(HOLD, |left| left.min(HOLD))) } else { left };
        let (ready, ended) = wait_readable(pipes, exited, wait)?;
        for (pipe, ready) in pipes.iter_mut().zip(&ready) {
            if *ready {
                pipe.drain(log);
            }
        }
        if !ended && !ready.contains(&true) {
            pipes.iter_mut().for_each(|pipe| pipe.lines.flush(log));
        }
        if ended {
            return Ok(());
        }
    }
    pipes.iter_mut().for_each(|pipe| pipe.lines.flush(log));
    Ok(())
}

/// Waits until something happens; says which pipes have data and whether the replica exited.
fn wait_readable(
    pipes: &[Pipe],
    exited: Option<&OwnedFd>,
    wait: Option<Duration>,
) -> io::Result<(Vec<bool>, bool)> {
    let open: Vec<usize> = (0..pipes.len()).filter(|index| pipes[*index].open).collect();
    let mut fds: Vec<PollFd<'_>> =
        open.iter().map(|index| PollFd::from_borrowed_fd(pipes[*index].fd.as_fd(), PollFlags::IN)).collect();
    if let Some(exited) = exited {
        fds.push(PollFd::from_borrowed_fd(exited.as_fd(), PollFlags::IN));
    }
    let wait = wait.map(|wait| Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(wait.subsec_nanos()),
    });
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let happened: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let mut ready = vec![false; pipes.len()];
    for (index, happened) in open.iter().zip(&happened) {
        ready[*index] = *happened;
    }
    let ended = exited.is_some() && happened.last() == Some(&true);
    Ok((ready, ended))
}
