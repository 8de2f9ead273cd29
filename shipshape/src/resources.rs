//! What a process may run out of, looked at every few seconds: said in its own log when little is left, and when there is enough
//! again. Does not live here: the figures (`machine`), and alerts on them (`alerting`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use machine::Use;
use tokio::time::MissedTickBehavior;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(10);
/// From this part on, in percents, little is left.
const LOW: u64 = 90;
/// Below this part there is enough again.
const ENOUGH: u64 = 85;
/// The least time between two lines about the same.
const AGAIN: Duration = Duration::from_secs(60);

/// What only this process uses, for whoever is not the one that looks after the machine.
pub(crate) const OWN: [&str; 2] = ["descriptors", "memory limit"];
/// All that is known.
pub(crate) const ALL: [&str; 5] = ["disk", "disk files", "memory", "memory limit", "descriptors"];

/// Looks again and again at these, of a process whose files are there. Never returns.
pub(crate) async fn watch(home: PathBuf, of: &'static [&'static str]) -> Infallible {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Said::default();
    loop {
        let _ = ticks.tick().await;
        let home = home.clone();
        // A disk that does not answer is nobody else's trouble.
        let Ok(uses) = tokio::task::spawn_blocking(move || uses(&home, of)).await else { continue };
        for (it, is_low) in said.changes(&uses, Instant::now()) {
            let (resource, percent, Use { used, limit, .. }) = (it.of, it.percent(), it);
            match is_low {
                true => {
                    tracing::warn!(event = "resource.low", resource, percent, used, limit, "little is left")
                }
                false => {
                    tracing::info!(
                        event = "resource.recovered",
                        resource,
                        percent,
                        used,
                        limit,
                        "there is enough again"
                    )
                }
            }
        }
    }
}

fn uses(home: &Path, of: &[&str]) -> Vec<Use> {
    machine::uses(home).into_iter().filter(|it| of.contains(&it.of)).collect()
}

/// What was said last of each, and when.
#[derive(Default)]
struct Said(BTreeMap<&'static str, (bool, Instant)>);

impl Said {
    /// What is to be said now: of what, and whether little is left.
    fn changes(&mut self, uses: &[Use], now: Instant) -> Vec<(Use, bool)> {
        let mut changes = Vec::new();
        for it in uses {
            let said = self.0.get(it.of).copied();
            let was_low = said.is_some_and(|(low, _)| low);
            let is_low = it.percent() >= if was_low { ENOUGH } else { LOW };
            // What swings is said as it stands when the time is over.
            let may = said.is_none_or(|(_, at)| now.duration_since(at) >= AGAIN);
            if is_low != was_low && may {
                self.0.insert(it.of, (is_low, now));
                changes.push((*it, is_low));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_said_once_and_enough_once_and_what_swings_once_a_minute() {
        let mut said = Said::default();
        let start = Instant::now();
        let mut at = |seconds, used| {
            let uses = [Use { of: "disk", used, limit: 1_000 }, Use { of: "memory", used: 1, limit: 1_000 }];
            let changes = said.changes(&uses, start + Duration::from_secs(seconds));
            changes.into_iter().map(|(it, is_low)| (it.of, is_low)).collect::<Vec<_>>()
        };
        assert_eq!(at(0, 899), []);
        assert_eq!(at(10, 900), [("disk", true)]);
        assert_eq!(at(20, 999), []);
        assert_eq!(at(30, 10), [], "a minute has not passed");
        assert_eq!(at(40, 950), []);
        assert_eq!(at(80, 850), [], "below the limit, and not by much");
        assert_eq!(at(90, 849), [("disk", false)]);
        assert_eq!(at(100, 990), []);
        assert_eq!(at(150, 990), [("disk", true)]);
    }
}
