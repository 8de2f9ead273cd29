//! Several services in one rollout, told as stories.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stories are shared with other tests")]
mod support;

use lifecycle::{Command, Event, Refusal};
use model::{Place, Weight};
use ship::{Phase, RollbackReason};
use support::{Story, artifact, spec};

fn at(service: &str) -> Place {
    Place { service: service.parse().unwrap(), environment: "production".parse().unwrap() }
}

fn deploy(service: &str, build: &str) -> Command {
    let environment: model::EnvironmentName = "production".parse().unwrap();
    let spec = spec(service, "production", &format!("{service}.test"));
    let specs = [(environment.clone(), spec)].into();
    Command::Deploy { service: service.parse().unwrap(), artifact: artifact(build), specs, environment }
}

fn together(build: &str) -> Command {
    let members = vec![deploy("shop", build), deploy("cart", build)];
    Command::Group { name: "checkout".to_owned(), members }
}

fn operate(story: &mut Story, service: &str, command: ship::Command) -> Result<Vec<Event>, Refusal> {
    story.tell(Command::Operate { place: at(service), command })
}

fn moved(story: &mut Story, service: &str, weight: Weight) -> Vec<Event> {
    operate(story, service, ship::Command::Move { stable: 2, candidate: 2, weight }).unwrap()
}

fn phase(story: &Story, service: &str) -> Phase {
    story.world.lanes[&at(service)].rollout.as_ref().unwrap().phase.clone()
}

fn served(story: &mut Story, service: &str) {
    story.tell(deploy(service, "one")).unwrap();
    moved(story, service, Weight::ALL);
    operate(story, service, ship::Command::Conclude).unwrap();
    operate(story, service, ship::Command::Complete).unwrap();
}

/// Two services that serve, and a group of both under way.
fn begun() -> Story {
    let mut story = Story::default();
    served(&mut story, "shop");
    served(&mut story, "cart");
    let events = story.tell(together("two")).unwrap();
    assert!(matches!(events.last(), Some(Event::GroupBegun { number: 1, .. })), "{events:?}");
    story
}

fn promote_both(story: &mut Story) {
    for service in ["shop", "cart", "shop"] {
        moved(story, service, Weight::ALL);
    }
    for service in ["shop", "cart"] {
        operate(story, service, ship::Command::Conclude).unwrap();
    }
}

#[test]
fn all_begin_or_none() {
    let mut story = begun();
    let refusal = story.tell(together("three")).unwrap_err();
    assert!(refusal.what.contains("no member of the group checkout was started"), "{refusal:?}");
    assert!(refusal.what.contains("its group checkout is under way"), "{refusal:?}");
    let mut story = Story::default();
    story.tell(deploy("cart", "one")).unwrap();
    assert!(story.tell(together("two")).is_err(), "the cart is busy");
    assert!(!story.world.lanes.contains_key(&at("shop")), "so the shop has not begun");
    let alone = Command::Group { name: "checkout".to_owned(), members: vec![deploy("shop", "one")] };
    assert!(story.tell(alone).unwrap_err().what.contains("it needs 2 to 32"));
}

