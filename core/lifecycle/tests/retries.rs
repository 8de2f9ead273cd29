//! A rollout that was rolled back, tried again by somebody's wish.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stories are shared with other tests")]
mod support;

use lifecycle::{Command, Event, Refusal, Scope};
use ship::Phase;
use support::{Story, artifact, place, service, spec};

fn retry(story: &mut Story) -> Result<Vec<Event>, Refusal> {
    story.tell(Command::Retry { place: place("production") })
}

fn back(story: &mut Story) {
    story.operate("production", ship::Command::Abort).unwrap();
    story.operate("production", ship::Command::ConfirmRollback).unwrap();
}

/// Release 1 serves, release 2 went back.
fn gone_back() -> Story {
    let mut story = Story::default();
    story.served("one", "production");
    story.deploy("two", "production").unwrap();
    back(&mut story);
    story
}

#[test]
fn the_same_release_goes_by_its_declared_strategy_again() {
    let mut story = gone_back();
    let lane = |story: &Story| story.world.lanes[&place("production")].rollout.clone().unwrap();
    let first = lane(&story);
    let events = retry(&mut story).unwrap();
    assert_eq!(events.len(), 1, "no release is made: {events:?}");
    let again = lane(&story);
    assert_eq!((again.to, again.from, again.cause), (first.to, first.from, first.cause));
    assert_eq!(again.strategy, first.strategy);
    assert_eq!((again.number, &again.phase), (first.number.next(), &Phase::Progressing));
    back(&mut story);
    retry(&mut story).expect("as often as somebody wants");
    story.completed("production");
    assert_eq!(story.stable("production"), Some(2));
    assert_eq!(story.world, story.replayed());
}

#[test]
fn what_did_not_go_back_is_not_tried_again() {
    let mut story = Story::default();
    let refusal = retry(&mut story).unwrap_err();
    assert!(refusal.what.contains("nothing was ever deployed at shop/production"), "{refusal:?}");
    story.served("one", "production");
    let refusal = retry(&mut story).unwrap_err();
    assert!(refusal.what.contains("was not rolled back: release 1 serves"), "{refusal:?}");
    assert!(refusal.instead.contains("shipshape deploy ARTIFACT -e production"), "{refusal:?}");
    story.deploy("two", "production").unwrap();
    let refusal = retry(&mut story).unwrap_err();
    assert!(refusal.what.contains("is progressing"), "{refusal:?}");
    story.operate("production", ship::Command::Abort).unwrap();
    let refusal = retry(&mut story).unwrap_err();
    assert!(refusal.what.contains("is rolling back"), "{refusal:?}");
}

#[test]
fn a_lock_holds_a_retry_too() {
    let mut story = gone_back();
    let scope = Scope { service: Some(service()), environment: "production".parse().unwrap() };
    let (by, reason) = ("ada".to_owned(), "a freeze".to_owned());
    story.tell(Command::Lock { scope, by, reason, holds_for: None }).unwrap();
    let refusal = retry(&mut story).unwrap_err();
    assert!(refusal.what.contains("locked by ada"), "{refusal:?}");
    let command = Command::Retry { place: place("production") };
    let events = story.tell(Command::DespiteLock(Box::new(command))).unwrap();
    assert!(matches!(events[..], [Event::LockOverridden { .. }, Event::Rollout { .. }]), "{events:?}");
}

#[test]
fn a_member_of_a_group_is_not_tried_again_alone_but_its_next_rollout_is() {
    let deploy = |service: &str| {
        let environment: model::EnvironmentName = "production".parse().unwrap();
        let specs = [(environment.clone(), spec(service, "production", &format!("{service}.test")))].into();
        Command::Deploy { service: service.parse().unwrap(), artifact: artifact("two"), specs, environment }
    };
    let mut story = Story::default();
    let members = vec![deploy("shop"), deploy("cart")];
    story.tell(Command::Group { name: "checkout".to_owned(), members }).unwrap();
    back(&mut story);
    let refusal = retry(&mut story).unwrap_err();
    assert!(refusal.what.contains("went with the group checkout"), "{refusal:?}");
    assert!(refusal.instead.contains("deploy --group checkout"), "{refusal:?}");
    assert_eq!(story.world, story.replayed());
    story.deploy("three", "production").unwrap();
    back(&mut story);
    retry(&mut story).expect("this one went alone");
}
