//! The executor: makes what is seen follow what is wanted. It acts on every change and once a second; each pass is
//! idempotent. Does not live here: the choice of what to start and let go ([`crate::plan`]), the replicas' own lives
//! ([`process`]), requests ([`proxy`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use model::Generation;
use model::drift::DriftKind;
use ports::fleet::{
    Error, Group, GroupId, GroupSecrets, GroupSeen, ReplicaPhase, ReplicaSeen, SecretValues, Seen, Wanted,
};
use process::{ReplicaId, Supervisor};
use routes::{Entry, Table};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

use crate::gateway::Gateway;
use crate::home::Home;
use crate::plan;
use crate::seen::Board;
use crate::succession::{LeftOut, Released};
use crate::traces::{self, Headers};

/// How often counters are looked at; every other change is seen at once.
const LOOK: Duration = Duration::from_millis(100);
/// Every so many looks it acts though nothing seems to have changed: what failed before may work now.
const LOOKS_PER_PASS: u32 = 10;

pub(crate) struct Executor<G> {
    pub(crate) home: Arc<Home>,
    pub(crate) supervisor: Arc<Supervisor>,
    gateway: Arc<G>,
    pub(crate) state: Mutex<State>,
    board: Arc<Board>,
    poke: Notify,
    drains: SyncMutex<JoinSet<()>>,
    stopping: watch::Sender<bool>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
pub(crate) struct State {
    /// `None` until there is one: nothing is started or stopped before.
    pub(crate) wanted: Option<Wanted>,
    /// Replicas that are out of the routing table for good and on their way out.
    pub(crate) leaving: BTreeSet<ReplicaId>,
    /// Replicas that are to be replaced, and serve until others can.
    pub(crate) condemned: BTreeSet<ReplicaId>,
    /// The routing table in force.
    entries: Vec<Entry>,
    /// With which traces are sent.
    trace_headers: Headers,
    /// Why traces are not sent that should be.
    untraced: Vec<String>,
    /// Why the last pass could not do all it wanted.
    pub(crate) trouble: Option<String>,
}

impl State {
    /// Those that do not count as wanted replicas any more.
    fn ousted(&self) -> BTreeSet<ReplicaId> {
        self.leaving.union(&self.condemned).cloned().collect()
    }
}

impl<G: Gateway> Executor<G> {
    pub(crate) fn new(home: Arc<Home>, supervisor: Supervisor, gateway: Arc<G>, board: Arc<Board>) -> Self {
        Self {
            home,
            supervisor: Arc::new(supervisor),
            gateway,
            state: Mutex::default(),
            board,
            poke: Notify::new(),
            drains: SyncMutex::default(),
            stopping: watch::Sender::new(false),
            closed: watch::Sender::new(false),
        }
    }

