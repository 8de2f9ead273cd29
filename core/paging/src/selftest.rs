//! Self-tests: once a day an alert is made up for each receiver, which has to take it. A way that is not proved for longer is
//! an alert of its own: one that nobody hears of teaches nothing, until the day on which it matters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::alert::{Alert, Labels, NAME, RUNBOOK, SEVERITY};
use model::notify::{APP, ENVIRONMENT, Notify, RECEIVER, SELF_TEST};
use model::objective::Severity;
use model::{Place, Timestamp};

use crate::decide::Command;
use crate::event::Way;
use crate::log::Log;
use crate::state::State;

/// How often each way is tested.
pub const EVERY: Duration = Duration::from_secs(24 * 3_600);
/// A way that is not proved for so long is an alert.
pub const OVERDUE: Duration = Duration::from_secs(25 * 3_600);
/// The alert of a way that is not proved.
pub const UNPROVED: &str = "NotificationsUnproved";
/// The label that tells one self-test from the next.
const BEGUN: &str = "begun";

/// What is known of the tests of one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// When the last test began.
    pub begun: Timestamp,
    /// Since when the way is tested at all.
    pub since: Timestamp,
    /// Whether it is not passed yet.
    pub open: bool,
    /// When a test was passed last.
    pub passed: Option<Timestamp>,
    /// Whether the way is not proved for too long.
    pub overdue: bool,
}

impl Test {
    /// When it was last known that the way works; since it is tested, when it never was.
    pub fn proved(&self) -> Timestamp {
        self.passed.unwrap_or(self.since)
    }
}

/// What is asked for now, given who is declared and which tests were taken ([`passed`]).
pub fn tests(
    state: &State,
    declared: &BTreeMap<Place, Notify>,
    passed: &BTreeSet<(Way, String)>,
    at: Timestamp,
) -> Vec<Command> {
    let tested = declared.iter().filter(|(_, notify)| notify.self_test);
    let ways: BTreeSet<Way> = tested
        .flat_map(|(place, notify)| {
            notify.receivers.keys().map(|it| Way { place: place.clone(), receiver: it.clone() })
        })
        .collect();
    let ended = state.tests.keys().filter(|way| !ways.contains(way)).cloned();
    let mut commands: Vec<Command> = ended.map(Command::EndTests).collect();
    for way in ways {
        let Some(test) = state.tests.get(&way) else {
            commands.push(Command::Test(way));
            continue;
        };
        if test.open && passed.contains(&(way.clone(), test.begun.to_string())) {
            commands.push(Command::Pass(way));
        } else if !test.open && at.since(test.begun) >= EVERY {
            commands.push(Command::Test(way));
        } else if !test.overdue && at.since(test.proved()) >= OVERDUE {
            commands.push(Command::Overdue(way));
        }
    }
    commands
}

/// When something is asked for next by time alone.
pub fn next_test(state: &State) -> Option<Timestamp> {
    let due = |test: &Test| match (test.open, test.overdue) {
        (false, _) => Some(test.begun.after(EVERY)),
        (true, false) => Some(test.proved().after(OVERDUE)),
        (true, true) => None,
    };
    state.tests.values().filter_map(due).min()
}

/// The tests that were taken, by when they began, and are not yet told to have ended.
pub fn passed(log: &Log) -> BTreeSet<(Way, String)> {
    let told = log.entries().flat_map(|(key, entry)| {
        let way = key.way();
        let tests = entry.firing.values().filter(|alert| is_test(alert));
        tests.filter_map(move |alert| Some((way.clone(), alert.labels.get(BEGUN)?.clone())))
    });
    told.collect()
}

/// Whether an alert was made up.
pub(crate) fn is_test(alert: &Alert) -> bool {
    alert.labels.get(NAME).is_some_and(|name| name == SELF_TEST)
}

/// What fires by this: tests that nobody took yet, and ways that are not proved.
pub fn alerts(state: &State) -> Vec<(Place, Alert)> {
    let mut all = Vec::new();
    for (way, test) in &state.tests {
        let open = test.open.then(|| made_up(way, test));
        let alerts = open.into_iter().chain(test.overdue.then(|| unproved(way, test)));
        all.extend(alerts.map(|alert| (way.place.clone(), alert)));
    }
    all
}

fn made_up(way: &Way, test: &Test) -> Alert {
    let mut labels = labels(way, SELF_TEST, Severity::P3);
    labels.insert(BEGUN.to_owned(), test.begun.to_string());
    let summary =
        format!("nothing is wrong: this proves that {} would be told of {}", way.receiver, way.place);
    let description = "An alert is made up for each receiver once a day. It ends by itself; `selfTest: false` under \
                       `notify` turns it off.";
    alert(labels, test.begun, &summary, description, "notifications-unproved")
}

fn unproved(way: &Way, test: &Test) -> Alert {
    let summary =
        format!("the receiver {} of {} took no self-test since {}", way.receiver, way.place, test.proved());
    let description = "Whoever counts on it may not be told of anything. `shipshape alerts` says what is wrong with it, \
                       `shipshape alerts test` tries it now.";
    alert(
        labels(way, UNPROVED, Severity::P2),
        test.proved().after(OVERDUE),
        &summary,
        description,
        "notifications-unproved",
    )
}

