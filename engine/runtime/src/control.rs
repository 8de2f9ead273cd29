//! The loop that owns the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::{Command, Event, World};
use model::{Generation, Place, Timestamp};
use ports::fleet::{self, Fleet, Seen};
use ports::{Artifacts, Clock, Journal, Secrets};
use ship::Report;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::draft;
use crate::engine::{self, Engine};
use crate::handle::{Error, Handle, Message, Snapshot};
use crate::observe::View;
use crate::request::Answer;
use crate::wanted;

/// How control behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often timers are looked at when nothing else happens.
    pub tick: Duration,
    /// How long the fleet may take to say that nothing changed.
    pub patience: Duration,
    /// How long to wait before a fleet that did not answer or refused is asked again.
    pub retry: Duration,
    /// How many commands may wait; more are kept waiting at the caller.
    pub queue: usize,
    /// The version of Shipshape, for the journal.
    pub version: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(100),
            patience: Duration::from_secs(1),
            retry: Duration::from_millis(250),
            queue: 64,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Everything outside.
pub struct Ports<J, F> {
    /// Where events are kept.
    pub journal: J,
    /// Who runs replicas and routes requests.
    pub fleet: Arc<F>,
    /// Where artifacts are kept.
    pub artifacts: Arc<dyn Artifacts>,
    /// Where secrets are looked up.
    pub secrets: Arc<dyn Secrets>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Replays the journal and starts to act on it. The task ends when it is told to stop.
///
/// # Errors
/// When the journal cannot be read or makes no sense, with what to do.
pub async fn start<J: Journal, F: Fleet>(
    ports: Ports<J, F>,
    config: Config,
) -> Result<(Handle, JoinHandle<()>), String> {
    let engine = Engine::load(ports.journal).map_err(|error| error.to_string())?;
    let (messages, inbox) = mpsc::channel(config.queue);
    let first = Snapshot {
        at: ports.clock.now(),
        world: engine.world().clone(),
        seen: Arc::default(),
        reachable: false,
        reports: Arc::default(),
        warnings: vec![],
    };
    let (publisher, snapshots) = watch::channel(Arc::new(first));
    let storing = Arc::new(Mutex::new(()));
    let handle = Handle {
        messages,
        snapshots,
        artifacts: ports.artifacts.clone(),
        secrets: ports.secrets.clone(),
        storing: storing.clone(),
    };
    let mut control = Control {
        engine,
        fleet: ports.fleet,
        artifacts: ports.artifacts,
        secrets: ports.secrets,
        clock: ports.clock,
        config,
        view: View::default(),
        pushed: None,
        push_again_at: None,
        push_warnings: vec![],
        trouble: None,
        reports: BTreeMap::new(),
        publisher,
        storing,
    };
    control.record_start().await.map_err(|error| error.to_string())?;
    Ok((handle, tokio::spawn(control.run(inbox))))
}

struct Control<J, F> {
    engine: Engine<J>,
    fleet: Arc<F>,
    artifacts: Arc<dyn Artifacts>,
    secrets: Arc<dyn Secrets>,
    clock: Arc<dyn Clock>,
    config: Config,
    view: View,
    /// The instance and generation that the fleet took last.
    pushed: Option<(String, Generation)>,
    /// When a push that failed is tried again.
    push_again_at: Option<Timestamp>,
    push_warnings: Vec<String>,
    /// Why planning or recording failed last.
    trouble: Option<String>,
    reports: BTreeMap<Place, Report>,
    publisher: watch::Sender<Arc<Snapshot>>,
    storing: Arc<Mutex<()>>,
}

impl<J: Journal, F: Fleet> Control<J, F> {
    async fn record_start(&mut self) -> Result<(), Error> {
        let at = self.clock.now();
        let mut draft = self.engine.draft(at);
        let started = Event::ControlStarted { version: self.config.version.clone() };
        draft.happened(started, "shipshape", None).map_err(refused)?;
        self.engine.commit(draft, at).await.map_err(|error| Error::Journal(error.to_string()))
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let (sightings, mut seen) = watch::channel(None);
        let watcher = tokio::spawn(watch_fleet(self.fleet.clone(), self.config.clone(), sightings));
        let mut tick = tokio::time::interval(self.config.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(Message::Command { command, actor, reason, reply }) => {
                        let answer = self.command(command, &actor, reason.as_deref()).await;
                        // Whoever asked may have gone away; what was asked is done all the same.
                        let _ = reply.send(answer);
                    }
                    Some(Message::Stop { actor, reason, reply }) => {
                        let stopped = self.stop(&actor, reason.as_deref()).await;
                        let done = stopped.is_ok();
                        let _ = reply.send(stopped);
                        if done {
                            break;
                        }
                    }
                    None => break,
                },
                changed = seen.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let latest = seen.borrow_and_update().clone();
                    self.look(latest);
                }
                _ = tick.tick() => {}
            }
            self.advance().await;
        }
        watcher.abort();
    }

    /// Takes in what the watcher saw last.
    fn look(&mut self, latest: Option<Arc<Seen>>) {
        match latest {
            Some(seen) => {
                let same = seen.instance == self.view.seen.instance;
                let confirmed = if same { self.view.in_force } else { Generation::default() };
                self.view = View { in_force: confirmed.max(seen.generation), reachable: true, seen };
            }
            None => self.view.reachable = false,
        }
    }

    async fn command(
        &mut self,
        command: Command,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Answer, Error> {
        let at = self.clock.now();
        let place = place_of(&command);
        let mut draft = self.engine.draft(at);
        let changed = draft.command(command, actor, reason).map_err(refused)? > 0;
        // What follows at once goes into the same unit of the journal: a rollback is one append away from the fleet.
        let reports = draft.settle(&self.view).map_err(refused)?;
        let answer = answer(&draft.world, &place, changed)?;
        self.commit(draft, at, reports).await?;
        Ok(answer)
    }

    async fn stop(&mut self, actor: &str, reason: Option<&str>) -> Result<(), Error> {
        self.fleet.stop().await.map_err(|error| Error::Stopped(error.to_string()))?;
        let at = self.clock.now();
        let mut draft = self.engine.draft(at);
        draft.happened(Event::ControlStopped, actor, reason).map_err(refused)?;
        self.engine.commit(draft, at).await.map_err(|error| Error::Journal(error.to_string()))
    }

    /// Plans, records and pushes until nothing moves without news from outside.
    async fn advance(&mut self) {
        loop {
            let at = self.clock.now();
            let recorded = match self.plan(at).await {
                Ok(recorded) => {
                    self.trouble = None;
                    recorded
                }
                Err(error) => {
                    tracing::error!(%error, "rollouts stand still");
                    self.trouble = Some(format!("rollouts stand still: {error}"));
                    false
                }
            };
            let pushed = self.push(at).await;
            if !recorded && !pushed {
                break;
            }
        }
        self.publish();
    }

    async fn plan(&mut self, at: Timestamp) -> Result<bool, Error> {
        let mut draft = self.engine.draft(at);
        let reports = draft.settle(&self.view).map_err(refused)?;
        let moved = !draft.events.is_empty();
        self.commit(draft, at, reports).await?;
        Ok(moved)
    }

    async fn commit(
        &mut self,
        draft: draft::Draft,
        at: Timestamp,
        reports: BTreeMap<Place, Report>,
    ) -> Result<(), Error> {
        let retired = draft.events.iter().any(|d| matches!(d.event, Event::ReleaseRetired { .. }));
        self.engine.commit(draft, at).await.map_err(|error| match error {
            engine::Error::Journal(error) => Error::Journal(error.to_string()),
            other => Error::Journal(other.to_string()),
        })?;
        self.reports = reports;
        // Before anybody gets an answer, and before a sweep looks what is to be kept.
        self.publish();
        if retired {
            self.sweep();
        }
        Ok(())
    }

    /// Removes the artifacts of retired releases, when no artifact is just being stored.
    fn sweep(&self) {
        let (storing, artifacts) = (self.storing.clone(), self.artifacts.clone());
        let snapshots = self.publisher.subscribe();
        tokio::spawn(async move {
            let _nothing_is_stored = storing.lock_owned().await;
            let keep = snapshots.borrow().world.artifacts();
            let swept = tokio::task::spawn_blocking(move || artifacts.retain(&keep)).await;
            match swept {
                Ok(Ok(count)) => tracing::info!(count, "removed artifacts of retired releases"),
                Ok(Err(error)) => tracing::warn!(%error, "artifacts not swept"),
                Err(error) => tracing::warn!(%error, "artifacts not swept"),
            }
        });
    }

    /// Hands what is wanted to the fleet when it does not have it yet. Returns whether the fleet took something new.
    async fn push(&mut self, at: Timestamp) -> bool {
        let target = (self.view.seen.instance.clone(), self.engine.world().generation);
        let waits = self.push_again_at.is_some_and(|again| at < again);
        if !self.view.reachable || self.pushed.as_ref() == Some(&target) || waits {
            return false;
        }
        let order = match wanted::order(self.engine.world(), &*self.artifacts, &*self.secrets) {
            Ok(order) => order,
            Err(warning) => {
                self.push_warnings = vec![warning];
                self.push_again_at = Some(at.after(self.config.retry));
                return false;
            }
        };
        match self.fleet.want(order.wanted, order.secrets).await {
            Ok(()) => {
                self.view.in_force = self.view.in_force.max(target.1);
                self.pushed = Some(target);
                self.push_again_at = None;
                self.push_warnings = order.warnings;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the fleet did not take what is wanted");
                self.push_warnings = vec![explained(&error)];
                self.push_again_at = Some(at.after(self.config.retry));
                false
            }
        }
    }

    fn publish(&self) {
        let mut warnings: Vec<String> = self.trouble.iter().cloned().collect();
        warnings.extend(self.push_warnings.iter().cloned());
        warnings.extend(self.view.seen.warnings.iter().cloned());
        self.publisher.send_replace(Arc::new(Snapshot {
            at: self.clock.now(),
            world: self.engine.world().clone(),
            seen: self.view.seen.clone(),
            reachable: self.view.reachable,
            reports: Arc::new(self.reports.clone()),
            warnings,
        }));
    }
}

