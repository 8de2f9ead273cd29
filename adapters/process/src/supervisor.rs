//! The replicas of this machine: starting and letting go of each, and what is to be seen of them. Does not live here: how
//! many there should be, and traffic; the agent decides those. One task per replica does the work ([`crate::actor`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use model::Place;
use model::drift::{Drift, DriftKind, Drifts};
use ports::Secret;
use ports::fleet::{Group, GroupId, GroupSecrets, ReplicaPhase, ReplicaSeen, SecretValues};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::actor::{Actor, Begin};
use crate::backoff::CrashLoop;
use crate::cgroup::Cgroups;
use crate::files::{self, Record};
use crate::running::{self, Found};
use crate::{Error, inspect, logs};

/// Groups whose last ordinal is remembered for each place; the oldest releases are forgotten first.
const REMEMBERED_GROUPS: usize = 256;
const ORDINALS: &str = "ordinals.json";

/// Which replica.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// Of which release, and where.
    pub group: GroupId,
    /// Which one of them. Numbers are not used twice.
    pub ordinal: u32,
}

impl std::fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.group, self.ordinal)
    }
}

/// How a shim is started: this program with these arguments and the run directory after them.
#[derive(Debug, Clone)]
pub struct ShimCommand {
    /// The program; normally the one that runs.
    pub program: PathBuf,
    /// What makes it call [`crate::shim::main`].
    pub args: Vec<OsString>,
}

/// How failing replicas are treated.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The wait after the first failure; it doubles with each further one.
    pub backoff_first: Duration,
    /// The longest wait.
    pub backoff_longest: Duration,
    /// A replica that was ready for this long starts over with the first wait.
    pub backoff_reset: Duration,
    /// A replica that was ready for this long is no part of a crash loop.
    pub stable: Duration,
    /// So many failures in a row without a stable replica are a crash loop.
    pub deaths: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(500),
            backoff_longest: Duration::from_secs(30),
            backoff_reset: Duration::from_secs(60),
            stable: Duration::from_secs(10),
            deaths: 3,
        }
    }
}

/// What a supervisor needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory that holds everything it writes.
    pub home: PathBuf,
    /// How a shim is started.
    pub shim: ShimCommand,
    /// How failing replicas are treated.
    pub pace: Pace,
}

/// What is to become of a replica. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It serves, and is started again when it ends.
    Serve,
    /// It is out of service; its end is its end.
    Retired,
    /// It is to end.
    Stop,
}

/// What the tasks of all replicas share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) secrets: watch::Sender<BTreeMap<GroupId, BTreeMap<String, Secret>>>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    cgroups: OnceLock<Result<Cgroups, String>>,
}

#[derive(Default)]
struct State {
    views: BTreeMap<ReplicaId, ReplicaSeen>,
    /// When its readiness probe was last answered, for each that is ready.
    answered: BTreeMap<ReplicaId, Instant>,
    loops: BTreeMap<GroupId, CrashLoop>,
    warnings: BTreeSet<String>,
    drifts: Drifts,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// Changes what is to be seen of a replica.
    pub(crate) fn show(&self, id: &ReplicaId, change: impl FnOnce(&mut ReplicaSeen)) {
        let mut state = self.state();
        let Some(view) = state.views.get_mut(id) else { return };
        let before = view.clone();
        change(view);
        let differs = *view != before;
        drop(state);
        if differs {
            self.changed();
        }
    }

    /// Its readiness probe was answered well just now.
    pub(crate) fn answered(&self, id: &ReplicaId) {
        self.state().answered.insert(id.clone(), Instant::now());
    }

    pub(crate) fn crash_loop(&self, group: &GroupId, change: impl FnOnce(&mut CrashLoop)) {
        let mut state = self.state();
        change(state.loops.entry(group.clone()).or_default());
        drop(state);
        self.changed();
    }

    /// Notes that something was put right that nobody had ordered.
    pub(crate) fn drifted(&self, id: &ReplicaId, kind: DriftKind, found: String, done: &str) {
        tracing::warn!(event = "replica.drifted", replica = %id, found, done, "drift");
        self.state().drifts.note(Some(id.group.place.clone()), kind, found, done);
        self.changed();
    }

