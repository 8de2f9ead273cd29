//! Starting the two processes so that they outlive this one, and waiting for processes to go. Does not live here: when
//! that is wanted (`up`, `down`).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::failure::Failure;
use crate::{Process, home};

/// The lines of a log that are shown when its process died.
const SHOWN_LINES: usize = 12;
/// The most that is read of a log to find them, in bytes.
const TAIL_BYTES: u64 = 64 * 1024;

/// A process that was started here and may still be starting.
pub(crate) struct Started {
    name: &'static str,
    child: Child,
    /// Where its own words begin in the log, in bytes.
    log_start: u64,
}

/// Starts a process in a session of its own, its output behind what its log has of those before it.
pub(crate) fn start(process: &Process) -> Result<Started, Failure> {
    let (name, home) = (process.name(), process.home());
    let log = home::log(home, name);
    let failed = |what: &str, error: io::Error| Failure::new(format!("cannot {what}: {error}"));
    let out = File::options().create(true).append(true).mode(0o600).open(&log);
    let out = out.map_err(|error| failed(&format!("write the log {}", log.display()), error))?;
    let log_start = out.metadata().map_or(0, |found| found.len());
    let err = out.try_clone().map_err(|error| failed("open the log twice", error))?;
    let program = std::env::current_exe().map_err(|error| failed("find the program that runs", error))?;
    let mut command = Command::new(program);
    command.arg(name).arg("--home").arg(home).stdin(Stdio::null()).stdout(out).stderr(err).current_dir(home);
    // What this process was told about another control is not for the one it starts.
    command.env_remove("SHIPSHAPE_API").env_remove("SHIPSHAPE_TOKEN");
    match process {
        Process::Agent { listen, admin, succeeds, .. } => {
            command.arg("--listen").arg(listen.to_string()).arg("--admin").arg(admin.to_string());
            if *succeeds {
                command.arg("--succeed");
            }
        }
        Process::Control { api: Some(api), .. } => {
            command.arg("--listen-api").arg(api.to_string());
        }
        Process::Control { api: None, .. } => {}
    }
    let child = command.spawn().map_err(|error| failed(&format!("start the {name}"), error))?;
    Ok(Started { name, child, log_start })
}

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of the log when the process has died already.
    pub(crate) fn check(&mut self, home: &Path) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.died(home, status)),
            Ok(None) => Ok(()),
            Err(error) => Err(Failure::new(format!("cannot look after the {}: {error}", self.name))),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) {
        if let Some(process) = Watched::new(self.child.id()) {
            process.terminate();
        }
        // It ends on SIGTERM, or has ended already.
        let _ = self.child.wait();
    }

    fn died(&self, home: &Path, status: ExitStatus) -> Failure {
        let log = home::log(home, self.name);
        let lines = tail(&log, self.log_start).unwrap_or_default();
        let said = lines.iter().map(|line| format!("\n  {line}")).collect::<String>();
        let who = if self.name == "agent" { "the agent" } else { self.name };
        Failure::new(format!("{who} ended ({status}); it said:{said}")).instead(format!(
            "set right what it says, then `shipshape up` again; all of it is in {}",
            log.display()
        ))
    }
}

/// The last lines of a log from there on. Those that are no JSON are what the process says to people; they go before all others.
fn tail(log: &Path, start: u64) -> io::Result<Vec<String>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    // One that is shorter was begun anew meanwhile.
    let start = if start > length { 0 } else { start };
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<String> = text.lines().map(crate::words::plain).collect();
    let spoken: Vec<String> = all.iter().filter(|line| !line.starts_with('{')).cloned().collect();
    let chosen = if spoken.is_empty() { all } else { spoken };
    Ok(chosen[chosen.len().saturating_sub(SHOWN_LINES)..].to_vec())
}

/// A process that is to go.
pub(crate) struct Watched(OwnedFd);

impl Watched {
    /// Watches a process; `None` when it is gone already.
    pub(crate) fn new(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        // It may have gone meanwhile.
        let _ = rustix::process::pidfd_send_signal(&self.0, rustix::process::Signal::TERM);
    }
}
