//! The pains that users of other tools report, each as a test of what happens here instead.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod support;

use std::time::Duration;

use model::objective::{Alerting, Severity};
use support::{DAY, FIRST, HOUR, end_of, good, history, objective, over, slices};
use watch::backtest::backtest;
use watch::budget::{Budget, Terms, WHOLE};
use watch::burn::{Rule, Rules, Verdict, exceeds, pairs};
use watch::{Counts, Exclusions, History, Minute, Range};

fn pages(objective: &model::Objective, minutes: Vec<Minute>) -> Vec<(Rule, usize)> {
    let found = backtest(objective, &history(objective, minutes));
    let index = |at: model::Timestamp| (watch::minutes::minute_of(at) - FIRST) as usize;
    found.alerts.iter().filter(|told| told.severity.pages()).map(|told| (told.rule, index(told.at))).collect()
}

#[test]
fn one_error_at_low_traffic_pages_nobody() {
    // pyrra 1925: one request in five minutes, one of them fails: 100 % of the short window and 8 % of the long one.
    let mut minutes: Vec<Minute> = (0..3 * DAY)
        .map(|minute| if minute % 5 == 0 { Minute::new(1, 1, 60) } else { Minute::new(0, 0, 60) })
        .collect();
    minutes[2 * DAY].good = 0;
    let objective = objective("99.9%");
    let before = history(&objective, minutes.clone());
    let seen = before.sums(Range::last(60, FIRST + 2 * DAY as u64 + 1));
    assert!(exceeds(seen, objective.target, 14_400), "the plain rule would page");
    assert_eq!(pages(&objective, minutes.clone()), []);
    // The same with slices, where one bad request makes five bad minutes.
    assert_eq!(pages(&slices("99.9%", 5, 95), minutes), []);
}

#[test]
fn four_errors_of_a_client_that_tries_again_page_nobody_and_five_of_five_do() {
    let with = |errors: usize| {
        let mut minutes = vec![Minute::new(0, 0, 60); DAY];
        minutes.iter_mut().skip(600).take(errors).for_each(|minute| *minute = Minute::new(0, 1, 60));
        minutes
    };
    assert_eq!(pages(&objective("99.9%"), with(4)), []);
    assert_eq!(pages(&objective("99.9%"), with(5)), [(Rule::Burn(Severity::P1), 604)]);
}

#[test]
fn ninety_percent_failures_at_half_a_request_a_second_page_within_minutes() {
    let outage = |target: &str| {
        let mut minutes = good(30, 10 * DAY);
        minutes.iter_mut().skip(2 * DAY).for_each(|minute| minute.good = 3);
        let told = pages(&objective(target), minutes);
        told.iter().map(|(rule, index)| (*rule, index - 2 * DAY)).collect::<Vec<_>>()
    };
    let found = outage("99.9%");
    assert!(found.len() == 1 && found[0].0 == Rule::Burn(Severity::P1) && found[0].1 < 2, "{found:?}");
    // Even at a target so low that its budget is never spent: the absolute rule needs more than half of six hours.
    let found = outage("5%");
    assert!(found.len() == 1 && found[0].1 < 4 * HOUR, "{found:?}");
}

#[test]
fn low_targets_page_in_an_outage() {
    // sloth 341: 14.4 times the budget of 90 % is 144 % of all requests.
    for target in ["10%", "50%", "80%", "90%", "93%", "99%", "99.99%"] {
        let objective = objective(target);
        assert!(
            pairs(&objective).iter().all(|pair| u64::from(pair.factor) < objective.target.highest_burn())
        );
        let mut minutes = good(100, 2 * DAY);
        minutes.iter_mut().skip(DAY).for_each(|minute| minute.good = 0);
        let found = pages(&objective, minutes);
        assert!(found.iter().any(|(rule, _)| *rule == Rule::Burn(Severity::P1)), "{target}: {found:?}");
    }
}

