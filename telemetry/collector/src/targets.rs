//! Who is asked, and which rules are evaluated: both follow from what is deployed. Asked are the agent, for its gateway, its
//! machine and the replicas' processes, the store itself, each replica that tells metrics of its own, and each probe for what
//! it finds.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::World;
use model::Place;
use model::otlp::Export;
use model::spec::Metrics;
use ports::fleet::{ReplicaPhase, Seen};
use promql::Labels;
use rules::{Group, Rule};
use scrape::Target;

use crate::fetch::{AGENT, RECORDS, STORE};
use crate::probes;

/// How often the gateway, the machine and the processes are asked. Rollouts are judged by what comes of it.
const OWN_INTERVAL: Duration = Duration::from_secs(5);
/// Samples of the agent's page at most: its own limits on series keep it far below.
const OWN_SAMPLES: usize = 500_000;

/// What is declared for the metrics of a place: by the release that serves, until another takes all requests.
fn declared<'a>(world: &'a World, place: &Place) -> Option<&'a Metrics> {
    Some(&lifecycle::spec_at(world, place)?.metrics)
}

/// Where the metrics of each place are sent on to, as far as they are.
pub fn exports(world: &World) -> BTreeMap<Place, Export> {
    let of = |place: &Place| Some((place.clone(), declared(world, place)?.export.clone()?));
    world.lanes.keys().filter_map(of).collect()
}

/// The rules of each place.
pub fn groups(world: &World) -> Vec<Group> {
    let of = |place: &Place| {
        let metrics = declared(world, place)?;
        let rules = metrics.rules.iter().map(|rule| Rule {
            record: rule.record.clone(),
            expr: rule.expr.clone(),
            labels: rule.labels.clone(),
        });
        let group =
            Group { name: place.to_string(), interval: metrics.evaluation_interval, rules: rules.collect() };
        (!group.rules.is_empty()).then_some(group)
    };
    world.lanes.keys().filter_map(of).collect()
}

/// Who is to be asked while the world and the fleet are like this.
pub fn targets(world: &World, seen: &Seen) -> Vec<Target> {
    let instance = seen.gateway.clone().unwrap_or_else(|| "agent".to_owned());
    let own = |address: &str, instance: &str| Target {
        address: address.to_owned(),
        labels: Labels::new([("job", "shipshape"), ("instance", instance)]),
        interval: OWN_INTERVAL,
        timeout: OWN_INTERVAL,
        samples: OWN_SAMPLES,
    };
    let mut targets = vec![own(AGENT, &instance), own(STORE, "metrics"), own(RECORDS, "records")];
    targets.extend(probes::probes(world).iter().map(probes::target));
    for group in &seen.groups {
        let Place { service, environment } = &group.id.place;
        let Some(scrape) =
            world.spec(&group.id.place, group.id.release).and_then(|spec| spec.metrics.scrape.as_ref())
        else {
            continue;
        };
        // One that starts may not listen yet; one that waits to be started again does not.
        let told = |phase| match phase {
            ReplicaPhase::Ready | ReplicaPhase::Unready | ReplicaPhase::Draining => true,
            ReplicaPhase::Starting | ReplicaPhase::Backoff | ReplicaPhase::Stopping => false,
        };
        for replica in group.replicas.iter().filter(|replica| told(replica.phase)) {
            let instance = format!("127.0.0.1:{}", replica.port);
            targets.push(Target {
                address: format!("{instance}{}", scrape.path),
                labels: Labels::new([
                    ("job", service.as_str()),
                    ("instance", instance.as_str()),
                    ("app", service.as_str()),
                    ("environment", environment.as_str()),
                    ("version", group.id.release.to_string().as_str()),
                    ("replica", replica.ordinal.to_string().as_str()),
                ]),
                interval: scrape.interval,
                timeout: scrape.timeout,
                samples: usize::try_from(scrape.sample_limit).unwrap_or(usize::MAX),
            });
        }
    }
    targets
}
