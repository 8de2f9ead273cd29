//! Who gets which release, with the real binary: by a header, by a cookie that stays, and by nobody after the way back.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use e2e::{Stage, eventually};
use serde_json::json;

/// An answer's head, and how it was led.
struct Answer {
    head: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// What the client would send back.
    fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")?.split(';').next()
    }

    fn release(&self) -> &str {
        self.header(load::RELEASE_HEADER).unwrap_or("nobody")
    }
}

fn ask(stage: &Stage, more: &str) -> Answer {
    try_ask(stage, more).unwrap()
}

fn try_ask(stage: &Stage, more: &str) -> io::Result<Answer> {
    let mut socket = TcpStream::connect(stage.gateway())?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(socket, "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{more}\r\n")?;
    let mut reader = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    reader.read_to_end(&mut Vec::new())?;
    Ok(Answer { head })
}

const LED: &str = "
rollout:
  strategy: canary
  scaleDownDelay: 30s
  canary:
    steps:
      - setCanaryScale: {replicas: 2}
      - setHeaderRoute:
          name: beta
          match: [{headerName: X-Beta, headerValue: {regex: yes|please}}]
      - pause: {}
";

const STICKY: &str = "
rollout:
  strategy: canary
  scaleDownDelay: 30s
  canary:
    sessionAffinity: {cookie: {name: shop-user, maxAge: 1h}}
    steps:
      - setWeight: 50
      - pause: {}
      - setWeight: 80
      - pause: {}
";

/// Release 1 serves, and release 2 waits in its first pause.
fn paused(more: &str) -> Stage {
    let stage = Stage::deployed(more);
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second, "--detach"]).ok();
    let _ = stage.wait_for_phase("production", "paused");
    stage
}

#[test]
fn a_header_leads_to_the_new_release_at_no_weight_until_it_goes_back() {
    let stage = paused(LED);
    for _ in 0..20 {
        assert_eq!(ask(&stage, "x-beta: please\r\n").release(), "2");
        assert_eq!(ask(&stage, "x-beta: pleased\r\n").release(), "1");
        assert_eq!(ask(&stage, "").release(), "1");
    }
    let _ = stage.run(&["abort", "--reason", "second thoughts"]).ok();
    let _ = stage.wait_for_phase("production", "rolledBack");
    for _ in 0..20 {
        assert_eq!(ask(&stage, "x-beta: yes\r\n").release(), "1");
    }
}

/// Everybody is served by the release that they were dealt, and is given no cookie again.
fn stay(stage: &Stage, users: &[(String, String)]) {
    for (cookie, release) in users {
        let again = ask(stage, cookie);
        assert_eq!((again.release(), again.cookie()), (release.as_str(), None));
    }
}

#[test]
fn users_keep_their_release_while_the_weight_grows_and_lose_it_when_it_goes_back() {
    let stage = paused(STICKY);
    let users: Vec<(String, String)> = (0..40)
        .map(|_| {
            let first = ask(&stage, "");
            let cookie = first.cookie().expect("a newcomer gets a cookie").to_owned();
            (format!("cookie: other=1; {cookie}\r\n"), first.release().to_owned())
        })
        .collect();
    stay(&stage, &users);
    let on_new = |users: &[(String, String)]| users.iter().filter(|(_, release)| release == "2").count();
    assert!(
        (1..40).contains(&on_new(&users)),
        "half of forty users, but for luck of one in a million million"
    );
    // Who was dealt what is written down nowhere, and the next gateway knows it all the same.
    let _ = stage.kill(stage.pid_of("agent"));
    let _ = stage.run(&["up"]).ok();
    let is_served = |(cookie, release): &(String, String)| {
        try_ask(&stage, cookie).is_ok_and(|answer| answer.release() == release)
    };
    eventually("all are served as before", Duration::from_secs(30), || {
        users.iter().all(is_served).then_some(())
    });
    stay(&stage, &users);
    let _ = stage.run(&["promote"]).ok();
    eventually("the new release has 80 %", Duration::from_secs(30), || {
        let place = stage.place("production");
        (place["rollout"]["step"] == 3 && place["rollout"]["phase"] == "paused").then_some(())
    });
    for (cookie, release) in &users {
        let now = ask(&stage, cookie);
        assert!(now.release() == "2" || release == "1", "nobody goes from the new release to the old one");
    }
    let _ = stage.run(&["abort", "--reason", "second thoughts"]).ok();
    let _ = stage.wait_for_phase("production", "rolledBack");
    for (cookie, _) in &users {
        assert_eq!(ask(&stage, cookie).release(), "1");
    }
}
