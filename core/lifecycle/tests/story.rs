//! The rules that span releases, places and rollouts, told as stories.

mod support;

use lifecycle::{Command, Event, KEPT_RELEASES, World};
use model::assignment::SessionAffinity;
use model::strategy::{Kind, Step};
use model::{ReleaseNumber, Timestamp, Weight};
use ship::Cause;
use support::{Story, artifact, place, service, spec, specs};

#[test]
fn the_first_deploy_registers_release_1_and_goes_straight_to_all_requests() {
    let mut story = Story::default();
    let events = story.deploy("one", "production").unwrap();
    let [Event::ReleaseRegistered(release), Event::Rollout { event, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(release.number, ReleaseNumber(1));
    let ship::Event::Started { from, to, strategy, stable_replicas, candidate_replicas, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!((*from, *to, *stable_replicas, *candidate_replicas), (None, ReleaseNumber(1), 0, 2));
    assert_eq!(
        strategy.kind,
        Kind::Canary { steps: vec![], session_affinity: None },
        "there is nobody to compare with"
    );
}

#[test]
fn the_next_deploy_follows_the_declared_strategy() {
    let mut story = Story::default();
    story.served("one", "production");
    let events = story.deploy("two", "production").unwrap();
    let Some(Event::Rollout { event: ship::Event::Started { from, strategy, .. }, .. }) = events.get(1)
    else {
        panic!("{events:?}");
    };
    assert_eq!(*from, Some(ReleaseNumber(1)));
    assert_eq!(strategy.kind, specs()[&"production".parse().unwrap()].rollout.kind);
}

#[test]
fn deploying_what_already_serves_does_nothing() {
    let mut story = Story::default();
    story.served("one", "production");
    assert_eq!(story.deploy("one", "production").unwrap(), vec![]);
}

#[test]
fn the_same_artifact_in_another_environment_is_the_same_release() {
    let mut story = Story::default();
    story.served("one", "staging");
    story.deploy("one", "production").unwrap();
    assert_eq!(story.world.services[&service()].releases.len(), 1);
}

#[test]
fn another_configuration_is_another_release_but_another_description_is_not() {
    let mut story = Story::default();
    story.served("one", "production");
    let mut described = specs();
    let mut configured = specs();
    for spec in described.values_mut() {
        spec.about.description = Some("sells".to_owned());
    }
    for spec in configured.values_mut() {
        spec.config.insert("GREETING".to_owned(), "hello".to_owned());
    }
    let deploy = |specs| Command::Deploy {
        service: service(),
        artifact: artifact("one"),
        specs,
        environment: "production".parse().unwrap(),
    };
    assert_eq!(story.tell(deploy(described)).unwrap(), vec![]);
    assert!(!story.tell(deploy(configured)).unwrap().is_empty());
    assert_eq!(story.world.services[&service()].last_number, ReleaseNumber(2));
}

#[test]
fn a_second_rollout_at_a_place_is_refused_with_the_way_out() {
    let mut story = Story::default();
    story.served("one", "production");
    story.deploy("two", "production").unwrap();
    let refusal = story.deploy("three", "production").unwrap_err();
    assert!(refusal.what.contains("rollout 2 of release 2"), "{refusal:?}");
    assert!(refusal.instead.contains("shipshape abort -e production"), "{refusal:?}");
}

#[test]
fn rollouts_at_two_places_do_not_get_in_each_others_way() {
    let mut story = Story::default();
    story.deploy("one", "staging").unwrap();
    assert!(story.deploy("one", "production").is_ok());
}

#[test]
fn a_deploy_while_the_old_release_is_warm_lets_it_go_first() {
    let mut story = Story::default();
    story.served("one", "production");
    story.deploy("two", "production").unwrap();
    story.promoted("production");
    story.deploy("three", "production").unwrap();
    let lane = &story.world.lanes[&place("production")];
    assert_eq!(lane.stable, Some(ReleaseNumber(2)));
    assert_eq!(lane.active().unwrap().from, Some(ReleaseNumber(2)));
}

#[test]
fn promote_ships_the_same_release_to_the_next_environment() {
    let mut story = Story::default();
    let ship = Command::Ship {
        service: service(),
        from: "staging".parse().unwrap(),
        to: "production".parse().unwrap(),
    };
    let refusal = story.tell(ship.clone()).unwrap_err();
    assert!(refusal.what.contains("nothing serves at shop/staging"), "{refusal:?}");

    story.deploy("one", "staging").unwrap();
    let refusal = story.tell(ship.clone()).unwrap_err();
    assert!(refusal.what.contains("does not take all requests"), "{refusal:?}");

    story.completed("staging");
    let events = story.tell(ship).unwrap();
    let [Event::Rollout { place: at, event: ship::Event::Started { to, cause, .. } }] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!((at, *to, *cause), (&place("production"), ReleaseNumber(1), Cause::Promotion));
}

#[test]
fn a_rollback_during_a_rollout_aborts_it() {
    let mut story = Story::default();
    story.served("one", "production");
    story.deploy("two", "production").unwrap();
    let events = story.rollback(None).unwrap();
    assert!(matches!(events.as_slice(), [Event::Rollout { event: ship::Event::RollbackBegun { .. }, .. }]));
}

#[test]
fn a_rollback_after_a_rollout_returns_at_once_and_never_forward_again() {
    let mut story = Story::default();
    for build in ["one", "two", "three"] {
        story.served(build, "production");
    }
    let events = story.rollback(None).unwrap();
    let [Event::Rollout { event: ship::Event::Started { to, cause, strategy, .. }, .. }] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!((*to, *cause), (ReleaseNumber(2), Cause::Rollback));
    assert_eq!(strategy.kind, Kind::Canary { steps: vec![], session_affinity: None });
    story.completed("production");
    assert_eq!(story.stable("production"), Some(2));

    story.rollback(None).unwrap();
    story.completed("production");
    assert_eq!(story.stable("production"), Some(1), "the next return goes further back, not to release 3");
    let refusal = story.rollback(None).unwrap_err();
    assert!(refusal.what.contains("no earlier release"), "{refusal:?}");
}

#[test]
fn a_rollback_names_only_what_has_served_here() {
    let mut story = Story::default();
    story.served("one", "production");
    story.served("two", "staging");
    story.served("three", "production");
    let refusal = story.rollback(Some(2)).unwrap_err();
    assert!(refusal.what.contains("release 2 has not served"), "{refusal:?}");
    assert!(refusal.instead.contains("1, 3"), "{refusal:?}");
    let refusal = story.rollback(Some(3)).unwrap_err();
    assert!(refusal.what.contains("serves at shop/production already"), "{refusal:?}");
    assert!(story.rollback(Some(1)).is_ok());
}

#[test]
fn a_rollback_restores_the_configuration_too() {
    let mut story = Story::default();
    story.served("one", "production");
    let mut changed = specs();
    for spec in changed.values_mut() {
        spec.config.insert("GREETING".to_owned(), "changed".to_owned());
    }
    story
        .tell(Command::Deploy {
            service: service(),
            artifact: artifact("one"),
            specs: changed,
            environment: "production".parse().unwrap(),
        })
        .unwrap();
    story.completed("production");
    story.rollback(None).unwrap();
    story.completed("production");
    let spec = story.world.spec(&place("production"), ReleaseNumber(1)).unwrap();
    assert_eq!(story.stable("production"), Some(1));
    assert!(spec.config.is_empty());
}

#[test]
fn two_places_cannot_claim_the_same_requests() {
    let mut story = Story::default();
    story.served("one", "production");
    let blog = spec("blog", "production", "production.test");
    let refusal = story
        .tell(Command::Deploy {
            service: "blog".parse().unwrap(),
            artifact: artifact("blog"),
            specs: [("production".parse().unwrap(), blog)].into(),
            environment: "production".parse().unwrap(),
        })
        .unwrap_err();
    assert!(refusal.what.contains("shop/production already answers host production.test"), "{refusal:?}");
    assert!(refusal.instead.contains("environments.production.route"), "{refusal:?}");
}

#[test]
fn operating_where_nothing_moves_is_refused() {
    let mut story = Story::default();
    let refusal = story.operate("production", ship::Command::Abort).unwrap_err();
    assert!(refusal.what.contains("nothing was ever deployed at shop/production"), "{refusal:?}");
    story.served("one", "production");
    let refusal = story.operate("production", ship::Command::Pause).unwrap_err();
    assert!(refusal.what.contains("no rollout is under way"), "{refusal:?}");
}

#[test]
fn an_environment_that_the_release_does_not_have_is_refused() {
    let refusal = Story::default().deploy("one", "qa").unwrap_err();
    assert!(refusal.instead.contains("production, staging"), "{refusal:?}");
}

#[test]
fn old_releases_are_retired_but_never_one_in_use() {
    let mut story = Story::default();
    story.served("first", "staging");
    for build in 0..KEPT_RELEASES + 5 {
        story.served(&format!("build {build}"), "production");
    }
    let releases = &story.world.services[&service()].releases;
    assert_eq!(releases.len(), KEPT_RELEASES);
    assert!(releases.contains_key(&ReleaseNumber(1)), "staging still runs it");
    let history = &story.world.lanes[&place("production")].history;
    assert!(
        history.iter().all(|number| releases.contains_key(number)),
        "nothing to return to that is not kept"
    );
}

#[test]
fn the_old_release_keeps_serving_until_traffic_is_shifted() {
    let mut story = Story::default();
    story.served("one", "production");
    story.deploy("two", "production").unwrap();
    let scaled = ship::Command::Move { stable: 2, candidate: 1, weight: Weight::NONE };
    story.operate("production", scaled).unwrap();
    let serving = story.world.serving(&place("production")).unwrap();
    assert_eq!(serving.groups, vec![(ReleaseNumber(1), 2), (ReleaseNumber(2), 1)]);
    assert_eq!(serving.shares, vec![(ReleaseNumber(1), Weight::ALL)]);
}

#[test]
fn the_generation_grows_with_what_is_wanted_and_with_nothing_else() {
    let mut story = Story::default();
    story.served("one", "production");
    let before = story.world.generation;
    story.deploy("two", "production").unwrap();
    assert_eq!(story.world.generation, before, "a start moves nothing yet");
    let scaled = ship::Command::Move { stable: 2, candidate: 1, weight: Weight::NONE };
    story.operate("production", scaled).unwrap();
    assert_eq!(story.world.generation.0, story.events.len() as u64);
}

#[test]
fn no_generation_means_two_things_where_users_keep_their_release() {
    let mut story = Story::default();
    story.served("one", "production");
    let mut specs = specs();
    for spec in specs.values_mut() {
        let by = SessionAffinity::Header { name: "x-user".to_owned() };
        spec.rollout.kind = Kind::Canary {
            steps: vec![Step::SetWeight(Weight::from_percent(10.0).expect("a weight"))],
            session_affinity: Some(by),
        };
    }
    for (build, ends_well) in [("two", true), ("three", false)] {
        let (specs, environment) = (specs.clone(), "production".parse().expect("a name"));
        let (service, artifact) = (service(), artifact(build));
        story.tell(Command::Deploy { service, artifact, specs, environment }).unwrap();
        if ends_well {
            story.completed("production");
        } else {
            story.operate("production", ship::Command::Abort).unwrap();
            story.operate("production", ship::Command::ConfirmRollback).unwrap();
        }
    }
    let (mut world, mut before) = (World::default(), None);
    for (index, event) in story.events.iter().enumerate() {
        let seq = index as u64 + 1;
        world.apply(event, seq, Timestamp::from_micros(index as i64)).unwrap();
        let serving = world.serving(&place("production")).filter(|serving| !serving.groups.is_empty());
        assert!(serving == before || world.generation.0 == seq, "{event:?} moves no generation");
        before = serving;
    }
    assert!(before.is_some_and(|serving| serving.affinity.is_none()));
}

#[test]
fn a_replay_gives_the_same_world() {
    let mut story = Story::default();
    story.served("one", "staging");
    story.served("one", "production");
    story.served("two", "production");
    story.rollback(None).unwrap();
    story.completed("production");
    story.deploy("three", "production").unwrap();
    story.operate("production", ship::Command::Abort).unwrap();
    assert_eq!(story.replayed(), story.world);
}

/// The shop, blue-green, with a preview that waits for a promotion.
fn blue_green(story: &mut Story, build: &str, preview: &str) -> Result<Vec<Event>, lifecycle::Refusal> {
    let mut specs = specs();
    for spec in specs.values_mut() {
        let preview_hosts = vec![format!("{preview}.{}.test", spec.environment)];
        spec.rollout.kind = Kind::BlueGreen {
            auto_promotion: None,
            preview_replicas: Some(1),
            preview_hosts,
            pre_promotion: vec![],
            post_promotion: vec![],
        };
    }
    let environment = "production".parse().expect("a name");
    story.tell(Command::Deploy { service: service(), artifact: artifact(build), specs, environment })
}

#[test]
fn a_preview_is_open_from_its_first_replica_until_the_rollout_ends_or_goes_back() {
    let mut story = Story::default();
    blue_green(&mut story, "one", "preview").unwrap();
    story.completed("production");
    let serving = |story: &Story| story.world.serving(&place("production")).unwrap();
    assert_eq!(serving(&story).preview, None, "a first release has nobody to stand beside");
    blue_green(&mut story, "two", "preview").unwrap();
    assert_eq!(serving(&story).preview, None);
    let moved = |candidate, weight| ship::Command::Move { stable: 2, candidate, weight };
    story.operate("production", moved(1, Weight::NONE)).unwrap();
    let open = serving(&story);
    assert_eq!(open.preview, Some(ReleaseNumber(2)));
    assert_eq!(open.shares, [(ReleaseNumber(1), Weight::ALL), (ReleaseNumber(2), Weight::NONE)]);
    assert_eq!(open.route_of, Some(ReleaseNumber(1)));
    let before = story.world.generation;
    story.operate("production", ship::Command::Abort).unwrap();
    assert_eq!(serving(&story).preview, None, "what goes back is shown to nobody");
    assert!(story.world.generation > before, "the gateway has to hear of it");
    assert_eq!(story.replayed(), story.world);
}

#[test]
fn a_preview_takes_nobodys_requests() {
    let mut story = Story::default();
    story.served("one", "production");
    let mut preview_of_own = specs();
    for spec in preview_of_own.values_mut() {
        let preview_hosts = vec!["production.test".to_owned()];
        spec.route.hosts = vec![format!("www.{}.test", spec.environment)];
        spec.rollout.kind = Kind::BlueGreen {
            auto_promotion: None,
            preview_replicas: None,
            preview_hosts,
            pre_promotion: vec![],
            post_promotion: vec![],
        };
    }
    let deploy = |specs, environment: &str| Command::Deploy {
        service: service(),
        artifact: artifact("two"),
        specs,
        environment: environment.parse().unwrap(),
    };
    let refusal = story.tell(deploy(preview_of_own.clone(), "production")).unwrap_err();
    assert!(refusal.what.contains("answers production.test"), "{refusal:?}");
    assert!(refusal.instead.contains("previewHosts"), "{refusal:?}");
    let refusal = story.tell(deploy(preview_of_own, "staging")).unwrap_err();
    assert!(refusal.what.contains("shop/production already answers host production.test"), "{refusal:?}");
}

#[test]
fn a_next_release_does_not_end_an_analysis_that_nobody_accepted() {
    let mut story = Story::default();
    story.served("one", "production");
    let mut proved = specs();
    for spec in proved.values_mut() {
        spec.rollout.kind = Kind::BlueGreen {
            auto_promotion: None,
            preview_replicas: None,
            preview_hosts: vec![format!("preview.{}.test", spec.environment)],
            pre_promotion: vec![],
            post_promotion: vec![model::strategy::Metric {
                name: "errors".to_owned(),
                source: model::strategy::Source::ErrorRate,
                interval: std::time::Duration::from_secs(60),
                count: Some(5),
                success_condition: None,
                failure_condition: None,
                failure_limit: Some(0),
                inconclusive_limit: Some(0),
                consecutive_error_limit: Some(4),
                dry_run: false,
            }],
        };
    }
    let deploy = |build: &str| Command::Deploy {
        service: service(),
        artifact: artifact(build),
        specs: proved.clone(),
        environment: "production".parse().unwrap(),
    };
    story.tell(deploy("two")).unwrap();
    for command in [
        ship::Command::Move { stable: 2, candidate: 2, weight: Weight::NONE },
        ship::Command::EnterStep(1),
        ship::Command::Move { stable: 2, candidate: 2, weight: Weight::ALL },
        ship::Command::Conclude,
    ] {
        story.operate("production", command).unwrap();
    }
    let refusal = story.tell(deploy("three")).unwrap_err();
    assert_eq!(refusal.what, "release 2 at shop/production has not passed its postPromotionAnalysis yet");
    assert!(refusal.instead.contains("`shipshape promote --full -e production`"), "{refusal:?}");
    // Going back waits for nobody.
    story.rollback(None).unwrap();
    assert!(story.tell(deploy("three")).is_err());
}