    pub(crate) fn warn(&self, warning: String) {
        let mut state = self.state();
        if state.warnings.len() >= 32 || !state.warnings.insert(warning.clone()) {
            return;
        }
        drop(state);
        tracing::warn!(event = "agent.warned", warning, "something needs attention");
        self.changed();
    }

    /// The cgroups that replicas with limits are put into; a warning, once, when there can be none.
    pub(crate) fn cgroups(&self) -> Option<&Cgroups> {
        match self.cgroups.get_or_init(Cgroups::detect) {
            Ok(cgroups) => Some(cgroups),
            Err(why) => {
                self.warn(format!("memory and CPU limits are not enforced: {why}"));
                None
            }
        }
    }

    /// A replica has ended for good: nothing of it is to be seen any more, except its output.
    pub(crate) fn forget(&self, id: &ReplicaId) {
        let mut state = self.state();
        state.views.remove(id);
        state.answered.remove(id);
        let alive: BTreeSet<ReplicaId> = state.views.keys().cloned().collect();
        if !alive.iter().any(|other| other.group == id.group) {
            state.loops.remove(&id.group);
        }
        drop(state);
        self.prune(&id.group.place, &alive);
        self.changed();
    }

    fn prune(&self, place: &Place, alive: &BTreeSet<ReplicaId>) {
        if let Err(error) = logs::prune(&self.settings.home, place, alive) {
            tracing::warn!(%place, %error, "old logs could not be removed");
        }
    }
}

struct Handle {
    standing: watch::Sender<Standing>,
    task: JoinHandle<()>,
    drain_timeout: Duration,
    /// Whether it has a readiness probe.
    probed: bool,
}

/// The replicas of this machine. Dropping it leaves every replica running, for the next one to adopt.
pub struct Supervisor {
    shared: Arc<Shared>,
    handles: Mutex<BTreeMap<ReplicaId, Handle>>,
    ordinals: Mutex<BTreeMap<GroupId, u32>>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for handle in self.handles().values() {
            handle.task.abort();
        }
    }
}

