//! The command line: one module per verb, a client of control's API.
//!
//! Lives here: what the user types, what they read, and starting the two processes. Does not live here: what those
//! processes do; the binary brings that as [`Inside`].

mod args;
mod context;
mod failure;
pub mod home;
mod manifest_file;
mod printer;
mod processes;
mod progress;
#[cfg(test)]
mod tests;
mod verbs;
mod words;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::context::Context;
use crate::printer::Printer;
pub use crate::verbs::demo::EXAMPLE_SERVICE;

/// One of the processes that `up` starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// The gateway and the replicas.
    Agent {
        /// The directory that holds everything.
        home: PathBuf,
        /// Where the gateway listens.
        listen: SocketAddr,
        /// Where metrics are served.
        admin: SocketAddr,
        /// Whether it takes over from the agent that runs.
        succeeds: bool,
    },
    /// The journal, rollouts and the API.
    Control {
        /// The directory that holds everything.
        home: PathBuf,
        /// Where the API listens beside the socket.
        api: Option<SocketAddr>,
    },
}

impl Process {
    /// Its name: the hidden verb, and the stem of its log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Agent { .. } => "agent",
            Self::Control { .. } => "control",
        }
    }

    /// The directory that holds everything.
    pub fn home(&self) -> &std::path::Path {
        match self {
            Self::Agent { home, .. } | Self::Control { home, .. } => home,
        }
    }
}

/// Runs one of the processes to its end.
pub type Inside<'a> = &'a dyn Fn(Process) -> Result<(), String>;

/// Does what the arguments say, the program's name first. The exit status is 0 for done, 1 for refused or failed, and
/// 2 for misuse.
pub fn main(arguments: impl IntoIterator<Item = OsString>, inside: Inside<'_>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to be told when this cannot be written.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let printer = Printer::new(cli.common.output);
    if let args::Verb::Demo(args) = &cli.verb {
        return verbs::demo::run(args, &printer).unwrap_or_else(|failure| {
            printer.failure(&failure);
            ExitCode::FAILURE
        });
    }
    let done = match cli.verb.process(&cli.common) {
        Some(process) => {
            process.and_then(|process| inside(process).map_err(failure::Failure::from).map(|()| Done::Well))
        }
        None => client(cli, &printer),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            printer.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

/// How a verb ended, when nothing stood in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// As asked.
    Well,
    /// It did its work, and found or reached what was not asked for.
    Badly,
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        match done {
            Done::Well => Self::SUCCESS,
            Done::Badly => Self::FAILURE,
        }
    }
}

fn client(cli: Cli, printer: &Printer) -> Result<Done, failure::Failure> {
    // What starts and stops the processes of this machine asks them here.
    let is_here = matches!(cli.verb, args::Verb::Up(_) | args::Verb::Down(_));
    let context = Context::new(cli.common, printer, is_here)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failure::Failure::new(format!("cannot start: {error}")))?;
    let done = runtime.block_on(verbs::run(cli.verb, &context));
    // Whoever blocks in the background has nothing more to say.
    runtime.shutdown_background();
    done
}
