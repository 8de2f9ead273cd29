//! What runs out: file descriptors, disk space, patience. A clear answer, nothing lost that was acknowledged, and a way back.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use e2e::{Stage, eventually};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

fn open(stage: &Stage, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(stage.gateway()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn ask(stage: &Stage) -> String {
    let mut text = String::new();
    let mut stream = open(stage, "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    // What was cut off is no answer.
    let _ = stream.read_to_string(&mut text);
    text
}

fn metric(stage: &Stage, name: &str) -> f64 {
    let ran = stage.run(&["up", "--output", "json"]).ok();
    let up: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut stream = TcpStream::connect(up["admin"].as_str().unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

fn limit(pid: u32, descriptors: usize) {
    let range = format!("--nofile={descriptors}:");
    assert!(Command::new("prlimit").args(["--pid", &pid.to_string(), &range]).status().unwrap().success());
}

#[test]
fn an_agent_without_file_descriptors_says_so_harms_no_replica_and_recovers() {
    let stage = Stage::deployed("");
    let (agent, replicas) = (stage.pid_of("agent"), stage.replica_pids());
    let refused = "shipshape_gateway_errors_total{code=\"SHP-GW-NO-DESCRIPTORS\",fault=\"gateway\"}";
    assert!(metric(&stage, refused) < 1.0);
    assert!(ask(&stage).starts_with("HTTP/1.1 200"));
    // One after the other, so that few connections to replicas are kept.
    let mut held: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = open(&stage, "GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream
        })
        .collect();
    limit(agent, 3);
    // All at once: more than there are connections to replicas.
    for stream in &mut held {
        stream.write_all(b"GET /slow?ms=500 HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    }
    let mut said = String::new();
    for stream in &mut held {
        let mut bytes = [0; 4096];
        let size = stream.read(&mut bytes).unwrap();
        said.push_str(&String::from_utf8_lossy(&bytes[..size]));
    }
    assert!(
        said.contains("SHP-GW-NO-DESCRIPTORS")
            && said.contains("503")
            && said.contains("\"fault\":\"gateway\""),
        "{said}"
    );
    // Longer than it takes three probes, a second apart, to fail.
    let probes = || {
        let log = std::fs::read_to_string(stage.home().join("agent.log")).unwrap_or_default();
        log.matches("a probe cannot be sent").count()
    };
    eventually("probes could not be sent", PATIENCE, || (probes() >= 40).then_some(()));
    limit(agent, 1024);
    drop(held);
    eventually("requests are answered again", PATIENCE, || {
        ask(&stage).starts_with("HTTP/1.1 200").then_some(())
    });
    eventually("control sees the agent again", PATIENCE, || {
        (stage.run(&["status", "--output", "json"]).status == Some(0)).then_some(())
    });
    assert_eq!(stage.replica_pids(), replicas, "nobody was started again");
    assert!(metric(&stage, refused) >= 1.0 && metric(&stage, "shipshape_gateway_accept_errors_total") >= 0.0);
    let release = stage.place("production")["releases"][0].clone();
    assert!(
        release["replicas"].as_array().unwrap().iter().all(|replica| replica["restarts"] == 0),
        "{release}"
    );
}

#[test]
fn control_without_file_descriptors_says_so_loses_nothing_and_recovers() {
    let stage = Stage::deployed("");
    let (control, replicas) = (stage.pid_of("control"), stage.replica_pids());
    let load = stage.load(100.0);
    limit(control, 3);
    let refused = stage.run(&["status"]).exits(1);
    assert!(refused.stderr.contains("control"), "{refused:?}");
    eventually("it is in the log", PATIENCE, || {
        let log = std::fs::read_to_string(stage.home().join("control.log")).unwrap_or_default();
        log.contains("Too many open files").then_some(())
    });
    limit(control, 1024);
    eventually("control answers again", PATIENCE, || {
        (stage.run(&["status", "--output", "json"]).status == Some(0)).then_some(())
    });
    assert_eq!(stage.pid_of("control"), control, "it never ended");
    assert_eq!(stage.replica_pids(), replicas);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    let _ = stage.nothing_lost(load);
    let _ = stage.run(&["journal", "verify"]).ok();
}

#[test]
fn a_command_that_the_journal_has_no_room_for_is_refused_and_goes_through_when_there_is() {
    let stage = Stage::with("");
    // A limit on the size of files stands for a full disk; its signal must not end the process, as a full disk would not.
    let up = stage.command(&["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(up.get_program()).args(up.get_args());
    ignoring.current_dir(up.get_current_dir().unwrap());
    ignoring.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(ignoring.status().unwrap().success());
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let control = stage.pid_of("control");
    let load = stage.load(100.0);
    let full = |limit: &str| {
        let range = format!("--fsize={limit}:");
        let ran = Command::new("prlimit").args(["--pid", &control.to_string(), &range]).status();
        assert!(ran.unwrap().success());
    };
    full("0");
    let refused = stage.run(&["lock", "--reason", "no room"]).exits(1);
    for part in ["not recorded, so not done", "cannot write the journal"] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    assert!(!stage.run(&["status"]).ok().stdout.contains("no room"), "what was refused did not happen");
    assert_eq!(stage.place("production")["serving"], 1, "what was acknowledged stays");
    full("unlimited");
    eventually("it is taken", PATIENCE, || {
        (stage.run(&["lock", "--reason", "room again"]).status == Some(0)).then_some(())
    });
    let _ = stage.run(&["unlock"]).ok();
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    assert_eq!(stage.pid_of("control"), control, "it never ended");
    let _ = stage.nothing_lost(load);
    let _ = stage.run(&["journal", "verify"]).ok();
}

#[test]
fn a_tunnel_to_a_replica_that_leaves_lasts_as_long_as_the_drain_timeout_and_no_longer() {
    let stage =
        Stage::deployed("shutdown: {drainTimeout: 3s, gracePeriod: 1s}\nrollout: {scaleDownDelay: 0s}\n");
    let upgrade = "GET /echo HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let mut tunnel = open(&stage, upgrade);
    assert!(tunnel.read(&mut [0; 4096]).unwrap() > 0);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    eventually("only the replica with the tunnel is left, and drains", PATIENCE, || {
        let releases = stage.place("production")["releases"].clone();
        let old = releases.as_array()?.iter().find(|release| release["release"] == 1)?["replicas"].clone();
        let old = old.as_array()?;
        (old.len() == 1 && old[0]["phase"] == "draining").then_some(())
    });
    let mut back = [0; 5];
    tunnel.write_all(b"hello").unwrap();
    tunnel.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello", "it works while it drains");
    assert_eq!(tunnel.read(&mut back).unwrap(), 0, "then it ends, and says so");
}

#[test]
fn clients_that_send_a_byte_now_and_then_hold_nobody_up() {
    let stage = Stage::deployed("");
    let load = stage.load(100.0);
    let slow: Vec<TcpStream> = (0..200)
        .map(|number| match number % 2 {
            0 => open(&stage, "GET / HTTP/1.1\r\nhost: sh"),
            _ => open(&stage, "POST /upload HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000\r\n\r\nx"),
        })
        .collect();
    for mut stream in slow.into_iter().step_by(2) {
        let mut bytes = [0; 1024];
        // Each byte comes in time, the head does not.
        eventually("a head that never ends is given up", PATIENCE, || {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            match (stream.write_all(b"o"), stream.read(&mut bytes)) {
                (Err(_), _) | (_, Ok(_)) => Some(()),
                (_, Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => Some(()),
                (_, Err(_)) => None,
            }
        });
    }
    let _ = stage.nothing_lost(load);
}
