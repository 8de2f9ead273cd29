//! The API as programs meet it: over TCP with the token, and over control's death.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use e2e::Stage;
use serde_json::{Value, json};

struct Api {
    address: String,
    token: String,
}

impl Api {
    fn of(stage: &Stage) -> Self {
        let up = ["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--api", "127.0.0.1:0"];
        let ran = stage.run(&[&up[..], &["--output", "json"]].concat()).ok();
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        let token = fs::read_to_string(stage.home().join("token")).unwrap().trim().to_owned();
        Self { address: told["api"].as_str().unwrap().to_owned(), token }
    }

    fn post(&self, path: &str, key: &str, body: &Value) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }
}

#[test]
fn a_request_with_a_key_is_done_once_although_control_was_killed() {
    let stage = Stage::with("");
    let api = Api::of(&stage);
    let deploy = json!({
        "manifest": fs::read_to_string(stage.path("shipshape.yaml")).unwrap(),
        "directory": stage.path(""),
        "artifact": stage.build("one", &json!({"version": "1"})),
        "actor": "ada",
    });
    let first = api.post("/v1/deploy", "k-1", &deploy);
    assert_eq!(first.0, "200", "{first:?}");
    let _ = stage.kill(stage.pid_of("control"));
    stage.up();
    assert_eq!(api.post("/v1/deploy", "k-1", &deploy), first, "at the same address, with the same token");
    let _ = stage.wait_for_phase("production", "completed");
    let exported = stage.run(&["journal", "export"]).ok().stdout;
    assert_eq!(exported.matches("\"kind\":\"rollout.started\"").count(), 1);
    assert!(exported.contains("\"actor\":\"ada (token)\""));
    assert!(!exported.contains(&api.token));
    let other = json!({"place": {"service": "shop", "environment": "production"}, "actor": "ada"});
    assert_eq!(api.post("/v1/rollback", "k-1", &other).0, "422");
    let log = fs::read_to_string(stage.home().join("control.log")).unwrap();
    assert!(!log.contains(&api.token));
}

#[test]
fn the_command_line_works_over_tcp_with_the_token_alone() {
    let stage = Stage::with("");
    let api = Api::of(&stage);
    let url = format!("http://{}", api.address);
    let elsewhere = stage.path("elsewhere").display().to_string();
    let first = stage.build("one", &json!({"version": "1"}));
    let remote = |token: Option<&str>, arguments: &[&str]| {
        let mut command = stage.command(&[arguments, &["--home", &elsewhere, "--api", &url]].concat());
        if let Some(token) = token {
            command.env("SHIPSHAPE_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, said) = remote(None, &["status"]);
    assert!(!done && said.contains("SHIPSHAPE_TOKEN"), "{said}");
    let (done, said) = remote(Some("wrong"), &["status"]);
    assert!(!done && said.contains("SHP-API-UNAUTHORIZED"), "{said}");
    let (done, said) = remote(Some(&api.token), &["deploy", &first]);
    assert!(done, "{said}");
    assert_eq!(stage.place("production")["serving"], 1);
    let ran = stage.run(&["up", "--api", "0.0.0.0:0"]).exits(1);
    assert!(ran.stderr.contains("other machines"), "{ran:?}");
}

#[test]
fn the_journal_is_followed_over_the_death_of_control_without_a_gap_or_a_double() {
    let stage = Stage::with("");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let arguments = ["journal", "follow", "--after", "0", "--output", "json"];
    let mut reader = stage.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["kind"], "control.started");
    let _ = stage.run(&["deploy", &first]).ok();
    let mut seq = 1;
    let mut until = |kind: &str| loop {
        let event = next();
        seq += 1;
        assert_eq!(event["seq"], seq, "{event}");
        if event["kind"] == kind {
            break;
        }
    };
    until("rollout.completed");
    let _ = stage.kill(stage.pid_of("control"));
    stage.up();
    until("control.started");
    reader.kill().unwrap();
    let _ = reader.wait();
}
