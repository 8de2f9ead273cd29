//! The life of one replica, as a task: start, probe, start again, let go. Does not live here: how a process is started
//! or watched ([`crate::running`]), what probes mean ([`crate::health`]), how long to wait ([`crate::backoff`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::drift::DriftKind;
use ports::Secret;
use ports::fleet::ReplicaPhase;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::files::{self, Record};
use crate::health::{self, Event};
use crate::port::Reservation;
use crate::running::{self, Launched, Process};
use crate::supervisor::{Shared, Standing, missing};
use crate::{Error, Exit, ReplicaId, cgroup, launch, listening, logs, probe};

/// Where a replica's life begins for this supervisor.
pub(crate) enum Begin {
    New,
    Running {
        process: Box<Process>,
        /// The supervisor before saw it ready a moment ago.
        ready: bool,
    },
    Ended(Exit),
}

/// How one of its processes ended.
struct Death {
    exit: Exit,
    /// Why it was ended by us, unasked by the agent.
    why: Option<String>,
    last_words: Option<String>,
    ready_for: Duration,
    /// Whether it was ready at any time.
    was_ready: bool,
    /// Trying again would change nothing.
    hopeless: bool,
}

impl Death {
    fn never_ran(reason: String, hopeless: bool) -> Self {
        Self {
            exit: Exit::NotStarted(reason),
            why: None,
            last_words: None,
            ready_for: Duration::ZERO,
            was_ready: false,
            hopeless,
        }
    }

    fn reason(&self) -> String {
        let mut text = match &self.why {
            Some(why) => format!("{why}; {}", self.exit),
            None => self.exit.to_string(),
        };
        if let Some(words) = &self.last_words {
            text.push_str("; its last output:\n");
            text.push_str(words);
        }
        text
    }
}

/// One replica.
pub(crate) struct Actor {
    shared: Arc<Shared>,
    id: ReplicaId,
    record: Record,
    standing: watch::Receiver<Standing>,
    directory: PathBuf,
    port: Option<Reservation>,
    failures: u32,
    /// Its process was ready when it was taken over.
    known_ready: bool,
}

