//! The machine and its users: groups of replicas come and go as it is wanted; requests are shared by the weights, served
//! and counted. It does not know who wants what of it, nor what was promised. What one replica does is `replica`'s business,
//! who asks is the `crowd`'s.

mod crowd;
mod replica;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use model::drift::{DriftKind, Drifts};
use model::latency::Histogram;
use model::{Epoch, Place, ReleaseNumber};
use ports::fleet::{
    Aimed, GroupId, GroupSecrets, ReplicaPhase, SecretValues, Seen, Tally, UserTally, Wanted,
};

use crowd::Crowd;
use replica::Replica;
pub use replica::{Behaviour, Start};

/// One request in so many meets a header route, where there is one.
const LED: u32 = 6;
/// Where its gateway claims to listen; nobody does.
const GATEWAY: &str = "127.0.0.1:8080";
/// How long requests take that are served.
const LATENCY: Duration = Duration::from_millis(5);
/// How long those take that take long.
const LONG: Duration = Duration::from_millis(400);

/// What one grain of time did to the users of a place.
#[derive(Debug, Clone)]
pub struct Served {
    /// Where.
    pub place: Place,
    /// Requests that each release was given.
    pub by: BTreeMap<ReleaseNumber, u32>,
    /// Requests that nobody served.
    pub lost: u32,
    /// Whether a ready replica stood there all the same.
    pub needlessly: bool,
    /// The weights that were in force.
    pub epoch: Epoch,
    /// While there was more than one release to be drawn: who was served by the one that was. Those whom a header led, or
    /// for whom another release stood in, are left out.
    pub drawn: Vec<(u32, ReleaseNumber)>,
}

/// A machine with its agent. Time stands still in it until it is moved to another moment.
#[derive(Debug)]
pub struct Machine {
    /// What is in force.
    pub wanted: Wanted,
    /// How builds behave, by the directory of their artifact.
    pub builds: BTreeMap<PathBuf, Behaviour>,
    /// How releases behave, whatever their build does.
    pub releases: BTreeMap<ReleaseNumber, Behaviour>,
    /// What each place gets.
    pub requests_per_second: u32,
    /// The share of all requests that fail whoever serves them, 0 to 1.
    pub incident: f64,
    /// Whether it was told to stop: then nothing happens any more.
    pub stopped: bool,
    now: Duration,
    version: u64,
    life: u32,
    grain: Duration,
    groups: BTreeMap<GroupId, Vec<Replica>>,
    behaviours: BTreeMap<GroupId, Behaviour>,
    next_ordinal: u32,
    tallies: BTreeMap<(Place, Epoch, ReleaseNumber), Tally>,
    secrets: Vec<GroupSecrets>,
    drifts: Drifts,
    chance: Rng,
    /// Apart, so that nothing else is drawn otherwise where nobody stalls.
    stalls: Rng,
    crowds: BTreeMap<Place, Crowd>,
    /// Whoever they are: apart, so that what else is left to chance does not depend on them.
    strangers: Rng,
}

impl Machine {
    /// An empty machine that lives by steps of `grain`; what is left to chance comes from `seed`.
    pub fn new(seed: u64, grain: Duration) -> Self {
        Self {
            wanted: Wanted::default(),
            builds: BTreeMap::new(),
            releases: BTreeMap::new(),
            requests_per_second: 0,
            incident: 0.0,
            stopped: false,
            now: Duration::ZERO,
            version: 1,
            life: 1,
            grain,
            groups: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            next_ordinal: 0,
            tallies: BTreeMap::new(),
            secrets: vec![],
            drifts: Drifts::default(),
            chance: Rng::with_seed(seed),
            stalls: Rng::with_seed(seed ^ 0x57A11),
            crowds: BTreeMap::new(),
            strangers: Rng::with_seed(seed ^ 0x05E5),
        }
    }

    /// Puts a wanted state in force, as an executor does before it answers.
    pub fn take(&mut self, wanted: Wanted, secrets: SecretValues) {
        self.wanted = wanted;
        self.secrets = secrets.0;
        self.version += 1;
        let epochs: Vec<_> = self.wanted.splits.iter().map(|it| (it.place.clone(), it.epoch)).collect();
        // The most recent 64 epochs of a place are kept.
        self.tallies.retain(|(place, epoch, _), _| {
            epochs.iter().all(|(at, newest)| at != place || epoch.0 + 64 > newest.0)
        });
        self.reconcile();
    }

