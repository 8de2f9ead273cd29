//! The two ways out of every rollout: `promote --full` and `abort`, wherever it stands. Not here: what else operators ask for.

use model::strategy::{Metric, Step};
use ship::{Command, PauseReason, RollbackReason};

use super::support::{
    Scene, blue_green, canary, evidence, given, hold, hold_for, led_by, rolling, rule, scaled, seen, smoke,
    to,
};

const FULL: Command = Command::Promote { full: true };

fn analysis() -> Step {
    Step::Analysis { metrics: vec![Metric { count: Some(3), ..rule() }] }
}

/// Moving: each kind of step, and before and after them.
fn moving() -> Vec<(&'static str, Scene)> {
    let at = |steps: [Step; 2]| given(canary(steps)).when(seen());
    let promptly = |steps: [Step; 2]| given(canary(steps).promptly()).when(seen());
    let all = vec![
        ("setWeight, replicas starting", at([to(25), hold()])),
        ("setWeight, not in force", at([to(25), hold()]).when(seen().confirmed().candidate_ready(1))),
        ("setCanaryScale", at([scaled(3), to(25)])),
        ("setHeaderRoute, replicas starting", at([led_by("beta"), to(25)])),
        ("setHeaderRoute, not in force", at([led_by("beta"), to(25)]).when(seen().candidate_ready(1))),
        ("a timed pause", promptly([to(25), hold_for(600)])),
        ("an analysis", promptly([to(25), analysis()])),
        ("a preview, replicas starting", given(blue_green().previewed(1, None)).when(seen())),
        ("a preview held for a time", given(blue_green().previewed(1, Some(600)).promptly()).when(seen())),
        (
            "a preview that is checked",
            given(blue_green().previewed(1, Some(0)).checked_by(smoke()).promptly()).when(seen()).begin(),
        ),
    ];
    all.into_iter().map(|(name, scene)| (name, scene.is("progressing"))).collect()
}

/// On the last stretch, where nothing is left to skip.
fn arriving() -> Vec<(&'static str, Scene)> {
    let all = vec![
        ("a canary after its steps", given(canary([])).when(seen())),
        ("a rolling update", given(rolling(1, 0)).when(seen())),
        ("a switch", given(blue_green()).when(seen()).when(seen().confirmed().candidate_ready(4))),
    ];
    all.into_iter().map(|(name, scene)| (name, scene.is("progressing"))).collect()
}

/// Paused: each reason, in each strategy that knows it.
fn paused() -> Vec<(&'static str, Scene)> {
    let failing = || seen().after(1).candidate(100, 50).stable(900, 1);
    let steps = || canary([to(25), hold_for(60), to(50)]).promptly();
    let all = vec![
        ("a manual pause", given(canary([to(25), hold(), to(50)]).promptly()).when(seen())),
        ("a held preview", given(blue_green().previewed(1, None).promptly()).when(seen())),
        ("an operator's pause", given(steps()).when(seen()).operator(Command::Pause)),
        (
            "an operator's pause of a rolling update",
            given(rolling(1, 0)).when(seen()).operator(Command::Pause),
        ),
        ("no request", given(steps()).when(seen()).when(seen().after(60))),
        ("no evidence", given(steps().promoted_by(evidence())).when(seen()).when(seen().after(60))),
        ("frozen by the judge", given(steps().freezing()).when(seen()).when(failing())),
        (
            "frozen while it bakes",
            (0..60).fold(
                given(canary([]).promptly().judged_on_latency().baking(600).freezing()).when(seen()),
                |scene, _| scene.when(failing()),
            ),
        ),
    ];
    all.into_iter().map(|(name, scene)| (name, scene.is("paused"))).collect()
}

/// All requests are shifted, and something is still open: an analysis that is under way, or came to nothing.
fn proving() -> Vec<(&'static str, Scene)> {
    let long = || given(blue_green().passed_by(Metric { count: Some(3), ..rule() }).promptly()).when(seen());
    let all = vec![
        ("an analysis under way", long()),
        ("an inconclusive analysis", long().when(seen().after(10)).when(seen().after(10))),
    ];
    all.into_iter().map(|(name, scene)| (name, scene.is("promoted"))).collect()
}

/// Everything comes that is waited for.
fn arrives(scene: Scene) -> Scene {
    let comes = || seen().confirmed().candidate_ready(4).stable_ready(4);
    (0..8).fold(scene, |scene, _| scene.when(comes()))
}

#[test]
fn promote_full_leads_to_all_requests_from_everywhere_before_them() {
    for (name, scene) in moving().into_iter().chain(paused()) {
        let overrules = scene.rollout.is_frozen();
        let scene = arrives(scene.operator(FULL));
        let phase = scene.rollout.phase.name();
        assert!(["promoted", "completed"].contains(&phase), "{name}: {phase}, {:?}", scene.report);
        assert_eq!(scene.rollout.weight, model::Weight::ALL, "{name}");
        assert_eq!(scene.rollout.overruled, overrules, "{name}");
    }
}

#[test]
fn promote_full_accepts_what_is_still_open_after_the_switch() {
    for (name, scene) in proving() {
        let scene = scene.operator(FULL);
        assert_eq!(scene.rollout.phase.name(), "completed", "{name}");
    }
}

#[test]
fn promote_full_is_refused_where_nothing_is_left_to_skip() {
    for (name, scene) in arriving() {
        let refusal = ship::decide(&scene.rollout, FULL, scene.now).unwrap_err();
        assert!(refusal.instead.contains("shipshape status"), "{name}: {refusal:?}");
    }
    let warm = given(canary([]).promptly()).when(seen()).is("promoted");
    warm.refused(FULL, "release 2 already takes all requests", "nothing is left");
}

#[test]
fn abort_leads_back_from_everywhere() {
    let warm = given(canary([]).promptly()).when(seen()).is("promoted");
    let all = moving().into_iter().chain(arriving()).chain(paused()).chain(proving()).chain([("warm", warm)]);
    for (name, scene) in all {
        let scene = arrives(scene.operator(Command::Abort));
        let phase = &scene.rollout.phase;
        assert_eq!(*phase, ship::Phase::RolledBack(RollbackReason::Operator), "{name}: {:?}", scene.report);
        assert_eq!(scene.rollout.weight, model::Weight::NONE, "{name}");
        assert!(scene.rollout.header_routes().is_empty() && !scene.rollout.previews(), "{name}");
    }
}

#[test]
fn the_pauses_are_of_every_reason() {
    let reasons: Vec<PauseReason> = paused()
        .into_iter()
        .map(|(name, scene)| match scene.rollout.phase {
            ship::Phase::Paused(reason) => reason,
            ship::Phase::Progressing
            | ship::Phase::Promoted
            | ship::Phase::RollingBack(_)
            | ship::Phase::Completed
            | ship::Phase::RolledBack(_) => panic!("{name}"),
        })
        .collect();
    let has = |is: fn(&PauseReason) -> bool| reasons.iter().any(is);
    assert!(has(|it| matches!(it, PauseReason::Step)) && has(|it| matches!(it, PauseReason::Operator)));
    assert!(has(|it| matches!(it, PauseReason::Inconclusive(_))));
    assert!(has(|it| matches!(it, PauseReason::Frozen(_))));
}
