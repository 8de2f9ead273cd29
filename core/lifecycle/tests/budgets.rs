//! Error budgets: what a spent one keeps from beginning, and what it never does.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stories are shared with other tests")]
mod support;

use lifecycle::{Command, Event};
use model::strategy::{Kind, Step};
use model::{ObjectiveName, ReleaseNumber, Weight};
use support::{Story, artifact, place, service, specs};
use watch::Level;

fn availability() -> ObjectiveName {
    "availability".parse().unwrap()
}

/// The budget of production's availability comes to allow this.
fn level(level: Level) -> Command {
    let command = watch::Command::ChangeLevel { level, remaining: -30_000, why: "a test".to_owned() };
    Command::Objectives(vec![(place("production"), availability(), command)])
}

fn deploy(build: &str, canary: bool) -> Command {
    let mut specs = specs();
    let steps = if canary { vec![Step::SetWeight(Weight::from_percent(10.0).unwrap())] } else { vec![] };
    for spec in specs.values_mut() {
        spec.rollout.kind = Kind::Canary { steps: steps.clone(), session_affinity: None };
    }
    let environment = "production".parse().unwrap();
    Command::Deploy { service: service(), artifact: artifact(build), specs, environment }
}

fn served() -> Story {
    let mut story = Story::default();
    story.served("one", "production");
    story.served("two", "production");
    story
}

#[test]
fn a_spent_budget_refuses_the_next_deploy_and_says_what_to_do() {
    let mut story = served();
    story.tell(level(Level::Freeze)).unwrap();
    let refusal = story.tell(deploy("three", true)).unwrap_err();
    assert!(refusal.what.contains("shop/production is frozen since"), "{refusal:?}");
    assert!(
        refusal.what.contains("the error budget of availability was overspent by 3.0% then"),
        "{refusal:?}"
    );
    for way in ["shipshape rollback", "shipshape slo -e production", "--override-budget --reason"] {
        assert!(refusal.instead.contains(way), "{refusal:?}");
    }
    assert!(story.deploy("three", "staging").is_ok(), "the budget is production's alone");
    story.tell(level(Level::Warn)).unwrap();
    assert!(story.tell(deploy("three", false)).is_ok(), "a warning stops nobody");
}

#[test]
fn going_back_is_always_allowed() {
    let mut story = served();
    story.tell(level(Level::Freeze)).unwrap();
    assert!(!story.rollback(None).unwrap().is_empty());
}

#[test]
fn a_budget_that_runs_out_lets_only_canaries_through() {
    let mut story = served();
    story.tell(level(Level::CanaryOnly)).unwrap();
    let refusal = story.tell(deploy("three", false)).unwrap_err();
    assert!(refusal.what.contains("only canaries are allowed at shop/production"), "{refusal:?}");
    assert!(refusal.instead.contains("rollout.canary.steps"), "{refusal:?}");
    assert!(story.tell(deploy("three", true)).is_ok());
}

#[test]
fn who_passes_a_spent_budget_is_told_of_in_the_same_unit() {
    let mut story = served();
    story.tell(level(Level::Freeze)).unwrap();
    let events = story.tell(Command::DespiteBudget(Box::new(deploy("three", true)))).unwrap();
    let passed = events.iter().position(|event| {
        matches!(event, Event::BudgetOverridden { level: Level::Freeze, objective, .. } if *objective == availability())
    });
    let begun = events.iter().position(|event| {
        matches!(event, Event::Rollout { event: ship::Event::Started { to, .. }, .. } if *to == ReleaseNumber(3))
    });
    assert_eq!(passed.map(|at| at + 1), begun, "{events:?}");
    assert!(begun.is_some());
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn where_nothing_is_spent_there_is_nothing_to_pass() {
    let mut story = served();
    let events = story.tell(Command::DespiteBudget(Box::new(deploy("three", true)))).unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::BudgetOverridden { .. })));
}

#[test]
fn planners_that_are_overtaken_change_nothing_and_stop_nobody() {
    let mut story = served();
    story.tell(level(Level::Freeze)).unwrap();
    assert_eq!(story.tell(level(Level::Freeze)).unwrap(), vec![]);
    let unknown = (
        place("nowhere"),
        availability(),
        watch::Command::ChangeLevel { level: Level::Warn, remaining: 0, why: String::new() },
    );
    let Command::Objectives(mut both) = level(Level::Fine) else { panic!("planners' commands") };
    both.insert(0, unknown);
    assert_eq!(story.tell(Command::Objectives(both)).unwrap().len(), 1);
}
