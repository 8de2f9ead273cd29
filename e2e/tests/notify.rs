//! Alerts that reach somebody, with the real binary: from outside to a webhook, over deaths of control and of the receiver.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::server::{Asked, serve};
use e2e::{Stage, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever is told, by Alertmanager's webhook.
#[derive(Clone)]
struct Hook {
    told: Arc<Mutex<Vec<Value>>>,
    /// What it answers.
    status: Arc<AtomicU16>,
    /// How often it was asked, whatever it answered.
    asked: Arc<AtomicUsize>,
    /// The last request's head.
    head: Arc<Mutex<String>>,
}

impl Hook {
    fn start() -> (Self, SocketAddr) {
        let hook = Self {
            told: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            asked: Arc::default(),
            head: Arc::default(),
        };
        let taker = hook.clone();
        let address = serve(move |Asked { head, body }| {
            *taker.head.lock().unwrap() = head;
            let status = taker.status.load(Ordering::SeqCst);
            if status == 200 {
                taker.told.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            }
            taker.asked.fetch_add(1, Ordering::SeqCst);
            (status, String::new())
        });
        (hook, address)
    }

    /// What it was told of alerts with this name.
    fn of(&self, name: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|body| body["commonLabels"]["alertname"] == name).cloned().collect()
    }

    /// Waits until it was told of such alerts so often.
    fn heard(&self, name: &str, times: usize) -> Vec<Value> {
        eventually(&format!("{name} is told {times} times"), PATIENCE, || {
            let told = self.of(name);
            (told.len() >= times).then_some(told)
        })
    }
}

/// Asks control on its socket: status and body.
fn ask(stage: &Stage, method: &str, path: &str, body: &Value) -> (u16, String) {
    let mut stream = UnixStream::connect(stage.home().join("control.sock")).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn tell(stage: &Stage, alerts: Value) {
    let (status, body) = ask(stage, "POST", "/api/v2/alerts", &alerts);
    assert_eq!((status, body.as_str()), (200, ""));
}

fn manifest(hook: SocketAddr) -> String {
    format!(
        "notify:\n  receivers:\n    pager:\n      webhook: http://{hook}/told?by=shipshape\n      \
         headers: {{authorization: {{environment: PAGER}}, x-team: shop}}\n  \
         groupWait: 100ms\n  groupInterval: 200ms\n"
    )
}

#[test]
fn an_alert_reaches_its_receiver_once_although_control_and_receiver_die_and_its_end_does_too() {
    let (hook, address) = Hook::start();
    let mut stage = Stage::with(&manifest(address));
    stage.set("PAGER", "Bearer swordfish");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    // The way is proved as soon as it is declared.
    let test = hook.heard("ShipshapeSelfTest", 1);
    assert_eq!(test[0]["receiver"], "pager");

    let disk = json!({
        "labels": {"alertname": "DiskFull", "severity": "P2", "instance": "db1"},
        "annotations": {"summary": "2 % left"},
        "generatorURL": "http://prometheus/graph",
    });
    tell(&stage, json!([disk]));
    let told = hook.heard("DiskFull", 1);
    let body = &told[0];
    assert_eq!((&body["version"], &body["status"]), (&json!("4"), &json!("firing")));
    assert_eq!(body["groupLabels"], json!({"alertname": "DiskFull"}));
    assert_eq!((&body["truncatedAlerts"], &body["receiver"]), (&json!(0), &json!("pager")));
    let alert = &body["alerts"][0];
    assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(alert["labels"], disk["labels"]);
    assert_eq!(alert["fingerprint"].as_str().unwrap().len(), 16);
    let head = hook.head.lock().unwrap().clone();
    assert!(head.starts_with("POST /told?by=shipshape HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer swordfish\r\n") && head.contains("x-team: shop"), "{head}");

    // Told of again, and over a death of control: nobody hears twice, once it was noted that they took it.
    let noted = || std::fs::read_to_string(stage.home().join("told.json")).is_ok_and(|it| it.contains("db1"));
    eventually("it is noted", PATIENCE, || noted().then_some(()));
    let _ = stage.kill(stage.pid_of("control"));
    let _ = stage.run(&["up"]).ok();
    tell(&stage, json!([disk, {"labels": {"alertname": "Other"}}]));
    let _ = hook.heard("Other", 1);
    assert_eq!(hook.of("DiskFull").len(), 1, "{:?}", hook.of("DiskFull"));
    assert_eq!(hook.of("ShipshapeSelfTest").iter().filter(|body| body["status"] == "firing").count(), 1);

    // The receiver is down: it is tried again until it is up, and then told how it is.
    hook.status.store(503, Ordering::SeqCst);
    let asked = hook.asked.load(Ordering::SeqCst);
    let ended = json!({"labels": disk["labels"], "endsAt": "2026-01-01T00:00:00Z"});
    tell(&stage, json!([ended]));
    eventually("it is tried again", PATIENCE, || {
        (hook.asked.load(Ordering::SeqCst) >= asked + 2).then_some(())
    });
    hook.status.store(200, Ordering::SeqCst);
    let told = hook.heard("DiskFull", 2);
    assert_eq!((&told[1]["status"], told.len()), (&json!("resolved"), 2));
    assert_eq!(told[1]["groupKey"], told[0]["groupKey"]);
    assert_eq!(told[1]["alerts"][0]["fingerprint"], alert["fingerprint"]);
    assert_ne!(told[1]["alerts"][0]["endsAt"], alert["endsAt"]);
    // Somebody wants to know now.
    let tested = stage.run(&["alerts", "test", "-e", "production"]).ok().stdout;
    assert!(tested.contains("pager took the test"), "{tested}");
    let receivers = stage.run(&["alerts", "receivers", "-e", "production"]).ok().stdout;
    assert!(receivers.contains("pager") && receivers.contains(" ago"), "{receivers}");
    let wrong = stage.run(&["alerts", "test", "-e", "production", "--receiver", "pagr"]).exits(1).stderr;
    assert!(wrong.contains("has no receiver pagr") && wrong.contains("it has pager"), "{wrong}");
    let journal = stage.run(&["journal", "list", "--output", "json"]).ok().stdout;
    assert!(journal.contains("alert.firing") && journal.contains("paging.test-passed"), "{journal}");
    assert!(!journal.contains("swordfish"));
}
