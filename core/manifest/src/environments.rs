//! From a manifest's tree to one [`Spec`] for each environment. An error in the base is reported once, however many
//! environments inherit it, and one that every environment overrides is reported all the same.

use std::collections::{BTreeMap, BTreeSet};

use model::{EnvironmentName, ServiceName, Spec};

use crate::diagnostic::{Diagnostics, Problem, Sink};
use crate::node::{Map, Node, Span, Value};
use crate::read::{Context, Mapping, mismatch};
use crate::rollout::{Section, Unused};
use crate::{
    Manifest, alerts, changes, fields, health, logs, metrics, notify, objectives, overlay, probes, rollout,
    route, service, traces, values, yaml,
};

/// The environment of a manifest that declares none.
const DEFAULT_ENVIRONMENT: &str = "production";

pub(crate) fn read(text: &str) -> Result<Manifest, Diagnostics> {
    let sink = Sink::new(text);
    let read = yaml::parse(text, &sink).and_then(|root| manifest(&root, &sink));
    let found = sink.finish();
    match read {
        Some((service, specs)) if !found.has_errors() => Ok(Manifest { service, specs, warnings: found }),
        Some(_) | None => Err(found),
    }
}

fn manifest(root: &Node, sink: &Sink<'_>) -> Option<(ServiceName, BTreeMap<EnvironmentName, Spec>)> {
    let context = Context { sink, partial: false };
    if root.map().is_none() {
        let message = format!("a manifest is a mapping of fields, and this is {}", root.kind());
        sink.error(&root.span, Problem::new(message).help(yaml::SMALLEST));
        return None;
    }
    let overlays = overlays(root, &context);
    let base = without_environments(root);
    // Only for what it reports: the base of several environments need not be complete.
    let guess: EnvironmentName = DEFAULT_ENVIRONMENT.parse().ok()?;
    if !overlays.is_empty() {
        spec(&base, &Context { sink, partial: true }, &guess);
    }
    let mut sections = Sections::default();
    let mut specs = BTreeMap::new();
    let mut merged = BTreeMap::new();
    if overlays.is_empty() {
        specs.extend(spec(&base, &context, &guess).map(|(spec, found)| {
            sections.note(found);
            (guess, spec)
        }));
    }
    for (name, at, node) in overlays {
        let tree = overlay::apply(&base, node);
        if let Some((spec, found)) = spec(&tree, &context, &name) {
            sections.note(found);
            specs.insert(name.clone(), spec);
        }
        merged.insert(name, (at, tree));
    }
    sections.report(sink);
    clashes(&specs, &merged, sink);
    let service = specs.values().next()?.service.clone();
    Some((service, specs))
}

/// The declared environments: name, place and changes. What is no environment is reported and left out.
fn overlays<'a>(root: &'a Node, context: &Context<'_>) -> Vec<(EnvironmentName, Span, &'a Node)> {
    let Some(entry) =
        root.map().and_then(|map| map.get("environments")).filter(|entry| !entry.value.is_null())
    else {
        return Vec::new();
    };
    let Some(map) = entry.value.map() else {
        mismatch(context, &entry.value, "a mapping of environments");
        return Vec::new();
    };
    let mut overlays = Vec::new();
    for entry in &map.entries {
        if !check_overlay(&entry.value, context) {
            continue;
        }
        match entry.key.parse::<EnvironmentName>() {
            Ok(name) => overlays.push((name, entry.key_span.clone(), &entry.value)),
            Err(error) => {
                let problem =
                    Problem::new(format!("`{}` cannot name an environment: {}", entry.key, error.reason));
                context.sink.error(&entry.key_span, problem.help(DNS_LABEL));
            }
        }
    }
    overlays
}

const DNS_LABEL: &str = "use 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit";

/// Whether the overlay can be applied; says why not.
fn check_overlay(overlay: &Node, context: &Context<'_>) -> bool {
    match &overlay.value {
        Value::Map(map) => {
            for name in fields::NOT_IN_OVERLAYS {
                if let Some(entry) = map.get(name) {
                    let problem =
                        Problem::new(format!("`{name}` cannot differ from one environment to another"));
                    context
                        .sink
                        .error(&entry.key_span, problem.help("remove it here; it stands at the top level"));
                }
            }
        }
        Value::Null => {}
        Value::Scalar(_) | Value::List(_) => {
            mismatch(context, overlay, "a mapping of changes");
            return false;
        }
    }
    true
}

fn without_environments(root: &Node) -> Node {
    let entries = root.map().map(|map| map.entries.clone()).unwrap_or_default();
    let mut map = Map { entries };
    map.remove("environments");
    // A missing field is reported at the beginning, not under the whole file.
    let first = map.entries.first().map_or(root.span.start..root.span.start, |entry| entry.key_span.clone());
    Node { span: first, value: Value::Map(map) }
}

