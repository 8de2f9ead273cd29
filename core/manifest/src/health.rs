//! Probes: Kubernetes' fields, defaults and rules.

use std::time::Duration;

use model::spec::{Check, Health, Probe};

use crate::diagnostic::Problem;
use crate::fields;
use crate::read::Mapping;

pub(crate) fn health(root: &Mapping<'_>) -> Health {
    let health = root.child("health", &fields::HEALTH);
    let read = Health {
        startup: probe(&health, "startup"),
        live: probe(&health, "live"),
        ready: probe(&health, "ready").or_else(|| Some(accepts_connections())),
    };
    health.finish();
    read
}

/// A replica without a `ready` probe is ready when its port accepts connections.
fn accepts_connections() -> Probe {
    Probe {
        check: Check::Tcp,
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 3,
    }
}

fn probe(health: &Mapping<'_>, name: &'static str) -> Option<Probe> {
    let entry = health.entry(name)?;
    let probe = Mapping::open(health.context, &fields::PROBE, &entry.value, &entry.key_span);
    let (http, tcp) = (probe.path("http"), probe.is_true("tcp"));
    let given = [probe.entry("http"), probe.entry("tcp")].iter().flatten().count();
    let known = entry.value.map().is_some() && !(given == 0 && probe.has_unknown());
    if given != 1 && known {
        let problem = Problem::new(format!("the `{name}` probe needs exactly one of `http` and `tcp`"));
        probe.error(&entry.key_span, problem.help("write `http: /healthz` or `tcp: true`"));
    }
    let success_threshold = probe.count("successThreshold").unwrap_or(1);
    if name != "ready" && success_threshold != 1 {
        let problem = Problem::new(format!("`successThreshold` must be 1 for the `{name}` probe"));
        probe.error(&probe.place("successThreshold"), problem.help("only `ready` may ask for more"));
    }
    let read = Probe {
        check: http.map_or(Check::Tcp, Check::Http),
        initial_delay: probe.duration("initialDelay"),
        period: probe.duration("period"),
        timeout: probe.duration("timeout"),
        success_threshold,
        failure_threshold: probe.count("failureThreshold").unwrap_or(3),
    };
    probe.finish();
    (read.check != Check::Tcp || tcp).then_some(read)
}
