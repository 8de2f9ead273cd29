//! A small real HTTP service to deploy: it starts, becomes ready, answers, fails when it is told to, and stops
//! without dropping what it has begun. The README, the demo and the end-to-end tests ship it.
//!
//! Lives here: a service like any other. Deliberately absent: anything that knows Shipshape beyond the environment
//! variables that every replica gets, and anything that a test could not also do to a service of its own.

mod body;
mod chat;
mod ledger;
mod log;
mod server;
mod service;
mod settings;

use std::path::Path;
use std::process::ExitCode;

pub use settings::Settings;

/// Why the shop cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting from the file.
    #[error("settings.json: {0}")]
    File(String),
    /// An environment variable.
    #[error("{name}={value:?} must be {want}")]
    Variable {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What would be accepted.
        want: &'static str,
    },
    /// A setting is out of its range.
    #[error("{setting} must be {want}, not {found}")]
    Range {
        /// Its name in `settings.json`.
        setting: &'static str,
        /// What was given.
        found: String,
        /// What would be accepted.
        want: &'static str,
    },
    /// No port was given.
    #[error("PORT is not set: give the port to listen on (0 for any), for example PORT=8080")]
    NoPort,
    /// The port cannot be had.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// Which port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger cannot be opened.
    #[error("cannot open the ledger {path}: {source}")]
    Ledger {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system refused a part of the machinery.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

/// The whole program: settings from `settings.json` in the working directory and from the environment, then
/// [`run`]. Exit status 2 means that the settings are wrong.
pub fn main() -> ExitCode {
    match Settings::load(Path::new("."), |name| std::env::var(name).ok()) {
        Ok(settings) => run(settings),
        Err(error) => {
            log::error("settings", &error.to_string());
            ExitCode::from(2)
        }
    }
}

/// Serves until SIGTERM or SIGINT. Exit status 0 after a graceful stop, 1 if it could not start, could not finish
/// in time, or was told to crash.
pub fn run(settings: Settings) -> ExitCode {
    match server::run(settings) {
        Ok(code) => code,
        Err(error) => {
            log::error("start", &error.to_string());
            ExitCode::FAILURE
        }
    }
}
