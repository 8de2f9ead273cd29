//! Alerts as series, as Prometheus keeps them: `ALERTS` with the label `alertstate`, and `ALERTS_FOR_STATE` with the time
//! since when. They end at once when the alert does.

use std::collections::HashMap;

use lifecycle::World;
use promql::labels::NAME;
use promql::{Labels, Point, STALE};
use store::{SeriesRef, Store};
use watch::alert::Phase;

const ALERTS: &str = "ALERTS";
const FOR_STATE: &str = "ALERTS_FOR_STATE";
const STATE: &str = "alertstate";

/// The series of alerts, as they were told last.
#[derive(Default)]
pub struct Series {
    given: HashMap<Labels, SeriesRef>,
}

impl Series {
    /// Tells the store of what is pending and firing, as of a time in milliseconds since 1970. Those that the store has no
    /// room for are left out.
    pub fn tell(&mut self, world: &World, store: &Store, at: i64) {
        let mut given = HashMap::new();
        let mut samples = Vec::new();
        for alert in lifecycle::alerts(world) {
            let state = match alert.phase {
                Phase::Pending => "pending",
                Phase::Firing => "firing",
            };
            let own = alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels = Labels::new(own);
            let since = alert.active_since.as_micros() / 1_000_000;
            let both = [
                (labels.with(NAME, ALERTS).with(STATE, state), 1.0),
                (labels.with(NAME, FOR_STATE), since as f64),
            ];
            for (labels, value) in both {
                let known = self.given.remove(&labels).or_else(|| store.series(&labels).ok());
                let Some(series) = known else { continue };
                samples.push((series, Point { at, value }));
                given.insert(labels, series);
            }
        }
        let gone = std::mem::replace(&mut self.given, given);
        samples.extend(gone.into_values().map(|series| (series, Point { at, value: STALE })));
        store.append_now(&samples);
    }
}
