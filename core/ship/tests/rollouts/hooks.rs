//! Hooks: those before it run in order before anything moves, those after it once nothing is left to be watched; each attempt
//! is recorded before it is run, and none is run twice under one number.

use model::check::Verdict;
use model::hook::{Moment, OnFailure};
use model::strategy::{Metric, Step};
use ship::checks::{Ticket, wanted};
use ship::hooks::{MOST_ATTEMPTS, State};
use ship::{Command, Phase, RollbackReason};

use super::support::{Plan, Scene, blue_green, canary, given, hold, hook, rolling, rule, seen, smoke, to};

/// A canary that has to run these first.
fn before<const N: usize>(names: [&str; N]) -> Plan {
    canary([to(10), hold()]).hooked(Moment::Before, names)
}

/// What is to run now: which hook, or rule, and which attempt.
fn running(scene: &Scene) -> Vec<String> {
    let told = |ticket| match ticket {
        Ticket::Hook { moment, hook, attempt, .. } => format!("{} {hook}, attempt {attempt}", moment.name()),
        Ticket::Measurement { rule, .. } => format!("rule {rule}"),
    };
    wanted(&scene.rollout, &scene.seen, scene.now).into_iter().map(|it| told(it.ticket)).collect()
}

/// Control dies, and the next one begins.
fn dies(mut scene: Scene) -> Scene {
    scene.seen.checks.clear();
    scene.operator(Command::LoseHooks)
}

#[test]
fn nothing_moves_before_the_last_hook_has_passed() {
    let scene = given(before(["migrate", "warm"])).when(seen()).then(["migrate begins: 1"]);
    assert_eq!(running(&scene), ["before 0, attempt 1"]);
    let scene = scene.when(seen().after(3)).then([]);
    let scene = scene.waiting_for("hook migrate is running (for 3s of at most 5m)");
    let scene = scene.found(Verdict::Passed, Some(0.0)).then(["migrate passed: 1", "warm begins: 1"]);
    assert_eq!(running(&scene), ["before 1, attempt 1"]);
    assert_eq!(scene.rollout.wanted_candidate, 0);
    let scene = scene.found(Verdict::Passed, Some(0.0)).then(["warm passed: 1", "4 old, 1 new"]);
    assert!(running(&scene).is_empty(), "none runs twice");
}

#[test]
fn what_waits_for_the_hooks_counts_its_time_from_their_end() {
    let scene = given(before(["migrate"])).when(seen()).when(seen().after(4_000)).then([]);
    let scene = scene.found(Verdict::Passed, Some(0.0)).when(seen().after(599)).then([]);
    scene.waiting_for("0 of 1 replicas").when(seen().after(1)).then(["back: progress deadline"]);
}

#[test]
fn a_hook_that_fails_or_cannot_be_run_goes_back_before_anything_moved() {
    for verdict in [Verdict::Failed, Verdict::Error] {
        let scene = given(before(["migrate", "warm"])).when(seen()).found(verdict, Some(1.0));
        let Phase::RolledBack(reason @ RollbackReason::Hook(_)) = &scene.rollout.phase else {
            panic!("{:?}", scene.rollout.phase)
        };
        assert!(reason.to_string().starts_with("hook migrate: it was "), "{reason}");
        assert!(running(&scene).is_empty());
        scene.then(["migrate failed: 1", "back: hook migrate", "rolledBack"]);
    }
}

#[test]
fn a_hook_that_fails_before_a_rollout_goes_back_even_where_a_rollout_must_not() {
    let scene = given(before(["migrate"]).freezing()).when(seen()).found(Verdict::Failed, Some(1.0));
    scene.is("rolledBack");
}

#[test]
fn without_the_agent_no_hook_begins_and_one_that_runs_goes_on() {
    let scene = given(before(["migrate", "warm"])).when(seen().unreachable()).then([]);
    assert!(running(&scene).is_empty());
    let scene = scene.when(seen().reachable_again()).then(["migrate begins: 1"]);
    let scene = scene.when(seen().unreachable());
    assert_eq!(running(&scene), ["before 0, attempt 1"]);
    let scene = scene.found(Verdict::Passed, Some(0.0)).then(["migrate passed: 1"]);
    scene.when(seen().reachable_again()).then(["warm begins: 1"]);
}

#[test]
fn a_pause_and_a_set_clock_leave_a_running_hook_alone() {
    let scene = given(before(["migrate", "warm"])).when(seen().after(1));
    let ticket = wanted(&scene.rollout, &scene.seen, scene.now)[0].ticket;
    let scene = scene.operator(Command::Pause).operator(Command::StepClock(-3_600_000_000));
    assert_eq!(wanted(&scene.rollout, &scene.seen, scene.now)[0].ticket, ticket);
    let scene = scene.found(Verdict::Passed, Some(0.0)).then(["migrate passed: 1"]).is("paused");
    assert!(running(&scene).is_empty(), "the next waits until it goes on");
    let scene = scene.operator(Command::Promote { full: true }).then(["resumed at step 2", "warm begins: 1"]);
    let scene = scene.refused(Command::Promote { full: true }, "hooks before the rollout have not", "abort");
    scene.found(Verdict::Passed, Some(0.0)).then(["warm passed: 1", "4 old, 4 new"]);
}

