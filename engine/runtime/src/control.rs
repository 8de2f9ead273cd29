//! The loop that owns the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::{Answer, Command, Event, Refusal, World};
use model::{Generation, Place, Timestamp};
use ports::fleet::{self, Fleet, Seen};
use ports::{Artifacts, Checks, Clock, Journal, Secrets};
use ship::{Phase, Report, Rollout};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::answer::{answer, places_of};
use crate::checks::Looks;
use crate::draft;
use crate::engine::{self, Engine};
use crate::handle::{Asked, Error, Handle, Message, Snapshot};
use crate::observe::View;
use crate::once::Once;
use crate::patience::{FLEET_TIMEOUT, Patience, in_time};
use crate::requests;
use crate::wanted;

/// How often control plans and pushes in a row before it listens again: a rollout's longest chain is far below this.
const MAX_ADVANCES: usize = 64;
/// The longest wait before recording is tried again.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(5);
/// How far the wall clock runs ahead of the running one before it counts as set by somebody.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// How long the status tells of drift that was put right.
const DRIFT_IS_NEWS: Duration = Duration::from_secs(600);
/// When a wanted state that lacked secrets is completed, should they be there by then.
const COMPLETE_AGAIN: Duration = Duration::from_secs(10);

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
    /// Who looks at releases.
    pub checks: Arc<dyn Checks>,
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
    let journal = ports.journal;
    let loading = tokio::task::spawn_blocking(move || Engine::load(journal)).await;
    let engine = loading.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let (messages, inbox) = mpsc::channel(config.queue);
    let at = ports.clock.now();
    let first = Snapshot {
        at,
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
        answers: engine.answers().clone(),
        journal: engine.history(),
        last_seq: engine.last_seq(),
        once: None,
    };
    let mut control = Control {
        engine,
        looks: Looks::new(ports.checks, ports.artifacts.clone(), ports.secrets.clone()),
        fleet: ports.fleet,
        artifacts: ports.artifacts,
        secrets: ports.secrets,
        clock: ports.clock,
        config,
        view: View::default(),
        pushed: None,
        push_again: None,
        orders: Patience::default(),
        push_warnings: vec![],
        standstill: None,
        clocks: (at, Instant::now()),
        clock_step_us: 0,
        reports: BTreeMap::new(),
        publisher,
        storing,
        since: 0,
    };
    control.record_start().await.map_err(|error| error.to_string())?;
    control.publish();
    Ok((handle, tokio::spawn(control.run(inbox))))
}

/// Which life of the fleet shall have which wanted state.
type Target = (String, Generation);

/// Why rollouts stand still, and until when nothing is tried.
struct Standstill {
    why: String,
    failures: u32,
    until: Instant,
}

struct Control<J, F> {
    engine: Engine<J>,
    looks: Looks,
    fleet: Arc<F>,
    artifacts: Arc<dyn Artifacts>,
    secrets: Arc<dyn Secrets>,
    clock: Arc<dyn Clock>,
    config: Config,
    view: View,
    /// What the fleet took last.
    pushed: Option<Target>,
    /// What the fleet did not take, or not with everything it needs, and when it is offered again.
    push_again: Option<(Target, Instant)>,
    orders: Patience,
    push_warnings: Vec<String>,
    /// Set while planning or recording fails.
    standstill: Option<Standstill>,
    /// The wall clock and the running one when they were last compared.
    clocks: (Timestamp, Instant),
    /// How far the wall clock was set, in microseconds, and no rollout has been told of yet.
    clock_step_us: i64,
    reports: BTreeMap<Place, Report>,
    publisher: watch::Sender<Arc<Snapshot>>,
    storing: Arc<Mutex<()>>,
    /// The number of the event that says that this control began.
    since: u64,
}