#[test]
fn nobody_takes_all_requests_before_everybody_can() {
    let mut story = begun();
    let half = Weight::from_percent(50.0).unwrap();
    assert!(matches!(moved(&mut story, "shop", half).last(), Some(Event::Rollout { .. })), "its own pace");
    let events = moved(&mut story, "shop", Weight::ALL);
    assert!(matches!(events.as_slice(), [Event::GroupReached { .. }]), "{events:?}");
    assert_eq!(moved(&mut story, "shop", Weight::ALL), vec![], "said once");
    let waits = story.world.group_wait(&at("shop")).unwrap();
    assert_eq!(waits, "group checkout: waits for cart/production to be one move from all requests, too");
    assert_eq!(story.world.group_wait(&at("cart")), None);
    let events = moved(&mut story, "cart", Weight::ALL);
    assert!(
        matches!(events.as_slice(), [Event::GroupReached { .. }, Event::Rollout { .. }, ..]),
        "{events:?}"
    );
    assert!(matches!(moved(&mut story, "shop", Weight::ALL).as_slice(), [Event::Rollout { .. }]));
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn nobody_lets_its_old_release_go_before_all_are_proved_then_all_do() {
    let mut story = begun();
    promote_both(&mut story);
    let events = operate(&mut story, "shop", ship::Command::Complete).unwrap();
    assert!(matches!(events.as_slice(), [Event::GroupReached { .. }]), "{events:?}");
    assert!(story.world.group_wait(&at("shop")).unwrap().contains("cart/production to prove itself"));
    let refusal = story.tell(deploy("shop", "three")).unwrap_err();
    assert!(refusal.what.contains("its group checkout is under way"), "{refusal:?}");
    operate(&mut story, "cart", ship::Command::Complete).unwrap();
    for service in ["shop", "cart"] {
        assert_eq!(phase(&story, service), Phase::Completed);
    }
    assert!(story.world.groups.is_empty(), "what has ended is forgotten");
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn when_one_goes_back_all_go_back_in_one_breath() {
    let why = || RollbackReason::Judge("7 errors".to_owned());
    for stage in ["underway", "gate", "promoted", "proved"] {
        let mut story = begun();
        match stage {
            "gate" => drop(moved(&mut story, "shop", Weight::ALL)),
            "promoted" | "proved" => promote_both(&mut story),
            _ => {}
        }
        if stage == "proved" {
            operate(&mut story, "shop", ship::Command::Complete).unwrap();
        }
        let events = operate(&mut story, "cart", ship::Command::RollBack(why())).unwrap();
        assert_eq!(events.len(), 2, "{stage}: {events:?}");
        assert_eq!(phase(&story, "cart"), Phase::RollingBack(why()));
        let expected = RollbackReason::Group("cart/production: judge: 7 errors".to_owned());
        assert_eq!(phase(&story, "shop"), Phase::RollingBack(expected), "{stage}");
        let refusal = operate(&mut story, "shop", ship::Command::Abort).unwrap_err();
        assert!(refusal.what.contains("on its way back already"), "{refusal:?}");
        assert_eq!(story.replayed(), story.world);
    }
}

#[test]
fn an_abort_of_one_is_an_abort_of_all() {
    let mut story = begun();
    let events = story.tell(Command::Rollback { place: at("shop"), to: None }).unwrap();
    assert_eq!(events.len(), 2);
    assert!(matches!(phase(&story, "cart"), Phase::RollingBack(RollbackReason::Group(_))));
}

#[test]
fn whoever_serves_already_is_no_member() {
    let mut story = Story::default();
    served(&mut story, "cart");
    let events = story.tell(together("one")).unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::GroupBegun { .. })), "{events:?}");
}

/// The group, where both members need somebody else's approval.
fn approved(build: &str) -> Command {
    let Command::Group { name, members } = together(build) else { unreachable!("it is a group") };
    let asks = |member| {
        let Command::Deploy { service, artifact, mut specs, environment } = member else {
            unreachable!("members are deployed")
        };
        for spec in specs.values_mut() {
            let expires = std::time::Duration::from_secs(3_600);
            spec.changes.approvals =
                Some(model::change::Approvals { required: 1, approvers: vec![], expires });
        }
        Command::Deploy { service, artifact, specs, environment }
    };
    Command::Group { name, members: members.into_iter().map(asks).collect() }
}

#[test]
fn a_group_that_needs_approval_is_told_who_asks_and_the_way_out_and_begins_in_an_emergency() {
    let mut story = Story::default();
    served(&mut story, "shop");
    served(&mut story, "cart");
    let before = story.world.clone();
    let by = |emergency| lifecycle::Asked {
        by: "ada".to_owned(),
        words: lifecycle::Words { emergency, ..lifecycle::Words::default() },
        reason: Some("the shop is down".to_owned()),
    };
    let refusal = story.tell(Command::Asked(by(false), Box::new(approved("two")))).unwrap_err();
    assert!(refusal.what.starts_with("shop/production and cart/production ask for approvals"), "{refusal:?}");
    for way in ["one by one, without --group", "--emergency --reason TEXT"] {
        assert!(refusal.instead.contains(way), "{refusal:?}");
    }
    assert_eq!(story.world, before);

    let events = story.tell(Command::Asked(by(true), Box::new(approved("two")))).unwrap();
    assert!(
        matches!(events.last(), Some(Event::GroupBegun { members, .. }) if members.len() == 2),
        "{events:?}"
    );
    let unreviewed = story.world.requests.all.values();
    let unreviewed: Vec<_> =
        unreviewed.map(|kept| (kept.request.number, kept.request.place.clone())).collect();
    assert_eq!(unreviewed, [(1, at("shop")), (2, at("cart"))]);
    assert_eq!(story.replayed(), story.world);
}