#[test]
fn a_hook_that_fails_in_a_pause_goes_back() {
    let scene = given(before(["migrate"])).when(seen()).operator(Command::Pause);
    scene.found(Verdict::Failed, None).is("rolledBack");
}

#[test]
fn an_abort_ends_a_running_hook_and_what_it_finds_counts_for_nothing() {
    let scene = given(before(["migrate"])).when(seen());
    let ticket = wanted(&scene.rollout, &scene.seen, scene.now)[0].ticket;
    let mut scene = scene.operator(Command::Abort);
    assert!(running(&scene).is_empty());
    assert!(!scene.ends(ticket, Verdict::Passed, Some(0.0)));
    dies(scene).then([]);
}

#[test]
fn a_hook_that_died_with_control_runs_again_as_the_next_attempt() {
    let scene = given(before(["migrate"])).when(seen());
    let first = wanted(&scene.rollout, &scene.seen, scene.now)[0].ticket;
    let mut scene = dies(scene).then(["migrate lost: 1", "migrate begins: 2"]);
    assert_eq!(running(&scene), ["before 0, attempt 2"]);
    assert!(!scene.ends(first, Verdict::Passed, Some(0.0)), "the first is over");
    let scene = scene.when(seen().after(2)).waiting_for("migrate is running, attempt 2 (for 2s");
    scene.found(Verdict::Passed, Some(0.0)).then(["migrate passed: 2", "4 old, 1 new"]);
}

#[test]
fn a_hook_that_takes_control_down_each_time_fails_in_the_end() {
    let scene = given(before(["migrate"])).when(seen());
    let scene = (1..MOST_ATTEMPTS).fold(scene, |scene, _| dies(scene));
    assert_eq!(running(&scene), [format!("before 0, attempt {MOST_ATTEMPTS}")]);
    let scene = dies(scene).is("rolledBack");
    let Phase::RolledBack(reason) = &scene.rollout.phase else { panic!() };
    assert_eq!(reason.to_string(), "hook migrate: control died while it ran, 5 times");
}

#[test]
fn a_hook_that_must_not_run_twice_does_not() {
    let mut plan = before(["migrate"]);
    plan.strategy.hooks.before[0].idempotent = false;
    let scene = dies(given(plan).when(seen()));
    let Phase::RolledBack(reason) = &scene.rollout.phase else { panic!("{:?}", scene.rollout.phase) };
    assert!(reason.to_string().contains("must not run again (idempotent: false)"), "{reason}");
    scene.then(["migrate failed: 1", "back: hook migrate", "rolledBack"]);
}

#[test]
fn a_canary_and_a_preview_are_analysed_after_the_hooks() {
    let analysed =
        canary([Step::Analysis { metrics: vec![Metric { count: Some(1), ..rule() }] }, hold()]).promptly();
    let scene = given(analysed.hooked(Moment::Before, ["migrate"])).when(seen());
    assert_eq!((scene.rollout.run(), running(&scene).len()), (None, 1));
    let scene = scene.found(Verdict::Passed, Some(0.0));
    assert!(scene.rollout.run().is_some(), "{:?}", scene.report);

    let plan = blue_green().previewed(1, Some(0)).checked_by(smoke()).hooked(Moment::Before, ["migrate"]);
    let scene = given(plan).when(seen()).found(Verdict::Passed, Some(0.0));
    assert_eq!(scene.rollout.wanted_candidate, 1);
    let scene = scene.when(seen().confirmed().candidate_ready(1));
    assert_eq!(running(&scene), ["rule 0"], "the smoke test");
}

/// A canary that took all requests, and runs these then.
fn after<const N: usize>(names: [&str; N]) -> Plan {
    canary([]).promptly().hooked(Moment::After, names)
}

#[test]
fn hooks_after_it_run_when_it_takes_all_requests_and_hold_the_old_release() {
    let scene = given(after(["announce"])).when(seen());
    assert_eq!(scene.rollout.phase, Phase::Promoted);
    assert_eq!(running(&scene), ["after 0, attempt 1"]);
    let scene = scene.when(seen().after(200)).then([]).waiting_for("hook announce is running");
    assert!(scene.rollout.is_proving() && scene.rollout.wanted_stable == 4);
    scene.found(Verdict::Passed, Some(0.0)).then(["announce passed: 1", "0 old, 4 new", "completed"]);
}

