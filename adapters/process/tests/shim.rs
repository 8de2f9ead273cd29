//! The shim by itself, as an agent that was killed leaves it.

mod world;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use world::{DOUBLE, alive, eventually, kill};

fn order(home: &Path, script: &str) -> String {
    let log = home.join("log");
    serde_json::json!({
        "program": "/bin/sh", "args": ["-c", script], "directory": "/", "logDirectory": log,
        "environment": {"PATH": "/usr/bin:/bin"}, "fileBytes": 4096, "files": 2, "cgroup": null,
    })
    .to_string()
}

/// Starts a shim, and is gone: nobody holds its standard input.
#[allow(clippy::unwrap_used, reason = "part of tests")]
fn shim(home: &Path, order: &str) -> Child {
    let mut shim = Command::new(DOUBLE).arg("shim").arg(home).stdin(Stdio::piped()).spawn().unwrap();
    shim.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
    shim
}

#[tokio::test]
async fn half_an_order_starts_nothing() {
    let home = tempfile::tempdir().unwrap();
    let whole = order(home.path(), "touch started");
    let mut shim = shim(home.path(), &whole[..whole.len() / 2]);
    assert!(!shim.wait().unwrap().success());
    assert!(!home.path().join("started.json").exists());
    let ended = std::fs::read_to_string(home.path().join("exit.json")).unwrap();
    assert!(ended.contains("the order is not whole"), "{ended}");
}

#[tokio::test]
async fn it_tells_the_exit_at_once_and_ends_though_an_escaped_process_holds_the_output_open() {
    let home = tempfile::tempdir().unwrap();
    let mark = home.path().join("mark");
    let mark = mark.display();
    // It has left the group by the time it writes.
    let script = format!(
        "setsid sh -c 'echo $$ > {mark}; exec sleep 300' & while [ ! -s {mark} ]; do sleep 0.01; done; cat {mark}; exit 6"
    );
    let mut shim = shim(home.path(), &order(home.path(), &script));
    let ended = eventually("the exit", || std::fs::read_to_string(home.path().join("exit.json")).ok()).await;
    assert!(ended.contains(r#"{"status":6}"#), "{ended}");
    let log = std::fs::read_to_string(home.path().join("log/current.log")).unwrap();
    let escaped: u32 = log.trim().parse().unwrap();
    let status = eventually("its end", || shim.try_wait().unwrap()).await;
    assert!(status.success());
    assert!(alive(escaped), "it left the group, so it is nobody's to end");
    kill(escaped);
}

#[tokio::test]
async fn children_that_stayed_in_the_group_end_with_the_replica() {
    let home = tempfile::tempdir().unwrap();
    let mut shim = shim(home.path(), &order(home.path(), "sleep 300 & echo $!; exit 0"));
    let status = eventually("its end", || shim.try_wait().unwrap()).await;
    assert!(status.success());
    let log = std::fs::read_to_string(home.path().join("log/current.log")).unwrap();
    let child: u32 = log.trim().parse().unwrap();
    eventually("the child's end", || (!alive(child)).then_some(())).await;
}

#[tokio::test]
async fn it_is_small() {
    let home = tempfile::tempdir().unwrap();
    let mut shim = shim(home.path(), &order(home.path(), "sleep 300"));
    let started = eventually("a start", || std::fs::read(home.path().join("started.json")).ok()).await;
    let started: serde_json::Value = serde_json::from_slice(&started).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", shim.id())).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 2048, "{kib} KiB of its own");
    assert_eq!(status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim(), "1");
    kill(u32::try_from(started["replica"]["pid"].as_u64().unwrap()).unwrap());
    assert!(shim.wait().unwrap().success());
}
