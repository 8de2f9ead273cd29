//! Which notifications are due now. Nothing that a receiver has been told is told again before its time, nothing that fires and
//! is not muted stays untold, and whoever was told that something fires is told once that it ended, muted or not.
//!
//! Time is what the alerts and the log say, so that a restart changes nothing: a group waits from the start of its first
//! alert, and then from when it was last told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::alert::{Alert, Fingerprint, Labels};
use model::notify::{APP, ENVIRONMENT, Grouping, Receiver};
use model::{Place, Timestamp};

use crate::inhibit::inhibited;
use crate::log::{Entry, Key, Log, is_news};
use crate::policy::{Kind, Policy};
use crate::selftest::is_test;
use crate::silence::{SilenceId, Silences};

/// How often a receiver that groups by itself is told what fires.
const STREAM: Duration = Duration::from_secs(60);

/// What is known now.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What fires.
    pub alerts: &'a [Alert],
    /// Where anything is deployed: an alert that names one of these places is its alone; others are everybody's.
    pub known: &'a BTreeSet<Place>,
    /// Who is told, by place.
    pub policies: &'a BTreeMap<Place, Policy>,
    /// What is not told.
    pub silences: &'a Silences,
}

/// What is due, and when to plan again.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What is to be sent, each by itself.
    pub due: Vec<Notification>,
    /// What nobody needs to be told of any more.
    pub forget: Vec<(Key, Fingerprint)>,
    /// When something is due next by time alone.
    pub next: Option<Timestamp>,
    /// What fires and is not told, and why.
    pub muted: BTreeMap<Fingerprint, Muted>,
    /// Who takes each alert that fires, by the receivers' names; nobody when the set is empty.
    pub taken: BTreeMap<Fingerprint, BTreeSet<String>>,
}

/// Why an alert that fires is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Muted {
    /// Somebody silenced it.
    Silenced(SilenceId),
    /// Another alert speaks for it.
    Inhibited(Fingerprint),
}

/// What one receiver is to be told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Which group.
    pub key: Key,
    /// Whom to tell.
    pub receiver: Receiver,
    /// What fires.
    pub firing: Vec<Alert>,
    /// What it was told fires, and has ended.
    pub resolved: Vec<Alert>,
    /// Whether what ended is told more than once.
    pub again: bool,
}

/// The alerts of one group at one receiver.
struct Group<'a> {
    grouping: &'a Grouping,
    firing: BTreeMap<Fingerprint, &'a Alert>,
}

/// Says what is due.
pub fn plan(now: Situation<'_>, log: &Log, at: Timestamp) -> Plan {
    let mut plan = Plan { next: now.silences.next(at), ..Plan::default() };
    let firing: BTreeMap<Fingerprint, &Alert> =
        now.alerts.iter().map(|alert| (alert.fingerprint(), alert)).collect();
    let mut groups = gather(now, &firing, &mut plan, at);
    for (key, entry) in log.entries() {
        let Some(policy) = now.policies.get(&key.place) else { continue };
        let is_known = policy.receiver(&key.receiver).is_some();
        if is_known && !groups.contains_key(key) && !(entry.firing.is_empty() && entry.resolved.is_empty()) {
            groups.insert(key.clone(), Group { grouping: policy.grouping(), firing: BTreeMap::new() });
        }
    }
    for (key, entry) in log.entries().filter(|(key, _)| !groups.contains_key(key)) {
        // Whoever was told is nobody's receiver any more.
        let all = entry.firing.keys().chain(entry.resolved.keys());
        plan.forget.extend(all.map(|fingerprint| (key.clone(), *fingerprint)));
    }
    for (key, group) in groups {
        let Some(policy) = now.policies.get(&key.place) else { continue };
        let (Some(receiver), Some(kind)) = (policy.receiver(&key.receiver), policy.kind(&key.receiver))
        else {
            continue;
        };
        let entry = log.entry(&key);
        let told = entry.into_iter().flat_map(|entry| &entry.firing);
        let gone = told.filter(|(fingerprint, _)| !firing.contains_key(fingerprint));
        let ended = |(_, alert): (_, &Alert)| Alert { ends_at: Some(at), ..alert.clone() };
        let mut resolved: Vec<Alert> = gone.map(ended).collect();
        if !receiver.send_resolved {
            let forgotten = resolved.drain(..).map(|alert| (key.clone(), alert.fingerprint()));
            plan.forget.extend(forgotten);
        }
        let before = entry.into_iter().flat_map(|entry| &entry.resolved);
        let (news, old): (Vec<_>, Vec<_>) = before.partition(|(_, alert)| is_news(alert, at));
        plan.forget.extend(old.into_iter().map(|(fingerprint, _)| (key.clone(), *fingerprint)));
        let due = match kind {
            Kind::Groups => group.due(entry, !resolved.is_empty(), at),
            Kind::Stream => group.due_in_stream(entry, !resolved.is_empty(), !news.is_empty(), at),
        };
        let Some(due) = due else { continue };
        if due > at {
            plan.next = Some(plan.next.map_or(due, |next| next.min(due)));
            continue;
        }
        let ended = news.into_iter().filter(|(fingerprint, _)| !firing.contains_key(fingerprint));
        resolved.extend(ended.map(|(_, alert)| alert.clone()));
        plan.due.push(Notification {
            key,
            receiver: receiver.clone(),
            firing: group.firing.into_values().cloned().collect(),
            resolved,
            again: kind == Kind::Stream,
        });
    }
    plan
}

