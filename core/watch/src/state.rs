//! What is known of an objective at one place: nothing but events moves it.

use std::collections::BTreeMap;

use model::{RolloutNumber, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Phase, To, can_become};
use crate::burn::Rule;
use crate::charge::Charge;
use crate::event::Event;
use crate::exclusion::Exclusions;
use crate::level::Level;

/// The charges of so many rollouts are kept, the last ones.
const CHARGES: usize = 100;

/// What is known of an objective at one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// What its budget allows.
    pub level: Level,
    /// What was left in parts of a million when that changed.
    pub remaining: Option<i64>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The alerts that are not inactive.
    #[serde(with = "pairs")]
    pub alerts: BTreeMap<Rule, Alert>,
    /// Which minutes do not count.
    pub exclusions: Exclusions,
    /// What the last rollouts burned.
    pub charges: BTreeMap<RolloutNumber, Charge>,
}

/// Why an event cannot have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// An alert cannot come from where it stands to there.
    #[error("the alert {} cannot become {to:?} from {from:?}", rule.name())]
    Alert {
        /// Which.
        rule: Rule,
        /// Where it stood.
        from: Option<Phase>,
        /// Where it should stand.
        to: To,
    },
}

impl State {
    /// Moves it by an event of a time.
    ///
    /// # Errors
    /// When the event cannot have happened; then nothing is moved.
    pub fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        match event {
            Event::LevelChanged { level, remaining, why: _ } => {
                (self.level, self.remaining, self.since) = (*level, Some(*remaining), Some(at));
            }
            Event::AlertChanged { rule, to, severity, cause } => {
                let from = self.alerts.get(rule).map(|alert| alert.phase);
                if !can_become(from, *to) {
                    return Err(IllegalEvent::Alert { rule: *rule, from, to: *to });
                }
                let phase = match to {
                    To::Pending => Phase::Pending,
                    To::Firing => Phase::Firing,
                    To::Resolved => {
                        self.alerts.remove(rule);
                        return Ok(());
                    }
                };
                self.alerts.insert(*rule, Alert { phase, severity: *severity, since: at, cause: *cause });
            }
            Event::Corrected { range, .. } => self.exclusions.exclude(*range),
            Event::Restored { range, .. } => self.exclusions.restore(*range),
            Event::Charged { rollout, charge, release: _ } => {
                self.charges.insert(*rollout, *charge);
                while self.charges.len() > CHARGES {
                    self.charges.pop_first();
                }
            }
        }
        Ok(())
    }
}

/// A map as a list of pairs: a rule is no key of JSON.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::alert::Alert;
    use crate::burn::Rule;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<Rule, Alert>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Rule, Alert>, D::Error> {
        Ok(Vec::<(Rule, Alert)>::deserialize(from)?.into_iter().collect())
    }
}
