//! The guard: a small process between us and a command, so that the command never outlives whoever asked for it. It
//! watches its standard input: when that ends, by a timeout or because control was killed, it ends the command's whole
//! process group. Synchronous and single-threaded on purpose.
//!
//! A process that leaves the command's group on purpose (`setsid`) is out of its reach.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The exit status of a command that could not be started, as shells say it.
pub(crate) const NOT_STARTED: u8 = 127;
/// What shells add to the number of the signal that ended a command.
pub(crate) const SIGNALLED: i32 = 128;

/// Runs a guard. The binary calls this for its hidden `guard` subcommand with the arguments that follow it: the program
/// and its arguments. Environment, directory and output are the command's.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let Some(program) = args.next() else { return ExitCode::from(2) };
    match run(Command::new(&program).args(args)) {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            // Its output is the command's: who reads the one reads the other.
            let words = format!("{}: {error}\n", program.to_string_lossy());
            let _ = io::Write::write_all(&mut io::stderr(), words.as_bytes());
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn run(command: &mut Command) -> io::Result<ExitStatus> {
    // Fails only for the leader of a process group, as when somebody runs it by hand in a shell.
    let _ = rustix::process::setsid();
    let mut child = command.process_group(0).stdin(Stdio::null()).spawn()?;
    let pid = Pid::from_child(&child);
    let watched = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from);
    let ended = watched.and_then(|exited| wait_for_end(&exited));
    end(&mut child, pid).and_then(|status| ended.map(|()| status))
}

/// Waits until the command exits or nobody wants it any more.
fn wait_for_end(exited: &OwnedFd) -> io::Result<()> {
    let stdin = io::stdin();
    let mut buffer = [0; 64];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(exited.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [has_exited, has_input] = fds.map(|fd| !fd.revents().is_empty());
        if has_exited {
            return Ok(());
        }
        if has_input {
            match rustix::io::read(stdin.as_fd(), &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Ends what is left of the command's process group, then takes its status. The group's number cannot be used anew before
/// its leader is reaped, so nobody else is hit.
fn end(child: &mut Child, pid: Pid) -> io::Result<ExitStatus> {
    let _ = kill_process_group(pid, Signal::KILL);
    child.wait()
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| SIGNALLED + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}
