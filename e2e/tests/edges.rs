//! The edges of a service's life: WebSockets whose replica goes, a replica that is well by its probes and ill by its answers,
//! an artifact that is a link.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::net::TcpStream;
use std::time::Duration;

use e2e::{Stage, answered, eventually};
use serde_json::json;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(30);

/// A WebSocket client that counts; the shop sends every message back.
struct Chat {
    socket: WebSocket<TcpStream>,
    said: u32,
}

impl Chat {
    fn open(stage: &Stage) -> Self {
        let stream = TcpStream::connect(stage.gateway()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client("ws://shop/chat", stream).unwrap();
        Self { socket, said: 0 }
    }

    /// Says something and reads what comes of it; false when it was told to go, and went in good order.
    fn works(&mut self) -> bool {
        self.said += 1;
        let said = Message::text(self.said.to_string());
        self.socket.send(said.clone()).unwrap();
        let heard = self.socket.read().unwrap();
        if let Message::Close(goodbye) = heard {
            assert_eq!(goodbye.unwrap().code, CloseCode::Away);
            self.ends();
            return false;
        }
        assert_eq!(heard, said);
        true
    }

    /// Its answer to the Close frame goes out, and the other side closes.
    fn ends(&mut self) {
        assert!(matches!(self.socket.read(), Err(Error::ConnectionClosed)), "no cut");
    }

    fn goes_when_told(mut self) {
        eventually("it is told to go", PATIENCE, || (!self.works()).then_some(()));
    }
}

#[test]
fn a_websocket_is_told_to_go_when_its_replica_drains_and_comes_back_to_the_new_release() {
    let stage = Stage::deployed("shutdown: {drainTimeout: 60s}\nrollout: {scaleDownDelay: 0s}\n");
    let load = stage.load(100.0);
    let (mut chatting, mut silent) = (Chat::open(&stage), Chat::open(&stage));
    assert!(chatting.works() && silent.works());
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    chatting.goes_when_told();
    let Message::Close(Some(goodbye)) = silent.socket.read().unwrap() else { panic!("it was not told") };
    assert_eq!(goodbye.code, CloseCode::Away);
    silent.ends();
    eventually("the old replicas are gone long before their time is over", PATIENCE, || {
        let releases = stage.place("production")["releases"].clone();
        let mut of_old = releases.as_array()?.iter().filter(|release| release["release"] == 1);
        of_old.all(|release| release["replicas"].as_array().is_some_and(Vec::is_empty)).then_some(())
    });
    assert!(Chat::open(&stage).works());
    let _ = stage.nothing_lost(load);
}

#[test]
fn a_websocket_is_told_to_come_to_the_next_agent() {
    let stage = Stage::deployed("");
    let first = stage.pid_of("agent");
    let load = stage.load(100.0);
    let mut chats: Vec<Chat> = (0..8).map(|_| Chat::open(&stage)).collect();
    assert!(chats.iter_mut().all(Chat::works));
    let _ = stage.run(&["up", "--upgrade"]).ok();
    chats.into_iter().for_each(Chat::goes_when_told);
    assert!(Chat::open(&stage).works());
    let _ = stage.nothing_lost(load);
    let process = format!("/proc/{first}");
    eventually("nothing keeps the first agent", PATIENCE, || {
        (!std::path::Path::new(&process).exists()).then_some(())
    });
}

fn errors_of(load: &load::Running) -> u64 {
    load.snapshot().releases.values().map(|counts| counts.errors).sum()
}

#[test]
fn a_replica_that_fails_its_requests_is_left_out_across_an_upgrade_and_taken_back_when_it_is_well() {
    let stage = Stage::with("");
    stage.up();
    let ill = stage.path("ill-1");
    let settings = json!({"version": "1", "failWhile": stage.path("ill-{replica}")});
    let _ = stage.run(&["deploy", &stage.build("one", &settings)]).ok();
    let replicas = stage.replica_pids();
    let load = stage.load(100.0);
    answered(&load, 50);
    std::fs::write(&ill, "").unwrap();
    let left_out = || stage.run(&["status"]).ok().stdout.contains("left out for now");
    eventually("it is left out", PATIENCE, || left_out().then_some(()));
    let errors = errors_of(&load);
    let _ = stage.run(&["up", "--upgrade"]).ok();
    assert!(left_out(), "the next agent knows");
    answered(&load, 100);
    assert_eq!(errors_of(&load), errors, "the other one serves");
    std::fs::remove_file(&ill).unwrap();
    eventually("it is taken back", Duration::from_secs(60), || (!left_out()).then_some(()));
    answered(&load, 100);
    assert_eq!(errors_of(&load), errors);
    assert_eq!(stage.replica_pids(), replicas, "nobody was started again");
    let _ = stage.nothing_lost(load);
}

#[test]
fn a_link_ships_what_it_points_to_and_says_so() {
    let stage = Stage::with("");
    stage.up();
    let build = stage.build("build-7", &json!({"version": "7"}));
    let link = stage.path("build");
    std::os::unix::fs::symlink("build-7", &link).unwrap();
    let link = link.display().to_string();
    let ran = stage.run(&["deploy", &link]).ok();
    assert!(
        ran.stderr.contains(" is a link: what is shipped is ") && ran.stderr.contains("/build-7,"),
        "{ran:?}"
    );
    let ran = stage.run(&["deploy", &build]).ok();
    assert!(!ran.stderr.contains("is a link"), "{ran:?}");
    std::os::unix::fs::symlink("/etc", stage.path("build-7/outside")).unwrap();
    let refused = stage.run(&["deploy", &link]).exits(1);
    assert!(refused.stderr.contains("points outside the artifact, to /etc"), "{refused:?}");
}