impl Supervisor {
    /// Takes over what is in the home directory: replicas that an earlier supervisor left running go on being
    /// supervised, with their ordinals and ports; those that ended meanwhile are started again, unless they are
    /// retired or stopped first.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        Self::open_after(settings, &BTreeSet::new()).await
    }

    /// Like [`Supervisor::open`], after another supervisor that has released its replicas a moment ago: those that it
    /// saw ready are ready from the start, and go on from there.
    ///
    /// # Errors
    /// Those of [`Supervisor::open`].
    pub async fn open_after(settings: Settings, ready: &BTreeSet<ReplicaId>) -> Result<Self, Error> {
        let root = files::run_root(&settings.home);
        files::make_private(&settings.home)?;
        files::make_private(&root)?;
        files::make_private(&settings.home.join("logs"))?;
        let mut ordinals = logs::ordinals(&settings.home).map_err(Error::file("list", &settings.home))?;
        let told: Option<Vec<(GroupId, u32)>> = files::read_if_sound(&root, ORDINALS);
        for (group, told) in told.unwrap_or_default() {
            let last = ordinals.entry(group).or_default();
            *last = told.max(*last);
        }
        let shared = Arc::new(Shared {
            settings,
            secrets: watch::Sender::new(BTreeMap::new()),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            cgroups: OnceLock::new(),
        });
        let this = Self { shared, handles: Mutex::default(), ordinals: Mutex::new(ordinals) };
        for entry in std::fs::read_dir(&root).map_err(Error::file("list", &root))? {
            let directory = entry.map_err(Error::file("list", &root))?.path();
            if directory.is_dir() {
                this.adopt(&directory, ready).await?;
            }
        }
        Ok(this)
    }

    async fn adopt(&self, directory: &std::path::Path, ready: &BTreeSet<ReplicaId>) -> Result<(), Error> {
        let record: Record = match files::read(directory, files::REPLICA) {
            Ok(Some(record)) => record,
            Ok(None) | Err(_) => {
                // A supervisor that was killed before it had written who this is had started nothing here yet.
                tracing::warn!(directory = %directory.display(), "removing the directory of an unknown replica");
                return std::fs::remove_dir_all(directory).map_err(Error::file("remove", directory));
            }
        };
        let id = ReplicaId { group: record.group.id.clone(), ordinal: record.ordinal };
        let begin = match running::adopt(directory, &logs::directory(&self.shared.settings.home, &id)).await?
        {
            Found::Alive(process) => Begin::Running { process, ready: ready.contains(&id) },
            Found::Dead(exit) => Begin::Ended(exit),
            Found::Nothing => Begin::New,
        };
        let mut ordinals = self.ordinals.lock().unwrap_or_else(PoisonError::into_inner);
        let last = ordinals.entry(id.group.clone()).or_default();
        *last = (*last).max(record.ordinal);
        drop(ordinals);
        tracing::info!(event = "replica.adopted", replica = %id, "adopted");
        self.employ(id, record, begin);
        Ok(())
    }

    /// Starts one more replica of a group; says which ordinal it got. Everything that can go wrong from then on is
    /// seen in [`Supervisor::replicas`].
    ///
    /// # Errors
    /// When its ordinal cannot be written down.
    pub fn start(&self, group: &Group) -> Result<u32, Error> {
        let ordinal = self.next_ordinal(&group.id)?;
        let id = ReplicaId { group: group.id.clone(), ordinal };
        let record = Record {
            group: group.clone(),
            ordinal,
            port: 0,
            restarts: 0,
            out_of_memory: 0,
            last_exit: None,
            cgroup: None,
        };
        self.employ(id, record, Begin::New);
        Ok(ordinal)
    }

    fn next_ordinal(&self, group: &GroupId) -> Result<u32, Error> {
        let root = files::run_root(&self.shared.settings.home);
        let mut ordinals = self.ordinals.lock().unwrap_or_else(PoisonError::into_inner);
        let last = ordinals.entry(group.clone()).or_default();
        *last = last.saturating_add(1);
        let ordinal = *last;
        let of_place = ordinals.keys().filter(|other| other.place == group.place);
        let surplus = of_place.clone().count().saturating_sub(REMEMBERED_GROUPS);
        let oldest: Vec<GroupId> = of_place.filter(|other| *other != group).take(surplus).cloned().collect();
        ordinals.retain(|other, _| !oldest.contains(other));
        let all: Vec<(&GroupId, &u32)> = ordinals.iter().collect();
        files::write_whole(&root, ORDINALS, &all).map_err(Error::file("write the ordinals in", &root))?;
        Ok(ordinal)
    }

    /// Ceases to act on any replica: when this returns another supervisor may take over. Every replica runs on.
    pub async fn release(&self) {
        let handles = std::mem::take(&mut *self.handles());
        for handle in handles.values() {
            handle.task.abort();
        }
        for (_, handle) in handles {
            // Cancelled, or at its end already.
            let _ = handle.task.await;
        }
    }

    fn employ(&self, id: ReplicaId, record: Record, begin: Begin) {
        let view = ReplicaSeen {
            ordinal: id.ordinal,
            phase: ReplicaPhase::Starting,
            pid: None,
            port: record.port,
            restarts: record.restarts,
            out_of_memory: record.out_of_memory,
            in_flight: 0,
            last_exit: record.last_exit.clone(),
            reason: None,
        };
        self.shared.state().views.insert(id.clone(), view);
        self.shared.changed();
        let (standing, watched) = watch::channel(Standing::Serve);
        let drain_timeout = record.group.shutdown.drain_timeout;
        let probed = record.group.health.ready.is_some();
        let actor = Actor::new(Arc::clone(&self.shared), id.clone(), record, watched);
        let task = tokio::spawn(actor.run(begin));
        let mut handles = self.handles();
        handles.retain(|_, handle| !handle.task.is_finished());
        handles.insert(id, Handle { standing, task, drain_timeout, probed });
    }

    fn handles(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lower(&self, id: &ReplicaId, to: Standing) {
        if let Some(handle) = self.handles().get(id) {
            handle.standing.send_if_modified(|standing| {
                let lower = to > *standing;
                *standing = to.max(*standing);
                lower
            });
        }
    }

    /// Takes a replica out of service: it goes on running, but is not started again when it ends. There is no way back.
    pub fn retire(&self, id: &ReplicaId) {
        self.lower(id, Standing::Retired);
    }

    /// Ends a replica: SIGTERM to its process group, its grace period, SIGKILL.
    pub fn stop(&self, id: &ReplicaId) {
        self.lower(id, Standing::Stop);
    }

    /// Hands over the values of a group's secrets, which replicas wait for before they start.
    pub fn supply(&self, group: &GroupId, values: BTreeMap<String, Secret>) {
        self.shared.secrets.send_modify(|all| {
            all.insert(group.clone(), values);
        });
    }

    /// The values that were supplied, for a successor.
    pub fn secrets(&self) -> SecretValues {
        let all = self.shared.secrets.borrow();
        let groups = all.iter();
        let groups = groups.map(|(group, values)| GroupSecrets {
            group: group.clone(),
            values: values.clone(),
            trace_headers: BTreeMap::new(),
        });
        SecretValues(groups.collect())
    }

    /// Forgets the secrets of all groups but these.
    pub fn keep_secrets(&self, groups: &BTreeSet<GroupId>) {
        self.shared.secrets.send_modify(|all| all.retain(|group, _| groups.contains(group)));
    }

    /// The names of secrets that a group needs and nobody has supplied.
    pub fn missing_secrets(&self, group: &Group) -> Vec<String> {
        missing(group, self.shared.secrets.borrow().get(&group.id))
    }

    /// The replicas that exist, by group. Requests in flight are not known here.
    pub fn replicas(&self) -> BTreeMap<GroupId, Vec<ReplicaSeen>> {
        let mut groups: BTreeMap<GroupId, Vec<ReplicaSeen>> = BTreeMap::new();
        for (id, view) in &self.shared.state().views {
            groups.entry(id.group.clone()).or_default().push(view.clone());
        }
        groups
    }

    /// How long requests in flight to a replica may go on once it is out of service, as its group said when it was
    /// started.
    pub fn drain_timeout(&self, id: &ReplicaId) -> Option<Duration> {
        self.handles().get(id).map(|handle| handle.drain_timeout)
    }

    /// Whether its readiness probe was answered after this moment; true for one that has no such probe.
    pub fn answered_since(&self, id: &ReplicaId, since: Instant) -> bool {
        let probed = self.handles().get(id).is_some_and(|handle| handle.probed);
        !probed || self.shared.state().answered.get(id).is_some_and(|answered| *answered > since)
    }

    /// The verdict on a group whose replicas keep failing soon after their start.
    pub fn crash_loop(&self, group: &GroupId) -> Option<String> {
        self.shared.state().loops.get(group)?.verdict().map(str::to_owned)
    }

    /// What this machine cannot do that was asked for.
    pub fn warnings(&self) -> Vec<String> {
        self.shared.state().warnings.iter().cloned().collect()
    }

    /// What was put right in the life of this supervisor.
    pub fn drifts(&self) -> Vec<Drift> {
        self.shared.state().drifts.to_vec()
    }

    /// Notes that something was put right that is not a replica's own affair.
    pub fn drifted(&self, place: Option<Place>, kind: DriftKind, found: String, done: &str) {
        tracing::warn!(event = "gateway.drifted", found, done, "drift");
        self.shared.state().drifts.note(place, kind, found, done);
        self.shared.changed();
    }

    /// Looks at the processes of all replicas: those that somebody stopped go on. The replicas whose shim is gone are
    /// returned: their output and exit status would be lost, so they want to be replaced.
    pub fn inspect(&self) -> Vec<ReplicaId> {
        let running: Vec<ReplicaId> = {
            let state = self.shared.state();
            state.views.iter().filter(|(_, view)| view.pid.is_some()).map(|(id, _)| id.clone()).collect()
        };
        let mut without_shim = Vec::new();
        for id in running {
            let look = inspect::look(&files::run_directory(&self.shared.settings.home, &id));
            if let Some(who) = look.woken {
                let found = format!(
                    "the {who} of replica {} of release {} was stopped",
                    id.ordinal, id.group.release
                );
                self.shared.drifted(&id, DriftKind::Stopped, found, "it goes on (SIGCONT)");
            }
            if look.lacks_shim {
                without_shim.push(id);
            }
        }
        without_shim
    }

    /// Changes whenever anything that is to be seen does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

pub(crate) fn missing(group: &Group, values: Option<&BTreeMap<String, Secret>>) -> Vec<String> {
    let has = |name: &&String| !values.is_some_and(|values| values.contains_key(*name));
    group.secrets.iter().filter(has).cloned().collect()
}
