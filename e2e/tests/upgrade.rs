//! Upgrades of Shipshape itself under load: nothing may be lost, and nobody may notice.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

use e2e::{Stage, answered, eventually};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

fn connect(stage: &Stage) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(stage.gateway()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "the connection ended after {head:?}");
    }
    head
}

/// A request whose whole answer is read in a thread of its own.
fn long(stage: &Stage, path: &str) -> JoinHandle<String> {
    let mut stream = connect(stage);
    write!(stream.get_mut(), "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
    std::thread::spawn(move || {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

/// An upgraded connection that sends back what it gets.
struct Echo(BufReader<TcpStream>);

impl Echo {
    fn open(stage: &Stage) -> Self {
        let mut stream = connect(stage);
        write!(
            stream.get_mut(),
            "GET /echo HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        )
        .unwrap();
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self(stream)
    }

    fn works(&mut self) {
        self.0.get_mut().write_all(b"hello\n").unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
    }
}

fn upgrade(stage: &Stage) {
    let ran = stage.run(&["up", "--upgrade"]).ok();
    assert!(ran.stdout.contains("upgraded"), "{ran:?}");
}

/// The agent that answers; one before it may still finish connections.
fn agent(stage: &Stage) -> u64 {
    let ran = stage.run(&["up", "--output", "json"]).ok();
    let up: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    up["agentPid"].as_u64().unwrap()
}

#[test]
fn two_upgrades_under_load_lose_nothing_and_touch_no_replica() {
    let stage = Stage::deployed("");
    let (replicas, gateway) = (stage.replica_pids(), stage.gateway());
    let load = stage.load(300.0);
    answered(&load, 100);
    let mut agents = vec![agent(&stage)];
    let mut tunnel = Echo::open(&stage);
    for round in 0..2 {
        let control = stage.pid_of("control");
        let (slow, stream) = (long(&stage, "/slow?ms=3000"), long(&stage, "/stream?chunks=30&ms=100"));
        let mut newer = Echo::open(&stage);
        eventually("all of it is in flight", PATIENCE, || {
            let release = stage.place("production")["releases"][0].clone();
            let counts = release["replicas"].as_array()?.iter().filter_map(|r| r["inFlight"].as_u64());
            (counts.sum::<u64>() >= 4).then_some(())
        });
        upgrade(&stage);
        agents.push(agent(&stage));
        assert_ne!(agents[round], agents[round + 1], "another agent answers");
        assert_ne!(control, stage.pid_of("control"));
        answered(&load, 200);
        assert_eq!(stage.replica_pids(), replicas, "in round {round}");
        tunnel.works();
        newer.works();
        let (slow, stream) = (slow.join().unwrap(), stream.join().unwrap());
        assert!(slow.contains("waitedMs"), "{slow}");
        assert!(stream.ends_with("\r\n0\r\n\r\n"), "{stream}");
    }
    assert_eq!(stage.gateway(), gateway);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    answered(&load, 100);
    tunnel.works();
    let _ = stage.nothing_lost(load);
    // The tunnel is the last thing that keeps the first agent.
    let process = format!("/proc/{}", agents[0]);
    assert!(std::path::Path::new(&process).exists());
    drop(tunnel);
    eventually("the first agent has ended", PATIENCE, || {
        (!std::path::Path::new(&process).exists()).then_some(())
    });
}

#[test]
fn an_upgrade_in_the_middle_of_a_rollout_is_no_end_of_it() {
    let canary = "rollout:\n  strategy: canary\n  canary: {steps: [{setWeight: 20}, {pause: {duration: 4s}}]}\n  scaleDownDelay: 1s\n";
    let stage = Stage::deployed(canary);
    let load = stage.load(200.0);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second, "--detach"]).ok();
    eventually("the canary gets traffic", PATIENCE, || {
        load.snapshot().releases.contains_key("2").then_some(())
    });
    upgrade(&stage);
    eventually("the rollout ends", Duration::from_secs(60), || {
        (stage.place("production")["serving"] == 2).then_some(())
    });
    let _ = stage.nothing_lost(load);
}

/// What the agent that answers has in force.
fn generation(stage: &Stage) -> u64 {
    let text = std::fs::read_to_string(stage.home().join("wanted.json")).unwrap();
    let wanted: serde_json::Value = serde_json::from_str(&text).unwrap();
    wanted["generation"].as_u64().unwrap()
}

#[test]
fn no_successor_goes_back_to_an_older_generation() {
    let stage = Stage::deployed("rollout: {scaleDownDelay: 0s}\n");
    let mut last = generation(&stage);
    for version in 2..5 {
        let next = stage.build(&version.to_string(), &json!({"version": version.to_string()}));
        let _ = stage.run(&["deploy", &next, "--detach"]).ok();
        upgrade(&stage);
        eventually("it is rolled out", PATIENCE, || {
            let has = generation(&stage);
            assert!(has >= last, "generation {has} after {last}");
            last = has;
            (stage.place("production")["serving"] == version).then_some(())
        });
    }
}

#[test]
fn a_replica_that_leaves_waits_for_what_the_agent_before_still_has_in_flight_to_it() {
    let stage = Stage::deployed("rollout: {scaleDownDelay: 0s}\n");
    let slow = long(&stage, "/slow?ms=8000");
    let busy = eventually("it is in flight", PATIENCE, || {
        let release = stage.place("production")["releases"][0].clone();
        let busy = release["replicas"].as_array()?.iter().find(|r| r["inFlight"] == 1)?;
        u32::try_from(busy["pid"].as_u64()?).ok()
    });
    let idle = stage.replica_pids().into_iter().find(|pid| *pid != busy).unwrap();
    upgrade(&stage);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    let lives = |pid: u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
    eventually("the replica without requests is gone", PATIENCE, || (!lives(idle)).then_some(()));
    let releases = stage.place("production")["releases"].to_string();
    assert!(!slow.is_finished() && lives(busy), "the other one waits for the agent before");
    assert!(
        releases.contains("\"draining\"") && !releases.contains("\"stopping\""),
        "not even told to: {releases}"
    );
    assert!(slow.join().unwrap().contains("waitedMs"));
    eventually("then it goes too", PATIENCE, || (!lives(busy)).then_some(()));
}

#[test]
fn down_after_an_upgrade_ends_the_agent_before_too() {
    let stage = Stage::deployed("shutdown: {drainTimeout: 1s}\n");
    let mut tunnel = Echo::open(&stage);
    upgrade(&stage);
    tunnel.works();
    let _ = stage.run(&["down"]).ok();
    eventually("nothing is left", PATIENCE, || {
        e2e::processes_with(&[&stage.home().display().to_string()]).is_empty().then_some(())
    });
}
