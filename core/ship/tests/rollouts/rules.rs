//! Threshold rules: Argo Rollouts' table, row by row, and the two places where we deliberately differ.

use std::time::Duration;

use model::strategy::{Comparison, Condition, Metric, Source};
use ship::Event;
use ship::rules::Outcome;

use super::support::{Scene, canary, given, hold, rule, seen, to};

fn watched_by(metric: Metric) -> Scene {
    given(canary([to(50), hold()]).promptly().without_judge().ruled_by(metric)).when(seen()).is("paused")
}

/// Not paused, so that a pause shows.
fn moving_by(metric: Metric) -> Scene {
    use super::support::hold_for;
    given(canary([to(50), hold_for(100_000)]).promptly().without_judge().ruled_by(metric)).when(seen())
}

fn outcomes(scene: &Scene) -> Vec<Outcome> {
    let outcome = |event: &Event| {
        if let Event::RuleMeasured(measurement) = event { Some(measurement.outcome) } else { None }
    };
    scene.fresh().iter().filter_map(outcome).collect()
}

#[test]
fn no_failure_is_allowed_by_default() {
    moving_by(rule())
        .when(seen().after(10).candidate(100, 4))
        .then([])
        .when(seen().after(10).candidate(100, 5))
        .then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn failure_limit_three_needs_four_failures() {
    let mut scene = moving_by(Metric { failure_limit: Some(3), ..rule() });
    for _ in 0..3 {
        scene = scene.when(seen().after(10).candidate(10, 10)).then([]);
    }
    scene.when(seen().after(10).candidate(10, 0)).then([]).when(seen().after(10).candidate(10, 10)).then([
        "back: rule",
        "0%",
        "rolledBack",
    ]);
}

#[test]
fn failure_limit_minus_one_never_fails() {
    let mut scene = moving_by(Metric { failure_limit: None, ..rule() });
    for _ in 0..50 {
        scene = scene.when(seen().after(10).candidate(10, 10)).then([]);
    }
    assert_eq!(scene.rollout.rules[0].failed, 50);
}

#[test]
fn a_rule_rolls_back_while_the_rollout_is_paused() {
    watched_by(rule()).when(seen().after(30).candidate(10, 10)).then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn a_paused_rollout_is_measured_every_thirty_seconds_or_at_a_longer_interval() {
    for (interval, every) in [(10, 30), (60, 60)] {
        let metric = Metric { interval: Duration::from_secs(interval), ..rule() };
        let mut scene = watched_by(metric);
        for _ in 0..3 {
            scene = scene.when(seen().after(every - 1).candidate(100, 0));
            assert_eq!(outcomes(&scene), [], "every {every} s");
            scene = scene.when(seen().after(1));
            assert_eq!(outcomes(&scene), [Outcome::Successful], "every {every} s");
        }
        let scene = scene.when(seen().after(29).unreachable());
        assert_eq!(outcomes(&scene), [], "nor is an error tried again sooner");
    }
}

#[test]
fn no_data_is_inconclusive_and_pauses() {
    let scene = moving_by(rule()).when(seen().after(10)).then(["paused: inconclusive"]);
    assert_eq!(outcomes(&scene), [Outcome::Inconclusive]);
}

#[test]
fn more_inconclusive_measurements_than_the_limit_pause() {
    moving_by(Metric { inconclusive_limit: Some(2), ..rule() })
        .when(seen().after(10))
        .then([])
        .when(seen().after(10))
        .then([])
        .when(seen().after(10))
        .then(["paused: inconclusive"]);
}

#[test]
fn between_success_and_failure_is_inconclusive() {
    let failure = Condition { comparison: Comparison::GreaterOrEqual, value: 0.5 };
    let metric = Metric { failure_condition: Some(failure), inconclusive_limit: None, ..rule() };
    let scene = moving_by(metric).when(seen().after(10).candidate(100, 20)).then([]);
    assert_eq!(outcomes(&scene), [Outcome::Inconclusive]);
    let scene = scene.when(seen().after(10).candidate(100, 4));
    assert_eq!(outcomes(&scene), [Outcome::Successful]);
    let scene = scene.when(seen().after(10).candidate(100, 50)).then(["back: rule", "0%", "rolledBack"]);
    assert_eq!(outcomes(&scene), [Outcome::Failed]);
}

#[test]
fn a_failure_condition_alone_makes_the_rest_a_success() {
    let failure = Condition { comparison: Comparison::Greater, value: 0.5 };
    let metric = Metric { success_condition: None, failure_condition: Some(failure), ..rule() };
    let scene = moving_by(metric).when(seen().after(10).candidate(100, 50)).then([]);
    assert_eq!(outcomes(&scene), [Outcome::Successful]);
    scene.when(seen().after(10).candidate(100, 51)).then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn the_fifth_error_in_a_row_pauses_and_never_rolls_back() {
    let mut scene = moving_by(rule()).when(seen().unreachable());
    for _ in 0..4 {
        scene = scene.when(seen().after(10)).then([]);
        assert_eq!(outcomes(&scene), [Outcome::Error]);
    }
    scene = scene.when(seen().after(10)).then(["paused: inconclusive"]);
    for _ in 0..20 {
        scene = scene.when(seen().after(10)).then([]);
    }
    scene.is("paused");
}

#[test]
fn an_agent_that_is_away_for_days_costs_no_more_errors_than_make_a_verdict() {
    for (limit, most) in [(Some(4), 5), (Some(0), 1), (None, 1)] {
        let metric = Metric { consecutive_error_limit: limit, ..rule() };
        for scene in [moving_by(metric.clone()), watched_by(metric)] {
            let mut scene = scene.when(seen().unreachable());
            let mut written = 0;
            for _ in 0..1_000 {
                scene = scene.when(seen().after(60));
                written += outcomes(&scene).len();
            }
            assert_eq!(written, most, "{limit:?}");
            let scene = scene.when(seen().reachable_again().candidate(100, 0));
            assert_eq!(outcomes(&scene), [Outcome::Successful], "and then it is measured at once");
        }
    }
}

#[test]
fn errors_must_come_in_a_row() {
    let mut scene = moving_by(rule());
    for _ in 0..3 {
        scene = scene.when(seen().unreachable().after(40)).then([]);
        for _ in 0..3 {
            scene = scene.when(seen().after(10)).then([]);
        }
        scene = scene.when(seen().reachable_again().after(10).candidate(100, 0)).then([]);
        assert_eq!(outcomes(&scene), [Outcome::Successful]);
    }
}

#[test]
fn an_error_is_tried_again_after_ten_seconds_and_not_counted() {
    let metric = Metric { interval: Duration::from_secs(60), count: Some(2), ..rule() };
    let scene = moving_by(metric).when(seen().unreachable().after(60));
    assert_eq!(outcomes(&scene), [Outcome::Error]);
    let scene = scene.when(seen().reachable_again().after(9).candidate(100, 0));
    assert_eq!(outcomes(&scene), []);
    let scene = scene.when(seen().after(1));
    assert_eq!(outcomes(&scene), [Outcome::Successful]);
    assert_eq!(scene.rollout.rules[0].taken, 1);
    let scene = scene.when(seen().after(59));
    assert_eq!(outcomes(&scene), [], "after a success the interval holds again");
}

#[test]
fn count_ends_the_measuring() {
    let mut scene = moving_by(Metric { count: Some(2), ..rule() });
    for _ in 0..2 {
        scene = scene.when(seen().after(10).candidate(100, 0));
        assert_eq!(outcomes(&scene), [Outcome::Successful]);
    }
    scene = scene.when(seen().after(1_000).candidate(100, 100)).then([]);
    assert_eq!(outcomes(&scene), []);
}

#[test]
fn each_measurement_looks_at_its_own_interval() {
    let scene = moving_by(Metric { failure_limit: None, ..rule() })
        .when(seen().after(10).candidate(100, 100))
        .when(seen().after(10).candidate(100, 1));
    assert_eq!(scene.rollout.rules[0].last_value, Some(0.01));
    let scene = scene.when(seen().after(10).agent_restarted().candidate(50, 1));
    assert_eq!(scene.rollout.rules[0].last_value, Some(0.02), "a new life of the counter starts at zero");
}

#[test]
fn promote_forgives_what_was_inconclusive_but_not_what_failed() {
    let metric = Metric { failure_limit: Some(1), ..rule() };
    moving_by(metric)
        .when(seen().after(10).candidate(10, 10))
        .then([])
        .when(seen().after(10))
        .then(["paused: inconclusive"])
        .operator(ship::Command::Promote { full: true })
        .is("promoted");
    let metric = Metric { failure_limit: Some(1), ..rule() };
    given(canary([to(25), to(50), hold()]).without_judge().ruled_by(metric))
        .when(seen())
        .when(seen().candidate_ready(1))
        .then(["25%"])
        .when(seen().after(10).candidate(10, 10))
        .then([])
        .when(seen().after(10))
        .then(["paused: inconclusive"])
        .operator(ship::Command::Promote { full: false })
        .then(["resumed at step 0"])
        .when(seen().after(10).candidate(10, 10))
        .then(["back: rule", "0%"]);
}

#[test]
fn a_rule_begins_to_watch_with_the_first_shift() {
    let scene = given(canary([to(25), hold()]).without_judge().ruled_by(rule()))
        .when(seen())
        .when(seen().after(500))
        .then([]);
    assert_eq!(outcomes(&scene), []);
    let scene = scene.when(seen().candidate_ready(1)).then(["25%"]).when(seen().after(9).candidate(10, 0));
    assert_eq!(outcomes(&scene), []);
    assert_eq!(outcomes(&scene.when(seen().after(1))), [Outcome::Successful]);
}

#[test]
fn a_rule_does_not_see_requests_from_before_the_rollout() {
    let mut scene = given(canary([to(50), hold()]).promptly().without_judge().ruled_by(rule()));
    scene.sees(&seen().candidate(1_000, 1_000));
    let scene = scene.when(seen()).when(seen().after(30).candidate(100, 1)).is("paused");
    assert_eq!(scene.rollout.rules[0].last_value, Some(0.01));
}

#[test]
fn a_gateway_that_forgets_an_old_epoch_takes_nothing_back() {
    let mut scene =
        moving_by(Metric { failure_limit: None, ..rule() }).when(seen().after(10).candidate(100, 0));
    scene = scene.operator(ship::Command::Promote { full: true }).is("promoted");
    assert_eq!(scene.rollout.rules[0].taken, 1);
    let mut scene =
        given(canary([to(25), hold(), to(50), hold()]).promptly().without_judge().ruled_by(rule()))
            .when(seen())
            .when(seen().after(30).candidate(1_000, 0))
            .operator(ship::Command::Promote { full: false });
    assert_eq!(scene.rollout.rules[0].taken, 1);
    scene.seen.tallies.clear();
    let scene = scene.when(seen().after(30).candidate(100, 4));
    assert_eq!(scene.rollout.rules[0].last_value, Some(0.04));
}

#[test]
fn a_rule_on_latency_measures_its_quantile_in_seconds() {
    let slow = Condition { comparison: Comparison::Less, value: 0.5 };
    let metric = Metric { source: Source::Latency(0.99), success_condition: Some(slow), ..rule() };
    moving_by(metric)
        .when(seen().after(10).candidate(100, 0).taking_ms(20))
        .then([])
        .when(seen().after(10).candidate(100, 0).taking_ms(900))
        .then(["back: rule", "0%", "rolledBack"]);
}

#[test]
fn a_request_rate_is_over_all_the_time_since_the_last_reading() {
    let enough = Condition { comparison: Comparison::Less, value: 1_000.0 };
    let metric = Metric { source: Source::RequestRate, success_condition: Some(enough), ..rule() };
    let scene = moving_by(metric).when(seen().after(10).candidate(200, 0));
    assert_eq!(scene.rollout.rules[0].last_value, Some(20.0));
    let scene =
        scene.when(seen().after(10).unreachable()).when(seen().after(10).reachable_again().candidate(400, 0));
    assert_eq!(
        scene.rollout.rules[0].last_value,
        Some(20.0),
        "an error in between makes the interval longer"
    );
    let scene = scene.when(seen().after(10));
    assert_eq!(outcomes(&scene), [Outcome::Successful], "no request is a rate: zero");
}

#[test]
fn the_first_rule_that_fails_goes_before_one_that_is_inconclusive() {
    let silent = Metric { name: "latency".to_owned(), source: Source::Latency(0.5), ..rule() };
    given(
        canary([to(50), super::support::hold_for(1_000)])
            .promptly()
            .without_judge()
            .ruled_by(silent)
            .ruled_by(rule()),
    )
    .when(seen())
    .when(seen().after(10).candidate(10, 10))
    .then(["back: rule", "0%", "rolledBack"]);
}
