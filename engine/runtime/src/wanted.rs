//! What the fleet should look like, from the world.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifecycle::World;
use model::otlp::Traces;
use model::spec::HeaderValue;
use model::{Place, Release, ReleaseNumber, Spec};
use ports::fleet::{
    Affinity, Aim, Group, GroupId, GroupSecrets, Preview, SecretValues, Share, Split, Wanted,
};
use ports::{Artifacts, Secrets};

/// A wanted state with the values that go with it, and what could not be found.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) wanted: Wanted,
    pub(crate) secrets: SecretValues,
    pub(crate) warnings: Vec<String>,
}

/// Builds the whole wanted state.
///
/// # Errors
/// When an artifact that should run is not in the store: a wanted state without it would stop what runs.
pub(crate) fn order(
    world: &World,
    artifacts: &dyn Artifacts,
    secrets: &dyn Secrets,
) -> Result<Order, String> {
    let mut order = Order {
        wanted: Wanted { generation: world.generation, groups: Vec::new(), splits: Vec::new() },
        secrets: SecretValues::default(),
        warnings: Vec::new(),
    };
    for place in world.lanes.keys() {
        let Some(serving) = world.serving(place) else { continue };
        for (number, replicas) in serving.groups {
            let Some((release, spec)) = found(world, place, number) else { continue };
            let directory = artifacts.directory(&release.artifact).map_err(|error| {
                format!("release {number} at {place} cannot run: {error}; the replicas that run go on")
            })?;
            let id = GroupId { place: place.clone(), release: number };
            order.resolve(&id, spec, secrets);
            order.wanted.groups.push(group(id, spec, replicas, directory));
        }
        let route = serving.route_of.and_then(|number| found(world, place, number));
        if let (Some((_, spec)), false) = (route, serving.shares.is_empty()) {
            let previewed = serving.preview.and_then(|number| found(world, place, number));
            let preview = previewed.map_or(spec, |(_, spec)| spec).preview();
            order.wanted.splits.push(Split {
                place: place.clone(),
                route: spec.route.clone(),
                epoch: serving.epoch,
                shares: serving
                    .shares
                    .into_iter()
                    .map(|(release, weight)| Share { release, weight })
                    .collect(),
                preview: preview.map(|route| Preview { route, release: serving.preview }),
                aim: serving.aim.map(|(release, routes)| Aim { release, routes }),
                affinity: serving
                    .affinity
                    .map(|(by, salt)| Affinity { by, salt: format!("{place}: {salt}") }),
                traces: spec.traces.clone(),
            });
            if let Some((number, traces)) = serving.route_of.zip(spec.traces.as_ref()) {
                order.resolve_headers(GroupId { place: place.clone(), release: number }, traces, secrets);
            }
        }
    }
    Ok(order)
}

/// Whether no replica is wanted anywhere: then there is nothing to look up.
pub(crate) fn runs_nothing(world: &World) -> bool {
    world.lanes.keys().filter_map(|place| world.serving(place)).all(|serving| serving.groups.is_empty())
}

fn found<'a>(world: &'a World, place: &Place, number: ReleaseNumber) -> Option<(&'a Release, &'a Spec)> {
    Some((world.release(&place.service, number)?.as_ref(), world.spec(place, number)?))
}

fn group(id: GroupId, spec: &Spec, replicas: u32, artifact: PathBuf) -> Group {
    Group {
        id,
        replicas,
        artifact,
        run: spec.run.clone(),
        config: spec.config.clone(),
        secrets: spec.secrets.keys().cloned().collect(),
        health: spec.health.clone(),
        resources: spec.resources.clone(),
        shutdown: spec.shutdown.clone(),
        logs: spec.logs.clone(),
    }
}

impl Order {
    fn resolve(&mut self, id: &GroupId, spec: &Spec, secrets: &dyn Secrets) {
        let mut values = BTreeMap::new();
        for (variable, source) in &spec.secrets {
            match secrets.resolve(source) {
                Ok(value) => {
                    values.insert(variable.clone(), value);
                }
                Err(error) => {
                    self.warnings.push(format!("{id} cannot start new replicas: {variable}: {error}"))
                }
            }
        }
        if !values.is_empty() {
            self.secrets.0.push(GroupSecrets { group: id.clone(), values, trace_headers: BTreeMap::new() });
        }
    }

    fn resolve_headers(&mut self, group: GroupId, traces: &Traces, secrets: &dyn Secrets) {
        let mut trace_headers = BTreeMap::new();
        for (name, value) in &traces.otlp.headers {
            let HeaderValue::Secret(source) = value else { continue };
            match secrets.resolve(source) {
                Ok(value) => _ = trace_headers.insert(name.clone(), value),
                Err(error) => self
                    .warnings
                    .push(format!("the traces of {} are not sent: the header {name}: {error}", group.place)),
            }
        }
        if trace_headers.is_empty() {
            return;
        }
        match self.secrets.0.iter_mut().find(|known| known.group == group) {
            Some(known) => known.trace_headers = trace_headers,
            None => self.secrets.0.push(GroupSecrets { group, values: BTreeMap::new(), trace_headers }),
        }
    }
}
