//! What is known of the targets beside their samples: how the last asking went, and what their metrics mean.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exposition::Family;
use promql::Labels;

use crate::exemplars::Exemplars;
use crate::rounds::Target;

/// How the last asking of a target went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What every series of it carries.
    pub labels: Labels,
    /// When it was asked, in milliseconds since 1970.
    pub at: i64,
    /// How long it took.
    pub lasted: Duration,
    /// How often it is asked.
    pub interval: Duration,
    /// Whether its page was had.
    pub up: bool,
    /// Samples on its page.
    pub samples: usize,
    /// Why there was no page, or why not all of it was taken.
    pub trouble: Option<String>,
}

/// By name.
type Families = BTreeMap<String, Family>;
/// By address.
type Targets = BTreeMap<String, (Health, Families)>;

/// What the targets that are asked now have told.
#[derive(Debug, Default)]
pub struct Told {
    targets: Mutex<Targets>,
    exemplars: Exemplars,
}

impl Told {
    /// How the last asking of each target went, by address.
    pub fn health(&self) -> BTreeMap<String, Health> {
        let all = self.lock();
        all.iter().map(|(address, (health, _))| (address.clone(), health.clone())).collect()
    }

    /// The newest exemplars.
    pub fn exemplars(&self) -> &Exemplars {
        &self.exemplars
    }

    /// What the metrics mean, by name; where two targets differ, the first by address counts.
    pub fn families(&self) -> Families {
        let all = self.lock();
        let each = all.values().rev().flat_map(|(_, families)| families);
        each.map(|(name, family)| (name.clone(), family.clone())).collect()
    }

    pub(crate) fn note(&self, target: &Target, health: Health, families: &Families) {
        let mut all = self.lock();
        let known = all.entry(target.address.clone()).or_insert_with(|| (health.clone(), BTreeMap::new()));
        known.0 = health;
        // A page that could not be had takes back nothing.
        if !families.is_empty() && known.1 != *families {
            known.1.clone_from(families);
        }
    }

    pub(crate) fn forget(&self, target: &Target) {
        self.lock().remove(&target.address);
    }

    fn lock(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