impl<J: Journal, F: Fleet> Control<J, F> {
    async fn record_start(&mut self) -> Result<(), Error> {
        let at = self.clock.now();
        let mut draft = self.engine.draft(at);
        let started = Event::ControlStarted { version: self.config.version.clone() };
        draft.happened(started, "shipshape", None).map_err(refused)?;
        draft.catch_up_with_clock().map_err(refused)?;
        draft.lose_hooks().map_err(refused)?;
        self.engine.commit(draft, at).await.map_err(unrecorded)?;
        self.since = *self.engine.last_seq().borrow();
        Ok(())
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let (sightings, mut seen) = watch::channel(None);
        let watcher = tokio::spawn(watch_fleet(self.fleet.clone(), self.config.clone(), sightings));
        let mut tick = tokio::time::interval(self.config.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // In order: who asks is heard before the timer, and the same history gives the same turns. Nobody
                // starves: each turn takes in what was seen last and plans.
                biased;
                message = inbox.recv() => {
                    self.look_if_changed(&mut seen);
                    match message {
                        Some(message) => if self.answer(message).await { break },
                        None => break,
                    }
                }
                changed = seen.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let latest = seen.borrow_and_update().clone();
                    self.look(latest);
                }
                ended = self.looks.ended() => self.looks.take(ended),
                _ = tick.tick() => {}
            }
            self.advance().await;
        }
        watcher.abort();
    }

    /// Does what is asked; returns whether control is to end.
    async fn answer(&mut self, message: Message) -> bool {
        match message {
            Message::Command(asked) => {
                let Asked { command, actor, reason, once, reply, not_swept } = *asked;
                let answer = self.command(command, &actor, reason.as_deref(), once.as_ref()).await;
                drop(not_swept);
                // Whoever asked may have gone away; what was asked is done all the same.
                let _ = reply.send(answer);
                false
            }
            Message::Stop { actor, reason, once, reply } => {
                let stopped = self.stop(&actor, reason.as_deref(), once.as_ref()).await;
                let done = stopped.as_ref().is_ok_and(|stopped| *stopped);
                let _ = reply.send(stopped.map(|_| ()));
                done
            }
        }
    }

    /// A command is decided on the last that was seen, not on what was seen before it waited in the queue.
    fn look_if_changed(&mut self, seen: &mut watch::Receiver<Option<Arc<Seen>>>) {
        if seen.has_changed().unwrap_or(false) {
            let latest = seen.borrow_and_update().clone();
            self.look(latest);
        }
    }

    /// Takes in what the watcher saw last.
    fn look(&mut self, latest: Option<Arc<Seen>>) {
        match latest {
            Some(seen) => {
                if !self.view.reachable {
                    tracing::info!(event = "agent.back", instance = seen.instance, "the agent answers");
                }
                // Only what this control pushed is known to be in force: an agent with another journal's history may
                // report any generation.
                let pushed = self.pushed.as_ref().filter(|(instance, _)| *instance == seen.instance);
                let in_force = pushed.map_or(Generation::default(), |(_, generation)| *generation);
                self.view.look(seen, in_force, self.clock.now());
            }
            None => {
                if self.view.reachable {
                    tracing::warn!(event = "agent.lost", "the agent does not answer");
                }
                self.view.reachable = false;
            }
        }
    }

    async fn command(
        &mut self,
        command: Command,
        actor: &str,
        reason: Option<&str>,
        once: Option<&Once>,
    ) -> Result<Option<Answer>, Error> {
        if let Some(answered) = self.engine.answers().to(once)? {
            return Ok(answered.answer);
        }
        let at = self.now();
        let places = places_of(&command);
        let mut draft = self.draft(at)?;
        let changed = draft.command(command, actor, reason).map_err(refused)? > 0;
        // What follows at once goes into the same unit of the journal: a rollback is one append away from the fleet.
        let reports = draft.settle(&self.view).map_err(refused)?;
        let answer = answer(&draft.world, &places, changed, &draft.events)?;
        if let Some(once) = once {
            draft.happened(once.answered(answer.clone()), actor, reason).map_err(refused)?;
        }
        self.commit(draft, at, reports).await?;
        Ok(answer)
    }

    /// Returns whether this control is to end.
    async fn stop(&mut self, actor: &str, reason: Option<&str>, once: Option<&Once>) -> Result<bool, Error> {
        let asked_before = self.engine.answers().to(once)?;
        if asked_before.as_ref().is_some_and(|asked| asked.seq <= self.since) {
            // Another control was stopped by this, and somebody has started this one since.
            return Ok(false);
        }
        // What cannot be done now is not to be recorded as done.
        let not_yet = |error| Error::Stopped(format!("not yet, nothing was stopped: {error}; ask again"));
        in_time(self.fleet.seen(String::new(), 0, Duration::ZERO), FLEET_TIMEOUT).await.map_err(not_yet)?;
        // Recorded before, and the fleet did not take it then.
        if asked_before.is_none() {
            let at = self.now();
            let mut draft = self.engine.draft(at);
            draft.happened(Event::ControlStopped, actor, reason).map_err(refused)?;
            if let Some(once) = once {
                draft.happened(once.answered(None), actor, reason).map_err(refused)?;
            }
            self.engine.commit(draft, at).await.map_err(unrecorded)?;
        }
        in_time(self.fleet.stop(), FLEET_TIMEOUT).await.map_err(not_yet)?;
        Ok(true)
    }

    /// What time it is. When somebody set the wall clock, every wait goes on as if nobody had; and when it was set forward,
    /// nobody was watched in the time that was left out.
    fn now(&mut self) -> Timestamp {
        let (wall, running) = (self.clock.now(), Instant::now());
        let (last_wall, last_running) = std::mem::replace(&mut self.clocks, (wall, running));
        let passed = i64::try_from((running - last_running).as_micros()).unwrap_or(i64::MAX);
        let step_us = wall.ahead_of(last_wall).saturating_sub(passed);
        if Duration::from_micros(step_us.unsigned_abs()) >= CLOCK_STEP {
            tracing::warn!(event = "clock.set", step_us, "the wall clock was set");
            self.clock_step_us = self.clock_step_us.saturating_add(step_us);
            self.view.watched_since = if step_us > 0 { wall } else { self.view.watched_since.moved(step_us) };
        }
        wall
    }

    /// A draft in which every rollout has followed the wall clock; the step is forgotten once it is recorded.
    fn draft(&self, at: Timestamp) -> Result<draft::Draft, Error> {
        let mut draft = self.engine.draft(at);
        draft.follow_clock(self.clock_step_us).map_err(refused)?;
        Ok(draft)
    }

    /// Plans, records and pushes until nothing moves without news from outside.
    async fn advance(&mut self) {
        for _ in 0..MAX_ADVANCES {
            let recorded = self.plan_unless_still().await;
            let pushed = self.push().await;
            if !recorded && !pushed {
                break;
            }
        }
        let at = self.now();
        self.looks.reconcile(self.engine.world(), &self.view, at);
        self.publish();
    }

    /// Plans and records; after a failure not again before some time has passed, longer with each.
    async fn plan_unless_still(&mut self) -> bool {
        if self.standstill.as_ref().is_some_and(|still| Instant::now() < still.until) {
            return false;
        }
        let at = self.now();
        match self.plan(at).await {
            Ok(recorded) => {
                self.standstill = None;
                recorded
            }
            Err(error) => {
                let failures = self.standstill.as_ref().map_or(0, |still| still.failures.saturating_add(1));
                if failures == 0 {
                    tracing::error!(event = "rollouts.stuck", %error, "rollouts stand still");
                }
                let wait = self.config.retry.saturating_mul(2u32.saturating_pow(failures));
                let until = Instant::now() + wait.min(LONGEST_STANDSTILL);
                self.standstill =
                    Some(Standstill { why: format!("rollouts stand still: {error}"), failures, until });
                false
            }
        }
    }

    async fn plan(&mut self, at: Timestamp) -> Result<bool, Error> {
        self.view.checks = self.looks.begun();
        let mut draft = self.draft(at)?;
        draft.notice(&self.view).map_err(refused)?;
        for (place, ticket, outcome) in self.looks.found() {
            draft.note_check(place, ticket, outcome).map_err(refused)?;
        }
        let reports = draft.settle(&self.view).map_err(refused)?;
        let moved = !draft.events.is_empty();
        self.commit(draft, at, reports).await?;
        self.looks.recorded();
        Ok(moved)
    }

    async fn commit(
        &mut self,
        draft: draft::Draft,
        at: Timestamp,
        reports: BTreeMap<Place, Report>,
    ) -> Result<(), Error> {
        let retired = draft.events.iter().any(|d| matches!(d.event, Event::ReleaseRetired { .. }));
        self.engine.commit(draft, at).await.map_err(unrecorded)?;
        self.clock_step_us = 0;
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
    async fn push(&mut self) -> bool {
        let target = (self.view.seen.instance.clone(), self.engine.world().generation);
        let again = self.push_again.as_ref().filter(|(failed, _)| *failed == target).map(|(_, at)| *at);
        let due = match again {
            Some(at) => Instant::now() >= at,
            None => self.pushed.as_ref() != Some(&target),
        };
        if !self.view.reachable || !due {
            return false;
        }
        let order = match self.order().await {
            Ok(order) => order,
            Err(warning) => {
                self.not_pushed(target, warning);
                return false;
            }
        };
        let groups = order.wanted.groups.iter().map(|group| (group.id.clone(), group.replicas));
        self.view.offer(order.wanted.generation, groups);
        match self.orders.ordered(self.fleet.want(order.wanted, order.secrets)).await {
            Ok(()) => {
                self.view.in_force = target.1;
                let incomplete = !order.warnings.is_empty();
                self.push_again = incomplete.then(|| (target.clone(), Instant::now() + COMPLETE_AGAIN));
                self.push_warnings = order.warnings;
                self.pushed.replace(target.clone()) != Some(target)
            }
            Err(error) => {
                self.not_pushed(target, explained(&error));
                false
            }
        }
    }

    /// The whole wanted state; artifacts and secrets are looked up where blocking is allowed.
    async fn order(&self) -> Result<wanted::Order, String> {
        let (world, artifacts, secrets) =
            (self.engine.world().clone(), self.artifacts.clone(), self.secrets.clone());
        if wanted::runs_nothing(&world) {
            return wanted::order(&world, &*artifacts, &*secrets);
        }
        tokio::task::spawn_blocking(move || wanted::order(&world, &*artifacts, &*secrets))
            .await
            .unwrap_or_else(|error| Err(error.to_string()))
    }

    fn not_pushed(&mut self, target: Target, warning: String) {
        if self.push_warnings.first() != Some(&warning) {
            tracing::warn!(event = "fleet.behind", warning, "the fleet does not have what is wanted");
        }
        self.push_warnings = vec![warning];
        // Replicas that could not be ordered have not failed to become ready.
        self.view.watched_since = self.clock.now();
        self.push_again = Some((target, Instant::now() + self.config.retry));
    }

    fn publish(&self) {
        let mut warnings: Vec<String> = self.standstill.iter().map(|still| still.why.clone()).collect();
        let frozen = self.engine.world().lanes.iter().filter_map(|(place, lane)| {
            let rollout = lane.active().filter(|rollout| rollout.is_frozen())?;
            let Phase::Paused(why) = &rollout.phase else { return None };
            Some(format!(
                "the rollout of release {} at {place} stands still at {} and waits for a decision: {why}",
                rollout.to, rollout.weight
            ))
        });
        warnings.extend(frozen);
        warnings.extend(failed_hooks(self.engine.world()));
        warnings.extend(requests::waiting(self.engine.world()));
        warnings.extend(self.push_warnings.iter().cloned());
        warnings.extend(self.view.seen.warnings.iter().cloned());
        let at = self.clock.now();
        let recent = self.engine.world().drifts.values().filter(|noted| at.since(noted.at) < DRIFT_IS_NEWS);
        warnings.extend(recent.map(lifecycle::Noted::in_words));
        self.publisher.send_replace(Arc::new(Snapshot {
            at,
            world: self.engine.world().clone(),
            seen: self.view.seen.clone(),
            reachable: self.view.reachable,
            reports: Arc::new(self.reports.clone()),
            warnings,
        }));
    }
}

