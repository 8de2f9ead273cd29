//! What was told to whom, and when. It is kept so that a restart neither repeats nor forgets: whoever sent moves it, after the
//! receiver took what was sent.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use model::alert::{Alert, Fingerprint, Labels};
use model::notify::{APP, ENVIRONMENT};
use model::{Place, Timestamp};
use serde::{Deserialize, Serialize};

use crate::event::Way;
use crate::plan::Notification;

/// How long a receiver that groups by itself is told that an alert ended.
pub(crate) const RESOLVED_FOR: Duration = Duration::from_secs(900);

/// One group of alerts at one receiver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Whose receiver.
    pub place: Place,
    /// The receiver.
    pub receiver: String,
    /// What its alerts have in common.
    pub labels: Labels,
}

impl Key {
    /// By which way it is told.
    pub fn way(&self) -> Way {
        Way { place: self.place.clone(), receiver: self.receiver.clone() }
    }
}

impl fmt::Display for Key {
    /// In the form of Alertmanager's `groupKey`, stable for as long as receiver and grouping are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { service, environment } = &self.place;
        write!(f, "{{{APP}=\"{service}\", {ENVIRONMENT}=\"{environment}\"}}/{}:{{", self.receiver)?;
        for (index, (name, value)) in self.labels.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// What was told of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When the last notification was taken.
    pub told_at: Timestamp,
    /// What it said fires, and did not say has ended.
    #[serde(with = "alerts")]
    pub firing: BTreeMap<Fingerprint, Alert>,
    /// What it was told has ended, for receivers that are told so more than once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "alerts")]
    pub resolved: BTreeMap<Fingerprint, Alert>,
}

/// What was told to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    #[serde(with = "entries")]
    entries: BTreeMap<Key, Entry>,
}

impl Log {
    /// What was told of a group.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Every group of which something was told that still matters.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The receiver took a notification. Returns whether anything but the time is different now.
    pub fn delivered(&mut self, told: &Notification, at: Timestamp) -> bool {
        let before = self.entries.get(&told.key).cloned();
        let mut entry = before.clone().unwrap_or(Entry {
            told_at: at,
            firing: BTreeMap::new(),
            resolved: BTreeMap::new(),
        });
        entry.told_at = at;
        for alert in &told.resolved {
            let fingerprint = alert.fingerprint();
            entry.firing.remove(&fingerprint);
            if told.again {
                entry.resolved.entry(fingerprint).or_insert_with(|| alert.clone());
            }
        }
        for alert in &told.firing {
            let fingerprint = alert.fingerprint();
            entry.resolved.remove(&fingerprint);
            entry.firing.insert(fingerprint, alert.clone());
        }
        entry.resolved.retain(|_, alert| is_news(alert, at));
        let same = |before: &Entry| before.firing == entry.firing && before.resolved == entry.resolved;
        let is_same = before.as_ref().is_some_and(same);
        if entry.firing.is_empty() && entry.resolved.is_empty() {
            self.entries.remove(&told.key);
        } else {
            self.entries.insert(told.key.clone(), entry);
        }
        !is_same
    }

    /// Lets go what nobody needs to be told of any more. Returns whether there was any.
    pub fn forget(&mut self, what: &[(Key, Fingerprint)]) -> bool {
        let mut changed = false;
        for (key, fingerprint) in what {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            changed |=
                entry.firing.remove(fingerprint).is_some() | entry.resolved.remove(fingerprint).is_some();
            if entry.firing.is_empty() && entry.resolved.is_empty() {
                self.entries.remove(key);
            }
        }
        changed
    }
}

/// Whether it ended so lately that it is told again.
pub(crate) fn is_news(ended: &Alert, at: Timestamp) -> bool {
    ended.ends_at.is_some_and(|end| at.since(end) < RESOLVED_FOR)
}

/// Alerts as a list: their labels say which they are.
mod alerts {
    use std::collections::BTreeMap;

    use model::alert::{Alert, Fingerprint};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Fingerprint, Alert>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Fingerprint, Alert>, D::Error> {
        let all = Vec::<Alert>::deserialize(from)?;
        Ok(all.into_iter().map(|alert| (alert.fingerprint(), alert)).collect())
    }
}

/// A map as a list of pairs: a key is no key of JSON.
mod entries {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Entry, Key};

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<Key, Entry>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Key, Entry>, D::Error> {
        Ok(Vec::<(Key, Entry)>::deserialize(from)?.into_iter().collect())
    }
}