fn refused(error: draft::Error) -> Error {
    match error {
        draft::Error::Refused(refusal) => Error::Refused(refusal),
        draft::Error::Illegal(illegal) => Error::Stopped(illegal.to_string()),
    }
}

fn explained(error: &fleet::Error) -> String {
    match error {
        fleet::Error::Stale { .. } => format!(
            "{error}: this journal is older than what the agent runs. If the journal was restored from a copy, \
             `shipshape down` and `shipshape up` start both from it"
        ),
        fleet::Error::Unreachable(_) | fleet::Error::Refused(_) => error.to_string(),
    }
}

fn place_of(command: &Command) -> Place {
    match command {
        Command::Deploy { service, environment, .. } => {
            Place { service: service.clone(), environment: environment.clone() }
        }
        Command::Ship { service, to, .. } => Place { service: service.clone(), environment: to.clone() },
        Command::Rollback { place, .. } | Command::Operate { place, .. } => place.clone(),
    }
}

fn answer(world: &World, place: &Place, changed: bool) -> Result<Answer, Error> {
    let lane = world.lanes.get(place);
    let rollout = lane.and_then(|lane| lane.rollout.as_ref()).filter(|_| changed);
    let release = rollout.map(|rollout| rollout.to).or_else(|| lane.and_then(lifecycle::Lane::settled));
    match release {
        Some(release) => {
            Ok(Answer { place: place.clone(), release, rollout: rollout.map(|rollout| rollout.number) })
        }
        None => Err(Error::Stopped(format!("internal: a command at {place} left no release there"))),
    }
}

/// Asks the fleet what it sees, for ever; `None` when it does not answer.
async fn watch_fleet<F: Fleet>(fleet: Arc<F>, config: Config, sightings: watch::Sender<Option<Arc<Seen>>>) {
    let (mut instance, mut version) = (String::new(), 0);
    loop {
        match fleet.seen(instance.clone(), version, config.patience).await {
            Ok(seen) => {
                (instance, version) = (seen.instance.clone(), seen.version);
                sightings.send_replace(Some(Arc::new(seen)));
            }
            Err(error) => {
                tracing::debug!(%error, "the fleet does not answer");
                (instance, version) = (String::new(), 0);
                sightings.send_replace(None);
                tokio::time::sleep(config.retry).await;
            }
        }
        if sightings.is_closed() {
            return;
        }
    }
}
