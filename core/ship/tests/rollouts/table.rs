//! The table of transitions: every row is walked, everything else is refused, and the diagram in the docs is the table's.

use std::collections::BTreeSet;

use model::assignment::HeaderRoute;
use model::check::Verdict;
use model::hook::Moment;
use model::strategy::Metric;
use model::{Epoch, ReleaseNumber, RolloutNumber, Weight};
use ship::latency::Baseline;
use ship::rules::{Measurement, Outcome, Reading, Run};
use ship::transitions::{TRANSITIONS, diagram, next};
use ship::{Cause, Command, Event, PauseReason, Phase, RollbackReason};

use super::support::{Scene, blue_green, canary, given, hold, led_by, rule, seen, to, weight};

/// Each event once.
fn one_of_each() -> Vec<Event> {
    let strategy = canary([]).strategy;
    let started = Event::Started {
        number: RolloutNumber(2),
        from: None,
        to: ReleaseNumber(3),
        cause: Cause::Promotion,
        strategy,
        stable_replicas: 9,
        candidate_replicas: 9,
    };
    vec![
        started,
        Event::Scaled { stable: 3, candidate: 3 },
        Event::Shifted { weight: weight(33), epoch: Epoch(99) },
        Event::HeaderRouted {
            route: HeaderRoute { name: "beta".to_owned(), matches: vec![] },
            epoch: Epoch(99),
        },
        Event::Readied { ready: 3 },
        Event::StepEntered { step: 1 },
        Event::BaselineFrozen(Baseline::default()),
        Event::ClockStepped { by_us: -3_600_000_000 },
        Event::Measured { instance: "x".to_owned(), tallies: vec![] },
        Event::RuleMeasured(measurement()),
        Event::HookBegun { moment: Moment::Before, hook: "migrate".to_owned(), attempt: 1 },
        Event::HookEnded {
            moment: Moment::After,
            hook: "announce".to_owned(),
            attempt: 2,
            outcome: ship::hooks::Outcome::Lost,
            detail: "control died while it ran".to_owned(),
        },
        Event::Paused { reason: PauseReason::Step },
        Event::Resumed { step: 1 },
        Event::Promoted,
        Event::RollbackBegun { reason: RollbackReason::Operator },
        Event::RolledBack,
        Event::Completed,
    ]
}

fn measurement() -> Measurement {
    Measurement {
        run: Run::Background,
        rule: 0,
        value: Some(0.0),
        outcome: Outcome::Successful,
        detail: None,
        reading: Reading::default(),
    }
}

/// A rollout in each phase.
fn one_in_each() -> Vec<Scene> {
    let moving = || given(canary([to(25), hold()]).ruled_by(rule()));
    let paused = || given(canary([to(25), hold()]).promptly().ruled_by(rule())).when(seen());
    let promoted = || given(canary([]).promptly()).when(seen());
    let scenes = vec![
        moving(),
        paused(),
        promoted(),
        paused().when(seen().unreachable()).operator(Command::Abort),
        promoted().when(seen().after(30)),
        paused().operator(Command::Abort),
    ];
    let names: Vec<&str> = scenes.iter().map(|scene| scene.rollout.phase.name()).collect();
    assert_eq!(names, ["progressing", "paused", "promoted", "rollingBack", "completed", "rolledBack"]);
    scenes
}

#[test]
fn what_is_in_the_table_leads_where_it_says_and_the_rest_is_refused() {
    for scene in one_in_each() {
        for event in one_of_each() {
            let mut rollout = scene.rollout.clone();
            let from = rollout.phase.name();
            let result = rollout.apply(&event, scene.now);
            if let Some(phase) = next(from, event.name()) {
                assert_eq!((result, rollout.phase.name()), (Ok(()), phase), "{from} {}", event.name());
            } else {
                let refusal = result.unwrap_err();
                assert_eq!((refusal.phase, refusal.event), (from, event.name()));
                assert_eq!(rollout, scene.rollout, "{from} {}", event.name());
            }
        }
    }
}

#[test]
fn the_table_names_only_phases_and_events_that_exist_and_each_pair_once() {
    let events: BTreeSet<&str> = one_of_each().iter().map(Event::name).collect();
    let phases: BTreeSet<&str> = one_in_each().iter().map(|scene| scene.rollout.phase.name()).collect();
    let mut pairs = BTreeSet::new();
    for (from, event, to) in TRANSITIONS {
        assert!(
            phases.contains(from) && events.contains(event) && phases.contains(to),
            "{from} {event} {to}"
        );
        assert!(pairs.insert((from, event)), "{from} {event} twice");
    }
    assert_eq!(events.len(), 18);
}

#[test]
fn nothing_leaves_a_terminal_phase() {
    for scene in one_in_each().iter().filter(|scene| scene.rollout.phase.is_terminal()) {
        assert!(TRANSITIONS.iter().all(|(from, _, _)| *from != scene.rollout.phase.name()));
        assert_eq!(ship::plan(&scene.rollout, &scene.seen, scene.now).0, []);
    }
}