/// What is not muted, in the groups in which it is told.
fn gather<'a>(
    now: Situation<'a>,
    firing: &BTreeMap<Fingerprint, &'a Alert>,
    plan: &mut Plan,
    at: Timestamp,
) -> BTreeMap<Key, Group<'a>> {
    let mut groups: BTreeMap<Key, Group<'a>> = BTreeMap::new();
    let mut of_place: BTreeMap<&Place, BTreeMap<Fingerprint, &Alert>> = BTreeMap::new();
    for (fingerprint, alert) in firing {
        plan.taken.entry(*fingerprint).or_default();
        // Whoever silences everything still wants to know whether they would be told.
        if let Some((silence, _)) = now.silences.silencing(&alert.labels, at).filter(|_| !is_test(alert)) {
            plan.muted.insert(*fingerprint, Muted::Silenced(silence));
        }
        let own = place(&alert.labels).filter(|place| now.known.contains(place));
        for tenant in now.policies.keys().filter(|tenant| own.as_ref().is_none_or(|own| own == *tenant)) {
            of_place.entry(tenant).or_default().insert(*fingerprint, alert);
        }
    }
    // An alert of nobody in particular is told once to each receiver that several services declare alike.
    let mut told: BTreeMap<Fingerprint, Vec<&Receiver>> = BTreeMap::new();
    for (place, alerts) in of_place {
        let Some(policy) = now.policies.get(place) else { continue };
        let inhibited = inhibited(&policy.inhibit, &alerts);
        for (fingerprint, alert) in alerts {
            let taking = policy.take(alert);
            for taking in &taking {
                plan.taken.entry(fingerprint).or_default().insert(taking.receiver.to_owned());
            }
            if let Some(by) = inhibited.get(&fingerprint) {
                plan.muted.entry(fingerprint).or_insert(Muted::Inhibited(*by));
                continue;
            }
            if matches!(plan.muted.get(&fingerprint), Some(Muted::Silenced(_))) {
                continue;
            }
            for taking in taking {
                let Some(receiver) = policy.receiver(taking.receiver) else { continue };
                let known = told.entry(fingerprint).or_default();
                if known.contains(&receiver) {
                    continue;
                }
                known.push(receiver);
                let key =
                    Key { place: place.clone(), receiver: taking.receiver.to_owned(), labels: taking.labels };
                let group = groups.entry(key);
                let group = group.or_insert(Group { grouping: taking.grouping, firing: BTreeMap::new() });
                group.firing.insert(fingerprint, alert);
            }
        }
    }
    groups
}

/// The place that labels name.
fn place(labels: &Labels) -> Option<Place> {
    let service = labels.get(APP)?.parse().ok()?;
    Some(Place { service, environment: labels.get(ENVIRONMENT)?.parse().ok()? })
}

impl Group<'_> {
    /// When the group is to be told; `None`: not by itself.
    fn due(&self, entry: Option<&Entry>, ended: bool, at: Timestamp) -> Option<Timestamp> {
        let Some(entry) = entry.filter(|entry| !entry.firing.is_empty()) else {
            let first = self.firing.values().map(|alert| alert.starts_at).min()?;
            return Some(after(first, self.grouping.wait, at));
        };
        let is_news = ended || self.firing.keys().any(|it| !entry.firing.contains_key(it));
        if is_news {
            return Some(after(entry.told_at, self.grouping.interval, at));
        }
        let again = entry.told_at.after(self.grouping.repeat);
        (!self.firing.is_empty()).then_some(again)
    }

    /// When a receiver that groups by itself is to be told: of news at once, and of everything again and again.
    fn due_in_stream(
        &self,
        entry: Option<&Entry>,
        ended: bool,
        news: bool,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let Some(entry) = entry else { return (!self.firing.is_empty()).then_some(at) };
        if ended || self.firing.keys().any(|it| !entry.firing.contains_key(it)) {
            return Some(at);
        }
        (!self.firing.is_empty() || news).then(|| after(entry.told_at, STREAM, at))
    }
}

/// So long after a time; at once when that time is still to come, because somebody set the clock back.
fn after(time: Timestamp, wait: Duration, at: Timestamp) -> Timestamp {
    if time > at { at } else { time.after(wait) }
}
