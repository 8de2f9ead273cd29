//! A look at all rules: from what they found to alerts that begin, fire and end. The machine that an alert goes by is
//! `watch`'s; here it is told what holds, what is clear, and what nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lifecycle::{Alert, AlertKey, Changed, Command, Origin, World};
use model::alert::{
    Condition, Fingerprint, Labels, NAME, RUNBOOK, ReadyMade, Rule, SEVERITY, Template, plain,
};
use model::{Place, Timestamp};
use watch::Memory;
use watch::alert::{Patience, Phase, Seen, To};

use crate::answer::{Answer, Blind, Found};
use crate::rules::{Asks, Ruled};

/// The most alerts of one rule at one place. Of more, those that are known already and the first of the others count.
pub const MOST_OF_A_RULE: usize = 100;
/// So long after metrics could not be told they may still mean nothing: two readings of most series lie within it.
const SETTLES: Duration = Duration::from_secs(30);

/// What is kept between two looks. It may be lost: alerts then go on a little longer.
#[derive(Debug, Default)]
pub struct Rounds {
    memory: Memory<AlertKey>,
    /// Until when nothing that is not there means anything, by place; `None` is the machine.
    blind_until: BTreeMap<Option<Place>, Timestamp>,
    /// Until when that is so of every place, also of one that comes only later: the agent told nothing.
    all_blind_until: Timestamp,
    begun: Option<Timestamp>,
}

/// What came of a look.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// What is asked of control, together.
    pub command: Option<Command>,
    /// How each rule stands, in the order in which they were given.
    pub standings: Vec<Standing>,
}

/// How a rule stood at the last look.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Where; `None` of one about the machine.
    pub place: Option<Place>,
    /// The rule.
    pub rule: Rule,
    /// What it asks, as people read it.
    pub query: String,
    /// Whether anything of it is pending or firing.
    pub state: State,
    /// When it was looked at.
    pub at: Timestamp,
    /// How long its question took.
    pub lasted: Duration,
    /// Why nobody knows whether it holds, or why not all of it counts.
    pub trouble: Option<String>,
    /// What its alerts that hold are worth now, by the fingerprints of their labels.
    pub values: BTreeMap<Fingerprint, f64>,
}

/// Where the most urgent alert of a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// There is none.
    Inactive,
    /// One is pending.
    Pending,
    /// One is firing.
    Firing,
}

impl Rounds {
    /// Looks at what the rules found, with how long each question took.
    pub fn look(
        &mut self,
        world: &World,
        rules: Vec<Ruled>,
        answers: Vec<(Answer, Duration)>,
        blind: &Blind,
        at: Timestamp,
    ) -> Look {
        let begun = *self.begun.get_or_insert(at);
        if blind.agent {
            self.all_blind_until = at.after(SETTLES);
        }
        let mut active = active(world);
        let mut changes = Vec::new();
        let mut standings = Vec::with_capacity(rules.len());
        for (Ruled { place, rule, asks }, (answer, lasted)) in rules.into_iter().zip(answers) {
            // What a server or the journal says of itself needs none of our metrics.
            let needs_metrics = matches!(asks, Asks::Store(_));
            let is_blind = needs_metrics && self.is_blind(place.as_ref(), blind, begun, at);
            let known = active.remove(&(place.clone(), rule.name.clone())).unwrap_or_default();
            let (holding, trouble) = match answer {
                Ok(found) => gathered(place.as_ref(), &rule, found, &known),
                Err(why) => (Err(()), Some(why)),
            };
            let mut state = State::Inactive;
            let keys: BTreeSet<&AlertKey> =
                known.keys().chain(holding.iter().flat_map(BTreeMap::keys)).collect();
            for key in keys {
                let alert = known.get(key);
                let found = holding.as_ref().ok().and_then(|holding| holding.get(key));
                let seen = match (&holding, found) {
                    // Whoever was asked a moment ago for the first time has told nothing yet.
                    (_, Some(_)) if is_of_silence(&rule) && at < begun.after(SETTLES) => Seen::Unknown,
                    (_, Some(_)) => Seen::Holds,
                    (Ok(_), None) if !is_blind => Seen::Clear,
                    (Ok(_) | Err(()), None) => Seen::Unknown,
                };
                let patience = Patience { hold: rule.hold, keep_firing: rule.keep_firing };
                let phase = alert.map(|alert| (alert.phase, alert.since));
                let to = self.memory.next(key, phase, seen, patience, at);
                state = state.max(stands(phase.map(|(phase, _)| phase), to));
                changes.extend(to.and_then(|to| changed(place.as_ref(), &rule, to, alert, found)));
            }
            let values = holding.iter().flatten().map(|(key, (_, it))| (key.fingerprint, it.value)).collect();
            let query = asks.in_words();
            standings.push(Standing { place, rule, query, state, at, lasted, trouble, values });
        }
        // Those of rules that hold no more.
        let ends = active.into_values().flat_map(BTreeMap::into_values);
        changes.extend(ends.map(|alert| ended(&alert)));
        let kept: BTreeSet<AlertKey> =
            world.alerts.keys().cloned().chain(changes.iter().map(Changed::key)).collect();
        self.memory.retain(|key| kept.contains(key));
        let command = (!changes.is_empty()).then_some(Command::Alerts(changes));
        Look { command, standings }
    }

