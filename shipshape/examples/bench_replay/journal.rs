//! A long journal as it would have come about: one rollout of a canary after another in three services, decided by the
//! rules, most of it measurements. Written in large units; how it is read is not known here.

use std::path::Path;

use lifecycle::{Command, Event, World, decide};
use manifest::Manifest;
use model::release::{Artifact, ArtifactKind};
use model::{Digest, EnvironmentName, Place, Timestamp, Weight};
use ports::Journal as _;
use ports::journal::Entry;
use record::Chain;
use ship::latency::Slow;
use ship::{Counts, EpochTally};
use sqlite::{Config, Store};

use super::Outcome;

/// Measurements of one weight: three minutes at one a second.
const MEASUREMENTS: u64 = 45;
/// Events that are written at once.
const UNIT: usize = 10_000;
const MANIFEST: &str = "
service: NAME
run: ./NAME
replicas: 3
environments:
  production: {route: {hosts: [NAME.test]}}
rollout:
  strategy: canary
  canary: {steps: [{setWeight: 10}, {pause: {duration: 1m}}, {setWeight: 50}, {pause: {duration: 1m}}]}
";

struct Writer {
    store: Store,
    runtime: tokio::runtime::Runtime,
    chain: Chain,
    world: World,
    unit: Vec<Entry>,
    wanted: u64,
}

/// Builds a journal of this many events.
pub(super) fn build(path: &Path, events: u64) -> Outcome<()> {
    let mut writer = Writer {
        store: Store::open(path, Config::default())?,
        runtime: tokio::runtime::Builder::new_current_thread().build()?,
        chain: Chain::new(),
        world: World::default(),
        unit: Vec::new(),
        wanted: events,
    };
    let mut number = 0;
    while !writer.is_done() {
        for service in ["shop", "cart", "mail"] {
            writer.rollout(service, number)?;
        }
        number += 1;
    }
    writer.flush()
}

impl Writer {
    fn is_done(&self) -> bool {
        self.chain.last_seq >= self.wanted
    }

    fn rollout(&mut self, service: &str, number: u64) -> Outcome<()> {
        let manifest = Manifest::parse(&MANIFEST.replace("NAME", service)).map_err(|_| "a bad manifest")?;
        let environment: EnvironmentName = "production".parse()?;
        let place = Place { service: manifest.service().clone(), environment: environment.clone() };
        let artifact = Artifact {
            digest: Digest::of(format!("{service}-{number}").as_bytes()),
            name: service.to_owned(),
            kind: ArtifactKind::File,
            bytes: 1 << 20,
        };
        let (service, specs) = (manifest.service().clone(), manifest.specs().clone());
        self.tell(Command::Deploy { service, artifact, specs, environment }, "ada")?;
        self.operate(&place, ship::Command::NoteReady(3))?;
        for (step, percent) in [(1, 10.0), (3, 50.0)] {
            let weight = Weight::from_percent(percent).ok_or("a bad weight")?;
            self.operate(&place, ship::Command::Move { stable: 3, candidate: 3, weight })?;
            self.operate(&place, ship::Command::EnterStep(step))?;
            self.measure(&place)?;
        }
        self.operate(&place, ship::Command::Move { stable: 3, candidate: 3, weight: Weight::ALL })?;
        self.operate(&place, ship::Command::Conclude)?;
        self.operate(&place, ship::Command::Complete)
    }

    fn measure(&mut self, place: &Place) -> Outcome<()> {
        let epoch = self.world.lanes.get(place).ok_or("a place without a rollout")?.epoch;
        for second in 1..=MEASUREMENTS {
            let counts = |each: u64| Counts { requests: second * each, errors: second * each / 500 };
            let tallies = vec![EpochTally {
                epoch,
                candidate: counts(200),
                stable: counts(1_800),
                slow: Slow::default(),
                ..EpochTally::default()
            }];
            let instance = "0198c5a2-77aa-7e1c-9b1e-2f4c5d6e7f80".to_owned();
            self.operate(place, ship::Command::Measure { instance, tallies })?;
        }
        Ok(())
    }

    fn operate(&mut self, place: &Place, command: ship::Command) -> Outcome<()> {
        self.tell(Command::Operate { place: place.clone(), command }, "shipshape")
    }

    fn tell(&mut self, command: Command, actor: &str) -> Outcome<()> {
        if self.is_done() {
            return Ok(());
        }
        let seconds = i64::try_from(self.chain.last_seq)?;
        let at = Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000);
        for event in decide(&self.world, command, at)? {
            self.write(&event, at, actor)?;
        }
        Ok(())
    }

    fn write(&mut self, event: &Event, at: Timestamp, actor: &str) -> Outcome<()> {
        let record = self.chain.next(record::event::draft(event, at, actor, None))?;
        self.world.apply(event, record.seq, at)?;
        self.unit.push(Entry { seq: record.seq, bytes: record.to_bytes() });
        if self.unit.len() >= UNIT { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Outcome<()> {
        let unit = std::mem::take(&mut self.unit);
        Ok(self.runtime.block_on(self.store.append(unit))?)
    }
}