    /// Another life of the agent: counters from zero, secrets forgotten; the replicas and the wanted state are as they were.
    pub fn restart_agent(&mut self) {
        self.life += 1;
        self.version = 1;
        self.tallies.clear();
        self.secrets.clear();
        self.drifts = Drifts::default();
        self.crowds.values_mut().for_each(Crowd::forget);
    }

    /// Kills one replica's process.
    pub fn kill_one(&mut self) {
        let now = self.now;
        let Some((id, replica)) = self.any_replica() else { return };
        let was_ready = replica.phase == ReplicaPhase::Ready;
        replica.die(now);
        self.version += 1;
        if was_ready {
            let found = format!("a replica of {id} ended by itself");
            self.drifts.note(Some(id.place), DriftKind::Replica, found, "it is started again");
        }
    }

    /// Lets one replica fail its probe for a while.
    pub fn darken_one(&mut self, time: Duration) {
        let now = self.now;
        if let Some((_, replica)) = self.any_replica() {
            replica.darken(now + time);
            self.version += 1;
        }
    }

    /// Ends what keeps replicas from being ready.
    pub fn heal(&mut self) {
        self.incident = 0.0;
        let now = self.now;
        self.groups.values_mut().flatten().for_each(|replica| replica.lighten(now));
    }

    fn any_replica(&mut self) -> Option<(GroupId, &mut Replica)> {
        let count = self.groups.values().flatten().count();
        let index = self.chance.usize(..count.max(1));
        let all = self.groups.iter_mut().flat_map(|(id, all)| all.iter_mut().map(move |it| (id, it)));
        let (id, replica) = all.into_iter().nth(index)?;
        (replica.phase != ReplicaPhase::Draining).then(|| (id.clone(), replica))
    }

