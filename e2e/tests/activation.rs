//! The agent as a service manager starts it: with a listening socket that somebody else holds.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::{Stage, eventually};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// What systemd does: the socket is descriptor 3, the environment says whose it is and what it is called.
const ACTIVATE: &str = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=gateway exec \"$@\"";

fn activated(stage: &Stage, socket: &TcpListener) -> Child {
    let home = stage.home().display().to_string();
    let arguments = ["agent", "--home", &home, "--listen", "127.0.0.1:1", "--admin", "127.0.0.1:0"];
    let agent = stage.command(&arguments);
    let mut shell = Command::new("sh");
    shell.args(["-c", ACTIVATE, "sh"]).arg(agent.get_program()).args(agent.get_args());
    let socket = OwnedFd::from(socket.try_clone().unwrap());
    shell.stdin(Stdio::from(socket)).stderr(Stdio::null()).spawn().unwrap()
}

fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn requests_wait_in_the_service_managers_socket_while_no_agent_runs() {
    let stage = Stage::with("");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut agent = activated(&stage, &socket);
    eventually("the agent answers", PATIENCE, || stage.home().join("agent.sock").exists().then_some(()));
    let _ = stage.run(&["up"]).ok();
    assert_eq!(stage.gateway(), address, "the socket it got, not the one it was told");
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let replicas = stage.replica_pids();
    assert!(answer(ask(address)).starts_with("HTTP/1.1 200"));

    for signal in ["TERM", "KILL"] {
        stage.signal(agent.id(), signal);
        let _ = agent.wait().unwrap();
        let waiting: Vec<TcpStream> = (0..20).map(|_| ask(address)).collect();
        agent = activated(&stage, &socket);
        for stream in waiting {
            let answer = answer(stream);
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "from the first request on, after {signal}: {answer}"
            );
        }
        eventually("the replicas are adopted", PATIENCE, || (stage.replica_pids() == replicas).then_some(()));
    }
    let _ = stage.run(&["down"]).ok();
    let _ = agent.wait().unwrap();
}

#[test]
fn the_units_are_sound() {
    let units = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/systemd");
    let names = ["shipshape-agent.socket", "shipshape-agent.service", "shipshape-control.service"];
    // Without systemd's own judge only this is held: what the promises of an upgrade rest on.
    let agent = std::fs::read_to_string(units.join(names[1])).unwrap();
    assert!(agent.contains("\nKillMode=process\n") && agent.contains("\nDelegate="), "{agent}");
    let judge = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(names.map(|name| units.join(name)))
        .output();
    let Ok(judged) = judge else { return };
    let said = String::from_utf8_lossy(&judged.stderr);
    let faults: Vec<&str> = said
        .lines()
        // The program is not installed here.
        .filter(|line| line.contains("shipshape-") && !line.contains("/usr/local/bin/shipshape"))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