impl Actor {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: ReplicaId,
        record: Record,
        standing: watch::Receiver<Standing>,
    ) -> Self {
        let directory = files::run_directory(&shared.settings.home, &id);
        Self { shared, id, record, standing, directory, port: None, failures: 0, known_ready: false }
    }

    /// Lives until the replica has been let go and has ended.
    pub(crate) async fn run(mut self, begin: Begin) {
        let mut process = match begin {
            Begin::New => None,
            Begin::Running { process, ready } => {
                self.known_ready = ready;
                self.port = Some(Reservation::held(self.record.port));
                Some(process)
            }
            Begin::Ended(exit) => {
                let (ordinal, release) = (self.id.ordinal, self.id.group.release);
                let found =
                    format!("replica {ordinal} of release {release} ended while no agent watched: {exit}");
                self.shared.drifted(&self.id, DriftKind::Replica, found, "it is started again");
                self.record.ended(&exit);
                None
            }
        };
        while let Some(death) = self.live_once(process.take()).await {
            tracing::info!(event = "replica.ended", replica = %self.id, reason = %death.reason(), "ended");
            self.tell_drift(&death);
            if self.is_leaving() || !self.back_off(&death).await {
                break;
            }
        }
        self.clean_up();
    }

    /// One that never was ready only fails to start; one that was is missed.
    fn tell_drift(&self, death: &Death) {
        if self.is_leaving() || !death.was_ready {
            return;
        }
        let why = match &death.why {
            Some(why) => format!("had to be ended: {why}"),
            None => format!("ended by itself: {}", death.exit),
        };
        let found = format!("replica {} of release {} {why}", self.id.ordinal, self.id.group.release);
        self.shared.drifted(&self.id, DriftKind::Replica, found, "it is started again");
    }

    fn is_leaving(&self) -> bool {
        *self.standing.borrow() != Standing::Serve
    }

    /// From start, or from what was found running, to death; `None` when it was let go before it was started.
    async fn live_once(&mut self, found: Option<Box<Process>>) -> Option<Death> {
        let process = match found {
            Some(process) => process,
            None => {
                let secrets = self.wait_for_secrets().await?;
                match self.launch(&secrets).await {
                    Ok(Launched::Running(process)) => process,
                    Ok(Launched::Failed(exit)) => {
                        let hopeless = matches!(exit, Exit::NotStarted(_));
                        return Some(Death { exit, hopeless, ..Death::never_ran(String::new(), false) });
                    }
                    Err(error) => {
                        let hopeless = matches!(error, Error::Command(_));
                        return Some(Death::never_ran(error.to_string(), hopeless));
                    }
                }
            }
        };
        let mut death = self.tend(process).await;
        if let Some(words) = &mut death.last_words {
            self.redact(words);
        }
        Some(death)
    }

    /// What a replica prints may hold what it was given in secret.
    fn redact(&self, text: &mut String) {
        let all = self.shared.secrets.borrow();
        for secret in all.get(&self.id.group).into_iter().flat_map(BTreeMap::values) {
            if !secret.reveal().is_empty() {
                *text = text.replace(secret.reveal(), "(secret)");
            }
        }
    }

    async fn wait_for_secrets(&mut self) -> Option<BTreeMap<String, Secret>> {
        let mut supplied = self.shared.secrets.subscribe();
        loop {
            if self.is_leaving() {
                return None;
            }
            let absent = {
                let all = supplied.borrow_and_update();
                let values = all.get(&self.id.group);
                let absent = missing(&self.record.group, values);
                if absent.is_empty() {
                    return Some(values.cloned().unwrap_or_default());
                }
                absent
            };
            let reason =
                format!("waits for control, which has the values of its secrets: {}", absent.join(", "));
            self.shared.show(&self.id, |view| {
                view.phase = ReplicaPhase::Backoff;
                view.pid = None;
                view.reason = Some(reason);
            });
            tokio::select! {
                changed = supplied.changed() => changed.ok()?,
                changed = self.standing.changed() => changed.ok()?,
            }
        }
    }

    async fn launch(&mut self, secrets: &BTreeMap<String, Secret>) -> Result<Launched, Error> {
        files::make_private(&self.directory)?;
        // A port of its own for each start: nothing of an earlier process, or of connections to it, sits on it.
        let port = self.port.insert(Reservation::free()?).port;
        let resources = &self.record.group.resources;
        let limited = resources.memory_bytes.is_some() || resources.cpu_millis.is_some();
        let mut membership = None;
        if limited && let Some(cgroups) = self.shared.cgroups() {
            match cgroups.create(&self.id, resources) {
                Ok(made) => membership = Some(made),
                Err(error) => self.shared.warn(format!("memory and CPU limits are not enforced: {error}")),
            }
        }
        self.record.port = port;
        self.record.cgroup = membership.as_ref().map(|membership| membership.enter.clone());
        let record = &self.record;
        self.shared.show(&self.id, |view| {
            view.phase = ReplicaPhase::Starting;
            view.port = port;
            view.restarts = record.restarts;
            view.out_of_memory = record.out_of_memory;
            view.last_exit.clone_from(&record.last_exit);
            view.reason = None;
        });
        let order =
            launch::order(&self.shared.settings.home, &self.id, &record.group, port, secrets, membership)?;
        files::make_private(&order.log_directory)?;
        files::write_whole(&self.directory, files::REPLICA, record)
            .map_err(Error::file("write into", &self.directory))?;
        running::launch(&self.directory, &self.shared.settings.shim, order).await
    }

    async fn tend(&mut self, process: Box<Process>) -> Death {
        let (sender, events) = mpsc::channel(16);
        let known = std::mem::take(&mut self.known_ready);
        let health =
            health::watch(self.record.port, self.record.group.health.clone(), process.begun(), known, sender);
        let health = Aborting(tokio::spawn(health));
        let pid = process.pid();
        self.shared.show(&self.id, |view| {
            view.pid = Some(pid);
            if known {
                view.phase = ReplicaPhase::Ready;
            }
        });
        let mut tending = Tending {
            actor: self,
            process: &process,
            events: Some(events),
            ready: known.then(Instant::now),
            was_ready: known,
            why: None,
            kill_at: None,
            counted: false,
        };
        tending.run().await;
        let (ready_since, was_ready, why) = (tending.ready, tending.was_ready, tending.why);
        drop(health);
        // Out of service at once; how it ended is known a moment later.
        let leaving = self.is_leaving();
        self.shared.show(&self.id, |view| {
            view.pid = None;
            view.phase = if leaving { ReplicaPhase::Stopping } else { ReplicaPhase::Unready };
        });
        let ready_for = ready_since.map_or(Duration::ZERO, |since| since.elapsed());
        let end = process.end().await;
        Death { exit: end.exit, why, last_words: end.last_words, ready_for, was_ready, hopeless: false }
    }

    /// Waits before the next start; false when the replica was let go meanwhile.
    async fn back_off(&mut self, death: &Death) -> bool {
        let pace = &self.shared.settings.pace;
        if death.ready_for >= pace.backoff_reset {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = pace.wait(self.failures);
        let reason = death.reason();
        self.shared.crash_loop(&self.id.group, |group| match death.hopeless {
            true => group.hopeless(&reason),
            false => group.failed(pace, death.ready_for, &reason),
        });
        self.record.ended(&death.exit);
        let (last_exit, out_of_memory) = (self.record.last_exit.clone(), self.record.out_of_memory);
        self.shared.show(&self.id, |view| {
            view.phase = ReplicaPhase::Backoff;
            view.pid = None;
            view.last_exit = last_exit;
            view.out_of_memory = out_of_memory;
            view.reason = Some(format!("starts again in {}: {reason}", model::time::format_duration(wait)));
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            _ = self.standing.wait_for(|standing| *standing != Standing::Serve) => false,
        }
    }

    fn clean_up(self) {
        if let Some(cgroup) = &self.record.cgroup {
            cgroup::remove(cgroup);
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(replica = %self.id, %error, "its run directory could not be removed");
        }
        let _ = std::fs::remove_dir(logs::directory(&self.shared.settings.home, &self.id));
        self.shared.forget(&self.id);
    }
}

/// Aborts a task when it goes out of scope.
struct Aborting(tokio::task::JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One process while it runs.
struct Tending<'a> {
    actor: &'a mut Actor,
    process: &'a Process,
    /// `None` when nobody asks any more.
    events: Option<mpsc::Receiver<Event>>,
    ready: Option<Instant>,
    was_ready: bool,
    why: Option<String>,
    kill_at: Option<Instant>,
    /// Whether its being stable has been told.
    counted: bool,
}

impl Tending<'_> {
    /// Until it exits.
    async fn run(&mut self) {
        self.follow_standing();
        loop {
            let stable = self.actor.shared.settings.pace.stable;
            let stable_at = self.ready.filter(|_| !self.counted).map(|since| since + stable);
            let event = tokio::select! {
                biased;
                () = self.process.exited() => return,
                changed = self.actor.standing.changed() => {
                    if changed.is_err() {
                        // The supervisor is gone, and this task with it in a moment.
                        return std::future::pending().await;
                    }
                    self.follow_standing();
                    continue;
                }
                () = sleep_maybe(self.kill_at) => {
                    self.process.signal(Signal::KILL);
                    self.kill_at = None;
                    continue;
                }
                () = sleep_maybe(stable_at) => {
                    self.counted = true;
                    self.actor.shared.crash_loop(&self.actor.id.group, crate::backoff::CrashLoop::stable);
                    continue;
                }
                event = next(&mut self.events) => event,
            };
            match event {
                Some(event) => self.follow_health(event),
                None => self.events = None,
            }
        }
    }

    fn show(&self, phase: ReplicaPhase, reason: Option<String>) {
        self.actor.shared.show(&self.actor.id, |view| {
            view.phase = phase;
            view.reason = reason;
        });
    }

    fn follow_standing(&mut self) {
        let standing = *self.actor.standing.borrow_and_update();
        match standing {
            Standing::Serve => {}
            Standing::Retired => {
                self.events = None;
                self.show(ReplicaPhase::Draining, None);
            }
            Standing::Stop => {
                self.events = None;
                self.show(ReplicaPhase::Stopping, None);
                self.terminate();
            }
        }
    }

    fn follow_health(&mut self, event: Event) {
        match event {
            Event::Waiting(why) => {
                let why = self.explained(why);
                self.actor.shared.show(&self.actor.id, |view| view.reason = Some(why));
            }
            Event::Ready => {
                self.ready = Some(Instant::now());
                self.was_ready = true;
                self.counted = false;
                self.actor.shared.answered(&self.actor.id);
                self.show(ReplicaPhase::Ready, None);
            }
            Event::StillReady => self.actor.shared.answered(&self.actor.id),
            Event::Unready(why) => {
                self.ready = None;
                let why = self.explained(why);
                self.show(ReplicaPhase::Unready, Some(why));
            }
            Event::Restart(why) => {
                let why = self.explained(why);
                self.events = None;
                self.show(ReplicaPhase::Unready, Some(format!("is started again: {why}")));
                self.why = Some(why);
                self.terminate();
            }
        }
    }

    /// A service with a port of its own in its code is refused at the one it was given, and nothing else says so.
    fn explained(&self, why: String) -> String {
        if !why.contains(probe::REFUSED) {
            return why;
        }
        let (port, variable) = (self.actor.record.port, &self.actor.record.group.run.port_variable);
        let mut ports = listening::ports(self.process.pid());
        if ports.remove(&port) || ports.is_empty() {
            return format!("{why}; does the service listen on ${variable}?");
        }
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        format!("{why}; the service listens on port {ports}, and should on ${variable}, which is {port}")
    }

    fn terminate(&mut self) {
        self.process.signal(Signal::TERM);
        self.kill_at.get_or_insert(Instant::now() + self.actor.record.group.shutdown.grace_period);
    }
}

async fn sleep_maybe(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn next(events: &mut Option<mpsc::Receiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}