    pub(crate) fn gateway(&self) -> &G {
        &self.gateway
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Takes up the wanted state that an earlier agent stored, and the replicas that it was letting go. Opens the
    /// gateway with the table that follows.
    pub(crate) async fn resume(&self, wanted: Option<Wanted>, released: Released) -> Result<(), String> {
        if self.home.was_put_aside() {
            let found = "the stored wanted state was damaged, or changed by somebody".to_owned();
            self.supervisor.drifted(None, DriftKind::Stored, found, "it is put aside; control gives its own");
        }
        let mut trace_headers = Headers::new();
        for secrets in released.secrets.into_iter().flat_map(|values| values.0) {
            self.supply(secrets, &mut trace_headers);
        }
        let now = std::time::Instant::now();
        self.gateway.inherit(released.ejected.into_iter().map(|left_out| left_out.ejected(now)).collect());
        let replicas = self.supervisor.replicas();
        let leaving: BTreeSet<ReplicaId> =
            released.leaving.into_iter().filter(|id| exists(&replicas, id)).collect();
        let mut state = self.state.lock().await;
        if let Some(wanted) = &wanted {
            state.untraced = self.trace(wanted, &mut trace_headers);
        }
        state.wanted = wanted;
        state.trace_headers = trace_headers;
        state.leaving.clone_from(&leaving);
        drop(state);
        self.pass().await;
        self.gateway.open()?;
        self.let_go(leaving);
        self.show(&*self.state.lock().await);
        Ok(())
    }

    /// Ceases to act, for a successor: nothing is started, let go or stopped by this one any more.
    pub(crate) async fn release(&self) -> Released {
        let mut drains = std::mem::take(&mut *self.drains.lock().unwrap_or_else(PoisonError::into_inner));
        drains.shutdown().await;
        self.supervisor.release().await;
        let state = self.state.lock().await;
        let replicas = self.supervisor.replicas();
        let now = std::time::Instant::now();
        let ids = |is: fn(&ReplicaSeen) -> bool| -> BTreeSet<ReplicaId> {
            let of = |(group, all): (&GroupId, &Vec<ReplicaSeen>)| -> Vec<ReplicaId> {
                let chosen = all.iter().filter(|replica| is(replica));
                chosen.map(|replica| ReplicaId { group: group.clone(), ordinal: replica.ordinal }).collect()
            };
            replicas.iter().flat_map(of).collect()
        };
        let mut secrets = self.supervisor.secrets();
        put_headers(&mut secrets, &state);
        Released {
            leaving: state.leaving.clone(),
            ready: ids(|replica| replica.phase == ReplicaPhase::Ready),
            secrets: Some(secrets),
            ejected: self.gateway.ejected().iter().map(|ejected| LeftOut::new(ejected, now)).collect(),
        }
    }

    /// The wanted state in force.
    pub(crate) async fn wanted(&self) -> Option<Wanted> {
        self.state.lock().await.wanted.clone()
    }

    /// Puts a wanted state in force: see [`ports::Fleet::want`].
    pub(crate) async fn want(&self, wanted: Wanted, secrets: SecretValues) -> Result<(), Error> {
        if *self.stopping.borrow() {
            return Err(Error::Refused("the agent is stopping: `shipshape up` starts it again".to_owned()));
        }
        let mut state = self.state.lock().await;
        if state.wanted.as_ref().is_some_and(|has| has.generation == wanted.generation && *has != wanted) {
            let found =
                format!("generation {} in force was not the one that control gave", wanted.generation);
            self.supervisor.drifted(None, DriftKind::Stored, found, "control's is in force");
        }
        let has = state.wanted.as_ref().map_or(Generation(0), |wanted| wanted.generation);
        if wanted.generation < has {
            return Err(Error::Stale { has, offered: wanted.generation });
        }
        let replicas = self.supervisor.replicas();
        let going = plan::surplus(&wanted, &replicas, &state.leaving);
        let leaving: BTreeSet<ReplicaId> = state.leaving.union(&going).cloned().collect();
        let entries = plan::entries(&wanted, &replicas, &leaving);
        // A table that cannot be built is refused here, with nothing changed.
        let table = Table::build(entries.clone()).map_err(|error| Error::Refused(error.to_string()))?;
        // Control hears of success only when both the disk and the gateway have it. After a crash in between, the next
        // agent takes up what is on disk, and control offers the same generation again.
        self.home.store_wanted(&wanted).map_err(|error| Error::Refused(error.to_string()))?;
        let mut trace_headers = state.trace_headers.clone();
        for secrets in secrets.0 {
            self.supply(secrets, &mut trace_headers);
        }
        let untraced = self.trace(&wanted, &mut trace_headers);
        if let Err(error) = self.gateway.swap(&table).await {
            let former = state.wanted.clone().unwrap_or_default();
            self.trace(&former, &mut state.trace_headers);
            if let Err(error) = self.home.store_wanted(&former) {
                tracing::error!(%error, "the former wanted state could not be put back");
            }
            return Err(Error::Refused(error));
        }
        tracing::info!(event = "wanted.in-force", generation = %wanted.generation, groups = wanted.groups.len(), "wanted state in force");
        let mut needed: BTreeSet<GroupId> = wanted.groups.iter().map(|group| group.id.clone()).collect();
        needed.extend(replicas.into_keys());
        self.supervisor.keep_secrets(&needed);
        let condemned = std::mem::take(&mut state.condemned);
        *state = State {
            wanted: Some(wanted),
            leaving,
            condemned,
            entries,
            trace_headers,
            untraced,
            trouble: None,
        };
        self.let_go(going);
        self.show(&state);
        drop(state);
        self.poke.notify_one();
        Ok(())
    }

    /// Takes secret values to where they are used.
    fn supply(&self, secrets: GroupSecrets, headers: &mut Headers) {
        let GroupSecrets { group, values, trace_headers } = secrets;
        if !trace_headers.is_empty() {
            headers.insert(group.place.clone(), trace_headers);
        }
        if !values.is_empty() {
            self.supervisor.supply(&group, values);
        }
    }

    /// Has traced what is wanted, as far as the headers for it are known; says what is not. Forgets those of others.
    fn trace(&self, wanted: &Wanted, headers: &mut Headers) -> Vec<String> {
        headers.retain(|place, _| wanted.splits.iter().any(|split| split.place == *place));
        let (orders, missing) = traces::orders(&wanted.splits, headers);
        self.gateway.trace(orders);
        missing
    }

    /// Acts until it is aborted.
    pub(crate) async fn act(self: Arc<Self>) {
        let mut changes = self.supervisor.changes();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0u32;
        loop {
            let mut inspects = false;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = self.poke.notified() => {}
                _ = looks.tick() => {
                    count = count.wrapping_add(1);
                    self.readmit();
                    if !count.is_multiple_of(LOOKS_PER_PASS) {
                        self.show(&*self.state.lock().await);
                        continue;
                    }
                    inspects = true;
                }
            }
            self.pass().await;
            if inspects {
                self.inspect().await;
            }
        }
    }

