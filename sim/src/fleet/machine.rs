//! What happens on the machine, tick by tick: replicas start, die and drain; requests are served and counted.

use std::collections::BTreeMap;
use std::time::Duration;

use model::latency::Histogram;
use model::{Epoch, Place, ReleaseNumber};
use ports::fleet::{
    Group, GroupId, GroupSecrets, GroupSeen, ReplicaPhase, ReplicaSeen, SecretValues, Seen, Tally, Wanted,
};

use super::traffic::Traffic;
use super::{Behaviour, Start, TICK};

/// Deaths after which replicas count as dying again and again.
const CRASH_LOOP: u32 = 3;
/// Where its gateway claims to listen; nobody does.
const GATEWAY: &str = "127.0.0.1:8080";
/// How long requests take that are served.
const LATENCY: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) wanted: Wanted,
    pub(super) behaviours: BTreeMap<ReleaseNumber, Behaviour>,
    pub(super) stopped: bool,
    pub(super) lost: u64,
    pub(super) served: BTreeMap<ReleaseNumber, u64>,
    life: u32,
    version: u64,
    ticks: u32,
    groups: BTreeMap<GroupId, Vec<Replica>>,
    next_ordinal: u32,
    tallies: BTreeMap<(Place, Epoch, ReleaseNumber), Tally>,
    secrets: Vec<GroupSecrets>,
    traffic: Traffic,
}

#[derive(Debug)]
struct Replica {
    ordinal: u32,
    phase: ReplicaPhase,
    age: Duration,
    restarts: u32,
}

impl Machine {
    pub(super) fn new(seed: u64, requests_per_second: u32) -> Self {
        Self {
            wanted: Wanted::default(),
            behaviours: BTreeMap::new(),
            stopped: false,
            lost: 0,
            served: BTreeMap::new(),
            life: 1,
            version: 1,
            ticks: 0,
            groups: BTreeMap::new(),
            next_ordinal: 0,
            tallies: BTreeMap::new(),
            secrets: vec![],
            traffic: Traffic::new(seed, requests_per_second),
        }
    }

    pub(super) fn take(&mut self, wanted: Wanted, secrets: SecretValues) {
        self.wanted = wanted;
        self.secrets = secrets.0;
        self.version += 1;
    }

    pub(super) fn restart(&mut self) {
        self.life += 1;
        self.version = 1;
        self.tallies.clear();
        self.secrets.clear();
    }

    pub(super) fn secrets_of(&self, group: &GroupId) -> BTreeMap<String, String> {
        let held = self.secrets.iter().filter(|held| held.group == *group);
        held.flat_map(|held| &held.values)
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect()
    }

    pub(super) fn ready(&self, group: &GroupId) -> usize {
        let replicas = self.groups.get(group).map(Vec::as_slice).unwrap_or_default();
        replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready).count()
    }

    pub(super) fn move_to(&mut self, now: Duration) {
        while TICK * (self.ticks + 1) <= now {
            self.ticks += 1;
            if !self.stopped {
                self.tick();
            }
        }
    }

    fn tick(&mut self) {
        let before = self.seen();
        self.reconcile();
        for (id, replicas) in &mut self.groups {
            let behaviour = self.behaviours.get(&id.release).copied().unwrap_or_default();
            replicas.iter_mut().for_each(|replica| replica.grow(behaviour.start));
        }
        self.serve();
        if self.seen() != before {
            self.version += 1;
        }
    }

    fn reconcile(&mut self) {
        for replicas in self.groups.values_mut() {
            replicas.retain(|replica| replica.phase != ReplicaPhase::Draining);
        }
        for group in &self.wanted.groups {
            let replicas = self.groups.entry(group.id.clone()).or_default();
            while replicas.len() < group.replicas as usize {
                self.next_ordinal += 1;
                replicas.push(Replica::new(self.next_ordinal));
            }
        }
        for (id, replicas) in &mut self.groups {
            let wanted =
                self.wanted.groups.iter().find(|group| group.id == *id).map_or(0, |group| group.replicas);
            for surplus in replicas.iter_mut().skip(wanted as usize) {
                surplus.phase = ReplicaPhase::Draining;
            }
        }
        self.groups.retain(|_, replicas| !replicas.is_empty());
    }

    fn serve(&mut self) {
        for split in self.wanted.splits.clone() {
            let able = |release| self.ready(&GroupId { place: split.place.clone(), release }) > 0;
            let able: BTreeMap<ReleaseNumber, bool> =
                split.shares.iter().map(|share| (share.release, able(share.release))).collect();
            for _ in 0..self.traffic.requests_in(TICK) {
                let drawn = self.traffic.draw(&split.shares);
                let served = if able[&drawn] {
                    Some(drawn)
                } else {
                    able.iter().find(|(_, able)| **able).map(|(r, _)| *r)
                };
                let Some(served) = served else {
                    self.lost += 1;
                    continue;
                };
                *self.served.entry(served).or_default() += 1;
                let rate = self.behaviours.get(&served).copied().unwrap_or_default().error_rate;
                let failed = self.traffic.happens(rate);
                if served == drawn {
                    self.count(&split.place, split.epoch, served, failed);
                }
            }
        }
    }

    fn count(&mut self, place: &Place, epoch: Epoch, release: ReleaseNumber, failed: bool) {
        let tally = self.tallies.entry((place.clone(), epoch, release)).or_insert_with(|| Tally {
            place: place.clone(),
            epoch,
            release,
            requests: 0,
            errors: 0,
            latency: Histogram::default(),
        });
        tally.requests += 1;
        tally.errors += u64::from(failed);
        tally.latency.observe(LATENCY);
    }

    pub(super) fn seen(&self) -> Seen {
        Seen {
            instance: format!("agent-{}", self.life),
            version: self.version,
            generation: self.wanted.generation,
            groups: self.groups.iter().map(|(id, replicas)| group_seen(id, replicas)).collect(),
            tallies: self.tallies.values().cloned().collect(),
            warnings: vec![],
            gateway: Some(GATEWAY.to_owned()),
        }
    }

    /// The group of this name that is wanted now.
    pub(super) fn wanted_group(&self, id: &GroupId) -> Option<&Group> {
        self.wanted.groups.iter().find(|group| group.id == *id)
    }
}

impl Replica {
    fn new(ordinal: u32) -> Self {
        Self { ordinal, phase: ReplicaPhase::Starting, age: Duration::ZERO, restarts: 0 }
    }

    fn grow(&mut self, start: Start) {
        self.age += TICK;
        self.phase = match (self.phase, start) {
            (ReplicaPhase::Draining, _) => ReplicaPhase::Draining,
            (_, Start::Crashes) => {
                self.restarts += 1;
                ReplicaPhase::Backoff
            }
            (_, Start::Never) => ReplicaPhase::Starting,
            (_, Start::After(time)) if self.age >= time => ReplicaPhase::Ready,
            (phase, Start::After(_)) => phase,
        };
    }
}

fn group_seen(id: &GroupId, replicas: &[Replica]) -> GroupSeen {
    let deaths: u32 = replicas.iter().map(|replica| replica.restarts).sum();
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
        crash_loop: (deaths >= CRASH_LOOP).then(|| format!("died {deaths} times, last with exit status 1")),
    }
}
