//! What is watched while both releases serve, and what it makes of a rollout. Not here: the rules' own arithmetic, the
//! judge's error rates.

use model::strategy::{Metric, Source, Step};
use ship::{Event, RollbackReason};

use super::support::{Scene, canary, evidence, given, hold, hold_for, rolling, rule, seen, to};

fn at_ten_percent() -> Scene {
    given(canary([to(10), hold_for(600)]).promptly()).when(seen()).then(["4 old, 1 new", "10%", "step 1"])
}

#[test]
fn the_judges_verdict_rolls_back() {
    let scene = at_ten_percent().when(seen().after(1).candidate(100, 6).stable(900, 1)).then([
        "back: judge",
        "0%",
        "rolledBack",
    ]);
    let why = scene.fresh().iter().find_map(|event| {
        if let Event::RollbackBegun { reason: RollbackReason::Judge(why) } = event { Some(why) } else { None }
    });
    let why = why.expect("the judge did it");
    assert!(
        why.contains("new release 6 errors in 100 requests (6.00%), old release 1 errors in 900"),
        "{why}"
    );
    assert!(why.contains("against a threshold of 100"), "{why}");
}

#[test]
fn a_verdict_is_written_down_with_the_counts_it_rests_on() {
    let scene = at_ten_percent().when(seen().candidate(100, 50).stable(900, 0));
    let names: Vec<&str> = scene.fresh().iter().map(Event::name).collect();
    assert_eq!(names, ["measured", "rollbackBegun", "shifted", "rolledBack"]);
}

#[test]
fn the_judge_rolls_back_while_the_rollout_is_paused() {
    given(canary([to(10), hold()]).promptly())
        .when(seen())
        .is("paused")
        .when(seen().after(1).candidate(100, 6).stable(900, 1))
        .then(["back: judge", "0%", "rolledBack"]);
}

#[test]
fn an_incident_that_both_share_does_not_roll_back() {
    at_ten_percent()
        .when(seen().after(1).candidate(100, 1).stable(900, 9))
        .then([])
        .when(seen().after(1).candidate(1_000, 300).stable(9_000, 2_700))
        .then([])
        .when(seen().after(1).candidate(1_000, 1_000).stable(9_000, 9_000))
        .then([])
        .is("progressing");
}

#[test]
fn an_incident_that_both_share_does_not_promote_either() {
    let both_fail = || seen().after(600).candidate(1_000, 300).stable(9_000, 2_700);
    // By time, by evidence, and by an analysis whose rules see nothing.
    let restarts =
        || Metric { name: "restarts".to_owned(), source: Source::Restarts, count: Some(1), ..rule() };
    let analysed = Step::Analysis { metrics: vec![restarts()] };
    for steps in [
        canary([to(10), hold_for(600)]),
        canary([to(10), hold_for(600)]).promoted_by(evidence()),
        canary([to(10), analysed]),
    ] {
        given(steps.judged_on_latency().promptly())
            .when(seen())
            .when(both_fail())
            .then(["paused: inconclusive"])
            .when(both_fail())
            .then([])
            .operator(ship::Command::Promote { full: false })
            .is("promoted");
    }
}

#[test]
fn a_few_errors_of_few_requests_are_no_incident_and_a_short_one_is_diluted() {
    for window in [seen().candidate(40, 1).stable(360, 9), seen().candidate(9_000, 60).stable(81_000, 540)] {
        given(canary([to(10), hold_for(600)]).judged_on_latency().promptly())
            .when(seen())
            .when(window.after(600))
            .is("promoted");
    }
}

#[test]
fn the_judge_watches_a_rolling_update() {
    given(rolling(1, 0))
        .when(seen())
        .when(seen().confirmed().candidate_ready(1))
        .then(["1 ready", "3 old, 2 new", "25%"])
        .when(seen().after(1).candidate(100, 20).stable(300, 1))
        .then(["back: judge", "4 old, 2 new"]);
}

#[test]
fn evidence_adds_up_over_the_weights() {
    let scene = given(canary([to(10), hold(), to(50), hold()]).promptly())
        .when(seen())
        .when(seen().after(100).candidate(100, 2).stable(900, 0))
        .then([])
        .operator(ship::Command::Promote { full: false })
        .when(seen().after(100).candidate(500, 3).stable(500, 0));
    let e = scene.report.evidence.against.expect("the judge is on").e;
    let alone = ship::judge::ln_evidence_against(
        &[ship::judge::Stretch {
            weight: 0.5,
            candidate: ship::Counts { requests: 500, errors: 3 },
            stable: ship::Counts { requests: 500, errors: 0 },
        }],
        1.0,
    );
    assert!(e > 20.0 * alone.exp(), "{e} {}", alone.exp());
    assert_eq!(scene.fresh().last().map(Event::name), Some("rolledBack"));
}