    /// Takes replicas back that the gateway left out, once their time is over and a probe was answered since.
    fn readmit(&self) {
        let now = std::time::Instant::now();
        for ejected in self.gateway.ejected() {
            let id = ejected_id(&ejected);
            if now >= ejected.until && self.supervisor.answered_since(&id, ejected.since) {
                tracing::info!(event = "breaker.closed", replica = %id, "it answers again: taken back");
                self.gateway.readmit(&id);
            }
        }
    }

    /// Compares wanted with seen and acts on the difference.
    async fn pass(&self) {
        let mut state = self.state.lock().await;
        let replicas = self.supervisor.replicas();
        state.leaving.retain(|id| exists(&replicas, id));
        let Some(wanted) = state.wanted.clone().filter(|_| !*self.stopping.borrow()) else {
            self.show(&state);
            return;
        };
        state.condemned.retain(|id| exists(&replicas, id));
        let unwanted = plan::surplus(&wanted, &replicas, &state.ousted());
        self.tell_surplus(&unwanted);
        let replaced = plan::replaced(&wanted, &replicas, &state.leaving, &state.condemned);
        let going: BTreeSet<ReplicaId> = unwanted.into_iter().chain(replaced).collect();
        state.leaving.extend(going.iter().cloned());
        let entries = plan::entries(&wanted, &replicas, &state.leaving);
        state.trouble = None;
        if entries != state.entries {
            let swapped = match Table::build(entries.clone()) {
                Ok(table) => self.gateway.swap(&table).await,
                Err(error) => Err(error.to_string()),
            };
            match swapped {
                Ok(()) => state.entries = entries,
                Err(error) => {
                    state.trouble = Some(format!("the routing table could not be put in force: {error}"))
                }
            }
        }
        self.let_go(going);
        for (index, lacking) in plan::missing(&wanted, &replicas, &state.ousted()) {
            for _ in 0..lacking {
                if let Err(error) = self.supervisor.start(&wanted.groups[index]) {
                    state.trouble = Some(error.to_string());
                    break;
                }
            }
        }
        self.show(&state);
    }

    /// Lets replicas go that have left the routing table: their clients are told, their requests in flight end, or their
    /// time is over, then they are stopped.
    fn let_go(&self, going: BTreeSet<ReplicaId>) {
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        while drains.try_join_next().is_some() {}
        for id in going {
            let patience = self.supervisor.drain_timeout(&id).unwrap_or_default();
            self.supervisor.retire(&id);
            self.gateway.dismiss(&id);
            let (supervisor, gateway) = (Arc::clone(&self.supervisor), Arc::clone(&self.gateway));
            drains.spawn(async move {
                if tokio::time::timeout(patience, gateway.drained(&id)).await.is_err() {
                    let left = gateway.in_flight(&id);
                    tracing::warn!(event = "drain.late", replica = %id, requests = left, "drain timeout: stopping with requests in flight");
                }
                supervisor.stop(&id);
            });
        }
    }

    pub(crate) async fn seen(&self, instance: &str, after: u64, patience: Duration) -> Arc<Seen> {
        let mut closed = self.closed();
        tokio::select! {
            seen = self.board.read(instance, after, patience) => seen,
            () = async { drop(closed.wait_for(|closed| *closed).await) } => self.board.read("", 0, Duration::ZERO).await,
        }
    }

