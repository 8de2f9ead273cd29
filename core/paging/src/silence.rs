//! Silences: what is not told until a time, because somebody said so. Does not live here: who may say so, and the journal.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use model::Timestamp;
use model::alert::Labels;
use model::matcher::{Matcher, Ready};
use serde::{Deserialize, Serialize};

/// The most matchers of a silence.
pub const MOST_MATCHERS: usize = 20;

/// Which silence: 1, 2, 3 ... in the order in which they were made. Where the field expects a UUID it is one with this
/// number at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SilenceId(pub u64);

/// What stands before the number in a UUID: version 8, in which the rest is its maker's business.
const PREFIX: &str = "53485053-0000-8000-8000-";

impl SilenceId {
    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As a UUID.
    pub fn uuid(self) -> String {
        format!("{PREFIX}{:012x}", self.0)
    }
}

impl fmt::Display for SilenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for SilenceId {
    type Err = String;

    /// Its number, or its UUID.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.strip_prefix(PREFIX) {
            Some(digits) if digits.len() == 12 => u64::from_str_radix(digits, 16).ok(),
            Some(_) => None,
            None => text.parse().ok(),
        };
        number
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no silence: `shipshape silence list` numbers them"))
    }
}

/// What is not told, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// The alerts of which all of these hold.
    pub matchers: Vec<Matcher>,
    /// Since when, or from when on.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// When it was said.
    pub made: Timestamp,
}

impl Silence {
    /// Whether it is not over yet.
    pub fn is_open(&self, at: Timestamp) -> bool {
        at < self.until
    }

    /// Whether it silences now.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && self.is_open(at)
    }
}

/// Silences that are ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Silences {
    all: Vec<(SilenceId, Silence, Vec<Ready>)>,
}

impl Silences {
    /// Makes these ready. One that cannot be understood silences nothing.
    pub fn of(silences: &BTreeMap<SilenceId, Silence>) -> Self {
        let ready = |(id, silence): (&SilenceId, &Silence)| {
            let matchers =
                silence.matchers.iter().map(Matcher::compile).collect::<Result<Vec<_>, _>>().ok()?;
            Some((*id, silence.clone(), matchers))
        };
        Self { all: silences.iter().filter_map(ready).collect() }
    }

    /// The silence that keeps an alert from being told now, if there is one: the one that lasts longest.
    pub fn silencing(&self, labels: &Labels, at: Timestamp) -> Option<(SilenceId, &Silence)> {
        let holds = |(_, silence, matchers): &&(SilenceId, Silence, Vec<Ready>)| {
            silence.holds(at) && !matchers.is_empty() && matchers.iter().all(|each| each.holds(labels))
        };
        let longest = self.all.iter().filter(holds).max_by_key(|(_, silence, _)| silence.until)?;
        Some((longest.0, &longest.1))
    }

    /// When one begins or ends next.
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let times = self.all.iter().flat_map(|(_, silence, _)| [silence.from, silence.until]);
        times.filter(|time| *time > at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_known_by_its_number_and_by_its_uuid() {
        let id = SilenceId(4_711);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.uuid().parse(), Ok(id));
        assert_eq!(id.uuid().len(), 36);
        for bad in
            ["", "x", "-1", "53485053-0000-8000-8000-00000000126", "00000000-0000-8000-8000-000000001267"]
        {
            assert!(bad.parse::<SilenceId>().is_err(), "{bad}");
        }
    }
}