#[test]
fn every_row_of_the_table_is_walked() {
    let mut walked = BTreeSet::new();
    let mut walk = |scene: Scene| walked.extend(scene.walked);
    let steps = || canary([to(50), hold()]).ruled_by(rule());
    // All the way, with replicas that come one by one, measurements, a pause and a promotion.
    walk(
        given(steps())
            .when(seen())
            .when(seen().confirmed().candidate_ready(1))
            .when(seen().candidate_ready(2))
            .when(seen().after(10).candidate(100, 0))
            .when(seen().confirmed())
            .is("paused")
            .when(seen().after(30).candidate(100, 0))
            .operator(Command::NoteReady(3))
            .operator(Command::Promote { full: false })
            .when(seen().confirmed().candidate_ready(4))
            .when(seen().confirmed())
            .when(seen().after(30))
            .is("completed"),
    );
    // Back from where it moves, from a pause, and from the promotion with the old release scaled up first.
    walk(given(steps()).when(seen()).operator(Command::Abort).when(seen().confirmed()).is("rolledBack"));
    walk(given(steps().promptly()).when(seen()).operator(Command::Abort).is("rolledBack"));
    walk(given(canary([]).promptly()).when(seen()).operator(Command::Abort).is("rolledBack"));
    walk(
        given(super::support::rolling(1, 0))
            .when(seen())
            .when(seen().confirmed().candidate_ready(1))
            .operator(Command::Abort)
            .when(seen().confirmed().stable_ready(4)),
    );
    // A clock that is set, wherever the rollout is.
    for scene in one_in_each().into_iter().filter(|scene| !scene.rollout.phase.is_terminal()) {
        walk(scene.operator(Command::StepClock(0)));
    }
    // A failure that freezes, before a manual pause ends, and while it bakes.
    let failing = || seen().after(1).candidate(100, 50).stable(900, 1);
    walk(given(steps().promptly().freezing()).when(seen()).when(failing()).is("paused"));
    let baking = given(canary([]).promptly().judged_on_latency().baking(600).freezing()).when(seen());
    walk((0..60).fold(baking, |scene, _| scene.when(failing())).is("paused"));
    walk(given(canary([led_by("beta"), hold()]).promptly()).when(seen()).is("paused"));
    // A switch that is measured.
    let passed = Metric { count: Some(1), ..rule() };
    let scene = given(blue_green().passed_by(passed).promptly()).when(seen());
    assert_eq!(scene.rollout.run().map(|(run, _)| run), Some(Run::PostPromotion));
    walk(scene.when(seen().after(10).candidate(100, 0)).is("promoted"));
    // Hooks, also one that ends in a pause, and an analysis that somebody accepts before they run.
    let hooked = || given(canary([]).promptly().hooked(Moment::Before, ["a"]).hooked(Moment::After, ["b"]));
    let passes = |scene: Scene| scene.found(Verdict::Passed, Some(0.0));
    walk(passes(passes(hooked().when(seen()))).when(seen().after(30)).is("completed"));
    walk(passes(hooked().when(seen()).operator(Command::Pause)).is("paused"));
    let undecided = Metric { consecutive_error_limit: Some(0), ..super::support::smoke() };
    let switched = blue_green().promptly().passed_by(undecided).hooked(Moment::After, ["a"]);
    let open = given(switched).when(seen()).found(Verdict::Error, None);
    walk(open.operator(Command::Promote { full: false }).is("promoted"));
    let table: BTreeSet<_> = TRANSITIONS.iter().copied().collect();
    assert_eq!(walked, table);
}

#[test]
fn every_event_reads_back_as_it_was_written() {
    for event in one_of_each() {
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
        assert!(text.starts_with(&format!("{{\"event\":\"{}\"", event.name())), "{text}");
    }
}

#[test]
fn only_some_events_change_what_the_fleet_should_look_like() {
    for scene in one_in_each() {
        let wanted = |rollout: &ship::Rollout| {
            let terminal = rollout.phase.is_terminal();
            (rollout.wanted_stable, rollout.wanted_candidate, rollout.weight, terminal)
        };
        for event in one_of_each().iter().filter(|event| !event.changes_wanted_state()) {
            let mut rollout = scene.rollout.clone();
            if rollout.apply(event, scene.now).is_ok() {
                assert_eq!(wanted(&rollout), wanted(&scene.rollout), "{}", event.name());
            }
        }
    }
}

#[test]
fn a_measurement_of_a_rule_that_does_not_exist_changes_nothing() {
    let mut scene = given(canary([]));
    let before = scene.rollout.clone();
    scene.rollout.apply(&Event::RuleMeasured(measurement()), scene.now).unwrap();
    assert_eq!(scene.rollout, before);
    assert_eq!(scene.rollout.phase, Phase::Progressing);
    assert_eq!(scene.weight(), Weight::NONE);
}

/// Rewrite the page with `BLESS=1 cargo test -p ship --test rollouts the_docs_show`.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test reads the docs that it keeps true; the core does not")]
fn the_docs_show_the_table_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rollout-states.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("```mermaid\n").expect("a fence that opens");
    let (shown, after) = rest.split_once("```\n").expect("a fence that closes");
    if std::env::var("BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(path, format!("{before}```mermaid\n{}```\n{after}", diagram())).unwrap();
        return;
    }
    assert_eq!(shown, diagram(), "docs/rollout-states.md is old: run this test with BLESS=1");
    for scene in one_in_each() {
        let row = format!("**`{}`**", scene.rollout.phase.name());
        assert!(page.contains(&row), "docs/rollout-states.md says nothing about {row}");
    }
}