#[test]
fn hooks_after_it_run_in_rolling_updates_and_first_releases_too() {
    for plan in [rolling(1, 0).promptly(), canary([]).promptly().first()] {
        let scene = given(plan.hooked(Moment::After, ["announce"])).when(seen());
        assert_eq!((scene.rollout.phase.name(), running(&scene).len()), ("promoted", 1));
        scene.found(Verdict::Passed, Some(0.0)).is("completed");
    }
}

#[test]
fn hooks_after_it_wait_until_it_has_baked() {
    let scene = given(after(["announce"]).baking(60)).when(seen()).when(seen().after(59)).then([]);
    assert!(running(&scene).is_empty() && scene.rollout.is_proving());
    scene.when(seen().after(1)).then(["announce begins: 1"]);
}

#[test]
fn hooks_after_it_wait_for_the_analysis_of_the_switch_and_for_who_accepts_it() {
    let plan = || blue_green().promptly().passed_by(smoke()).hooked(Moment::After, ["announce"]);
    let scene = given(plan()).when(seen()).is("promoted");
    assert_eq!(running(&scene), ["rule 0"]);
    let scene = scene.found(Verdict::Passed, Some(0.0)).then(["announce begins: 1"]);
    scene.found(Verdict::Passed, Some(0.0)).then(["announce passed: 1"]);

    let undecided = Metric { consecutive_error_limit: Some(0), ..smoke() };
    let plan = blue_green().promptly().passed_by(undecided).hooked(Moment::After, ["announce"]);
    let scene = given(plan).when(seen()).found(Verdict::Error, None).waiting_for("inconclusive");
    let scene = scene.operator(Command::Promote { full: false });
    let scene = scene.then(["resumed at step 1", "announce begins: 1"]).is("promoted");
    assert_eq!(running(&scene), ["after 0, attempt 1"], "the analysis is over");
    scene.found(Verdict::Passed, Some(0.0)).when(seen().after(30)).is("completed");
}

#[test]
fn a_hook_that_fails_after_it_takes_nothing_back_but_is_told_and_the_next_one_runs() {
    let scene = given(after(["announce", "tidy"])).when(seen()).found(Verdict::Failed, Some(1.0));
    let scene = scene.then(["announce failed: 1", "tidy begins: 1"]).found(Verdict::Passed, Some(0.0));
    let scene = scene.when(seen().after(30)).is("completed");
    let told: Vec<String> = scene.rollout.failed_hooks().collect();
    assert_eq!(told, ["announce: it was failed"]);
}

/// The same, where its failure is the rollout's.
fn must_pass(plan: Plan) -> Plan {
    let mut plan = plan;
    plan.strategy.hooks.after.iter_mut().for_each(|hook| hook.on_failure = OnFailure::Rollback);
    plan
}

#[test]
fn a_hook_that_must_pass_after_it_fails_the_rollout() {
    let scene = given(must_pass(after(["announce", "tidy"]))).when(seen()).found(Verdict::Failed, Some(1.0));
    let events = ["announce failed: 1", "back: hook announce", "0%", "rolledBack"];
    scene.then(events);
    let scene = given(must_pass(after(["announce"])).freezing()).when(seen()).found(Verdict::Failed, None);
    let scene = scene.then(["announce failed: 1", "frozen: hook announce"]);
    // Whoever overrules it is not asked again.
    let scene = scene.operator(Command::Promote { full: false }).when(seen().after(30));
    scene.is("completed");
}

#[test]
fn a_first_release_stays_whatever_its_hooks_find() {
    let plan = must_pass(after(["announce"])).first();
    let scene = given(plan).when(seen()).found(Verdict::Failed, Some(1.0)).is("completed");
    assert_eq!(scene.rollout.failed_hooks().count(), 1);
}

#[test]
fn what_is_left_of_the_hooks_after_it_is_skipped_only_in_full() {
    let scene = given(after(["announce"])).when(seen());
    let scene = scene.refused(
        Command::Promote { full: false },
        "has not run its hooks",
        "--full` accepts it as it is",
    );
    let scene = scene.operator(Command::Promote { full: true }).is("completed");
    assert!(running(&scene).is_empty());
    let states: Vec<State> = scene.rollout.hooks(Moment::After).map(|(_, it)| it.state).collect();
    assert_eq!(states, [State::Running]);
}

#[test]
fn a_stored_hook_reads_back() {
    let mut other = hook("migrate");
    (other.idempotent, other.on_failure) = (false, OnFailure::Warn);
    for hook in [hook("migrate"), other] {
        let text = serde_json::to_string(&hook).unwrap();
        assert_eq!(serde_json::from_str::<model::hook::Hook>(&text).unwrap(), hook, "{text}");
    }
    let text = serde_json::to_string(&hook("migrate")).unwrap();
    assert_eq!(text, r#"{"name":"migrate","run":["./migrate"],"timeout":"5m"}"#);
}
