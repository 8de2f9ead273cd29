//! Releases that burn a budget after their rollout: which are taken back by themselves, and that it ends there.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stories are shared with other tests")]
mod support;

use std::time::Duration;

use lifecycle::{Command, Event};
use model::objective::Severity;
use model::strategy::OnFailure;
use model::{ObjectiveName, ReleaseNumber, RolloutNumber, Timestamp};
use ship::{Cause, Phase, RollbackReason};
use support::{Story, artifact, place, service, specs};
use watch::Blame;
use watch::alert::To;
use watch::burn::Rule;

fn availability() -> ObjectiveName {
    "availability".parse().unwrap()
}

/// Somebody is paged for production's availability.
fn page(story: &mut Story, to: To) {
    let (rule, severity) = (Rule::Burn(Severity::P1), Severity::P1);
    let command = watch::Command::ChangeAlert { rule, to, severity, cause: None };
    story.tell(Command::Objectives(vec![(place("production"), availability(), command)])).unwrap();
}

fn blame(bad: u64, bad_before: u64) -> Blame {
    let since = Timestamp::from_micros(1_700_000_000_000_000);
    Blame { since, bad, total: 1_000, bad_before, total_before: 10_000 }
}

fn take_back(rollout: u64, blame: Blame) -> Command {
    let (place, rollout) = (place("production"), RolloutNumber(rollout));
    Command::TakeBack { place, objective: availability(), rollout, blame }
}

/// The second release serves, and somebody is paged.
fn burns() -> Story {
    let mut story = Story::default();
    story.served("one", "production");
    story.served("two", "production");
    page(&mut story, To::Firing);
    story
}

#[test]
fn a_release_that_burns_after_its_rollout_is_taken_back_and_the_journal_says_why() {
    let mut story = burns();
    let events = story.tell(take_back(2, blame(200, 10))).unwrap();
    assert!(
        matches!(&events[0], Event::TakenBack { release: ReleaseNumber(2), rollout: RolloutNumber(2), .. }),
        "{events:?}"
    );
    let Event::Rollout { event: ship::Event::Started { to, cause, .. }, .. } = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!((*to, *cause), (ReleaseNumber(1), Cause::Rollback));
    let lane = &story.world.lanes[&place("production")];
    assert!(
        matches!(lane.takes_back(), Some(RollbackReason::Burn(why)) if why.contains("200 of 1000 were bad"))
    );
    assert!(lane.rejected.contains_key(&ReleaseNumber(2)));
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn it_happens_once_and_what_was_gone_back_to_stays() {
    let mut story = burns();
    let _ = story.tell(take_back(2, blame(200, 10))).unwrap();
    assert_eq!(story.tell(take_back(2, blame(200, 10))).unwrap(), vec![], "asked again after a crash");
    story.completed("production");
    for rollout in [2, 3] {
        assert_eq!(story.tell(take_back(rollout, blame(900, 10))).unwrap(), vec![], "rollout {rollout}");
    }
    assert_eq!(story.stable("production"), Some(1));
}

#[test]
fn while_the_old_release_is_warm_it_is_one_swap() {
    let mut story = Story::default();
    story.served("one", "production");
    story.deploy("two", "production").unwrap();
    story.promoted("production");
    page(&mut story, To::Firing);
    let events = story.tell(take_back(2, blame(200, 10))).unwrap();
    assert!(
        matches!(
            &events[..],
            [Event::Rollout { event: ship::Event::RollbackBegun { reason: RollbackReason::Burn(_) }, .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn without_a_page_or_without_surely_more_errors_than_before_nothing_goes_back() {
    let mut story = burns();
    assert_eq!(story.tell(take_back(2, blame(3, 10))).unwrap(), vec![], "as before");
    let early = Blame { since: Timestamp::from_micros(1_600_000_000_000_000), ..blame(200, 10) };
    assert_eq!(story.tell(take_back(2, early)).unwrap(), vec![], "it burned before");
    page(&mut story, To::Resolved);
    assert_eq!(story.tell(take_back(2, blame(200, 10))).unwrap(), vec![], "nobody is paged");
}

#[test]
fn a_first_release_and_one_whose_window_is_over_stay() {
    let mut story = Story::default();
    story.served("one", "production");
    page(&mut story, To::Firing);
    assert_eq!(story.tell(take_back(1, blame(200, 10))).unwrap(), vec![]);
    let mut story = Story::default();
    story.served("one", "production");
    let mut specs = specs();
    for spec in specs.values_mut() {
        spec.rollout.declared_rollback_window = Some(Duration::ZERO);
    }
    let environment = "production".parse().unwrap();
    story
        .tell(Command::Deploy { service: service(), artifact: artifact("two"), specs, environment })
        .unwrap();
    story.completed("production");
    page(&mut story, To::Firing);
    assert_eq!(story.tell(take_back(2, blame(200, 10))).unwrap(), vec![]);
}

#[test]
fn a_lock_and_a_manifest_that_forbids_to_go_back_are_kept() {
    let mut story = burns();
    let scope = lifecycle::Scope { service: Some(service()), environment: "production".parse().unwrap() };
    let lock =
        Command::Lock { scope, by: "anna".to_owned(), reason: "I am on it".to_owned(), holds_for: None };
    story.tell(lock).unwrap();
    let refusal = story.tell(take_back(2, blame(200, 10))).unwrap_err();
    assert!(refusal.what.contains("locked by anna: I am on it"), "{refusal:?}");
    assert!(refusal.instead.contains("shipshape rollback -e production"), "{refusal:?}");

    let mut story = Story::default();
    story.served("one", "production");
    let mut specs = specs();
    for spec in specs.values_mut() {
        spec.rollout.on_failure = OnFailure::Freeze;
    }
    let environment = "production".parse().unwrap();
    story
        .tell(Command::Deploy { service: service(), artifact: artifact("two"), specs, environment })
        .unwrap();
    story.promoted("production");
    page(&mut story, To::Firing);
    let frozen = story.tell(take_back(2, blame(200, 10))).unwrap();
    assert!(matches!(&frozen[..], [Event::Rollout { event: ship::Event::Paused { .. }, .. }]), "{frozen:?}");
    story.operate("production", ship::Command::Promote { full: true }).unwrap();
    story.operate("production", ship::Command::Conclude).unwrap();
    assert_eq!(story.tell(take_back(2, blame(900, 10))).unwrap(), vec![], "somebody answers for it");
    story.operate("production", ship::Command::Complete).unwrap();
    assert!(matches!(
        story.world.lanes[&place("production")].rollout.as_ref().unwrap().phase,
        Phase::Completed
    ));
}
