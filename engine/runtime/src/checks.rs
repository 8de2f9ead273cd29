//! The checks and hooks under way. The rules say which are wanted; here they are begun, ended, and their outcomes kept until
//! they are recorded. The loop never waits for one.
//!
//! Killed in between, the next control finds the same check wanted and begins it again: a check may run twice, never
//! zero times, and its outcome is recorded once. A hook is wanted only once the journal says that its attempt has begun, and
//! that attempt never runs again: the next control counts it as lost. Does not live here: looking (`ports::Checks`), and what
//! an outcome means.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lifecycle::World;
use model::check::{Check, Outcome};
use model::hook::Moment;
use model::spec::SecretSource;
use model::{Place, Spec, Timestamp};
use ports::checks::{Context, Running};
use ports::fleet::ReplicaPhase;
use ports::metrics::Provider;
use ports::{Artifacts, Checks, Secret, Secrets};
use ship::Rollout;
use ship::checks::{Begun, Ticket, Wanted};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::observe::{View, observation};
use crate::questions;

/// How many checks run at once; the others wait for their turn.
const MOST_AT_ONCE: usize = 8;
/// How many hooks run at once, beside the checks: they may take hours, and a group's members have theirs together.
const MOST_HOOKS_AT_ONCE: usize = 32;
/// How much longer than its timeout a check may take to say so.
const PATIENCE: Duration = Duration::from_secs(30);

/// One measurement at one place.
type Key = (Place, Ticket);

/// The checks under way.
pub(crate) struct Looks {
    port: Arc<dyn Checks>,
    artifacts: Arc<dyn Artifacts>,
    secrets: Arc<dyn Secrets>,
    running: BTreeMap<Key, (Timestamp, AbortHandle)>,
    tasks: JoinSet<Outcome>,
    /// What was found and is not recorded yet.
    found: BTreeMap<Key, (Timestamp, Outcome)>,
}

impl Looks {
    pub(crate) fn new(
        port: Arc<dyn Checks>,
        artifacts: Arc<dyn Artifacts>,
        secrets: Arc<dyn Secrets>,
    ) -> Self {
        Self {
            port,
            artifacts,
            secrets,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            found: BTreeMap::new(),
        }
    }

    /// The next check that ends; never, when none is under way.
    pub(crate) async fn ended(&mut self) -> Result<(Id, Outcome), JoinError> {
        match self.tasks.join_next_with_id().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Takes in a check that ended.
    pub(crate) fn take(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Outcome::error(format!("internal: the check broke down: {error}"))),
        };
        // One that is not wanted any more is not among them.
        let key = self.running.iter().find(|(_, (_, task))| task.id() == id).map(|(key, _)| key.clone());
        if let Some((key, (since, _))) = key.and_then(|key| self.running.remove_entry(&key)) {
            tracing::info!(place = %key.0, ?outcome, "a check ended");
            self.found.insert(key, (since, outcome));
        }
    }

    /// What was found and is not recorded yet.
    pub(crate) fn found(&self) -> impl Iterator<Item = (&Place, Ticket, &Outcome)> {
        self.found.iter().map(|((place, ticket), (_, outcome))| (place, *ticket, outcome))
    }

    /// Forgets what was found: it is recorded, or counts for nothing.
    pub(crate) fn recorded(&mut self) {
        self.found.clear();
    }

    /// What is under way, or found and not recorded yet.
    pub(crate) fn begun(&self) -> Vec<(Place, Begun)> {
        let running = self.running.iter().map(|(key, (since, _))| (key, *since));
        let found = self.found.iter().map(|(key, (since, _))| (key, *since));
        running
            .chain(found)
            .map(|((place, ticket), since)| (place.clone(), Begun { ticket: *ticket, since }))
            .collect()
    }

    /// Ends what is not wanted any more, and begins what is and does not run yet.
    pub(crate) fn reconcile(&mut self, world: &Arc<World>, view: &View, at: Timestamp) {
        let wanted = wanted(world, view, at);
        let is_wanted = |key: &Key| wanted.iter().any(|(place, it)| (place, it.ticket) == (&key.0, key.1));
        self.running.retain(|key, (_, task)| {
            let keep = is_wanted(key);
            if !keep {
                tracing::info!(place = %key.0, "a check is not wanted any more");
                task.abort();
            }
            keep
        });
        for (place, Wanted { ticket, check }) in wanted {
            let key = (place, ticket);
            let has_to_wait = self.is_full(ticket);
            if has_to_wait || self.running.contains_key(&key) || self.found.contains_key(&key) {
                continue;
            }
            let limit = check.timeout() + PATIENCE;
            let look = self.look(world, view, &key, check);
            let task = self.tasks.spawn(async move {
                let late = || Outcome::error("the check did not end in time");
                tokio::time::timeout(limit, look).await.unwrap_or_else(|_| late())
            });
            self.running.insert(key, (at, task));
        }
    }

    fn is_full(&self, next: Ticket) -> bool {
        let is_hook = |ticket: Ticket| matches!(ticket, Ticket::Hook { .. });
        let alike = self.running.keys().filter(|(_, ticket)| is_hook(*ticket) == is_hook(next)).count();
        alike >= if is_hook(next) { MOST_HOOKS_AT_ONCE } else { MOST_AT_ONCE }
    }

    /// The check itself; the artifact and the secrets are looked up where blocking is allowed.
    fn look(&self, world: &Arc<World>, view: &View, (place, ticket): &Key, mut check: Check) -> Running {
        let Some((rollout, spec, artifact)) = subject(world, place) else {
            return Box::pin(async { Outcome::error("the release is not known any more") });
        };
        if let Check::Promql(promql) = &mut check
            && let Err(error) = questions::complete(promql, place, rollout)
        {
            return Box::pin(async move { Outcome::error(error) });
        }
        let mut context = context(world, view, place, rollout, spec);
        let (port, artifacts, secrets) = (self.port.clone(), self.artifacts.clone(), self.secrets.clone());
        let (references, artifact) = (spec.secrets.clone(), artifact.clone());
        let server = spec.metrics.prometheus.clone().filter(|_| matches!(check, Check::Promql(_)));
        let is_hook = match ticket {
            Ticket::Measurement { .. } => false,
            Ticket::Hook { moment, hook, attempt, .. } => {
                context.variables = variables(rollout, spec, *moment, *hook, *attempt);
                true
            }
        };
        Box::pin(async move {
            let looking_up = tokio::task::spawn_blocking(move || {
                let directory = artifacts.directory(&artifact).map_err(|error| error.to_string())?;
                let values = resolve(&references, &*secrets, is_hook)?;
                let provider = Provider::resolve(server, &*secrets)?;
                Ok::<_, String>((directory, values, provider))
            });
            match looking_up.await {
                Ok(Ok((directory, values, _))) if is_hook => {
                    (context.directory, context.secrets) = (directory, values);
                }
                Ok(Ok((directory, values, provider))) => {
                    (context.directory, context.hidden) = (directory, values.into_values().collect());
                    context.metrics = provider;
                }
                Ok(Err(what)) => return Outcome::error(what),
                Err(error) => return Outcome::error(error.to_string()),
            }
            port.run(check, context).await
        })
    }
}

