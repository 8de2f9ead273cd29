//! Commands as checks: what their exit says, what they are told, and that nothing of them is left.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the message")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use checks::{Checks, GuardCommand};
use model::ReleaseNumber;
use model::check::{Check, Command, Outcome, Verdict};
use ports::checks::Context;
use ports::{Checks as _, Secret};
use tempfile::TempDir;

const DOUBLE: &str = env!("CARGO_BIN_EXE_checks-double");

struct Scene {
    directory: TempDir,
    context: Context,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place =
            model::Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
        let context = Context::new(place, ReleaseNumber(7), directory.path().to_owned());
        Self { directory, context }
    }

    async fn run(&self, run: &[&str], timeout: Duration) -> Outcome {
        let guard = GuardCommand { program: DOUBLE.into(), args: vec!["guard".into()] };
        let run = run.iter().map(|word| (*word).to_owned()).collect();
        Checks::new(guard).run(Check::Command(Command { run, timeout }), self.context.clone()).await
    }

    async fn shell(&self, script: &str) -> Outcome {
        self.run(&["sh", "-c", script], Duration::from_secs(60)).await
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

async fn until(what: &str, met: impl Fn() -> bool) {
    let began = Instant::now();
    while !met() {
        assert!(began.elapsed() < Duration::from_secs(30), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn lives(pid_file: &Path) -> bool {
    let Ok(pid) = std::fs::read_to_string(pid_file) else { return false };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // A zombie that nobody has reaped yet runs no more.
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn the_exit_status_is_the_verdict() {
    let scene = Scene::new();
    let passed = scene.shell("echo fine").await;
    assert_eq!((passed.verdict, passed.value), (Verdict::Passed, Some(0.0)));
    assert_eq!(passed.detail, "exit status 0: fine");
    let failed = scene.shell("echo checkout is broken >&2; exit 3").await;
    assert_eq!((failed.verdict, failed.value), (Verdict::Failed, Some(3.0)));
    assert_eq!(failed.detail, "exit status 3: checkout is broken");
    let killed = scene.shell("kill -SEGV $$").await;
    assert_eq!(
        (killed.verdict, killed.detail.as_str()),
        (Verdict::Failed, "exit status 139, as of signal 11")
    );
}

#[tokio::test]
async fn what_could_not_be_run_says_nothing_about_the_release() {
    let scene = Scene::new();
    let missing = scene.run(&["no-such-test"], Duration::from_secs(60)).await;
    assert_eq!(missing.verdict, Verdict::Error);
    assert_eq!(missing.detail, "the command `no-such-test` is neither in the artifact nor on the PATH");
    let inside = scene.shell("no-such-test").await;
    assert_eq!(inside.verdict, Verdict::Error, "{}", inside.detail);
    assert!(inside.detail.starts_with("it could not be run (exit status 127): "), "{}", inside.detail);
    let script = scene.path().join("bad");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = scene.run(&["./bad"], Duration::from_secs(60)).await;
    assert_eq!(refused.verdict, Verdict::Error, "{}", refused.detail);
}

#[tokio::test]
async fn it_is_told_what_it_looks_at_and_nothing_else() {
    let mut scene = Scene::new();
    scene.context.gateway = Some("0.0.0.0:8080".to_owned());
    scene.context.preview_host = Some("preview.shop.test".to_owned());
    scene.context.replicas = vec!["127.0.0.1:4001".parse().unwrap(), "127.0.0.1:4002".parse().unwrap()];
    scene.context.variables.insert("MODE".to_owned(), "smoke".to_owned());
    let told = scene.shell("env > seen; pwd >> seen").await;
    assert_eq!(told.verdict, Verdict::Passed, "{}", told.detail);
    let seen = std::fs::read_to_string(scene.path().join("seen")).unwrap();
    for line in [
        "SHIPSHAPE_SERVICE=shop",
        "SHIPSHAPE_ENVIRONMENT=production",
        "SHIPSHAPE_RELEASE=7",
        "SHIPSHAPE_GATEWAY=127.0.0.1:8080",
        "SHIPSHAPE_PREVIEW_HOST=preview.shop.test",
        "SHIPSHAPE_PREVIEW_URL=http://preview.shop.test:8080",
        "SHIPSHAPE_REPLICAS=127.0.0.1:4001 127.0.0.1:4002",
        "MODE=smoke",
        &scene.path().canonicalize().unwrap().display().to_string(),
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is not in\n{seen}");
    }
    assert!(!seen.contains("CARGO"), "the environment is not clean:\n{seen}");
}

#[tokio::test]
async fn its_words_hold_no_secret() {
    let mut scene = Scene::new();
    scene.context.secrets.insert("TOKEN".to_owned(), Secret::new("hunter22".to_owned()));
    scene.context.hidden.push(Secret::new("open sesame".to_owned()));
    let told = scene.shell("echo token $TOKEN and open sesame; exit 1").await;
    assert_eq!(told.detail, "exit status 1: token (secret) and (secret)");
}

#[tokio::test]
async fn at_its_timeout_everything_that_it_started_is_killed() {
    let scene = Scene::new();
    let script = "echo waiting; sleep 600 & echo $! > pid; wait";
    let late = scene.run(&["sh", "-c", script], Duration::from_secs(1)).await;
    assert_eq!(late.verdict, Verdict::Failed);
    assert_eq!(late.detail, "killed after 1s, its timeout: waiting");
    let pid = scene.path().join("pid");
    until("its child is dead", || pid.is_file() && !lives(&pid)).await;
}

#[tokio::test]
async fn a_child_that_it_leaves_behind_is_killed_and_does_not_hold_it_up() {
    let scene = Scene::new();
    let done = scene.shell("sleep 600 & echo $! > pid; echo done").await;
    assert_eq!(done.detail, "exit status 0: done");
    until("its child is dead", || !lives(&scene.path().join("pid"))).await;
}

#[tokio::test]
async fn dropping_the_check_ends_the_command() {
    let scene = Scene::new();
    let pid = scene.path().join("pid");
    tokio::select! {
        outcome = scene.shell("echo $$ > pid; sleep 600") => panic!("{outcome:?}"),
        () = until("it runs", || lives(&pid)) => {}
    }
    until("it is dead", || !lives(&pid)).await;
}

#[tokio::test]
async fn it_does_not_outlive_whoever_asked_for_it() {
    let scene = Scene::new();
    let pid = scene.path().join("pid");
    let mut asker = tokio::process::Command::new(DOUBLE)
        .args(["ask", "sh", "-c", "echo $$ > pid; sleep 600"])
        .current_dir(scene.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("it runs", || lives(&pid)).await;
    asker.kill().await.unwrap();
    until("it is dead", || !lives(&pid)).await;
}

#[tokio::test]
async fn endless_output_is_read_and_forgotten() {
    let scene = Scene::new();
    let done = scene.shell("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end").await;
    assert_eq!(done.verdict, Verdict::Passed);
    assert!(done.detail.ends_with(" | the end") && done.detail.len() < 1_000, "{}", done.detail.len());
}
