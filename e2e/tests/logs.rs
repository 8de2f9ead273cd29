//! What replicas print, as records: asked by level, time and field, through kills of control, without secrets.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use e2e::{Stage, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Version 1 of the shop, which prints what this script does beside.
fn talking(stage: &Stage, script: &str) -> String {
    talking_as(stage, "one", script)
}

fn talking_as(stage: &Stage, version: &str, script: &str) -> String {
    let artifact = stage.build(version, &json!({"version": version}));
    let directory = stage.path(version);
    fs::rename(directory.join("shop"), directory.join("real")).unwrap();
    let shop = directory.join("shop");
    fs::write(&shop, format!("#!/bin/sh\n({script}) &\nexec ./real\n")).unwrap();
    fs::set_permissions(&shop, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    artifact
}

fn found(stage: &Stage, arguments: &[&str]) -> Vec<Value> {
    let ran = stage.run(&[&["logs", "--output", "json"], arguments].concat()).ok();
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How often each number was kept.
fn numbers(stage: &Stage) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for record in found(stage, &["--text", "\"beat\"", "-n", "100000"]) {
        let line: Value = serde_json::from_str(record["line"].as_str().unwrap()).unwrap();
        *counts.entry(line["n"].as_u64().unwrap()).or_default() += 1;
    }
    counts
}

#[test]
fn records_are_asked_by_level_time_field_and_group() {
    let stage = Stage::with("replicas: 1\n");
    stage.up();
    let script = r#"
        echo '{"level":"error","error.type":"Timeout","msg":"no answer from cart 17"}'
        echo '{"level":"error","error":{"type":"Timeout"},"msg":"no answer from cart 18"}'
        echo '{"severity":"ERROR","error.type":"Io","msg":"disk"}'
        echo 'WARNING low on carts'
        echo 'java.lang.IllegalStateException: no pool'
        printf '\tat shop.Cart.add(Cart.java:12)\n'"#;
    let _ = stage.run(&["deploy", &talking(&stage, script)]).ok();
    let groups = eventually("all are counted", PATIENCE, || {
        let groups = found(&stage, &["--level", "error", "--since", "10m", "--group-by", "error.type"]);
        (groups.len() == 3).then_some(groups)
    });
    assert_eq!(groups[0], json!({"count": 2, "values": {"error.type": "Timeout"}}));
    let timeouts = found(&stage, &["--level", "error", "--where", "error.type=Timeout"]);
    assert_eq!(timeouts.len(), 2, "{timeouts:?}");
    assert!(timeouts[0]["line"].as_str().unwrap().contains("cart 17"));
    let trace = found(&stage, &["--where", "error.type=java.lang.IllegalStateException"]);
    assert!(trace[0]["line"].as_str().unwrap().ends_with("\n\tat shop.Cart.add(Cart.java:12)"), "{trace:?}");
    assert_eq!(found(&stage, &["--level", "warn", "--text", "low on carts"]).len(), 1);
    assert!(found(&stage, &["--level", "error", "--until", "10m"]).is_empty());
    let text = stage.run(&["logs", "--level", "error", "--where", "error.type=Io"]).ok().stdout;
    assert!(text.contains(" 1/1 error {\"severity\""), "{text}");
    let wrong = stage.run(&["logs", "--where", "x"]).exits(2);
    assert!(wrong.stderr.contains("FIELD=VALUE"), "{wrong:?}");
}

#[test]
fn killing_control_again_and_again_loses_no_line_and_brings_none_twice() {
    let stage = Stage::with("replicas: 1\nlogs: {maxFileSize: 16Ki, maxFiles: 50}\n");
    stage.up();
    let script = r#"i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "{\"level\":\"info\",\"msg\":\"beat\",\"n\":$i}"; [ $((i % 10)) = 0 ] && sleep 0.02; done"#;
    let _ = stage.run(&["deploy", &talking(&stage, script)]).ok();
    for _ in 0..3 {
        let before = numbers(&stage).len();
        eventually("more was kept", PATIENCE, || (numbers(&stage).len() > before).then_some(()));
        let _ = stage.kill(stage.pid_of("control"));
        let down = stage.run(&["logs", "--text", "\"beat\"", "-n", "5"]).ok();
        assert!(down.stderr.contains("control does not answer"), "{down:?}");
        stage.up();
    }
    let kept = eventually("all were kept", PATIENCE, || {
        let kept = numbers(&stage);
        kept.contains_key(&3000).then_some(kept)
    });
    assert_eq!(kept.len(), 3000, "some were lost");
    assert!(kept.values().all(|count| *count == 1), "some came twice: {kept:?}");
}

#[test]
fn no_secret_passes_to_records_or_the_screen_or_the_disk() {
    let mut stage = Stage::with("replicas: 1\nsecrets:\n  TOKEN: {environment: E2E_TOKEN}\n");
    stage.set("E2E_TOKEN", "tr0ub4dor/\"&3");
    stage.up();
    let script = r#"printf '{"level":"info","msg":"with %s"}\n' 'tr0ub4dor\/\"&3'
        echo "bare $TOKEN"
        echo 'Authorization: Bearer abcdefgh12345678'
        echo done"#;
    let _ = stage.run(&["deploy", &talking(&stage, script)]).ok();
    let records = eventually("all were kept", PATIENCE, || {
        let records = found(&stage, &["--since", "1h"]);
        records.iter().any(|record| record["line"] == "done").then_some(records)
    });
    let text = serde_json::to_string(&records).unwrap();
    assert!(text.contains("with [redacted]") && text.contains("bare [redacted]"), "{text}");
    let screen = stage.run(&["logs"]).ok().stdout;
    let _ = stage.run(&["down"]).ok();
    let mut kept = Vec::new();
    for entry in fs::read_dir(stage.home().join("records/shop/production")).unwrap() {
        kept.extend(fs::read(entry.unwrap().path()).unwrap());
    }
    for text in [text, screen, String::from_utf8_lossy(&kept).into_owned()] {
        assert!(!text.contains("tr0ub4dor") && !text.contains("abcdefgh12345678"), "{text}");
    }
}

fn errors(stage: &Stage, state: &str) -> Vec<Value> {
    let ran = stage.run(&["errors", "--state", state, "--output", "json"]).ok();
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    found["errors"].as_array().unwrap().clone()
}

#[test]
fn an_error_that_somebody_knows_stays_known_through_kills_and_opens_again_in_a_later_release() {
    let stage = Stage::with("replicas: 1\n");
    stage.up();
    let old = r#"echo '{"level":"error","error.type":"Timeout","msg":"no answer from cart 17"}'"#;
    let _ = stage.run(&["deploy", &talking(&stage, old)]).ok();
    let error = eventually("it is in the inbox", PATIENCE, || errors(&stage, "open").pop());
    assert_eq!((&error["kind"], &error["title"]), (&json!("Timeout"), &json!("no answer from cart #")));
    let id = &error["id"].as_str().unwrap()[..8];
    let shown = stage.run(&["errors", "show", id]).ok().stdout;
    assert!(shown.contains("cart 17") && shown.contains("release 1: 1 times"), "{shown}");
    let acked = stage.run(&["errors", "ack", id, "--reason", "the bank is down", "--by", "ada"]).ok();
    assert!(acked.stderr.contains("is acknowledged"), "{acked:?}");
    for _ in 0..2 {
        let _ = stage.kill(stage.pid_of("control"));
        let down = stage.run(&["errors"]).ok();
        assert!(down.stdout.contains("no answer from cart #"), "{down:?}");
        stage.up();
    }
    assert!(errors(&stage, "open").is_empty());
    assert_eq!(errors(&stage, "acknowledged")[0]["decided"]["reason"], "the bank is down");
    let journal = stage.run(&["journal", "list", "--kind", "error.acknowledged", "--output", "json"]).ok();
    let event: Value = serde_json::from_str(journal.stdout.trim()).unwrap();
    assert_eq!((&event["actor"], &event["reason"]), (&json!("ada"), &json!("the bank is down")));

    let new = format!("{old}\necho 'ERROR no pool'");
    let _ = stage.run(&["deploy", &talking_as(&stage, "two", &new)]).ok();
    let open = eventually("both are open", PATIENCE, || {
        let open = errors(&stage, "open");
        (open.len() == 2).then_some(open)
    });
    let told: Vec<_> = open.iter().map(|error| (&error["isNew"], &error["reopened"])).collect();
    assert_eq!(told, [(&json!(true), &Value::Null), (&json!(false), &json!("newerRelease"))]);
    let status = stage.run(&["status"]).ok().stdout;
    assert!(status.contains("1 error is new in release 2 of shop/production"), "{status}");
    let id = &open[1]["id"].as_str().unwrap()[..8];
    let refused = stage.run(&["errors", "resolve", id, "--in-release", "2"]).exits(1);
    assert!(refused.stderr.contains("was seen in release 2"), "{refused:?}");
    let _ = stage.run(&["errors", "resolve", id, "--in-release", "3"]).ok();
    assert_eq!(errors(&stage, "resolved").len(), 1);
    let _ = stage.run(&["errors", "reopen", id]).ok();
    assert_eq!(errors(&stage, "open").len(), 2);
}

/// The files of the product's own code, without tests.
fn sources(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir()
            && !["target", "tests", "e2e", "xtask", "docs", "fuzz"].contains(&name.as_str())
            && !name.starts_with('.')
        {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_table_of_events_has_each_that_is_said_and_each_is_said_at_one_place() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/logs.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let table: BTreeMap<String, u64> =
        rows.filter(|(name, _)| name.contains('.')).map(|(name, _)| (name.to_owned(), 1)).collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for rest in text.split("event = \"").skip(1) {
            *said.entry(rest.split('"').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(said, table);
}

#[test]
fn what_was_asked_refused_recorded_and_lost_stands_in_the_own_log_without_a_secret() {
    let mut stage = Stage::with("replicas: 1\nsecrets:\n  TOKEN: {environment: E2E_TOKEN}\n");
    stage.set("E2E_TOKEN", "tr0ub4dor-and-3");
    stage.up();
    let _ = stage.run(&["deploy", &stage.build("one", &json!({"version": "1"}))]).ok();
    let _ = stage.run(&["rollback"]).exits(1);
    let _ = stage.run(&["down"]).ok();
    let mut events: BTreeMap<String, Value> = BTreeMap::new();
    let mut all = String::new();
    for name in ["control.log", "agent.log"] {
        let text = fs::read_to_string(stage.home().join(name)).unwrap();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let Some(event) = line["event"].as_str() {
                events.entry(event.to_owned()).or_insert(line);
            }
        }
        all.push_str(&text);
    }
    let wanted = [
        "control.started",
        "control.ended",
        "agent.started",
        "agent.ended",
        "agent.back",
        "auth.granted",
        "request.refused",
        "change.recorded",
        "wanted.in-force",
        "replica.ended",
    ];
    for event in wanted {
        assert!(events.contains_key(event), "{event} is missing: {:?}", events.keys());
    }
    assert_eq!(
        (&events["request.refused"]["path"], &events["request.refused"]["code"]),
        (&json!("/v1/rollback"), &json!("SHP-API-REFUSED"))
    );
    assert!(events["auth.granted"]["from"].as_str().unwrap().starts_with("uid "));
    assert!(!all.contains("tr0ub4dor"), "a secret stands in the own log");
    // Nobody lives any more, and it is read all the same.
    let asked = ["--platform", "--level", "info", "--where", "event=request.refused"];
    let said = found(&stage, &asked);
    assert_eq!((said.len(), &said[0]["process"]), (1, &json!("control")));
    assert_eq!(said[0]["line"].as_str().map(|line| line.contains("/v1/rollback")), Some(true));
    let text = stage.run(&["logs", "--platform", "--all"]).ok().stdout;
    let [began, ended] = ["agent.started", "control.ended"].map(|event| text.find(event));
    assert!(began.is_some() && began < ended, "both, by their times: {text}");
    let counted = found(&stage, &["--platform", "--group-by", "event"]);
    assert!(counted.contains(&json!({"count": 1, "values": {"event": "agent.started"}})), "{counted:?}");
}

/// A collector that takes nothing.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let refuse = |stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let _ = reader.read_exact(&mut vec![0; length]);
        let _ = (&stream)
            .write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(refuse));
    address
}

/// What control or agent said of an event, once it did.
fn said(stage: &Stage, event: &str) -> Value {
    let condition = format!("event={event}");
    let line = eventually(event, PATIENCE, || found(stage, &["--platform", "--where", &condition]).pop());
    serde_json::from_str(line["line"].as_str().unwrap()).unwrap()
}

/// How many files a process has open.
fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn what_is_lost_late_scarce_or_not_told_stands_in_the_own_log() {
    let stage = Stage::with(&format!(
        "replicas: 1\nlogs: {{export: {{otlp: {{endpoint: 'http://{}'}}}}}}
notify: {{receivers: {{nobody: {{webhook: 'http://127.0.0.1:1/'}}}}, groupWait: 100ms}}
alerts: {{Always: {{expr: vector(1), runbook: always, annotations: {{summary: it holds, description: always}}}}}}\n",
        refusing()
    ));
    stage.up();
    let _ = stage.run(&["deploy", &talking(&stage, "echo hello")]).ok();
    let dropped = said(&stage, "export.dropped");
    assert_eq!((&dropped["signal"], &dropped["overflowed"]), (&json!("/v1/logs"), &json!(0)));
    assert!(dropped["refused"].as_u64() > Some(0), "{dropped}");
    let failing = said(&stage, "receiver.failing");
    assert_eq!((&failing["place"], &failing["receiver"]), (&json!("shop/production"), &json!("nobody")));
    let agent = stage.pid_of("agent");
    let next = stage.build("two", &json!({"version": "2"}));
    stage.signal(agent, "STOP");
    let _ = stage.run(&["deploy", &next, "--detach"]).ok();
    let slow = said(&stage, "agent.slow");
    stage.signal(agent, "CONT");
    assert!(slow["ms"].as_u64() > Some(0), "{slow}");

    // Control may have no more than twice the files that it has now, and whoever connects takes them up.
    let before = stage.pid_of("control");
    let most = 2 * open_files(before) + 40;
    let _ = stage.kill(before);
    let up = stage.command(&["up"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(up.get_program());
    limited.args(up.get_args()).current_dir(stage.home());
    limited.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(limited.output().unwrap().status.success());
    let control = stage.pid_of("control");
    let mut held = Vec::new();
    let low = eventually("files are scarce", PATIENCE, || {
        let more = (most * 93 / 100).saturating_sub(open_files(control));
        held.extend((0..more).map(|_| UnixStream::connect(stage.home().join("control.sock")).unwrap()));
        found(&stage, &["--platform", "--where", "event=resource.low", "--where", "resource=descriptors"])
            .pop()
    });
    assert_eq!((&low["level"], &low["process"]), (&json!("warn"), &json!("control")));
}
