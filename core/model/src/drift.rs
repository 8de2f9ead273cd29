//! Drift as data: something that was not as wanted though nobody had ordered it, and was put right. Does not live here: who
//! finds it, and how often it is said.

use serde::{Deserialize, Serialize};

use crate::Place;

/// What was found and put right, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Where; `None` when it is the machine's own state.
    pub place: Option<Place>,
    /// What kind.
    pub kind: DriftKind,
    /// How often it was put right, in one life of whoever finds it.
    pub times: u64,
    /// What was found the last time, in words.
    pub found: String,
    /// What was done about it, in words.
    pub done: String,
}

/// What is not as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftKind {
    /// A replica that had been ready ended, or had to be ended, unasked.
    Replica,
    /// Somebody stopped a process with a signal, so that it stands still.
    Stopped,
    /// A replica's shim ended, and its output and exit status would be lost.
    Shim,
    /// A replica ran that nobody wanted.
    Surplus,
    /// The stored wanted state was another one, or gone.
    Stored,
}

impl DriftKind {
    /// Its name, as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::Stopped => "stopped",
            Self::Shim => "shim",
            Self::Surplus => "surplus",
            Self::Stored => "stored",
        }
    }
}

/// Drifts by place and kind: as many as there are places, a few times over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drifts(std::collections::BTreeMap<(Option<Place>, DriftKind), Drift>);

impl Drifts {
    /// Places that are remembered; beyond them, only what is remembered already is counted.
    const MOST: usize = 1_024;

    /// Notes that something was put right.
    pub fn note(&mut self, place: Option<Place>, kind: DriftKind, found: String, done: &str) {
        let key = (place.clone(), kind);
        if self.0.len() >= Self::MOST && !self.0.contains_key(&key) {
            return;
        }
        let times = self.0.get(&key).map_or(0, |drift| drift.times).saturating_add(1);
        self.0.insert(key, Drift { place, kind, times, found, done: done.to_owned() });
    }

    /// All of them, in order.
    pub fn to_vec(&self) -> Vec<Drift> {
        self.0.values().cloned().collect()
    }
}
