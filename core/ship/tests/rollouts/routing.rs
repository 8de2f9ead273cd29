//! Which requests and which replicas, apart from the weight: header routes, the canary's own scale, and users who keep
//! their release. Not here: how a request is routed.

use model::strategy::{CanaryScale, Step};
use ship::Command;

use super::support::{
    canary, evidence, given, hold, hold_for, led_by, not_led_by, rule, scaled, seen, to, weight,
};

#[test]
fn a_header_route_waits_for_a_ready_replica() {
    given(canary([led_by("beta"), hold()]))
        .when(seen())
        .then(["4 old, 1 new"])
        .waiting_for("0 of 1 replicas of release 2 are ready")
        .when(seen().confirmed().candidate_ready(1))
        .then(["led by beta"])
        .waiting_for("the gateway has not confirmed")
        .when(seen().confirmed())
        .then(["step 1", "paused: step"]);
}

#[test]
fn a_header_route_ends_by_a_step_without_matches() {
    let scene =
        given(canary([led_by("a"), led_by("b"), not_led_by("a"), not_led_by("c"), hold()]).promptly());
    let scene = scene.when(seen()).is("paused");
    let names: Vec<&str> = scene.rollout.header_routes().iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn header_routes_end_with_the_rollout_whichever_way() {
    let steps = || canary([led_by("beta"), hold()]);
    let back = given(steps().promptly()).when(seen());
    assert_eq!(back.rollout.header_routes().len(), 1);
    let back = back.operator(Command::Abort).is("rolledBack");
    assert_eq!(back.rollout.header_routes(), []);
    let on = given(steps().promptly()).when(seen()).operator(Command::Promote { full: false }).is("promoted");
    assert_eq!(on.rollout.header_routes(), []);
    given(canary([led_by("beta"), hold()]).promptly().first()).when(seen()).is("completed");
}

#[test]
fn what_a_header_leads_goes_back_when_the_old_release_can_take_it() {
    for steps in [[led_by("beta"), hold(), hold()], [to(5), led_by("beta"), hold()]] {
        let back = given(canary(steps).promptly()).when(seen()).when(seen().stable_ready(3));
        let back =
            back.operator(Command::Abort).waiting_for("3 of 4 replicas of release 1 are ready to take");
        assert_eq!(back.is("rollingBack").rollout.header_routes().len(), 1);
    }
    let alone = |ready| {
        let back =
            given(canary([led_by("beta"), hold()]).promptly()).when(seen()).when(seen().stable_ready(1));
        back.operator(Command::Abort).when(ready)
    };
    let all = alone(seen().stable_ready(4)).is("rolledBack");
    assert_eq!((all.rollout.header_routes(), all.weight()), (&[][..], weight(0)));
    let _ = alone(seen().candidate_ready(0)).is("rolledBack");
}

#[test]
fn no_header_route_comes_back_after_the_promotion() {
    let baking = given(canary([led_by("beta"), hold()]).promptly().baking(600)).when(seen());
    let baking = baking.operator(Command::Promote { full: false }).is("promoted");
    let mut back = baking.rollout.clone();
    let reason = ship::RollbackReason::Operator;
    back.apply(&ship::Event::RollbackBegun { reason }, baking.now).unwrap();
    assert_eq!(back.header_routes(), []);
}

#[test]
fn requests_led_by_a_header_convince_no_judge() {
    let judged =
        |change| given(canary([led_by("beta"), to(25), hold()]).promptly()).when(seen()).when(change);
    let led = judged(seen().aimed(1_000, 900).stable(3_000, 0)).is("paused");
    let evidence = led.report.evidence;
    assert!(evidence.against.unwrap().e <= 1.0 && evidence.aimed.errors == 900, "{evidence:?}");
    judged(seen().candidate(1_000, 900).stable(3_000, 0)).is("rolledBack");
}

#[test]
fn a_rule_measures_requests_led_by_a_header_even_at_no_weight() {
    let steps = || canary([led_by("beta"), hold()]).promptly().ruled_by(rule());
    given(steps()).when(seen()).when(seen().after(10).aimed(100, 0)).is("paused");
    given(steps()).when(seen()).when(seen().after(30).aimed(100, 50)).is("rolledBack");
}

#[test]
fn a_scale_is_kept_while_the_weight_grows() {
    given(canary([scaled(3), to(25), hold_for(10), to(100), hold()]))
        .when(seen())
        .then(["4 old, 3 new"])
        .when(seen().confirmed().candidate_ready(2))
        .then(["2 ready"])
        .waiting_for("2 of 3 replicas")
        .when(seen().candidate_ready(3))
        .then(["step 1", "25%"])
        .when(seen().confirmed())
        .then(["step 2"])
        .when(seen().after(10).candidate(10, 0))
        .then(["step 3", "4 old, 4 new", "3 ready"]);
}

#[test]
fn a_scale_below_what_the_traffic_needs_is_raised_and_said() {
    let scene = given(canary([to(50), scaled(1), hold()])).when(seen());
    let scene = scene.when(seen().confirmed().candidate_ready(2)).when(seen().confirmed());
    let scene = scene.then(["step 1", "step 2", "paused: step"]);
    assert_eq!(scene.rollout.wanted_candidate, 2);
    let scene = given(canary([to(50), scaled(4), hold(), scaled(1), hold()]).promptly()).when(seen());
    assert_eq!(scene.rollout.wanted_candidate, 4);
    let (_, report) = {
        let mut rollout = scene.rollout.clone();
        rollout.apply(&ship::Event::Resumed { step: 3 }, scene.now).unwrap();
        ship::plan(&rollout, &scene.seen, scene.now)
    };
    assert!(report.doing.contains("the step asks for 1, 50% of the requests need more"), "{report:?}");
}

#[test]
fn a_scale_that_matches_the_traffic_gives_replicas_back() {
    let steps = [
        Step::SetCanaryScale(CanaryScale::Weight(weight(100))),
        to(25),
        Step::SetCanaryScale(CanaryScale::MatchTrafficWeight),
        hold(),
    ];
    let scene = given(canary(steps).promptly()).when(seen()).is("paused");
    assert_eq!(scene.rollout.wanted_candidate, 1);
    assert!(scene.walked.iter().filter(|(_, event, _)| *event == "scaled").count() == 2);
    let scene = scene.operator(Command::Promote { full: false });
    assert_eq!(scene.rollout.wanted_candidate, 4, "all requests need all replicas");
}

#[test]
fn one_user_with_many_errors_is_one_error() {
    let sticky = || given(canary([to(25), hold()]).promptly().sticky()).when(seen());
    let one = sticky().when(seen().candidate(1_000, 1_000).stable(3_000, 0).users((250, 1), (750, 0)));
    let evidence = one.is("paused").report.evidence;
    assert!(evidence.against.unwrap().e < 10.0, "{evidence:?}");
    let many = sticky().when(seen().candidate(1_000, 100).stable(3_000, 0).users((250, 30), (750, 0)));
    let many = many.is("rolledBack");
    let ship::Phase::RolledBack(reason) = &many.rollout.phase else { panic!("{:?}", many.rollout.phase) };
    assert!(reason.to_string().contains("the first for 30 of 250 users"), "{reason}");
}

#[test]
fn users_who_err_alike_on_both_releases_blame_nobody() {
    given(canary([to(25), hold()]).promptly().sticky())
        .when(seen())
        .when(seen().candidate(9_000, 9_000).stable(1_000, 1_000).users((250, 100), (750, 300)))
        .is("paused");
}

#[test]
fn evidence_for_a_release_comes_from_users_not_from_their_requests() {
    let judged = |users| {
        given(canary([to(25), hold_for(60), hold()]).promptly().sticky().promoted_by(evidence()))
            .when(seen())
            .when(seen().after(10).candidate(100_000, 0).stable(100_000, 0).users(users, (100, 0)))
    };
    let few = judged((50, 0)).is("progressing");
    assert_eq!(few.rollout.step, 1);
    let enough = judged((5_000, 0));
    assert_eq!(enough.is("paused").rollout.step, 2);
}

#[test]
fn a_new_life_of_the_agent_counts_no_user_twice() {
    let sticky = || given(canary([to(25), hold()]).promptly().sticky()).when(seen());
    let errors = |n| seen().candidate(n, n).stable(0, 0).users((100, n), (300, 0));
    // What one life finds convincing, many lives that saw the same users do not add up to.
    let mut scene = sticky().when(errors(3)).is("paused");
    for _ in 0..20 {
        scene = scene.when(seen().agent_restarted()).when(errors(3)).is("paused");
    }
    assert_eq!(scene.rollout.book.lives(), 21);
    sticky().when(errors(30)).is("rolledBack");
}
