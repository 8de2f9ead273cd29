//! A story told step by step: commands go through the rules, their events into the world, as live and replayed.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Command, Event, Refusal, World, decide};
use model::release::{Artifact, ArtifactKind};
use model::route::{Limits, Route, Timeouts};
use model::spec::{About, Health, Logs, Resources, Run, Shutdown};
use model::strategy::{Analysis, Kind, Step, Strategy};
use model::{Digest, EnvironmentName, Place, ReleaseNumber, ServiceName, Spec, Timestamp, Weight};

/// A world and the events that made it.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) events: Vec<Event>,
}

impl Story {
    pub(crate) fn tell(&mut self, command: Command) -> Result<Vec<Event>, Refusal> {
        let events = decide(&self.world, command, at(self.events.len()))?;
        for event in &events {
            let seq = self.events.len() as u64 + 1;
            self.world.apply(event, seq, at(self.events.len())).unwrap();
            self.events.push(event.clone());
        }
        Ok(events)
    }

    pub(crate) fn deploy(&mut self, build: &str, environment: &str) -> Result<Vec<Event>, Refusal> {
        self.tell(Command::Deploy {
            service: service(),
            artifact: artifact(build),
            specs: specs(),
            environment: environment.parse().unwrap(),
        })
    }

    pub(crate) fn rollback(&mut self, to: Option<u64>) -> Result<Vec<Event>, Refusal> {
        self.tell(Command::Rollback { place: place("production"), to: to.map(ReleaseNumber) })
    }

    pub(crate) fn operate(
        &mut self,
        environment: &str,
        command: ship::Command,
    ) -> Result<Vec<Event>, Refusal> {
        self.tell(Command::Operate { place: place(environment), command })
    }

    /// Lets the rollout under way take all requests.
    pub(crate) fn promoted(&mut self, environment: &str) {
        let moved = ship::Command::Move { stable: 2, candidate: 2, weight: Weight::ALL };
        self.operate(environment, moved).unwrap();
        self.operate(environment, ship::Command::Conclude).unwrap();
    }

    /// Lets the rollout under way end well.
    pub(crate) fn completed(&mut self, environment: &str) {
        self.promoted(environment);
        self.operate(environment, ship::Command::Complete).unwrap();
    }

    /// Deploys and completes.
    pub(crate) fn served(&mut self, build: &str, environment: &str) {
        self.deploy(build, environment).unwrap();
        self.completed(environment);
    }

    pub(crate) fn stable(&self, environment: &str) -> Option<u64> {
        self.world.lanes[&place(environment)].stable.map(|number| number.0)
    }

    /// The world that a replay of all events gives.
    pub(crate) fn replayed(&self) -> World {
        let mut world = World::default();
        for (index, event) in self.events.iter().enumerate() {
            world.apply(event, index as u64 + 1, at(index)).unwrap();
        }
        world
    }
}

fn at(index: usize) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + index as i64)
}

pub(crate) fn service() -> ServiceName {
    "shop".parse().unwrap()
}

pub(crate) fn place(environment: &str) -> Place {
    Place { service: service(), environment: environment.parse().unwrap() }
}

pub(crate) fn artifact(build: &str) -> Artifact {
    Artifact {
        digest: Digest::of(build.as_bytes()),
        name: "shop".to_owned(),
        kind: ArtifactKind::File,
        bytes: build.len() as u64,
    }
}

/// Staging and production of the shop, two replicas each, by a canary.
pub(crate) fn specs() -> BTreeMap<EnvironmentName, Spec> {
    ["staging", "production"]
        .map(|name| (name.parse().unwrap(), spec("shop", name, &format!("{name}.test"))))
        .into()
}

pub(crate) fn spec(service: &str, environment: &str, host: &str) -> Spec {
    let second = Duration::from_secs(1);
    Spec {
        service: service.parse().unwrap(),
        environment: environment.parse().unwrap(),
        about: About::default(),
        artifact: None,
        run: Run {
            command: "shop".to_owned(),
            args: vec![],
            working_directory: None,
            port_variable: "PORT".to_owned(),
        },
        config: BTreeMap::new(),
        secrets: BTreeMap::new(),
        health: Health { startup: None, live: None, ready: None },
        replicas: 2,
        resources: Resources::default(),
        shutdown: Shutdown { drain_timeout: second, grace_period: second },
        logs: Logs { file_bytes: 1 << 20, files: 2 },
        records: model::records::Records::default(),
        metrics: model::spec::Metrics::default(),
        traces: None,
        probes: vec![],
        route: Route {
            hosts: vec![host.to_owned()],
            path_prefixes: vec!["/".to_owned()],
            templates: vec![],
            timeouts: Timeouts { connect: second, response: second, idle: second },
            limits: Limits { body_bytes: 1 << 20, in_flight: 100 },
        },
        rollout: Strategy {
            kind: Kind::Canary {
                steps: vec![Step::SetWeight(Weight::from_percent(10.0).unwrap())],
                session_affinity: None,
            },
            progress_deadline: second,
            min_ready: Duration::ZERO,
            scale_down_delay: second,
            bake_time: Duration::ZERO,
            declared_rollback_window: None,
            on_failure: model::strategy::OnFailure::Rollback,
            hooks: model::hook::Hooks::default(),
            analysis: Analysis { judge: None, metrics: vec![] },
        },
        changes: model::change::Changes::default(),
        declared_objectives: None,
        declared_alerts: Default::default(),
        notify: None,
    }
}
