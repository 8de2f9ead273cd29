//! Which alerts are not told because others are: the more urgent of two with one cause speaks for both. As in Alertmanager,
//! a label that neither has is alike in both, and nothing that could be a source mutes another source of the same rule that
//! it would be muted by.

use std::collections::BTreeMap;

use model::alert::{Alert, Fingerprint};
use model::matcher::{Matcher, Ready};
use model::notify::InhibitRule;

/// A rule that is ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    source: Vec<Ready>,
    target: Vec<Ready>,
    equal: Vec<String>,
}

impl Rule {
    pub(crate) fn of(rule: &InhibitRule) -> Result<Self, String> {
        let ready =
            |matchers: &[Matcher]| matchers.iter().map(Matcher::compile).collect::<Result<Vec<_>, _>>();
        Ok(Self { source: ready(&rule.source)?, target: ready(&rule.target)?, equal: rule.equal.clone() })
    }

    fn alike<'a>(&self, alert: &'a Alert) -> Vec<&'a str> {
        self.equal.iter().map(|name| alert.labels.get(name).map_or("", String::as_str)).collect()
    }
}

fn holds(matchers: &[Ready], alert: &Alert) -> bool {
    matchers.iter().all(|matcher| matcher.holds(&alert.labels))
}

/// Who is muted, and by whom.
pub(crate) fn inhibited(
    rules: &[Rule],
    alerts: &BTreeMap<Fingerprint, &Alert>,
) -> BTreeMap<Fingerprint, Fingerprint> {
    let mut muted = BTreeMap::new();
    for rule in rules {
        let mut sources: BTreeMap<Vec<&str>, Vec<(Fingerprint, bool)>> = BTreeMap::new();
        for (fingerprint, alert) in alerts.iter().filter(|(_, alert)| holds(&rule.source, alert)) {
            let is_target = holds(&rule.target, alert);
            sources.entry(rule.alike(alert)).or_default().push((*fingerprint, is_target));
        }
        for (target, alert) in alerts.iter().filter(|(_, alert)| holds(&rule.target, alert)) {
            let is_source = holds(&rule.source, alert);
            let by = sources.get(&rule.alike(alert)).into_iter().flatten();
            // Two that could mute each other would both be silent.
            let mut by = by.filter(|(source, is_target)| source != target && !(is_source && *is_target));
            if let Some((source, _)) = by.next() {
                muted.entry(*target).or_insert(*source);
            }
        }
    }
    muted
}