#[test]
fn planned_maintenance_is_taken_out_as_if_it_had_not_been() {
    // sloth 529.
    let objective = objective("99.9%");
    let mut minutes = good(100, DAY);
    minutes.iter_mut().skip(600).take(30).for_each(|minute| minute.good = 0);
    let mut history = history(&objective, minutes);
    let at = end_of(DAY - 1);
    let spent = Budget::at(Terms::of(&objective), &history, at);
    assert!(spent.remaining < -19 * WHOLE, "{spent:?}");
    let mut exclusions = Exclusions::default();
    exclusions.exclude(Range { from: FIRST + 600, to: FIRST + 630 });
    history.correct(exclusions);
    let budget = Budget::at(Terms::of(&objective), &history, at);
    assert_eq!((budget.remaining, budget.sums.total, budget.sums.excluded), (WHOLE, 141_000, 30));
    assert_eq!(budget.coverage, model::objective::Ratio::ALL);
}

#[test]
fn no_data_is_told_and_is_neither_good_nor_bad() {
    // pyrra 663, 1576, 448: a metric that breaks goes unnoticed for days.
    let objective = objective("99.9%");
    let mut minutes = good(100, DAY);
    minutes.iter_mut().skip(600).for_each(|minute| *minute = Minute::default());
    let history = history(&objective, minutes);
    let found = backtest(&objective, &history);
    let told: Vec<_> = found.alerts.iter().map(|told| (told.rule, told.at, told.resolved)).collect();
    assert_eq!(told, [(Rule::NoData, end_of(604), None)]);
    assert_eq!((found.budget.remaining, found.budget.coverage.to_string().as_str()), (WHOLE, "41.6666%"));
    // A service that nobody wants running is not missed.
    let rules = Rules::of(&objective);
    let verdict = |wanted| {
        let all = rules.look(&history, FIRST + 700, wanted);
        all.into_iter().find(|finding| finding.rule == Rule::NoData).unwrap().verdict
    };
    assert!(matches!((verdict(true), verdict(false)), (Verdict::Holds(_), Verdict::Clear)));
}

#[test]
fn an_outage_that_takes_the_measurement_with_it_stays_an_alert() {
    let objective = objective("99.9%");
    let mut minutes = good(100, DAY);
    minutes.iter_mut().skip(600).for_each(|minute| minute.good = 0);
    minutes.iter_mut().skip(630).for_each(|minute| *minute = Minute::default());
    let found = backtest(&objective, &history(&objective, minutes));
    let burn = found.alerts.iter().find(|told| told.rule == Rule::Burn(Severity::P1)).unwrap();
    assert_eq!(burn.resolved, None);
}

#[test]
fn a_quiet_minute_that_is_measured_is_good_time_and_no_event() {
    let objective = slices("99%", 5, 95);
    let history = history(&objective, vec![Minute::new(0, 0, 60); DAY]);
    let budget = Budget::at(Terms::of(&objective), &history, end_of(DAY - 1));
    assert_eq!((budget.sums.good, budget.sums.total), (86_400, 86_400));
    let objective = over("99%", 1);
    let history = support::history(&objective, vec![Minute::new(0, 0, 60); DAY]);
    let budget = Budget::at(Terms::of(&objective), &history, end_of(DAY - 1));
    assert_eq!((budget.sums.total, budget.attained), (0, None));
}

#[test]
fn an_alert_that_comes_and_goes_is_one_alert() {
    let mut objective = objective("99.9%");
    let mut minutes = good(100, DAY);
    // Every third minute is bad for two hours: the short window is below its factor now and then.
    minutes.iter_mut().skip(600).take(120).step_by(7).for_each(|minute| minute.good = 80);
    let count = |objective: &model::Objective| {
        let found = backtest(objective, &history(objective, minutes.clone()));
        found.alerts.iter().filter(|told| told.rule == Rule::Burn(Severity::P1)).count()
    };
    assert_eq!(count(&objective), 1);
    objective.alerting = Alerting { keep_firing: Duration::ZERO, ..Alerting::default() };
    assert!(count(&objective) > 5);
}

#[test]
fn a_young_service_is_not_missed_before_it_was_there() {
    let objective = objective("99.9%");
    let mut history = History::new(FIRST, objective.method.clone(), Exclusions::default());
    history.push(Minute::new(0, 0, 0));
    let all = Rules::of(&objective).look(&history, FIRST, true);
    assert!(all.iter().all(|finding| !matches!(finding.verdict, Verdict::Holds(_))), "{all:?}");
}
