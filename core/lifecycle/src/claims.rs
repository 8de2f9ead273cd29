//! Who answers which requests: two places must not claim the same host and path prefix.

use model::route::Route;
use model::{Place, Spec};

use crate::world::World;
use ship::Refusal;

/// Refuses a configuration whose host and path prefix another place already answers.
pub(crate) fn check(world: &World, spec: &Spec) -> Result<(), Refusal> {
    let place = spec.place();
    for (other, lane) in world.lanes.iter().filter(|(other, _)| **other != place) {
        for number in lane.active().map(|rollout| rollout.to).into_iter().chain(lane.stable) {
            let claim = world.spec(other, number).and_then(|theirs| overlap(&spec.route, &theirs.route));
            if let Some((host, prefix)) = claim {
                return Err(conflict(&place, other, &host, &prefix));
            }
        }
    }
    Ok(())
}

fn overlap(ours: &Route, theirs: &Route) -> Option<(String, String)> {
    let host = ours.hosts.iter().find(|host| theirs.hosts.contains(host))?;
    let prefix = ours.path_prefixes.iter().find(|prefix| theirs.path_prefixes.contains(prefix))?;
    Some((host.clone(), prefix.clone()))
}

fn conflict(place: &Place, other: &Place, host: &str, prefix: &str) -> Refusal {
    let host = if host == "*" { "any host".to_owned() } else { format!("host {host}") };
    Refusal::new(
        format!("{other} already answers {host} with path prefix {prefix}"),
        format!(
            "give {place} a route.hosts or route.pathPrefixes of its own in the manifest, for this environment alone \
             under environments.{}.route",
            place.environment
        ),
    )
}