/// The hooks after a rollout that failed, until the next rollout at their place begins.
fn failed_hooks(world: &World) -> Vec<String> {
    let serving = world.lanes.iter().filter_map(|(place, lane)| {
        let serves = matches!(lane.rollout.as_ref()?.phase, Phase::Promoted | Phase::Completed);
        serves.then_some((place, lane.rollout.as_ref()?))
    });
    let told = |(place, rollout): (&Place, &Rollout)| {
        let (place, to) = (place.clone(), rollout.to);
        let failed: Vec<String> = rollout.failed_hooks().collect();
        failed.into_iter().map(move |why| format!("release {to} serves at {place}, but its hook {why}"))
    };
    serving.flat_map(told).collect()
}

fn refused(error: draft::Error) -> Error {
    match error {
        draft::Error::Refused(refusal) => Error::Refused(refusal),
        draft::Error::Illegal(illegal) => Error::Stopped(illegal.to_string()),
    }
}

/// Why nothing was recorded; what breaks a limit of the journal is the asker's to change.
fn unrecorded(error: engine::Error) -> Error {
    if let engine::Error::Unstorable(record::Error::Draft { what, kind, .. }) = &error {
        let what = format!("the journal cannot hold {kind}: {what}");
        return Error::Refused(Refusal::new(what, "make it fit, then ask again"));
    }
    Error::Journal(error.to_string())
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

/// Asks the fleet what it sees, for ever; `None` when it does not answer.
async fn watch_fleet<F: Fleet>(fleet: Arc<F>, config: Config, sightings: watch::Sender<Option<Arc<Seen>>>) {
    let (mut instance, mut version) = (String::new(), 0);
    loop {
        let asked = fleet.seen(instance.clone(), version, config.patience);
        match in_time(asked, config.patience + FLEET_TIMEOUT).await {
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
