//! Each target on its corpus and on so many numbers: bounded by count, so that the same inputs are tried on any machine.

use fuzz::Target;

fn survives(name: &str, inputs: u64) {
    let target = Target::named(name).unwrap_or_else(|| panic!("no target {name}"));
    if let Err(found) = target.run(0..inputs) {
        panic!("{found:?}; again: cargo xtask fuzz {name} {}", found.seed.unwrap_or_default());
    }
}

#[test]
fn the_manifest_survives_hostile_bytes() {
    survives("manifest", 5_000);
}

#[test]
fn the_gateway_survives_hostile_bytes() {
    survives("gateway", 2_000);
}

#[test]
fn pages_of_metrics_survive_hostile_bytes() {
    survives("exposition", 3_000);
}

#[test]
fn remote_write_survives_hostile_bytes() {
    survives("remote", 10_000);
}

#[test]
fn promql_survives_hostile_bytes() {
    survives("promql", 3_000);
}

#[test]
fn conditions_survive_hostile_bytes() {
    survives("condition", 10_000);
}

#[test]
fn the_api_survives_hostile_bytes() {
    survives("api", 1_000);
}
