//! Checks: looking at a release from outside by a request, a command or a question to the metrics, and running a command
//! beside it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

use model::check::{Check, Outcome};
use model::{Place, ReleaseNumber};

use crate::Secret;
use crate::metrics::Provider;

/// The release that is looked at, as it is when the check begins.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where.
    pub place: Place,
    /// Which.
    pub release: ReleaseNumber,
    /// The directory with the artifact's content: commands run in it.
    pub directory: PathBuf,
    /// Where the gateway listens.
    pub gateway: Option<String>,
    /// The host at which the release is previewed; `None` when it is not.
    pub preview_host: Option<String>,
    /// The host that the service itself answers, for requests straight to a replica; `None` when it answers any.
    pub host: Option<String>,
    /// Its ready replicas.
    pub replicas: Vec<SocketAddr>,
    /// Environment variables for a command, beside those that tell it the above.
    pub variables: BTreeMap<String, String>,
    /// Secret environment variables for a command.
    pub secrets: BTreeMap<String, Secret>,
    /// Who keeps its metrics.
    pub metrics: Provider,
    /// Values that nothing may show, though the command is not given them.
    pub hidden: Vec<Secret>,
}

impl Context {
    /// A release without replicas, preview and variables.
    pub fn new(place: Place, release: ReleaseNumber, directory: PathBuf) -> Self {
        Self {
            place,
            release,
            directory,
            gateway: None,
            preview_host: None,
            host: None,
            replicas: vec![],
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            metrics: Provider::Embedded,
            hidden: vec![],
        }
    }
}

/// A check under way. Dropping it ends the check, with every process that it started.
pub type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Whoever looks.
pub trait Checks: Send + Sync + 'static {
    /// Looks once. It ends by itself within the check's timeout and a moment more, and whatever goes wrong is part of
    /// the outcome. When this process dies, what the check started dies too, so that it may be begun again.
    fn run(&self, check: Check, context: Context) -> Running;
}
