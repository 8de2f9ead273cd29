//! Questions to the metrics: what is known only when one is asked. Does not live here: asking, and what the answer means
//! (`ports::Checks`).

use model::Place;
use model::check::Promql;
use model::placeholder::{self, Filling};
use ship::Rollout;

/// Fills in the arguments that every analysis has.
pub(crate) fn complete(promql: &mut Promql, place: &Place, rollout: &Rollout) -> Result<(), String> {
    let filled = placeholder::fill(&promql.query, |name| match (name, rollout.from) {
        ("version", _) => Filling::Value(rollout.to.to_string()),
        // The first release has none before it; no series has this version.
        ("stable", from) => Filling::Value(from.map_or_else(|| "0".to_owned(), |from| from.to_string())),
        ("service", _) => Filling::Value(place.service.to_string()),
        ("environment", _) => Filling::Value(place.environment.to_string()),
        _ => Filling::Unknown,
    });
    promql.query = filled.map_err(|error| error.to_string())?;
    Ok(())
}
