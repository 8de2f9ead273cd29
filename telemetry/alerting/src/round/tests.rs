//! What looks at rules make of alerts: begun, fired, ended, and never by what nobody knows.

use lifecycle::Event;
use model::alert::ReadyMade;
use model::objective::Severity;
use proptest::prelude::*;

use super::*;
use crate::rules::Asked;

const STEP: Duration = Duration::from_secs(15);

fn place() -> Place {
    Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn rule(hold: u64, keep_firing: u64) -> Rule {
    Rule {
        name: "QueueTooLong".to_owned(),
        condition: Condition::Expr("queue_length > 100".to_owned()),
        hold: Duration::from_secs(hold),
        keep_firing: Duration::from_secs(keep_firing),
        severity: Severity::P2,
        runbook: Some("queue-too-long".to_owned()),
        labels: labels(&[("team", "mails"), ("of", "{{ $labels.queue }}")]),
        annotations: labels(&[("summary", "{{ $labels.queue }} has {{ $value }} jobs")]),
    }
}

fn found(queue: &str, value: f64) -> Found {
    Found { labels: labels(&[("queue", queue)]), value, notes: Labels::new() }
}

/// Control, as far as alerts go, with one rule.
struct Life {
    world: World,
    rounds: Rounds,
    rules: Vec<Ruled>,
    at: Timestamp,
    told: Vec<(To, String)>,
}

impl Life {
    fn new(rule: Rule) -> Self {
        let asks = Asks::Store(vec![Asked::plain("queue_length > 100")]);
        let mut life = Self {
            world: World::default(),
            rounds: Rounds::default(),
            rules: vec![Ruled { place: Some(place()), rule, asks }],
            at: Timestamp::from_micros(1_700_000_000_000_000),
            told: vec![],
        };
        // What a store says that was not filled for long means nothing.
        for _ in 0..3 {
            let _ = life.sees(&[]);
        }
        life
    }

    fn look(&mut self, answer: Answer, blind: bool) -> Standing {
        self.at = self.at.after(STEP);
        let blind = Blind { agent: blind, ..Blind::default() };
        let answers = self.rules.iter().map(|_| (answer.clone(), Duration::ZERO)).collect();
        let look = self.rounds.look(&self.world, self.rules.clone(), answers, &blind, self.at);
        let changes = match look.command {
            Some(Command::Alerts(changes)) => changes,
            None => vec![],
            Some(other) => panic!("{other:?}"),
        };
        for changed in changes {
            self.told.push((changed.to, changed.labels.get("queue").cloned().unwrap_or_default()));
            self.world.apply(&Event::AlertChanged(changed), 1, self.at).unwrap();
        }
        look.standings.into_iter().next().unwrap()
    }

    fn sees(&mut self, all: &[Found]) -> Standing {
        self.look(Ok(all.to_vec()), false)
    }

    /// Another control finds what this one left.
    fn killed(&mut self) {
        self.rounds = Rounds::default();
    }

    fn firing(&self) -> usize {
        lifecycle::firing(&self.world).len()
    }
}

#[test]
fn an_alert_is_pending_fires_goes_on_for_a_while_and_is_resolved() {
    let mut life = Life::new(rule(30, 30));
    assert_eq!(life.sees(&[found("a", 101.0)]).state, State::Pending);
    let _ = life.sees(&[found("a", 102.0)]);
    assert_eq!(life.firing(), 0);
    assert_eq!(life.sees(&[found("a", 103.5)]).state, State::Firing);
    let all = lifecycle::firing(&life.world);
    let expected = labels(&[
        ("alertname", "QueueTooLong"),
        ("severity", "P2"),
        ("app", "shop"),
        ("environment", "production"),
        ("queue", "a"),
        ("of", "a"),
        ("team", "mails"),
    ]);
    assert_eq!(all[0].labels, expected);
    let words = labels(&[("summary", "a has 103.5 jobs"), ("runbook", "queue-too-long")]);
    assert_eq!(all[0].annotations, words);
    assert_eq!(life.sees(&[]).state, State::Firing, "it goes on for a while");
    assert_eq!(life.sees(&[]).state, State::Inactive);
    let all = [To::Pending, To::Firing, To::Resolved].map(|to| (to, "a".to_owned()));
    assert_eq!(life.told, all);
}

#[test]
fn what_comes_to_nothing_is_resolved_without_having_fired() {
    let mut life = Life::new(rule(60, 600));
    let _ = life.sees(&[found("a", 101.0)]);
    let _ = life.sees(&[]);
    assert_eq!(life.told, [(To::Pending, "a".to_owned()), (To::Resolved, "a".to_owned())]);
}

#[test]
fn a_query_that_fails_changes_nothing_and_says_why() {
    let mut life = Life::new(rule(30, 0));
    let _ = life.sees(&[found("a", 101.0)]);
    for _ in 0..10 {
        let standing = life.look(Err("no answer within 10s".to_owned()), false);
        assert_eq!(standing.trouble.as_deref(), Some("no answer within 10s"));
        assert_eq!(standing.state, State::Pending);
    }
    let _ = life.sees(&[found("a", 101.0)]);
    assert_eq!(life.firing(), 1, "it holds since it was pending");
    let _ = life.look(Err("away".to_owned()), false);
    assert_eq!(life.firing(), 1);
    let _ = life.sees(&[]);
    assert_eq!(life.firing(), 0);
}

#[test]
fn nothing_found_means_nothing_while_metrics_are_not_told_nor_soon_after() {
    let mut life = Life::new(rule(0, 0));
    let _ = life.sees(&[found("a", 101.0)]);
    for _ in 0..10 {
        let _ = life.look(Ok(vec![]), true);
    }
    let _ = life.sees(&[]);
    assert_eq!(life.firing(), 1, "two readings of nothing are not there yet");
    let _ = life.sees(&[]);
    assert_eq!(life.firing(), 0);
}

#[test]
fn nor_does_it_at_a_place_that_comes_soon_after() {
    let mut life = Life::new(rule(0, 0));
    let blind = Blind { agent: true, ..Blind::default() };
    let _ = life.rounds.look(&life.world, vec![], vec![], &blind, life.at);
    let _ = life.sees(&[found("a", 101.0)]);
    life.at = life.at.moved(-10_000_000);
    let _ = life.sees(&[]);
    assert_eq!(life.firing(), 1, "the agent tells metrics for twenty seconds");
    let _ = life.sees(&[]);
    assert_eq!(life.firing(), 0);
}

#[test]
fn an_alert_begins_while_metrics_are_not_told_when_there_is_something() {
    let mut life = Life::new(rule(0, 0));
    let _ = life.look(Ok(vec![found("a", 101.0)]), true);
    assert_eq!(life.firing(), 1);
}

#[test]
fn who_is_killed_finds_what_was_pending_and_since_when() {
    let mut life = Life::new(rule(45, 0));
    let _ = life.sees(&[found("a", 101.0)]);
    for _ in 0..2 {
        life.killed();
        let _ = life.sees(&[found("a", 101.0)]);
    }
    assert_eq!(life.firing(), 0);
    life.killed();
    let _ = life.sees(&[found("a", 101.0)]);
    assert_eq!(life.firing(), 1, "45 s after it was pending");
    // The next one knows nothing of how things were while it was not there.
    life.killed();
    let _ = life.sees(&[]);
    assert_eq!(life.firing(), 1);
    for _ in 0..2 {
        let _ = life.sees(&[]);
    }
    assert_eq!(life.firing(), 0);
}

#[test]
fn a_rule_that_holds_no_more_leaves_no_alert() {
    let mut life = Life::new(rule(0, 600));
    let _ = life.sees(&[found("a", 101.0)]);
    let other = Rule { name: "Other".to_owned(), ..rule(0, 0) };
    life.rules[0].rule = other;
    let _ = life.sees(&[]);
    assert_eq!(life.firing(), 0);
}

#[test]
fn two_with_the_same_labels_are_an_error_that_changes_nothing() {
    let mut life = Life::new(Rule { labels: Labels::new(), ..rule(0, 0) });
    let _ = life.sees(&[found("a", 101.0)]);
    let standing = life.sees(&[found("a", 101.0), found("a", 102.0)]);
    assert!(standing.trouble.unwrap().contains("two alerts would have the labels"));
    assert_eq!(life.firing(), 1);
}

#[test]
fn of_too_many_those_that_are_known_stay_and_the_rule_says_so() {
    let mut life = Life::new(rule(0, 0));
    let one = |number: usize| found(&format!("queue-{number:03}"), 101.0);
    let _ = life.sees(&[one(499)]);
    let many: Vec<Found> = (0..500).map(one).collect();
    let standing = life.sees(&many);
    assert!(standing.trouble.unwrap().contains("it gives 500 alerts, and 100 of them count"));
    assert_eq!(life.firing(), MOST_OF_A_RULE);
    let firing = lifecycle::firing(&life.world);
    assert!(firing.iter().any(|alert| alert.labels["queue"] == "queue-499"));
    let told = life.told.len();
    let _ = life.sees(&many);
    assert_eq!(life.told.len(), told, "the same ones count the next time");
}

#[test]
fn silence_is_no_news_before_anybody_could_speak() {
    let mut life = Life::new(rule(0, 0));
    life.rules[0].rule = Rule { hold: Duration::ZERO, ..ReadyMade::NoData.rule() };
    life.killed();
    let _ = life.sees(&[found("a", 1.0)]);
    assert_eq!(life.firing(), 0);
    let _ = life.sees(&[found("a", 1.0)]);
    let _ = life.sees(&[found("a", 1.0)]);
    assert_eq!(life.firing(), 1);
}

proptest! {
    /// Whatever is seen, however often control dies: events follow from one another, nothing fires before its time, and
    /// nothing ends that nobody saw to be over.
    #[test]
    fn alerts_keep_their_promises(
        hold in 0_u64..60,
        keep in 0_u64..60,
        looks in prop::collection::vec((0_u8..4, any::<bool>(), prop::bool::weighted(0.2)), 1..60),
    ) {
        let mut life = Life::new(rule(hold, keep));
        for (seen, blind, dies) in looks {
            if dies {
                life.killed();
            }
            let (before, told) = (life.world.clone(), life.told.len());
            let answer = match seen {
                0 => Err("away".to_owned()),
                1 => Ok(vec![]),
                _ => Ok(vec![found("a", 101.0)]),
            };
            let is_empty = answer.as_ref().is_ok_and(Vec::is_empty);
            let holds = answer.is_ok() && !is_empty;
            // Applying what cannot follow panics.
            let _ = life.look(answer, blind);
            let known = before.alerts.values().next();
            for (to, _) in &life.told[told..] {
                match to {
                    To::Pending => prop_assert!(holds && hold > 0),
                    To::Firing => {
                        let since = known.map_or(life.at, |alert| alert.since);
                        prop_assert!(holds && life.at.since(since) >= Duration::from_secs(hold));
                    }
                    To::Resolved => prop_assert!(is_empty && !blind),
                }
            }
        }
    }
}
