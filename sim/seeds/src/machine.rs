//! The machine and its users: replicas start, die and drain; requests are shared by the weights, served and counted. It
//! does not know who wants what of it, nor what was promised.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use model::latency::Histogram;
use model::{Epoch, Place, ReleaseNumber, Weight};
use ports::fleet::{GroupId, GroupSeen, ReplicaPhase, ReplicaSeen, Seen, Share, Tally, Wanted};

/// Deaths after which a group counts as dying again and again.
const CRASH_LOOP: u32 = 3;
/// How long a dead replica waits before it is started again.
const BACKOFF: Duration = Duration::from_secs(2);
/// How long requests in flight keep a draining replica.
const DRAIN: Duration = Duration::from_secs(2);
/// How long requests take that are served.
const LATENCY: Duration = Duration::from_millis(5);

/// How a build behaves wherever it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Behaviour {
    /// How its replicas start.
    pub(crate) start: Start,
    /// The share of its requests that fail, 0 to 1.
    pub(crate) error_rate: f64,
}

/// How a replica starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is ready after this time.
    After(Duration),
    /// It runs and is never ready.
    Never,
    /// It dies, again and again.
    Crashes,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { start: Start::After(Duration::from_secs(1)), error_rate: 0.0 }
    }
}

/// What one grain of time did to the users of a place.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) place: Place,
    pub(crate) by: BTreeMap<ReleaseNumber, u32>,
    /// Nobody served these although a ready replica stood there.
    pub(crate) lost_needlessly: u32,
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) wanted: Wanted,
    pub(crate) builds: BTreeMap<PathBuf, Behaviour>,
    pub(crate) requests_per_second: u32,
    /// The share of all requests that fail whoever serves them.
    pub(crate) incident: f64,
    pub(crate) now: Duration,
    pub(crate) version: u64,
    life: u32,
    grain: Duration,
    groups: BTreeMap<GroupId, Vec<Replica>>,
    behaviours: BTreeMap<GroupId, Behaviour>,
    next_ordinal: u32,
    tallies: BTreeMap<(Place, Epoch, ReleaseNumber), Tally>,
    chance: Rng,
}

#[derive(Debug, Clone)]
struct Replica {
    ordinal: u32,
    phase: ReplicaPhase,
    since: Duration,
    restarts: u32,
    /// A fault keeps it from being ready until then.
    dark_until: Duration,
}

impl Machine {
    pub(crate) fn new(seed: u64, grain: Duration) -> Self {
        Self {
            wanted: Wanted::default(),
            builds: BTreeMap::new(),
            requests_per_second: 0,
            incident: 0.0,
            now: Duration::ZERO,
            version: 1,
            life: 1,
            grain,
            groups: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            next_ordinal: 0,
            tallies: BTreeMap::new(),
            chance: Rng::with_seed(seed),
        }
    }

    /// Puts a wanted state in force, as an executor does before it answers.
    pub(crate) fn take(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.version += 1;
        let epochs: Vec<_> = self.wanted.splits.iter().map(|it| (it.place.clone(), it.epoch)).collect();
        // The most recent 64 epochs of a place are kept.
        self.tallies.retain(|(place, epoch, _), _| {
            epochs.iter().all(|(at, newest)| at != place || epoch.0 + 64 > newest.0)
        });
        self.reconcile();
    }

    /// Another life of the agent: counters from zero; the replicas and the wanted state are as they were.
    pub(crate) fn restart_agent(&mut self) {
        self.life += 1;
        self.version = 1;
        self.tallies.clear();
    }

    /// Kills one replica's process.
    pub(crate) fn kill_one(&mut self) {
        let now = self.now;
        if let Some(replica) = self.any_replica() {
            replica.restarts += 1;
            (replica.phase, replica.since) = (ReplicaPhase::Backoff, now);
            self.version += 1;
        }
    }

    /// Lets one replica fail its probe for a while.
    pub(crate) fn darken_one(&mut self, time: Duration) {
        let now = self.now;
        if let Some(replica) = self.any_replica() {
            replica.dark_until = now + time;
            if replica.phase == ReplicaPhase::Ready {
                replica.phase = ReplicaPhase::Unready;
            }
            self.version += 1;
        }
    }