    /// How many replicas of a group take requests.
    pub fn ready(&self, group: &GroupId) -> u32 {
        let replicas = self.groups.get(group).map(Vec::as_slice).unwrap_or_default();
        let ready = replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready);
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }

    /// Requests of a release that failed, in this life of the agent.
    pub fn errors(&self, place: &Place, release: ReleaseNumber) -> u64 {
        let of = |tally: &&Tally| tally.place == *place && tally.release == release;
        self.tallies.values().filter(of).map(|tally| tally.errors + tally.aimed.errors).sum()
    }

    /// How the replicas of a group behave.
    pub fn behaviour(&self, group: &GroupId) -> Behaviour {
        let own = self.releases.get(&group.release).or_else(|| self.behaviours.get(group));
        own.copied().unwrap_or_default()
    }

    /// The names and values of the secrets that the agent holds for a group.
    pub fn secrets_of(&self, group: &GroupId) -> BTreeMap<String, String> {
        let held = self.secrets.iter().filter(|held| held.group == *group);
        held.flat_map(|held| &held.values)
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect()
    }

    /// Lives on until `now`, grain by grain.
    pub fn move_to(&mut self, now: Duration) -> Vec<Served> {
        let mut served = Vec::new();
        while self.now + self.grain <= now {
            self.now += self.grain;
            if self.stopped {
                continue;
            }
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
        let mut groups = std::mem::take(&mut self.groups);
        for (id, replicas) in &mut groups {
            let start = self.behaviour(id).start;
            let before = replicas.len();
            replicas.retain(|replica| !replica.has_drained(now));
            changed |= replicas.len() != before;
            for replica in replicas {
                changed |= replica.grow(start, now);
            }
        }
        groups.retain(|_, replicas| !replicas.is_empty());
        self.groups = groups;
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
                surplus.drain(now);
            }
        }
    }

    fn serve(&mut self, index: usize) -> Option<Served> {
        let split = self.wanted.splits.get(index)?.clone();
        let strangers = &mut self.strangers;
        let mut crowd = self.crowds.remove(&split.place).unwrap_or_else(|| Crowd::new(strangers.fork()));
        crowd.meet(&split);
        let (mut by, mut drawn) = (BTreeMap::new(), Vec::new());
        let mut lost = 0;
        let group = |release| GroupId { place: split.place.clone(), release };
        let able: Vec<(ReleaseNumber, bool)> =
            split.shares.iter().map(|it| (it.release, self.ready(&group(it.release)) > 0)).collect();
        let is_able = |release| able.contains(&(release, true));
        let requests = (f64::from(self.requests_per_second) * self.grain.as_secs_f64()).round() as u32;
        let stalled: BTreeMap<ReleaseNumber, f64> =
            able.iter().map(|(release, _)| (*release, self.stalled(&group(*release)))).collect();
        for _ in 0..requests {
            let draw = self.chance.u16(..routes::DRAWS);
            let led = split.aim.is_some() && self.chance.u32(..LED) == 0;
            let asked = crowd.ask(draw, led);
            let stand_in = || able.iter().find(|it| it.1).map(|it| it.0);
            let server = asked.as_ref().map(|it| it.release).filter(|it| is_able(*it)).or_else(stand_in);
            let (Some(asked), Some(server)) = (asked, server) else {
                lost += 1;
                continue;
            };
            *by.entry(server).or_default() += 1;
            let rate = self.behaviour(&group(server)).error_rate.max(self.incident);
            let failed = self.chance.f64() < rate;
            let slow_rate = self.behaviour(&group(server)).slow_rate;
            let stalled = stalled.get(&server).copied().unwrap_or_default();
            let slow = slow_rate > 0.0 && self.chance.f64() < slow_rate
                || stalled > 0.0 && self.stalls.f64() < stalled;
            crowd.answered(&asked);
            if server == asked.release {
                let latency = if slow { LONG } else { LATENCY };
                let tally = self.tally(&split.place, split.epoch, server);
                if asked.led {
                    tally.aimed.requests += 1;
                    tally.aimed.errors += u64::from(failed);
                    tally.aimed.latency.observe(latency);
                } else {
                    tally.requests += 1;
                    tally.errors += u64::from(failed);
                    tally.latency.observe(latency);
                    crowd.note(split.epoch, &asked, failed, &mut tally.users);
                    drawn.extend((split.shares.len() > 1).then_some((asked.user, server)));
                }
            }
        }
        self.version += u64::from(requests > 0);
        self.crowds.insert(split.place.clone(), crowd);
        let here = |id: &&GroupId| id.place == split.place;
        let needlessly = self.groups.keys().filter(here).any(|id| self.ready(id) > 0);
        Some(Served { place: split.place, by, lost, needlessly, epoch: split.epoch, drawn })
    }

    /// The share of a group's ready replicas that stand still in this grain of time.
    fn stalled(&mut self, group: &GroupId) -> f64 {
        let (rate, ready) = (self.behaviour(group).stalls, self.ready(group));
        if rate <= 0.0 || ready == 0 {
            return 0.0;
        }
        let still = (0..ready).filter(|_| self.stalls.f64() < rate).count();
        still as f64 / f64::from(ready)
    }

    fn tally(&mut self, place: &Place, epoch: Epoch, release: ReleaseNumber) -> &mut Tally {
        let empty = || Tally {
            place: place.clone(),
            epoch,
            release,
            requests: 0,
            errors: 0,
            latency: Histogram::default(),
            aimed: Aimed::default(),
            users: UserTally::default(),
        };
        self.tallies.entry((place.clone(), epoch, release)).or_insert_with(empty)
    }

    /// Which life of the agent this is.
    pub fn instance(&self) -> String {
        format!("agent-{}", self.life)
    }

    /// Grows with everything that [`Self::seen`] shows.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What the agent reports.
    pub fn seen(&self) -> Seen {
        Seen {
            instance: self.instance(),
            version: self.version,
            generation: self.wanted.generation,
            groups: self.groups.iter().map(|(id, replicas)| replica::group_seen(id, replicas)).collect(),
            tallies: self.tallies.values().cloned().collect(),
            warnings: vec![],
            drifts: self.drifts.to_vec(),
            gateway: Some(GATEWAY.to_owned()),
        }
    }
}