/// What a hook is told: what the service is told, and which attempt of what this is.
fn variables(
    rollout: &Rollout,
    spec: &Spec,
    moment: Moment,
    hook: u32,
    attempt: u32,
) -> BTreeMap<String, String> {
    let mut variables = spec.config.clone();
    let name = rollout.strategy.hooks.of(moment).get(hook as usize).map(|hook| hook.name.clone());
    variables.extend([
        ("SHIPSHAPE_ROLLOUT".to_owned(), rollout.number.to_string()),
        ("SHIPSHAPE_HOOK".to_owned(), name.unwrap_or_default()),
        ("SHIPSHAPE_ATTEMPT".to_owned(), attempt.to_string()),
    ]);
    variables
}

/// The values of secrets. A hook needs each; of a check, one that has no value now cannot be shown either.
fn resolve(
    references: &BTreeMap<String, SecretSource>,
    secrets: &dyn Secrets,
    each: bool,
) -> Result<BTreeMap<String, Secret>, String> {
    let mut values = BTreeMap::new();
    for (name, source) in references {
        match secrets.resolve(source) {
            Ok(value) => drop(values.insert(name.clone(), value)),
            Err(error) if each => return Err(format!("{name}: {error}")),
            Err(_) => {}
        }
    }
    Ok(values)
}

fn wanted(world: &World, view: &View, at: Timestamp) -> Vec<(Place, Wanted)> {
    let mut all = Vec::new();
    for (place, lane) in &world.lanes {
        if let Some(rollout) = lane.active().filter(|rollout| ship::checks::looks(&rollout.strategy)) {
            let seen = observation(world, view, place, rollout);
            let wanted = ship::checks::wanted(rollout, &seen, at);
            all.extend(wanted.into_iter().map(|wanted| (place.clone(), wanted)));
        }
    }
    all
}

/// The release that is rolled out at a place.
fn subject<'a>(
    world: &'a World,
    place: &Place,
) -> Option<(&'a Rollout, &'a Spec, &'a model::release::Artifact)> {
    let rollout = world.lanes.get(place)?.active()?;
    let release = world.release(&place.service, rollout.to)?;
    Some((rollout, release.specs.get(&place.environment)?, &release.artifact))
}

fn context(world: &World, view: &View, place: &Place, rollout: &Rollout, spec: &Spec) -> Context {
    let plain = |hosts: &[String]| hosts.iter().find(|host| !host.contains('*')).cloned();
    let previewed = world.serving(place).and_then(|serving| serving.preview) == Some(rollout.to);
    let preview = spec.preview().filter(|_| previewed);
    let groups = view.seen.groups.iter();
    let replicas = groups
        .filter(|group| group.id.place == *place && group.id.release == rollout.to)
        .flat_map(|group| &group.replicas)
        .filter(|replica| replica.phase == ReplicaPhase::Ready)
        .map(|replica| SocketAddr::from((Ipv4Addr::LOCALHOST, replica.port)));
    let mut context = Context::new(place.clone(), rollout.to, std::path::PathBuf::new());
    context.gateway.clone_from(&view.seen.gateway);
    context.preview_host = preview.and_then(|route| plain(&route.hosts));
    context.host = plain(&spec.route.hosts);
    context.replicas = replicas.collect();
    context
}