fn spec(tree: &Node, context: &Context<'_>, environment: &EnvironmentName) -> Option<(Spec, Vec<Section>)> {
    let root = Mapping::open(context, &fields::ROOT, tree, &tree.span);
    let service = service_name(&root);
    root.entry("environments");
    let run = service::run(&root);
    let port = run.as_ref().map(|run| run.port_variable.as_str());
    let about = service::about(&root);
    let artifact = root.text("artifact");
    let config = service::config(&root, port);
    let secrets = service::secrets(&root, port);
    let health = health::health(&root);
    let replicas = root.count("replicas").unwrap_or_default();
    let resources = service::resources(&root);
    let shutdown = service::shutdown(&root);
    let (logs, records) = logs::logs(&root);
    let metrics = metrics::metrics(&root);
    let traces = traces::traces(&root);
    // The other sections are checked even where the service has no usable name.
    let stand_in: ServiceName = "service".parse().ok()?;
    let named = service.as_ref().unwrap_or(&stand_in);
    let route = route::route(&root, named, environment);
    let probes = probes::probes(&root, &route);
    let at = rollout::At { service: named, environment, route: &route, replicas };
    let rollout = rollout::rollout(&root, &at);
    let declared_objectives = objectives::objectives(
        &root,
        &objectives::At { route: &route, metrics: &metrics, probes: &probes::names(&root) },
    );
    let declared_alerts = alerts::alerts(&root, &metrics);
    let changes = changes::changes(&root);
    let notify = notify::notify(&root);
    root.finish();
    let spec = Spec {
        service: service?,
        environment: environment.clone(),
        about,
        artifact,
        run: run?,
        config,
        secrets,
        health,
        replicas,
        resources,
        shutdown,
        logs,
        records,
        metrics,
        traces,
        probes,
        route,
        rollout: rollout.strategy,
        changes,
        declared_objectives,
        declared_alerts,
        notify,
    };
    Some((spec, rollout.sections))
}

fn service_name(root: &Mapping<'_>) -> Option<ServiceName> {
    root.read("service", |scalar, _| {
        let name = values::text(scalar)?;
        name.parse().map_err(|error: model::ids::InvalidName| {
            Problem::new(format!("`{name}` cannot name a service: {}", error.reason)).help(DNS_LABEL)
        })
    })
}

/// Which sections of a strategy are used by an environment, and which by none.
#[derive(Default)]
struct Sections {
    used: BTreeSet<usize>,
    unused: BTreeMap<usize, (Span, Unused)>,
}

impl Sections {
    fn note(&mut self, sections: Vec<Section>) {
        for section in sections {
            match section.unused {
                Some(unused) => {
                    self.unused.insert(section.span.start, (section.span, unused));
                }
                None => {
                    self.used.insert(section.span.start);
                }
            }
        }
    }

    fn report(self, sink: &Sink<'_>) {
        let unused = self.unused.into_iter().filter(|(start, _)| !self.used.contains(start));
        for (span, unused) in unused.map(|(_, unused)| unused) {
            match unused {
                Unused::Warning(problem) => sink.warning(&span, problem),
                Unused::Error(problem) => sink.error(&span, problem),
            }
        }
    }
}

/// Reports environments that would answer the same requests.
fn clashes(
    specs: &BTreeMap<EnvironmentName, Spec>,
    merged: &BTreeMap<EnvironmentName, (Span, Node)>,
    sink: &Sink<'_>,
) {
    let place = |name: &EnvironmentName| {
        let (at, tree) = merged.get(name)?;
        let hosts = || tree.map()?.get("route")?.value.map()?.get("hosts");
        Some(hosts().map_or_else(|| at.clone(), |entry| entry.value.span.clone()))
    };
    let all: Vec<_> = specs.iter().collect();
    for (index, (name, spec)) in all.iter().enumerate() {
        for (other, other_spec) in all.iter().take(index) {
            let Some((host, prefix)) = route::clash(spec, other_spec) else { continue };
            let message = format!("environments `{other}` and `{name}` both answer {host}{prefix}");
            let help = format!("give `{name}` its own hosts under `environments.{name}.route.hosts`");
            let (Some(mine), Some(theirs)) = (place(name), place(other)) else { continue };
            let problem = Problem::new(message).help(help);
            if mine == theirs {
                sink.error(&mine, problem);
            } else {
                sink.error_with(&mine, problem, &theirs, &format!("claimed by `{other}` here"));
            }
        }
    }
}
