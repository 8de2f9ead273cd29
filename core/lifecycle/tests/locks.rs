//! Deploy locks: who may begin what while somebody says no.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stories are shared with other tests")]
mod support;

use std::time::Duration;

use lifecycle::{Command, Event, Scope};
use model::{ReleaseNumber, Weight};
use support::{Story, artifact, place, service, specs};

fn scope(one: bool) -> Scope {
    Scope { service: one.then(service), environment: "production".parse().unwrap() }
}

fn lock(by: &str, one: bool, holds_for: Option<Duration>) -> Command {
    Command::Lock { scope: scope(one), by: by.to_owned(), reason: "a freeze".to_owned(), holds_for }
}

fn deploy(build: &str) -> Command {
    let environment = "production".parse().unwrap();
    Command::Deploy { service: service(), artifact: artifact(build), specs: specs(), environment }
}

#[test]
fn a_locked_place_takes_no_new_rollout_and_says_who_why_and_how_on() {
    for one in [true, false] {
        let mut story = Story::default();
        story.served("one", "production");
        story.served("two", "production");
        story.tell(lock("ada", one, Some(Duration::from_secs(7200)))).unwrap();
        let ship = Command::Ship {
            service: service(),
            from: "staging".parse().unwrap(),
            to: "production".parse().unwrap(),
        };
        story.served("three", "staging");
        for command in [deploy("four"), ship, Command::Rollback { place: place("production"), to: None }] {
            let refusal = story.tell(command).unwrap_err();
            assert!(
                refusal.what.contains("shop/production is locked by ada since 2023-11-14T"),
                "{refusal:?}"
            );
            assert!(refusal.what.contains("until 2023-11-15T00:13:20"), "{refusal:?}");
            assert!(refusal.what.ends_with(": a freeze"), "{refusal:?}");
            let way = if one {
                "shipshape unlock --service shop -e production"
            } else {
                "unlock --all -e production"
            };
            assert!(
                refusal.instead.contains(way) && refusal.instead.contains("--override-lock"),
                "{refusal:?}"
            );
        }
        assert!(story.deploy("five", "staging").is_ok(), "the lock is of production alone");
        assert_eq!(story.tell(deploy("two")).unwrap(), vec![], "nothing begins where nothing is to do");
    }
}

#[test]
fn a_rollout_under_way_goes_on_and_back_whatever_is_locked() {
    for promoted in [false, true] {
        let mut story = Story::default();
        story.served("one", "production");
        story.deploy("two", "production").unwrap();
        story.tell(lock("ada", true, None)).unwrap();
        if promoted {
            story.promoted("production");
        } else {
            let moved = ship::Command::Move { stable: 2, candidate: 1, weight: Weight::NONE };
            story.operate("production", moved).unwrap();
        }
        let back = if promoted {
            story.rollback(Some(1))
        } else {
            story.operate("production", ship::Command::Abort)
        };
        let back = back.unwrap();
        assert!(matches!(back.as_slice(), [Event::Rollout { event: ship::Event::RollbackBegun { .. }, .. }]));
    }
}

