//! Alerts of rules, of objectives and from outside: what moves them, what cannot, and what fires.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stories are shared with other tests")]
mod support;

use lifecycle::{Changed, Command, Event, MOST_ALERTS, Origin};
use model::Timestamp;
use model::alert::Labels;
use model::objective::Severity;
use support::{Story, place};
use watch::alert::{Phase, To};
use watch::burn::{Cause, Rule};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn changed(queue: &str, to: To) -> Changed {
    Changed {
        place: Some(place("production")),
        machine: false,
        labels: labels(&[("alertname", "QueueTooLong"), ("severity", "P2"), ("queue", queue)]),
        annotations: labels(&[("summary", "too long")]),
        to,
        value: Some("7".to_owned()),
        starts_at: None,
        generator_url: None,
    }
}

fn served() -> Story {
    let mut story = Story::default();
    story.served("one", "production");
    story
}

#[test]
fn an_alert_goes_from_pending_to_firing_to_nothing() {
    let mut story = served();
    story.tell(Command::Alerts(vec![changed("a", To::Pending), changed("b", To::Firing)])).unwrap();
    let of = |story: &Story, queue: &str| {
        let all = lifecycle::alerts(&story.world);
        all.into_iter().find(|alert| alert.labels["queue"] == queue)
    };
    let pending = of(&story, "a").unwrap();
    assert_eq!((pending.phase, &pending.origin), (Phase::Pending, &Origin::Rule(place("production"))));
    assert_eq!(lifecycle::firing(&story.world).len(), 1, "what is pending is told to nobody");
    story.tell(Command::Alerts(vec![changed("a", To::Firing)])).unwrap();
    let firing = of(&story, "a").unwrap();
    assert_eq!((firing.phase, firing.active_since), (Phase::Firing, pending.since));
    assert!(firing.since > pending.since);
    let told = lifecycle::firing(&story.world);
    assert!(told.iter().any(|alert| alert.starts_at == firing.since && alert.labels == firing.labels));
    story.tell(Command::Alerts(vec![changed("a", To::Resolved), changed("b", To::Resolved)])).unwrap();
    assert!(lifecycle::alerts(&story.world).is_empty());
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn what_was_overtaken_is_left_out_and_stops_nobody() {
    let mut story = served();
    let all = vec![
        changed("a", To::Resolved),
        changed("a", To::Firing),
        changed("a", To::Firing),
        changed("a", To::Pending),
        changed("b", To::Pending),
        changed("a", To::Resolved),
    ];
    let told = story.tell(Command::Alerts(all)).unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn a_place_that_nobody_knows_has_no_alerts() {
    let mut story = served();
    let elsewhere = Changed { place: Some(place("nowhere")), ..changed("a", To::Firing) };
    assert_eq!(story.tell(Command::Alerts(vec![elsewhere])).unwrap(), vec![]);
}

#[test]
fn there_is_a_limit_and_what_is_over_makes_room() {
    let mut story = served();
    let many = |to| (0..=MOST_ALERTS).map(|number| changed(&number.to_string(), to)).collect();
    assert_eq!(story.tell(Command::Alerts(many(To::Firing))).unwrap().len(), MOST_ALERTS);
    let swap = vec![changed("0", To::Resolved), changed("new", To::Firing), changed("newer", To::Firing)];
    assert_eq!(story.tell(Command::Alerts(swap)).unwrap().len(), 2);
    assert_eq!(story.world.alerts.len(), MOST_ALERTS);
}

#[test]
fn what_is_told_from_outside_keeps_its_own_beginning() {
    let mut story = served();
    let since = Timestamp::from_micros(5);
    let outside = Changed { place: None, starts_at: Some(since), ..changed("a", To::Firing) };
    story.tell(Command::Alerts(vec![outside, changed("a", To::Firing)])).unwrap();
    assert_eq!(lifecycle::alerts(&story.world).len(), 2, "the same labels from elsewhere are another alert");
    let told = lifecycle::firing(&story.world);
    assert!(told.iter().any(|alert| alert.starts_at == since));
}

#[test]
fn what_the_machine_tells_belongs_to_no_place_and_is_not_from_outside() {
    let mut story = served();
    let machine = Changed { place: None, machine: true, ..changed("a", To::Firing) };
    story.tell(Command::Alerts(vec![machine])).unwrap();
    assert_eq!(lifecycle::alerts(&story.world)[0].origin, Origin::Machine);
}

#[test]
fn an_event_that_cannot_follow_is_refused_whole() {
    let mut story = served();
    let before = story.world.clone();
    let event = Event::AlertChanged(changed("a", To::Resolved));
    let refused = story.world.apply(&event, 99, Timestamp::from_micros(9)).unwrap_err();
    assert!(refused.to_string().contains("QueueTooLong"), "{refused}");
    assert_eq!(story.world, before);
}

#[test]
fn a_burning_budget_is_an_alert_with_words_and_a_runbook() {
    let mut story = served();
    let minute = std::time::Duration::from_secs(60);
    let cause = Cause {
        long: 60 * minute,
        short: 5 * minute,
        factor: Some(14_400),
        burn: 20_100,
        bad: 201,
        total: 10_000,
    };
    let (rule, severity) = (Rule::Burn(Severity::P1), Severity::P1);
    let command = watch::Command::ChangeAlert { rule, to: To::Firing, severity, cause: Some(cause) };
    let asked = (place("production"), "availability".parse().unwrap(), command);
    story.tell(Command::Objectives(vec![asked])).unwrap();
    let told = lifecycle::firing(&story.world);
    let [alert] = told.as_slice() else { panic!("one alert: {told:?}") };
    let expected = [
        ("alertname", "ErrorBudgetBurn"),
        ("severity", "P1"),
        ("app", "shop"),
        ("environment", "production"),
        ("objective", "availability"),
    ];
    assert_eq!(alert.labels, labels(&expected));
    assert_eq!(
        alert.annotations["summary"],
        "the error budget of availability of shop/production burns 20.1 times too fast over 1h"
    );
    assert!(
        alert.annotations["description"].starts_with("Over 1h, 201 of 10000 were bad; 14.4 is too fast.")
    );
    assert_eq!(alert.annotations["runbook"], "error-budget-burn");
}
