//! Who answers which requests: two places must not claim the same host and path prefix.

use model::route::Route;
use model::{Place, Spec};

use crate::world::World;
use ship::Refusal;

/// Refuses a configuration whose host and path prefix, previews included, another place already answers, or whose
/// preview the release that serves at its own place does.
pub(crate) fn check(world: &World, spec: &Spec) -> Result<(), Refusal> {
    let place = spec.place();
    for (other, lane) in &world.lanes {
        for number in lane.active().map(|rollout| rollout.to).into_iter().chain(lane.stable) {
            let Some(theirs) = world.spec(other, number) else { continue };
            let claim = if *other == place {
                spec.preview().and_then(|preview| overlap(&preview, &theirs.route))
            } else {
                routes(spec).find_map(|ours| routes(theirs).find_map(|theirs| overlap(&ours, &theirs)))
            };
            if let Some((host, prefix)) = claim {
                return Err(if *other == place {
                    preview_conflict(&place, &host)
                } else {
                    conflict(&place, other, &host, &prefix)
                });
            }
        }
    }
    Ok(())
}

/// Every way to reach it.
fn routes(spec: &Spec) -> impl Iterator<Item = Route> {
    std::iter::once(spec.route.clone()).chain(spec.preview())
}

fn preview_conflict(place: &Place, host: &str) -> Refusal {
    Refusal::new(
        format!("the release that serves at {place} answers {host}, where the new one would be previewed"),
        "give the preview hosts of its own under rollout.blueGreen.previewHosts in the manifest",
    )
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
