//! What the user may type. Does not live here: what a verb does with it.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use model::{EnvironmentName, ServiceName};

use crate::failure::Failure;
use crate::printer::Format;
use crate::{Process, home, verbs};

/// The operations platform in one binary: ship a service without losing a request, and take it back when the evidence
/// says so.
#[derive(Debug, Parser)]
#[command(name = "shipshape", version, disable_help_subcommand = true)]
#[command(after_help = "A first try, with a shipshape.yaml in this directory:
  shipshape up
  shipshape deploy ./build/shop
  shipshape status")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The directory that holds everything; $XDG_STATE_HOME/shipshape by default
    #[arg(long, global = true, env = "SHIPSHAPE_HOME", value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) home: Option<PathBuf>,
    /// The manifest
    #[arg(
        id = "file",
        short = 'f',
        long = "file",
        global = true,
        env = "SHIPSHAPE_FILE",
        value_name = "PATH",
        default_value = "shipshape.yaml",
        help_heading = "Everywhere"
    )]
    pub(crate) file: PathBuf,
    /// The environment; the manifest's only one by default
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    pub(crate) environment: Option<EnvironmentName>,
    /// The service; the manifest's by default
    #[arg(long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    pub(crate) service: Option<ServiceName>,
    /// Where control's API is, instead of the home's socket; with `up`, where it shall be as well (`off` closes it)
    #[arg(long, global = true, env = "SHIPSHAPE_API", value_name = "URL", help_heading = "Everywhere")]
    pub(crate) api: Option<String>,
    /// The form of data on stdout
    #[arg(long, global = true, value_name = "FORM", default_value = "text", help_heading = "Everywhere")]
    pub(crate) output: Format,
}

impl Common {
    /// The home directory, absolute.
    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        let home = self.home.clone().filter(|home| !home.as_os_str().is_empty()).or_else(home::default);
        let home = home.ok_or_else(|| {
            Failure::new("where is the home directory? neither --home, nor SHIPSHAPE_HOME, nor HOME is set")
                .instead("say it with --home DIR")
        })?;
        absolute(&home)
    }
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(format!("{} has no absolute path: {error}", path.display())))
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start the gateway, and control that decides about releases
    Up(verbs::up::Args),
    /// Drain and stop everything that `up` started
    Down(verbs::down::Args),
    /// Check the manifest; every error with line and column
    Check(verbs::check::Args),
    /// Show the effective configuration of an environment, or what differs between two
    Env(verbs::env::Args),
    /// Turn files of Argo, OpenSLO, Sloth and Prometheus into parts of a manifest
    Import(verbs::import::Args),
    /// Print the JSON schema of the manifest
    Schema(verbs::schema::Args),
    /// Make a file or directory a release and roll it out
    Deploy(verbs::deploy::Args),
    /// Go on from a pause, or take a release on to another environment
    Promote(verbs::promote::Args),
    /// Let the rollout stand still
    Pause(verbs::pause::Args),
    /// End the rollout and go back to the release before
    Abort(verbs::abort::Args),
    /// Go back to an earlier release, its configuration included
    Rollback(verbs::rollback::Args),
    /// Try the rollout that was rolled back last again
    Retry(verbs::retry::Args),
    /// Let no rollout begin, for a while or until it is unlocked
    Lock(verbs::lock::Lock),
    /// Let rollouts begin again
    Unlock(verbs::lock::Unlock),
    /// Show changes that wait for somebody's approval
    Requests(verbs::requests::Args),
    /// Let somebody else's change begin
    Approve(verbs::requests::Approve),
    /// Say no to a change, or take your own request back
    Reject(verbs::requests::Reject),
    /// Say what you found of an emergency that began without approval
    Review(verbs::requests::Review),
    /// Show when rollouts may begin in the next two weeks
    Calendar(verbs::calendar::Args),
    /// Show what serves, what moves, and why it does not
    Status(verbs::status::Args),
    /// Show what the probes from outside found last
    Probes(verbs::probes::Args),
    /// Show what the replicas print
    Logs(verbs::logs::Args),
    /// Show what errors services print, which are new, and decide about them
    Errors(verbs::errors::Args),
    /// Ask for metrics in PromQL
    Query(verbs::query::Args),
    /// Show what somebody should know now, and the rules that say so
    Alerts(verbs::alerts::Args),
    /// Show how much is left of what may go wrong, and what burned it
    Slo(verbs::slo::Args),
    /// Tell nobody of some alerts for a while
    Silence(verbs::silence::Args),
    /// List, show, check and export what happened
    Journal(verbs::journal::Args),
    /// See it all on a real example service, in about a minute
    Demo(verbs::demo::Args),
    /// Print what completes these verbs and options in a shell
    Completions(verbs::completions::Args),
    /// Print the OpenAPI document of control's API
    #[command(hide = true)]
    Api(verbs::api::Args),
    /// The process that runs the gateway and the replicas
    #[command(hide = true)]
    Agent(verbs::hidden::Agent),
    /// The process that keeps the journal and decides
    #[command(hide = true)]
    Control(verbs::hidden::Control),
}

impl Verb {
    /// The process that this hidden verb is, if it is one.
    pub(crate) fn process(&self, common: &Common) -> Option<Result<Process, Failure>> {
        match self {
            Self::Agent(agent) => Some(common.home().map(|home| agent.process(home))),
            Self::Control(control) => Some(common.home().map(|home| control.process(home))),
            Self::Up(_)
            | Self::Down(_)
            | Self::Check(_)
            | Self::Env(_)
            | Self::Import(_)
            | Self::Schema(_)
            | Self::Deploy(_)
            | Self::Promote(_)
            | Self::Pause(_)
            | Self::Abort(_)
            | Self::Rollback(_)
            | Self::Retry(_)
            | Self::Lock(_)
            | Self::Unlock(_)
            | Self::Requests(_)
            | Self::Approve(_)
            | Self::Reject(_)
            | Self::Review(_)
            | Self::Calendar(_)
            | Self::Status(_)
            | Self::Probes(_)
            | Self::Logs(_)
            | Self::Errors(_)
            | Self::Query(_)
            | Self::Alerts(_)
            | Self::Slo(_)
            | Self::Silence(_)
            | Self::Journal(_)
            | Self::Completions(_)
            | Self::Api(_)
            | Self::Demo(_) => None,
        }
    }
}