    /// Ends what keeps replicas from being ready.
    pub(crate) fn heal(&mut self) {
        self.incident = 0.0;
        let now = self.now;
        self.groups.values_mut().flatten().for_each(|replica| replica.dark_until = now);
    }

    fn any_replica(&mut self) -> Option<&mut Replica> {
        let count = self.groups.values().flatten().count();
        let index = self.chance.usize(..count.max(1));
        let replica = self.groups.values_mut().flatten().nth(index)?;
        (replica.phase != ReplicaPhase::Draining).then_some(replica)
    }

    pub(crate) fn ready(&self, group: &GroupId) -> u32 {
        let replicas = self.groups.get(group).map(Vec::as_slice).unwrap_or_default();
        let ready = replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready);
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn errors(&self, place: &Place, release: ReleaseNumber) -> u64 {
        let of = |tally: &&Tally| tally.place == *place && tally.release == release;
        self.tallies.values().filter(of).map(|tally| tally.errors).sum()
    }

    pub(crate) fn behaviour(&self, group: &GroupId) -> Behaviour {
        self.behaviours.get(group).copied().unwrap_or_default()
    }

    /// Lives on until `now`, grain by grain.
    pub(crate) fn move_to(&mut self, now: Duration) -> Vec<Served> {
        let mut served = Vec::new();
        while self.now + self.grain <= now {
            self.now += self.grain;
            self.grow();
            for index in 0..self.wanted.splits.len() {
                served.extend(self.serve(index));
            }
        }
        served
    }

    fn grow(&mut self) {
        let now = self.now;
        let mut changed = false;
        for (id, replicas) in &mut self.groups {
            let start = self.behaviours.get(id).copied().unwrap_or_default().start;
            let before = replicas.len();
            let leaving = |it: &Replica| it.phase == ReplicaPhase::Draining && now >= it.since + DRAIN;
            replicas.retain(|replica| !leaving(replica));
            changed |= replicas.len() != before;
            for replica in replicas {
                changed |= replica.grow(start, now);
            }
        }
        self.groups.retain(|_, replicas| !replicas.is_empty());
        self.version += u64::from(changed);
    }

    fn reconcile(&mut self) {
        let now = self.now;
        for group in &self.wanted.groups {
            let behaviour = self.builds.get(&group.artifact).copied().unwrap_or_default();
            self.behaviours.insert(group.id.clone(), behaviour);
            let replicas = self.groups.entry(group.id.clone()).or_default();
            let alive = |it: &&Replica| it.phase != ReplicaPhase::Draining;
            while replicas.iter().filter(alive).count() < group.replicas as usize {
                self.next_ordinal += 1;
                replicas.push(Replica::new(self.next_ordinal, now));
            }
        }
        for (id, replicas) in &mut self.groups {
            let wanted = self.wanted.groups.iter().find(|it| it.id == *id).map_or(0, |it| it.replicas);
            let mut alive: Vec<_> =
                replicas.iter_mut().filter(|it| it.phase != ReplicaPhase::Draining).collect();
            // Those that serve stay, the oldest first.
            alive.sort_by_key(|it| (it.phase != ReplicaPhase::Ready, it.ordinal));
            for surplus in alive.into_iter().skip(wanted as usize) {
                (surplus.phase, surplus.since) = (ReplicaPhase::Draining, now);
            }
        }
    }

    fn serve(&mut self, index: usize) -> Option<Served> {
        let split = self.wanted.splits.get(index)?.clone();
        let mut by = BTreeMap::new();
        let mut lost = 0;
        let group = |release| GroupId { place: split.place.clone(), release };
        let able: Vec<(ReleaseNumber, bool)> =
            split.shares.iter().map(|it| (it.release, self.ready(&group(it.release)) > 0)).collect();
        let is_able = |release| able.contains(&(release, true));
        let requests = (f64::from(self.requests_per_second) * self.grain.as_secs_f64()).round() as u32;
        for _ in 0..requests {
            let drawn = self.draw(&split.shares);
            let server = Some(drawn).filter(|it| is_able(*it)).or(able.iter().find(|it| it.1).map(|it| it.0));
            let Some(server) = server else {
                lost += 1;
                continue;
            };
            *by.entry(server).or_default() += 1;
            let rate = self.behaviour(&group(server)).error_rate.max(self.incident);
            let failed = self.chance.f64() < rate;
            if server == drawn {
                self.count(&split.place, split.epoch, server, failed);
            }
        }
        self.version += u64::from(requests > 0);
        let here = |id: &&GroupId| id.place == split.place;
        let somebody = self.groups.keys().filter(here).any(|id| self.ready(id) > 0);
        Some(Served { place: split.place, by, lost_needlessly: if somebody { lost } else { 0 } })
    }

