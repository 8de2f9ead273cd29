//! What there is to be seen beside the fleet: what the rules of alerts would find, what an objective counts, and whether receivers take
//! what they are told. The story changes it. Does not live here: who looks (`watcher`), and what may follow (`referee`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Place, Timestamp};
use watch::Minute;

/// Requests that an objective counts in a second.
const RATE: u64 = 10;
const SECONDS: u64 = 60;

/// What a rule finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Finds {
    #[default]
    Nothing,
    /// The first queue, the second, or both.
    Queues(bool, bool),
    /// Nobody answers.
    Nobody,
}

/// What changes.
#[derive(Debug, Clone)]
pub(crate) enum Weather {
    Rule {
        place: Place,
        name: &'static str,
        finds: Finds,
    },
    /// How many of a hundred requests fail; nothing is measured without.
    Fails {
        place: Place,
        percent: Option<u64>,
    },
    /// Whether nobody tells metrics.
    Blind(bool),
    /// Whether receivers take what they are told.
    Takes(bool),
}

/// Everything that is to be seen.
#[derive(Debug, Default)]
pub(crate) struct Sky {
    rules: BTreeMap<(Place, String), Finds>,
    fails: BTreeMap<Place, Option<u64>>,
    pub(crate) counts: BTreeMap<Place, BTreeMap<u64, Minute>>,
    pub(crate) blind: bool,
    pub(crate) takes: bool,
}

impl Sky {
    pub(crate) fn turns(&mut self, weather: Weather) {
        match weather {
            Weather::Rule { place, name, finds } => drop(self.rules.insert((place, name.to_owned()), finds)),
            Weather::Fails { place, percent } => drop(self.fails.insert(place, percent)),
            Weather::Blind(blind) => self.blind = blind,
            Weather::Takes(takes) => self.takes = takes,
        }
    }

    /// Everything is well again.
    pub(crate) fn clears(&mut self) {
        self.rules.clear();
        self.fails.clear();
        (self.blind, self.takes) = (false, true);
    }

    /// The queues that a rule finds; `None` when nobody answers.
    pub(crate) fn finds(&self, place: &Place, name: &str) -> Option<BTreeSet<&'static str>> {
        let finds = self.rules.get(&(place.clone(), name.to_owned())).copied().unwrap_or_default();
        match finds {
            Finds::Nothing => Some(BTreeSet::new()),
            Finds::Queues(a, b) => {
                Some([("a", a), ("b", b)].into_iter().filter(|it| it.1).map(|it| it.0).collect())
            }
            Finds::Nobody => None,
        }
    }

    /// Counts what came at a place in this time; by default a few requests, and none fails.
    pub(crate) fn count(&mut self, place: &Place, at: Timestamp, time: Duration) {
        let Some(percent) = self.fails.get(place).copied().unwrap_or(Some(0)) else { return };
        let minute = self.counts.entry(place.clone()).or_default();
        let minute = minute.entry(watch::minutes::minute_of(at)).or_default();
        let came = RATE * time.as_secs();
        let measured = (u64::from(minute.measured) + time.as_secs()).min(SECONDS);
        *minute = Minute::new(
            minute.good + came - came * percent / 100,
            minute.total + came,
            u8::try_from(measured).unwrap_or(u8::MAX),
        );
    }
}
