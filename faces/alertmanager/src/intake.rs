//! What somebody outside told of, and for how long it holds unless they tell of it again. Only what comes and goes is for the
//! journal; that it goes on is remembered here, and after a restart everything gets the time that somebody needs to tell
//! of it again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lifecycle::{AlertKey, Changed, Command, MOST_ALERTS, Origin, World};
use model::Timestamp;
use model::alert::{Fingerprint, Labels};
use ports::Clock;
use runtime::Handle;
use watch::alert::To;

/// How long an alert holds whose end nobody names: Alertmanager's `resolve_timeout`.
pub(crate) const HOLDS: Duration = Duration::from_secs(300);
/// How often it is looked for what holds no longer.
const LOOKS: Duration = Duration::from_secs(5);
/// Who acts when nobody tells of an alert any more.
const ACTOR: &str = "shipshape";

/// An alert as somebody outside tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Which one it is.
    pub labels: Labels,
    /// What to know of it.
    pub annotations: Labels,
    /// Since when.
    pub starts_at: Timestamp,
    /// Until when it holds; it is over when that is past.
    pub ends_at: Timestamp,
    /// Where it comes from.
    pub generator_url: Option<String>,
}

/// How long each alert from outside holds.
#[derive(Debug, Default)]
pub struct Intake {
    until: Mutex<BTreeMap<Fingerprint, Timestamp>>,
}

impl Intake {
    /// Takes what is told; gives what is news for the journal, and how many there is no room for.
    pub fn take(&self, told: Vec<Outside>, world: &World, at: Timestamp) -> (Vec<Changed>, usize) {
        let mut until = self.lock();
        let mut known: BTreeSet<Fingerprint> = outside(world).map(|key| key.fingerprint).collect();
        let (mut changes, mut refused) = (Vec::new(), 0);
        for alert in told {
            let fingerprint = Fingerprint::of(&alert.labels);
            let is_known = known.contains(&fingerprint);
            if alert.ends_at <= at {
                until.remove(&fingerprint);
                if is_known {
                    known.remove(&fingerprint);
                    changes.push(ended(alert.labels));
                }
                continue;
            }
            if !is_known && known.len() >= MOST_ALERTS {
                refused += 1;
                continue;
            }
            until.insert(fingerprint, alert.ends_at);
            if known.insert(fingerprint) {
                changes.push(Changed {
                    place: None,
                    machine: false,
                    labels: alert.labels,
                    annotations: alert.annotations,
                    to: To::Firing,
                    value: None,
                    // One that is to come has begun when it is told of.
                    starts_at: Some(alert.starts_at.min(at)),
                    generator_url: alert.generator_url,
                });
            }
        }
        (changes, refused)
    }

    /// What holds no longer. One that nobody told this control of holds for a while from now on.
    pub fn sweep(&self, world: &World, at: Timestamp) -> Vec<Changed> {
        let mut until = self.lock();
        let mut over = Vec::new();
        for key in outside(world) {
            let end = *until.entry(key.fingerprint).or_insert_with(|| at.after(HOLDS));
            if let Some(alert) = world.alerts.get(key).filter(|_| end <= at) {
                over.push(ended(alert.labels.clone()));
            }
        }
        let known: BTreeSet<Fingerprint> = outside(world).map(|key| key.fingerprint).collect();
        until.retain(|fingerprint, end| *end > at || known.contains(fingerprint));
        over
    }

    /// Until when an alert holds, unless it is told of again.
    pub fn until(&self, fingerprint: Fingerprint) -> Option<Timestamp> {
        self.lock().get(&fingerprint).copied()
    }