    fn draw(&mut self, shares: &[Share]) -> ReleaseNumber {
        let mut point = self.chance.u16(..Weight::ALL.basis_points());
        for share in shares {
            match point.checked_sub(share.weight.basis_points()) {
                Some(rest) => point = rest,
                None => return share.release,
            }
        }
        shares.last().map(|share| share.release).unwrap_or_default()
    }

    fn count(&mut self, place: &Place, epoch: Epoch, release: ReleaseNumber, failed: bool) {
        let empty = || Tally {
            place: place.clone(),
            epoch,
            release,
            requests: 0,
            errors: 0,
            latency: Histogram::default(),
        };
        let tally = self.tallies.entry((place.clone(), epoch, release)).or_insert_with(empty);
        tally.requests += 1;
        tally.errors += u64::from(failed);
        tally.latency.observe(LATENCY);
    }

    pub(crate) fn instance(&self) -> String {
        format!("agent-{}", self.life)
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            instance: self.instance(),
            version: self.version,
            generation: self.wanted.generation,
            groups: self.groups.iter().map(|(id, replicas)| group_seen(id, replicas)).collect(),
            tallies: self.tallies.values().cloned().collect(),
            warnings: vec![],
            gateway: None,
        }
    }
}

impl Replica {
    fn new(ordinal: u32, now: Duration) -> Self {
        Self { ordinal, phase: ReplicaPhase::Starting, since: now, restarts: 0, dark_until: Duration::ZERO }
    }

    /// Returns whether it changed.
    fn grow(&mut self, start: Start, now: Duration) -> bool {
        let before = self.phase;
        self.phase = match (self.phase, start) {
            (ReplicaPhase::Draining | ReplicaPhase::Stopping, _) => return false,
            (ReplicaPhase::Backoff, _) if now < self.since + BACKOFF => ReplicaPhase::Backoff,
            (ReplicaPhase::Backoff, _) => ReplicaPhase::Starting,
            (_, Start::Crashes) => {
                self.restarts += 1;
                ReplicaPhase::Backoff
            }
            (phase @ (ReplicaPhase::Starting | ReplicaPhase::Unready), Start::Never) => phase,
            (ReplicaPhase::Starting, Start::After(time)) if now < self.since + time => ReplicaPhase::Starting,
            (ReplicaPhase::Starting, _) if now < self.dark_until => ReplicaPhase::Starting,
            (_, _) if now < self.dark_until => ReplicaPhase::Unready,
            (_, _) => ReplicaPhase::Ready,
        };
        if self.phase != before {
            self.since = now;
        }
        self.phase != before
    }
}

fn group_seen(id: &GroupId, replicas: &[Replica]) -> GroupSeen {
    let deaths: u32 = replicas.iter().map(|replica| replica.restarts).sum();
    let unwell = replicas.iter().any(|replica| replica.phase == ReplicaPhase::Backoff);
    let seen = replicas.iter().map(|replica| ReplicaSeen {
        ordinal: replica.ordinal,
        phase: replica.phase,
        pid: None,
        port: 0,
        restarts: replica.restarts,
        in_flight: 0,
        last_exit: (replica.restarts > 0).then(|| "exit status 1".to_owned()),
        reason: (replica.phase == ReplicaPhase::Starting).then(|| "not ready yet".to_owned()),
    });
    GroupSeen {
        id: id.clone(),
        replicas: seen.collect(),
        crash_loop: (unwell && deaths >= CRASH_LOOP)
            .then(|| format!("died {deaths} times, last with exit status 1")),
    }
}