#[test]
fn whoever_passes_a_lock_is_told_of_before_the_rollout() {
    let mut story = Story::default();
    story.served("one", "production");
    let urgent = |build| Command::DespiteLock(Box::new(deploy(build)));
    let told =
        |events: &[Event]| events.iter().filter(|it| matches!(it, Event::LockOverridden { .. })).count();
    let events = story.tell(urgent("two")).unwrap();
    assert_eq!(told(&events), 0, "nothing was locked");
    story.completed("production");
    story.tell(lock("ada", true, None)).unwrap();
    let events = story.tell(urgent("three")).unwrap();
    let [Event::ReleaseRegistered(_), passed, Event::Rollout { .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    let expected =
        Event::LockOverridden { place: place("production"), scope: scope(true), by: "ada".to_owned() };
    assert_eq!(*passed, expected);
    assert!(story.tell(deploy("four")).is_err(), "it was passed once, and holds on");
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn a_lock_ends_by_itself_or_by_anybody() {
    let mut story = Story::default();
    story.served("one", "production");
    story.tell(lock("ada", true, Some(Duration::from_micros(1)))).unwrap();
    assert!(story.deploy("two", "production").is_ok(), "its time is over");
    story.completed("production");
    let refusal = story.tell(Command::Unlock { scope: scope(true) }).unwrap_err();
    assert!(refusal.what.contains("shop/production is not locked"), "{refusal:?}");
    story.tell(lock("ada", true, None)).unwrap();
    story.tell(Command::Unlock { scope: scope(true) }).unwrap();
    assert!(story.deploy("three", "production").is_ok());
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn only_its_holder_sets_a_lock_anew() {
    let mut story = Story::default();
    story.served("one", "production");
    story.tell(lock("ada", true, None)).unwrap();
    let refusal = story.tell(lock("bob", true, None)).unwrap_err();
    assert!(refusal.what.contains("locked already, by ada"), "{refusal:?}");
    story.tell(lock("ada", true, Some(Duration::from_secs(60)))).unwrap();
    assert!(story.world.locks[&scope(true)].until.is_some());
    assert!(story.tell(lock("bob", false, None)).is_ok(), "the whole environment is another lock");
}

#[test]
fn a_lock_of_nothing_is_refused() {
    let mut story = Story::default();
    let refusal = story.tell(lock("ada", true, None)).unwrap_err();
    assert!(refusal.what.contains("there is no shop/production"), "{refusal:?}");
    story.served("one", "production");
    let nowhere = Scope { service: Some("shpo".parse().unwrap()), ..scope(true) };
    let by = "ada".to_owned();
    let command = Command::Lock { scope: nowhere, by: by.clone(), reason: "x".to_owned(), holds_for: None };
    assert!(story.tell(command).unwrap_err().instead.contains("known is shop/production, shop/staging"));
    let unsaid = Command::Lock { scope: scope(true), by, reason: " ".to_owned(), holds_for: None };
    assert!(story.tell(unsaid).unwrap_err().instead.contains("--reason"));
    let refusal = story.tell(lock("ada", true, Some(Duration::ZERO))).unwrap_err();
    assert!(refusal.instead.contains("--for 2h"), "{refusal:?}");
}

#[test]
fn what_was_only_a_canary_and_went_back_is_no_target() {
    let mut story = Story::default();
    story.served("one", "production");
    story.served("two", "production");
    story.deploy("three", "production").unwrap();
    let tenth = Weight::from_percent(10.0).unwrap();
    let moved = ship::Command::Move { stable: 2, candidate: 1, weight: tenth };
    story.operate("production", moved).unwrap();
    story.operate("production", ship::Command::Abort).unwrap();
    let moved = ship::Command::Move { stable: 2, candidate: 1, weight: Weight::NONE };
    story.operate("production", moved).unwrap();
    story.operate("production", ship::Command::ConfirmRollback).unwrap();
    let refusal = story.rollback(Some(3)).unwrap_err();
    let expected = "release 3 is no safe target: it got at most 10% of the requests at shop/production and was itself \
        rolled back (an operator asked for it); it never served alone";
    assert_eq!(refusal.what, expected);
    assert_eq!(refusal.instead, "choose one that has served alone: 1, 2");
    // One that was left by a rollback has served alone, and somebody who names it means it.
    story.rollback(None).unwrap();
    story.completed("production");
    let events = story.rollback(Some(2)).unwrap();
    let Some(Event::Rollout { event: ship::Event::Started { to, .. }, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(*to, ReleaseNumber(2));
    story.completed("production");
    assert_eq!(story.replayed(), story.world);
}

/// The shop, with a freeze around the time of all stories: until 2023-11-15T00:00Z.
fn frozen_specs(name: &str) -> std::collections::BTreeMap<model::EnvironmentName, model::Spec> {
    let mut specs = support::specs();
    let (from, to) = ("2023-11-14T00:00".parse().unwrap(), "2023-11-15T01:00".parse().unwrap());
    for spec in specs.values_mut() {
        spec.changes.freeze = vec![model::change::Freeze {
            name: name.to_owned(),
            when: model::change::When::Once { from, to },
            zone: "Europe/Vienna".to_owned(),
            reason: Some("the fair".to_owned()),
        }];
    }
    specs
}

fn deploys(build: &str, specs: std::collections::BTreeMap<model::EnvironmentName, model::Spec>) -> Command {
    let environment = "production".parse().unwrap();
    Command::Deploy { service: support::service(), artifact: support::artifact(build), specs, environment }
}

#[test]
fn in_a_freeze_no_rollout_begins_going_back_is_free_and_the_refusal_says_until_when() {
    let mut story = Story::default();
    story.served("one", "production");
    story.served("two", "production");
    let refusal = story.tell(deploys("three", frozen_specs("fair"))).unwrap_err();
    assert!(
        refusal.what.contains(
            "no change is to begin at shop/production until Wed 2023-11-15 01:00 CET (freeze fair: the fair)"
        ),
        "{refusal:?}"
    );
    for way in ["shipshape calendar -e production", "--override-freeze --reason", "shipshape rollback"] {
        assert!(refusal.instead.contains(way), "{refusal:?}");
    }
    let events =
        story.tell(Command::DespiteFreeze(Box::new(deploys("three", frozen_specs("fair"))))).unwrap();
    let passed = events
        .iter()
        .position(|event| matches!(event, Event::FreezeOverridden { freeze, .. } if freeze == "fair"));
    let begun = events
        .iter()
        .position(|event| matches!(event, Event::Rollout { event: ship::Event::Started { .. }, .. }));
    assert_eq!((passed.map(|at| at + 1), begun.is_some()), (begun, true), "{events:?}");
    story.completed("production");
    // What serves keeps its freeze, whatever the next manifest says.
    let refusal = story.tell(deploys("four", support::specs())).unwrap_err();
    assert!(refusal.what.contains("freeze fair"), "{refusal:?}");
    assert!(!story.rollback(None).unwrap().is_empty());
    assert_eq!(story.replayed(), story.world);
}

/// The shop, where one other has to approve.
fn approved_specs() -> std::collections::BTreeMap<model::EnvironmentName, model::Spec> {
    let mut specs = support::specs();
    for spec in specs.values_mut() {
        let expires = Duration::from_secs(3_600);
        spec.changes.approvals = Some(model::change::Approvals { required: 1, approvers: vec![], expires });
    }
    specs
}

fn by(who: &str, command: Command) -> Command {
    let words = lifecycle::Words { risk: Some("the cart".to_owned()), ..lifecycle::Words::default() };
    Command::Asked(lifecycle::Asked { by: who.to_owned(), words, reason: None }, Box::new(command))
}

fn votes(number: u64, vote: lifecycle::Vote, by: &str) -> Command {
    Command::Vote { number, vote, by: by.to_owned(), reason: Some("looked at it".to_owned()) }
}

/// One release serves, and ada asks for the second.
fn asked() -> Story {
    let mut story = Story::default();
    story.served("one", "production");
    let events = story.tell(by("ada", deploys("two", approved_specs()))).unwrap();
    assert!(
        matches!(&events[..], [Event::ReleaseRegistered(_), Event::Change(lifecycle::Change::Requested(request))]
            if request.risk == "the cart" && request.plan_back.contains("rollback to release 1") && request.by == "ada"),
        "{events:?}"
    );
    story
}

#[test]
fn what_somebody_else_approved_begins_by_itself_and_nothing_else_does() {
    let mut story = asked();
    assert_eq!(story.tell(Command::SettleRequest(1)).unwrap(), vec![], "nobody has approved it");
    for own in ["ada", "ada (token)", "ada (uid 0)"] {
        let refusal = story.tell(votes(1, lifecycle::Vote::Approve, own)).unwrap_err();
        assert!(refusal.what.contains("somebody else has to look at it"), "{refusal:?}");
    }
    story.tell(votes(1, lifecycle::Vote::Approve, "ben")).unwrap();
    let begun = story.tell(Command::SettleRequest(1)).unwrap();
    assert!(matches!(&begun[0], Event::Change(lifecycle::Change::Begun { number: 1, .. })), "{begun:?}");
    assert!(
        matches!(&begun[1], Event::Rollout { event: ship::Event::Started { to: ReleaseNumber(2), .. }, .. }),
        "{begun:?}"
    );
    assert_eq!(story.tell(Command::SettleRequest(1)).unwrap(), vec![], "once");
    assert!(story.tell(votes(1, lifecycle::Vote::Approve, "cid")).unwrap_err().what.contains("has begun"));
    story.completed("production");
    assert!(!story.rollback(None).unwrap().is_empty(), "going back waits for nobody");
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn what_is_no_longer_what_was_approved_does_not_begin() {
    let mut story = asked();
    let again = story.tell(by("ada", deploys("two", approved_specs()))).unwrap_err();
    assert!(again.what.contains("asked for already, as request 1 of ada"), "{again:?}");
    let words = lifecycle::Words { emergency: true, ..lifecycle::Words::default() };
    let urgent =
        lifecycle::Asked { by: "ada".to_owned(), words, reason: Some("the shop is down".to_owned()) };
    let events = story.tell(Command::Asked(urgent, Box::new(deploys("three", approved_specs())))).unwrap();
    assert!(
        events.iter().any(|event| matches!(event, Event::Change(lifecycle::Change::Emergency { reason: Some(why), .. }) if why == "the shop is down")),
        "{events:?}"
    );
    // While that moves, what is approved waits; when something else serves, it is void.
    story.tell(votes(1, lifecycle::Vote::Approve, "ben")).unwrap();
    assert!(story.tell(Command::SettleRequest(1)).is_err());
    story.completed("production");
    let over = story.tell(Command::SettleRequest(1)).unwrap();
    assert!(
        matches!(&over[..], [Event::Change(lifecycle::Change::Voided { why, .. })] if why.contains("release 3 serves now")),
        "{over:?}"
    );
    assert!(story.tell(votes(2, lifecycle::Vote::Review, "ada")).is_err(), "nobody reviews what they did");
    story.tell(votes(2, lifecycle::Vote::Review, "ben")).unwrap();
    assert!(
        story
            .tell(votes(2, lifecycle::Vote::Review, "ben"))
            .unwrap_err()
            .what
            .contains("was reviewed by ben")
    );
    assert_eq!(story.replayed(), story.world);
}

/// What becomes of request 1 of ada, who asked for release 2, once it is approved and this is what release 2 is.
fn settled_as(artifact: &str, change: impl Fn(&mut model::Spec)) -> Vec<Event> {
    let mut story = asked();
    let mut release = (**story.world.release(&support::service(), ReleaseNumber(2)).unwrap()).clone();
    release.artifact = support::artifact(artifact);
    release.specs.values_mut().for_each(change);
    // Nothing that is decided does this: it is what a journal may hold that was put together by hand, or by a version with a fault.
    let seq = story.events.len() as u64 + 1;
    let at = model::Timestamp::from_micros(1_700_000_000_000_500);
    story.world.apply(&Event::ReleaseRegistered(release), seq, at).unwrap();
    story.tell(votes(1, lifecycle::Vote::Approve, "ben")).unwrap();
    story.tell(Command::SettleRequest(1)).unwrap()
}

#[test]
fn what_was_approved_is_one_artifact_with_all_its_configurations_or_nothing() {
    let begun = settled_as("two", |_| {});
    assert!(matches!(&begun[0], Event::Change(lifecycle::Change::Begun { .. })), "{begun:?}");
    let production = |spec: &model::Spec| spec.environment.as_str() == "production";
    let others = [
        ("another artifact", settled_as("two'", |_| {})),
        ("another configuration", settled_as("two", |spec| spec.replicas += u32::from(production(spec)))),
        // It would be promoted from there with the same number.
        ("elsewhere", settled_as("two", |spec| spec.replicas += u32::from(!production(spec)))),
    ];
    for (what, over) in others {
        assert!(
            matches!(&over[..], [Event::Change(lifecycle::Change::Voided { number: 1, why })] if why.contains("release 2 is no longer what it was")),
            "{what}: {over:?}"
        );
    }
}

#[test]
fn the_manifest_that_drops_approvals_needs_one() {
    let mut story = asked();
    story.tell(votes(1, lifecycle::Vote::Approve, "ben")).unwrap();
    story.tell(Command::SettleRequest(1)).unwrap();
    story.completed("production");
    let events = story.tell(by("ada", deploys("three", support::specs()))).unwrap();
    assert!(
        events.iter().any(|event| matches!(event, Event::Change(lifecycle::Change::Requested(_)))),
        "{events:?}"
    );
    let gone = story.tell(votes(2, lifecycle::Vote::Reject, "ada")).unwrap();
    assert!(matches!(&gone[..], [Event::Change(lifecycle::Change::Rejected { .. })]), "{gone:?}");
}
