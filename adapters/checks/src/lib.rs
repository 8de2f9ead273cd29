//! Looks at releases: requests over HTTP, commands beside the artifact, and questions to the metrics.
//!
//! Lives here: how a check is carried out and told in words, and the [`guard`] that ends a command when whoever asked for
//! it is gone. Does not live here: which checks there are, when they are due, and what follows from their outcome.

mod command;
pub mod guard;
mod output;
mod question;
mod request;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use model::check::{Check, Outcome};
use ports::checks::{Context, Running};

/// Looks from this process.
#[derive(Clone)]
pub struct Checks {
    guard: GuardCommand,
    metrics: Option<Arc<dyn ports::Metrics>>,
}

/// How a guard is started: a program whose arguments, after `args`, are handed to [`guard::main`].
#[derive(Debug, Clone)]
pub struct GuardCommand {
    /// The program.
    pub program: PathBuf,
    /// The arguments before the command's own.
    pub args: Vec<OsString>,
}

impl Checks {
    /// Looks with the help of this guard; nobody is asked for metrics yet.
    pub fn new(guard: GuardCommand) -> Self {
        Self { guard, metrics: None }
    }

    /// Asks this one for metrics.
    #[must_use]
    pub fn asking(self, metrics: Arc<dyn ports::Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }
}

impl ports::Checks for Checks {
    fn run(&self, check: Check, context: Context) -> Running {
        match check {
            Check::Http(http) => Box::pin(async move { request::ask(&http, &context).await }),
            Check::Command(command) => {
                let guard = self.guard.clone();
                Box::pin(async move { command::run(&guard, &command, &context).await })
            }
            Check::Promql(promql) => {
                let metrics = self.metrics.clone();
                Box::pin(async move {
                    match metrics {
                        Some(metrics) => question::ask(&*metrics, promql, context.metrics).await,
                        None => Outcome::error("nobody keeps metrics here"),
                    }
                })
            }
        }
    }
}