    fn show(&self, state: &State) {
        let mut groups: BTreeMap<GroupId, Vec<ReplicaSeen>> = self.supervisor.replicas();
        let wanted: &[Group] = state.wanted.as_ref().map_or(&[], |wanted| &wanted.groups);
        for group in wanted {
            groups.entry(group.id.clone()).or_default();
        }
        let groups = groups.into_iter().map(|(id, mut replicas)| {
            for replica in &mut replicas {
                let id = ReplicaId { group: id.clone(), ordinal: replica.ordinal };
                replica.in_flight = self.gateway.in_flight(&id);
                if state.leaving.contains(&id) && replica.phase != ReplicaPhase::Stopping {
                    replica.phase = ReplicaPhase::Draining;
                }
            }
            GroupSeen { crash_loop: self.supervisor.crash_loop(&id), id, replicas }
        });
        let mut warnings = self.supervisor.warnings();
        warnings.extend(state.trouble.clone());
        warnings.extend(state.untraced.iter().cloned());
        warnings.extend(self.gateway.ejected().iter().map(|ejected| {
            let (id, why) = (ejected_id(ejected), &ejected.why);
            format!("{id} is ready, but left out for now: {why}; it is taken back when its probe is answered")
        }));
        let drifts = self.supervisor.drifts();
        for group in wanted {
            let missing = self.supervisor.missing_secrets(group);
            if group.replicas > 0 && !missing.is_empty() {
                let (id, names) = (&group.id, missing.join(", "));
                warnings.push(format!(
                    "{id} starts no replica until control sends the values of its secrets: {names}"
                ));
            }
        }
        self.board.post(Seen {
            instance: String::new(),
            version: 0,
            generation: state.wanted.as_ref().map_or(Generation(0), |wanted| wanted.generation),
            groups: groups.collect(),
            tallies: self.gateway.tallies(),
            warnings,
            drifts,
            gateway: self.gateway.listen_address(),
        });
    }

    /// Takes the order to stop everything.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Finishes what is in flight, then ends every replica.
    pub(crate) async fn stop_all(&self) {
        let all: Vec<ReplicaId> = {
            let groups = self.supervisor.replicas().into_iter();
            groups
                .flat_map(|(group, replicas)| {
                    replicas
                        .into_iter()
                        .map(move |replica| ReplicaId { group: group.clone(), ordinal: replica.ordinal })
                })
                .collect()
        };
        let patience =
            all.iter().filter_map(|id| self.supervisor.drain_timeout(id)).max().unwrap_or_default();
        // A pass that was under way when the order came may still start something: it holds this lock.
        let mut state = self.state.lock().await;
        state.leaving.extend(all.iter().cloned());
        self.show(&state);
        drop(state);
        self.gateway.shutdown(patience).await;
        let mut changes = self.supervisor.changes();
        loop {
            changes.borrow_and_update();
            let replicas = self.supervisor.replicas();
            for (group, replicas) in &replicas {
                for replica in replicas {
                    self.supervisor.stop(&ReplicaId { group: group.clone(), ordinal: replica.ordinal });
                }
            }
            if replicas.is_empty() || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the socket's requests and all waiting for drains; replicas that are still draining go on running.
    pub(crate) fn close(&self) {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.closed.send_replace(true);
    }
}

/// Puts the headers of traces to the other secrets, for a successor.
fn put_headers(secrets: &mut SecretValues, state: &State) {
    let splits = state.wanted.iter().flat_map(|wanted| &wanted.splits);
    for (split, headers) in splits.filter_map(|split| Some((split, state.trace_headers.get(&split.place)?))) {
        // Any release of the place will do: headers are the place's.
        let Some(release) = split.shares.first().map(|share| share.release) else { continue };
        let group = GroupId { place: split.place.clone(), release };
        let trace_headers = headers.clone();
        match secrets.0.iter_mut().find(|known| known.group == group) {
            Some(known) => known.trace_headers = trace_headers,
            None => secrets.0.push(GroupSecrets { group, values: BTreeMap::new(), trace_headers }),
        }
    }
}

fn ejected_id(ejected: &proxy::Ejected) -> ReplicaId {
    let group = GroupId { place: ejected.place.clone(), release: ejected.release };
    ReplicaId { group, ordinal: ejected.ordinal }
}

fn exists(replicas: &plan::Replicas, id: &ReplicaId) -> bool {
    replicas.get(&id.group).is_some_and(|all| all.iter().any(|replica| replica.ordinal == id.ordinal))
}