#[test]
fn a_crash_loop_rolls_back_before_any_request() {
    given(canary([to(10)]))
        .when(seen())
        .when(seen().confirmed().crash_loop("replica 0 exits with status 1"))
        .then(["back: crash loop", "rolledBack"]);
}

#[test]
fn a_crash_loop_rolls_back_while_the_rollout_is_paused() {
    given(canary([to(10), hold()]).promptly())
        .when(seen())
        .when(seen().crash_loop("replica 0 exits with status 1"))
        .then(["back: crash loop", "0%", "rolledBack"]);
}

#[test]
fn the_progress_deadline_rolls_back() {
    given(canary([to(10)]))
        .when(seen())
        .when(seen().confirmed().after(599))
        .then([])
        .waiting_for("0 of 1 replicas")
        .when(seen().after(1))
        .then(["back: progress deadline", "rolledBack"]);
}

#[test]
fn time_in_which_nobody_could_watch_does_not_use_up_the_progress_deadline() {
    let mut scene = given(canary([to(10)])).when(seen()).when(seen().confirmed().after(100));
    scene.seen.watched_since = scene.now;
    scene
        .when(seen().after(599))
        .then([])
        .waiting_for("0 of 1 replicas")
        .when(seen().after(1))
        .then(["back: progress deadline", "rolledBack"]);
}

#[test]
fn progress_resets_the_progress_deadline() {
    given(canary([to(50)]))
        .when(seen())
        .when(seen().confirmed().after(599).candidate_ready(1))
        .then(["1 ready"])
        .when(seen().after(599))
        .then([])
        .when(seen().after(1))
        .then(["back: progress deadline", "rolledBack"]);
}

#[test]
fn replicas_that_come_and_go_are_no_progress() {
    given(canary([to(50)]))
        .when(seen())
        .when(seen().confirmed().after(300).candidate_ready(1))
        .then(["1 ready"])
        .when(seen().after(300).candidate_ready(0))
        .then([])
        .when(seen().after(299).candidate_ready(1))
        .then([])
        .when(seen().after(1))
        .then(["back: progress deadline", "rolledBack"]);
}

#[test]
fn a_rolling_update_has_a_progress_deadline_too() {
    given(rolling(1, 0))
        .when(seen())
        .when(seen().confirmed().after(300).candidate_ready(1))
        .then(["1 ready", "3 old, 2 new", "25%"])
        .when(seen().after(600))
        .then(["back: progress deadline", "4 old, 2 new"]);
}

#[test]
fn a_pause_does_not_use_up_the_progress_deadline() {
    given(canary([to(10)]))
        .when(seen())
        .operator(ship::Command::Pause)
        .when(seen().after(100_000))
        .operator(ship::Command::Promote { full: false })
        .then(["resumed at step 0"])
        .when(seen().after(599))
        .then([]);
}

#[test]
fn the_last_counts_of_a_dead_agent_are_not_judged_twice() {
    at_ten_percent()
        .when(seen().after(1).candidate(100, 2).stable(900, 0))
        .then([])
        .when(seen().unreachable().after(1_000))
        .then([])
        .is("progressing");
}

#[test]
fn a_promoted_release_that_keeps_dying_goes_back_while_the_old_one_is_warm() {
    given(canary([]).promptly())
        .when(seen())
        .is("promoted")
        .when(seen().after(29).crash_loop("replica 0 exits with status 1"))
        .then(["back: crash loop", "0%", "rolledBack"]);
}

#[test]
fn a_completed_release_that_keeps_dying_has_nowhere_to_go() {
    given(canary([]).promptly())
        .when(seen())
        .when(seen().after(30))
        .is("completed")
        .when(seen().crash_loop("replica 0 exits with status 1"))
        .then([]);
}

#[test]
fn only_more_ready_replicas_than_ever_are_noted() {
    let scene = given(canary([to(75)])).when(seen()).when(seen().candidate_ready(2)).then(["2 ready"]);
    for ready in 0..=2 {
        let noted = ship::decide(&scene.rollout, ship::Command::NoteReady(ready), scene.now);
        assert_eq!(noted, Ok(vec![]), "{ready}");
    }
}
