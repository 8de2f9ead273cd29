//! What is said of drift: the first time at once, then at most once a minute for each place and kind, with how often it
//! was put right meanwhile; so a replica that dies without end fills no journal. Does not live here: putting it right (the
//! agent does, asked or not).

use std::time::Duration;

use model::drift::{Drift, DriftKind};
use model::{Place, Timestamp};

use crate::event::Event;
use crate::world::World;

/// How long nothing more is said of the same place and kind.
pub const DRIFT_QUIET: Duration = Duration::from_secs(60);

/// What was last said of one place and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// In which life of the agent.
    pub instance: String,
    /// What was found and done; its times are those of that life.
    pub drift: Drift,
    /// How often since it was said before.
    pub new: u64,
    /// When it was said.
    pub at: Timestamp,
}

/// What says drift apart.
pub type DriftKey = (Option<Place>, DriftKind);

/// The events that say what was not said yet, and is due.
pub(crate) fn notice(world: &World, instance: &str, drifts: &[Drift], at: Timestamp) -> Vec<Event> {
    let event = |drift: &Drift| {
        let noted = world.drifts.get(&(drift.place.clone(), drift.kind));
        let told = noted.filter(|noted| noted.instance == instance).map_or(0, |noted| noted.drift.times);
        // A clock that was set back must not silence it for as long.
        let quiet = noted.is_some_and(|noted| at >= noted.at && at.since(noted.at) < DRIFT_QUIET);
        let new = drift.times.saturating_sub(told);
        let due = new > 0 && !quiet;
        due.then(|| Event::DriftCorrected { instance: instance.to_owned(), drift: drift.clone(), new })
    };
    drifts.iter().filter_map(event).collect()
}

impl Noted {
    /// It in one line.
    pub fn in_words(&self) -> String {
        let place = self.drift.place.as_ref().map_or_else(|| "this machine".to_owned(), ToString::to_string);
        let times = if self.new > 1 { format!(", {} times", self.new) } else { String::new() };
        format!("drift at {place}{times}: {}; {}", self.drift.found, self.drift.done)
    }
}