    /// Ends what nobody tells of any more, again and again. Never returns.
    pub async fn follow(&self, control: Handle, clock: &dyn Clock) -> Infallible {
        loop {
            let over = self.sweep(&control.snapshot().world, clock.now());
            if !over.is_empty()
                && let Err(error) = control.carry_out(Command::Alerts(over), ACTOR.to_owned(), None).await
            {
                tracing::warn!(%error, "alerts from outside that are over are not ended; it is tried again");
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Timestamp>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outside(world: &World) -> impl Iterator<Item = &AlertKey> {
    let all = world.alerts.iter().filter(|(_, alert)| alert.origin == Origin::External);
    all.map(|(key, _)| key)
}

fn ended(labels: Labels) -> Changed {
    Changed::resolved(None, false, labels)
}

#[cfg(test)]
mod tests {
    use lifecycle::Event;
    use model::alert::NAME;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).after(Duration::from_secs(seconds))
    }

    fn outside(name: &str, starts: u64, ends: u64) -> Outside {
        let labels = Labels::from([(NAME.to_owned(), name.to_owned())]);
        let (annotations, generator_url) = (Labels::new(), None);
        Outside { labels, annotations, starts_at: at(starts), ends_at: at(ends), generator_url }
    }

    /// What control makes of it; gives what the journal has.
    fn recorded(world: &mut World, changes: Vec<Changed>, now: u64) -> Vec<(String, To)> {
        let events = lifecycle::decide(world, Command::Alerts(changes), at(now)).unwrap();
        let mut told = Vec::new();
        for event in events {
            world.apply(&event, 1, at(now)).unwrap();
            if let Event::AlertChanged(changed) = event {
                told.push((changed.labels[NAME].clone(), changed.to));
            }
        }
        told
    }

    fn takes(intake: &Intake, world: &mut World, alert: Outside, now: u64) -> Vec<(String, To)> {
        let (changes, refused) = intake.take(vec![alert], world, at(now));
        assert_eq!(refused, 0);
        recorded(world, changes, now)
    }

    #[test]
    fn only_what_begins_and_ends_is_for_the_journal() {
        let (intake, mut world) = (Intake::default(), World::default());
        let told = takes(&intake, &mut world, outside("A", 0, 300), 10);
        assert_eq!(told, [("A".to_owned(), To::Firing)]);
        assert!(takes(&intake, &mut world, outside("A", 0, 400), 100).is_empty(), "it goes on");
        assert!(intake.sweep(&world, at(399)).is_empty());
        let over = intake.sweep(&world, at(400));
        assert_eq!(recorded(&mut world, over, 400), [("A".to_owned(), To::Resolved)]);
        assert!(takes(&intake, &mut world, outside("A", 0, 300), 500).is_empty(), "an end of nothing");
        let _ = takes(&intake, &mut world, outside("A", 0, 900), 600);
        assert_eq!(takes(&intake, &mut world, outside("A", 0, 700), 700), [("A".to_owned(), To::Resolved)]);
    }

    #[test]
    fn after_a_restart_an_alert_has_five_minutes_to_be_told_of_again() {
        let mut world = World::default();
        for name in ["A", "B"] {
            let _ = takes(&Intake::default(), &mut world, outside(name, 0, 100), 10);
        }
        let next = Intake::default();
        assert!(next.sweep(&world, at(1_000)).is_empty());
        assert!(takes(&next, &mut world, outside("A", 0, 2_000), 1_100).is_empty());
        let over = next.sweep(&world, at(1_300));
        assert_eq!(recorded(&mut world, over, 1_300), [("B".to_owned(), To::Resolved)]);
    }

    #[test]
    fn there_is_a_limit_and_what_is_known_is_taken_beyond_it() {
        let (intake, mut world) = (Intake::default(), World::default());
        let many = (0..MOST_ALERTS + 3).map(|number| outside(&number.to_string(), 0, 300)).collect();
        let (changes, refused) = intake.take(many, &world, at(10));
        assert_eq!((changes.len(), refused), (MOST_ALERTS, 3));
        assert_eq!(recorded(&mut world, changes, 10).len(), MOST_ALERTS);
        let told = vec![outside("0", 0, 600), outside("new", 0, 600)];
        assert_eq!(intake.take(told, &world, at(20)), (vec![], 1));
        assert_eq!(intake.until(Fingerprint::of(&outside("0", 0, 0).labels)), Some(at(600)));
    }

    #[test]
    fn one_that_is_to_begin_later_begins_when_it_is_told_of() {
        let (intake, world) = (Intake::default(), World::default());
        let (changes, _) = intake.take(vec![outside("A", 500, 900)], &world, at(10));
        assert_eq!(changes[0].starts_at, Some(at(10)));
    }
}