fn labels(way: &Way, name: &str, severity: Severity) -> Labels {
    let Place { service, environment } = &way.place;
    let pairs = [
        (NAME, name),
        (SEVERITY, severity.name()),
        (APP, service.as_str()),
        (ENVIRONMENT, environment.as_str()),
        (RECEIVER, &way.receiver),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn alert(labels: Labels, starts_at: Timestamp, summary: &str, description: &str, runbook: &str) -> Alert {
    let words = [("summary", summary), ("description", description), (RUNBOOK, runbook)];
    let annotations = words.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    Alert { labels, annotations, starts_at, ends_at: None, generator_url: None }
}

#[cfg(test)]
mod tests {
    use model::notify::{Grouping, Receiver, To};

    use super::*;
    use crate::decide::decide;
    use crate::event::Event;

    const DAY: u64 = 24 * 3_600;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).after(Duration::from_secs(seconds))
    }

    fn declared(names: &[&str]) -> BTreeMap<Place, Notify> {
        let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
        let to = To::Alertmanager(vec!["http://127.0.0.1:9093".to_owned()]);
        let timeout = Duration::from_secs(5);
        let receiver = Receiver { to, headers: BTreeMap::new(), ca_file: None, timeout, send_resolved: true };
        let receivers = names.iter().map(|name| ((*name).to_owned(), receiver.clone())).collect();
        let grouping = Grouping::default();
        BTreeMap::from([(
            place,
            Notify { receivers, routes: vec![], grouping, inhibit: None, self_test: true },
        )])
    }

    /// Does what is due; gives the names of what happened.
    fn due(
        state: &mut State,
        names: &[&str],
        passed: &BTreeSet<(Way, String)>,
        now: u64,
    ) -> Vec<&'static str> {
        let mut told = Vec::new();
        for command in tests(state, &declared(names), passed, at(now)) {
            for event in decide(state, command, at(now)).unwrap() {
                state.apply(&event, at(now)).unwrap();
                told.push(Event::name(&event));
            }
        }
        told
    }

    /// The receivers took every test that is open.
    fn taken(state: &State) -> BTreeSet<(Way, String)> {
        state.tests.iter().map(|(way, test)| (way.clone(), test.begun.to_string())).collect()
    }

    fn names(state: &State) -> Vec<String> {
        alerts(state).into_iter().map(|(_, alert)| alert.labels[NAME].clone()).collect()
    }

    #[test]
    fn a_way_is_tested_when_it_is_declared_and_then_every_day() {
        let (mut state, nothing) = (State::default(), BTreeSet::new());
        assert_eq!(due(&mut state, &["pager"], &nothing, 0), ["test-begun"]);
        assert_eq!(names(&state), [SELF_TEST]);
        assert!(due(&mut state, &["pager"], &nothing, 60).is_empty(), "it is under way");
        let passed = taken(&state);
        assert_eq!(due(&mut state, &["pager"], &passed, 61), ["test-passed"]);
        assert!(names(&state).is_empty());
        assert_eq!(next_test(&state), Some(at(DAY)));
        assert!(due(&mut state, &["pager"], &passed, DAY - 1).is_empty());
        assert_eq!(due(&mut state, &["pager"], &passed, DAY), ["test-begun"]);
        assert!(
            due(&mut state, &["pager"], &passed, DAY + 1).is_empty(),
            "yesterday's answer proves nothing"
        );
    }

    #[test]
    fn a_way_that_is_not_proved_for_25_hours_is_an_alert_until_it_is() {
        let (mut state, nothing) = (State::default(), BTreeSet::new());
        let _ = due(&mut state, &["pager"], &nothing, 0);
        let passed = taken(&state);
        let _ = due(&mut state, &["pager"], &passed, 10);
        assert_eq!(due(&mut state, &["pager"], &nothing, DAY), ["test-begun"]);
        assert!(due(&mut state, &["pager"], &nothing, DAY + 3_609).is_empty());
        assert_eq!(due(&mut state, &["pager"], &nothing, DAY + 3_610), ["test-overdue"]);
        assert!(due(&mut state, &["pager"], &nothing, 5 * DAY).is_empty(), "it is said once");
        assert_eq!(names(&state), [SELF_TEST, UNPROVED]);
        let passed = taken(&state);
        assert_eq!(due(&mut state, &["pager"], &passed, 5 * DAY + 1), ["test-passed"]);
        assert!(names(&state).is_empty());
    }

    #[test]
    fn who_is_declared_no_more_is_tested_no_more() {
        let (mut state, nothing) = (State::default(), BTreeSet::new());
        assert_eq!(due(&mut state, &["chat", "pager"], &nothing, 0).len(), 2);
        assert_eq!(due(&mut state, &["pager"], &nothing, 1), ["tests-ended"]);
        assert_eq!(names(&state).len(), 1);
    }
}
