//! Processes that are killed under load: what may be lost is counted, request by request.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::time::{Duration, Instant};

use e2e::{Gap, Stage, answered, eventually};
use load::{Outcome, Running};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until so many more requests have been lost.
fn lost(load: &Running, more: u64) {
    let goal = load.snapshot().lost + more;
    eventually("requests are lost", PATIENCE, || (load.snapshot().lost >= goal).then_some(()));
}

/// Up again at the addresses of before.
fn up_again(stage: &Stage) -> Instant {
    let _ = stage.run(&["up"]).ok();
    Instant::now()
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[test]
fn an_agent_that_is_killed_costs_only_what_was_in_flight_or_came_while_it_was_away() {
    let stage = Stage::deployed("");
    let replicas = stage.replica_pids();
    let load = stage.load(200.0);
    answered(&load, 100);
    let from = stage.kill(stage.pid_of("agent"));
    lost(&load, 50);
    assert!(replicas.iter().all(|pid| alive(*pid)), "the replicas live on");
    let until = up_again(&stage);
    answered(&load, 100);
    assert_eq!(stage.replica_pids(), replicas, "adopted, not started anew");
    let (report, checked) = stage.lost_only_in(load, Gap { from, until });
    let from = from - report.start();
    let in_flight = report.entries().filter(|entry| entry.outcome.is_lost());
    let in_flight = in_flight.filter(|entry| entry.sent.is_some_and(|sent| sent < from)).count();
    assert!(in_flight <= 64, "{in_flight} were in flight on 64 connections");
    // Nobody can have received what came while no agent listened.
    let received = report.lost - u64::try_from(checked.never_received.len()).unwrap();
    assert!(received <= 64, "{received} requests reached a replica and their answers were lost");
    assert!(stage.status()["warnings"].as_array().is_none_or(Vec::is_empty));
}

#[test]
fn control_and_agent_killed_together_come_back_as_they_were() {
    let stage = Stage::deployed("replicas: 3\n");
    let replicas = stage.replica_pids();
    let load = stage.load(200.0);
    answered(&load, 100);
    let control = stage.pid_of("control");
    let from = stage.kill(stage.pid_of("agent"));
    let _ = stage.kill(control);
    lost(&load, 20);
    let until = up_again(&stage);
    answered(&load, 100);
    assert_eq!(stage.replica_pids(), replicas);
    let _ = stage.lost_only_in(load, Gap { from, until });
    let _ = stage.run(&["journal", "verify"]).ok();
    assert_eq!(stage.place("production")["serving"], 1);
}

#[test]
fn what_a_replica_prints_and_how_it_ends_while_no_agent_lives_is_known_to_the_next() {
    let stage = Stage::deployed("");
    let replicas = stage.replica_pids();
    let _ = stage.kill(stage.pid_of("agent"));
    stage.signal(replicas[0], "TERM");
    eventually("the replica ended", PATIENCE, || (!alive(replicas[0])).then_some(()));
    let _ = up_again(&stage);
    let release = eventually("both are ready again", PATIENCE, || {
        let release = stage.place("production")["releases"][0].clone();
        (release["ready"] == 2).then_some(release)
    });
    let pids = stage.replica_pids();
    assert!(pids.contains(&replicas[1]) && !pids.contains(&replicas[0]), "{pids:?} after {replicas:?}");
    let exits: Vec<String> =
        release["replicas"].as_array().unwrap().iter().map(|r| r["lastExit"].to_string()).collect();
    assert!(exits.iter().any(|exit| exit.contains("exit status 0")), "{exits:?}");
    let logs = stage.run(&["logs"]).ok();
    assert!(logs.stdout.contains("stop"), "what it said on its way out: {logs:?}");
}

#[test]
fn a_replica_that_is_killed_costs_at_most_what_it_had_in_flight() {
    let stage = Stage::deployed("replicas: 3\n");
    let replicas = stage.replica_pids();
    let load = stage.load(300.0);
    answered(&load, 200);
    let from = stage.kill(replicas[0]);
    answered(&load, 200);
    let until = Instant::now();
    eventually("three are ready again", PATIENCE, || {
        (stage.place("production")["releases"][0]["ready"] == 3).then_some(())
    });
    answered(&load, 100);
    let (report, _) = stage.lost_only_in(load, Gap { from, until });
    assert!(report.lost <= 64, "{} lost: {:?}", report.lost, report.lost_examples);
    for entry in report.entries().filter(|entry| entry.outcome.is_lost()) {
        assert!(
            matches!(
                entry.outcome,
                Outcome::Gateway { code: "SHP-GW-BACKEND-CLOSED" | "SHP-GW-RESPONSE-BROKEN", .. }
            ),
            "not the replica's end: {entry:?}"
        );
    }
}

/// Waits until two others are ready and a replica has ended.
fn replaced(stage: &Stage, replica: u32) -> Value {
    eventually("another one is ready", PATIENCE, || {
        let release = stage.place("production")["releases"][0].clone();
        let pids = stage.replica_pids();
        (release["ready"] == 2 && pids.len() == 2 && !pids.contains(&replica) && !alive(replica))
            .then_some(release)
    })
}

#[test]
fn a_replica_whose_shim_is_killed_is_replaced_and_no_request_is_lost() {
    let stage = Stage::deployed("");
    let replicas = stage.replica_pids();
    let load = stage.load(200.0);
    answered(&load, 100);
    let (shim, replica) = stage.shims()[0];
    let _ = stage.kill(shim);
    let _ = replaced(&stage, replica);
    let after = stage.replica_pids();
    assert!(
        replicas.iter().all(|pid| *pid == replica || after.contains(pid)),
        "{after:?} after {replicas:?}"
    );
    eventually("the drift is said", PATIENCE, || {
        let journal = stage.run(&["journal", "list", "--limit", "1000", "--output", "json"]).ok().stdout;
        let said = |line: &str| line.contains("drift.corrected") && line.contains("the shim of replica");
        journal.lines().any(said).then_some(())
    });
    answered(&load, 100);
    let _ = stage.nothing_lost(load);
}

#[test]
fn a_replica_that_ends_without_shim_and_agent_is_started_again_and_its_exit_status_unknown() {
    let stage = Stage::deployed("");
    let (shim, replica) = stage.shims()[0];
    let _ = stage.kill(stage.pid_of("agent"));
    let _ = stage.kill(shim);
    let _ = stage.kill(replica);
    eventually("the replica ended", PATIENCE, || (!alive(replica)).then_some(()));
    let _ = up_again(&stage);
    let exits = replaced(&stage, replica)["replicas"].to_string();
    assert!(exits.contains("unknown"), "{exits}");
}