    /// Whether nothing found may mean nothing told: now, or a moment ago, or since a moment only.
    fn is_blind(&mut self, place: Option<&Place>, blind: &Blind, begun: Timestamp, at: Timestamp) -> bool {
        let until = self.blind_until.entry(place.cloned()).or_insert_with(|| begun.after(SETTLES));
        if blind.at(place) {
            *until = at.after(SETTLES);
        }
        at < (*until).max(self.all_blind_until)
    }
}

type Active = BTreeMap<AlertKey, Arc<Alert>>;

/// The alerts of rules that are not inactive, by where they hold and the rule's name.
fn active(world: &World) -> BTreeMap<(Option<Place>, String), Active> {
    let mut all: BTreeMap<_, Active> = BTreeMap::new();
    for (key, alert) in &world.alerts {
        match alert.origin {
            Origin::Rule(_) | Origin::Machine => {
                let name = alert.labels.get(NAME).cloned().unwrap_or_default();
                let of_rule = all.entry((key.place.clone(), name)).or_default();
                of_rule.insert(key.clone(), Arc::clone(alert));
            }
            Origin::External | Origin::Objective(..) => {}
        }
    }
    all
}

type Holding = BTreeMap<AlertKey, (Labels, Found)>;

/// What holds, by the alert that it is; and what is to be said of it.
fn gathered(
    place: Option<&Place>,
    rule: &Rule,
    found: Vec<Found>,
    known: &Active,
) -> (Result<Holding, ()>, Option<String>) {
    let count = found.len();
    let mut holding = Holding::new();
    for it in found {
        let labels = labels(place, rule, &it.labels);
        let key = AlertKey { place: place.cloned(), fingerprint: Fingerprint::of(&labels) };
        if let Some((twice, _)) = holding.insert(key, (labels, it)) {
            let why =
                format!("two alerts would have the labels {twice:?}: keep another label in the expression");
            return (Err(()), Some(why));
        }
    }
    if count <= MOST_OF_A_RULE {
        return (Ok(holding), None);
    }
    let (mut kept, others): (Holding, Holding) =
        holding.into_iter().partition(|(key, _)| known.contains_key(key));
    let room = MOST_OF_A_RULE.saturating_sub(kept.len());
    kept.extend(others.into_iter().take(room));
    let why = format!(
        "it gives {count} alerts, and {MOST_OF_A_RULE} of them count: aggregate more in the expression"
    );
    (Ok(kept), Some(why))
}

/// The labels of an alert: those of what was found, of the rule and of the place.
fn labels(place: Option<&Place>, rule: &Rule, found: &Labels) -> Labels {
    let mut labels = place.map(lifecycle::labels_at).unwrap_or_default();
    labels.extend(found.clone());
    let own = rule.labels.iter().map(|(name, text)| (name.clone(), filled(text, &labels, 0.0)));
    let own: Vec<(String, String)> = own.collect();
    labels.extend(own);
    labels.insert(NAME.to_owned(), rule.name.clone());
    labels.insert(SEVERITY.to_owned(), rule.severity.name().to_owned());
    labels.retain(|_, value| !value.is_empty());
    labels
}

/// A text with its blanks filled in; it was read when it was declared.
fn filled(text: &str, labels: &Labels, value: f64) -> String {
    Template::read(text).map_or_else(|_| text.to_owned(), |template| template.fill(labels, value))
}

fn is_of_silence(rule: &Rule) -> bool {
    matches!(rule.condition, Condition::ReadyMade { which: ReadyMade::NoData, .. })
}

fn stands(phase: Option<Phase>, to: Option<To>) -> State {
    match (phase, to) {
        (_, Some(To::Pending)) | (Some(Phase::Pending), None) => State::Pending,
        (_, Some(To::Firing)) | (Some(Phase::Firing), None) => State::Firing,
        (_, Some(To::Resolved)) | (None, None) => State::Inactive,
    }
}

fn changed(
    place: Option<&Place>,
    rule: &Rule,
    to: To,
    alert: Option<&Arc<Alert>>,
    found: Option<&(Labels, Found)>,
) -> Option<Changed> {
    // Nothing becomes of what is neither known nor found.
    let Some((labels, found)) = found else { return alert.map(|alert| ended(alert)) };
    let texts = rule.annotations.iter();
    let mut annotations: Labels =
        texts.map(|(name, text)| (name.clone(), filled(text, labels, found.value))).collect();
    annotations.extend(found.notes.clone());
    annotations.extend(rule.runbook.clone().map(|name| (RUNBOOK.to_owned(), name)));
    Some(Changed {
        place: place.cloned(),
        machine: place.is_none(),
        labels: labels.clone(),
        annotations,
        to,
        value: Some(plain(found.value)),
        starts_at: None,
        generator_url: None,
    })
}

fn ended(alert: &Alert) -> Changed {
    let place = alert.origin.place().cloned();
    let machine = place.is_none();
    Changed::resolved(place, machine, alert.labels.clone())
}

#[cfg(test)]
mod tests;
