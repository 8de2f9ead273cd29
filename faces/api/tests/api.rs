//! Every route and its errors, over a real socket.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stage is shared with other tests")]
mod support;

use std::os::unix::fs::PermissionsExt as _;

use api::client::Error;
use api::logs::{Ask, Format};
use api::{Client, Problem, Socket, Stop};
use model::{Place, ReleaseNumber};
use runtime::{Deploy, Operate, Operation, Retry, Rollback, Ship};
use support::Stage;

const MANIFEST: &str =
    "service: shop\nrun: ./shop\nreplicas: 2\nenvironments: {staging: {}, production: {}}\n";
const PATIENT: &str = "service: shop\nrun: ./shop\nenvironments: {staging: {}, production: {}}\n\
    rollout: {strategy: canary, canary: {steps: [{setWeight: 20}, {pause: {}}]}}\n";

fn place(environment: &str) -> Place {
    Place { service: "shop".parse().unwrap(), environment: environment.parse().unwrap() }
}

fn deploy(stage: &Stage, manifest: &str, artifact: &str, environment: &str) -> Deploy {
    Deploy {
        manifest: manifest.to_owned(),
        directory: stage.directory.path().to_owned(),
        artifact: Some(stage.artifact(artifact)),
        environment: Some(environment.parse().unwrap()),
        actor: "ada".to_owned(),
        reason: None,
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    }
}

async fn deployed(stage: &Stage, artifact: &str, environment: &str, number: u64) {
    let answer = stage.client.deploy(&deploy(stage, MANIFEST, artifact, environment)).await.unwrap();
    assert_eq!((answer.place, answer.release), (place(environment), ReleaseNumber(number)));
    settled(stage, environment, number).await;
}

async fn settled(stage: &Stage, environment: &str, number: u64) {
    let what = format!("release {number} serves in {environment}");
    stage.until(&what, |status| serves(status, environment, number)).await;
}

fn serves(status: &views::Status, environment: &str, number: u64) -> bool {
    let place = place(environment);
    status.places.iter().any(|seen| seen.place == place && seen.serving == Some(ReleaseNumber(number)))
}

fn operate(environment: &str, operation: Operation) -> Operate {
    Operate { place: place(environment), operation, actor: "ada".to_owned(), reason: None }
}

fn said<T: std::fmt::Debug>(answer: Result<T, Error>) -> Problem {
    let error = answer.unwrap_err();
    let Error::Said(problem) = error else { panic!("{error}") };
    problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_status_tell_what_control_knows() {
    let stage = Stage::set().await;
    let health = stage.client.health().await.unwrap();
    assert_eq!(
        (health.version.as_str(), health.pid, health.agent_reachable),
        ("1.2.3", std::process::id(), true)
    );
    deployed(&stage, "one", "staging", 1).await;
    deployed(&stage, "one", "production", 1).await;
    let all = stage.client.status(None, None).await.unwrap();
    assert_eq!((all.places.len(), all.gateway.as_deref()), (2, Some("127.0.0.1:8080")));
    let one = stage.client.status(Some(&place("staging").service), Some(&place("staging").environment)).await;
    assert_eq!(
        one.unwrap().places.iter().map(|seen| seen.place.clone()).collect::<Vec<_>>(),
        [place("staging")]
    );
    let none = stage.client.status(Some(&"other".parse().unwrap()), None).await.unwrap();
    assert!(none.places.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_shipped_on_and_rolled_back() {
    let stage = Stage::set().await;
    deployed(&stage, "one", "staging", 1).await;
    deployed(&stage, "two", "staging", 2).await;
    let (from, to) = (place("staging").environment, place("production").environment);
    let ship = Ship {
        service: place("staging").service,
        from,
        to,
        actor: "ada".to_owned(),
        reason: None,
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    };
    let answer = stage.client.ship(&ship).await.unwrap();
    assert_eq!((answer.place, answer.release), (place("production"), ReleaseNumber(2)));
    settled(&stage, "production", 2).await;
    let back = Rollback {
        place: place("staging"),
        to: None,
        actor: "ada".to_owned(),
        reason: None,
        override_lock: false,
    };
    assert_eq!(stage.client.rollback(&back).await.unwrap().release, ReleaseNumber(1));
    settled(&stage, "staging", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_moved_by_operators() {
    let stage = Stage::set().await;
    deployed(&stage, "one", "staging", 1).await;
    for (artifact, operation, serving) in [("two", Operation::PromoteFull, 2), ("three", Operation::Abort, 2)]
    {
        let _ = stage.client.deploy(&deploy(&stage, PATIENT, artifact, "staging")).await.unwrap();
        stage.until("it pauses", |status| status.places[0].rollout.as_ref().unwrap().phase == "paused").await;
        let _ = stage.client.operate(&operate("staging", operation)).await.unwrap();
        settled(&stage, "staging", serving).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rolled_back_is_tried_again_and_only_that() {
    let stage = Stage::set().await;
    deployed(&stage, "one", "staging", 1).await;
    let retry = |reason: &str| Retry {
        place: place("staging"),
        actor: "ada".to_owned(),
        reason: reason.to_owned(),
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    };
    let problem = said(stage.client.retry(&retry("it is better now")).await);
    assert_eq!((problem.status, problem.code.as_str()), (409, "SHP-API-REFUSED"));
    assert!(problem.error.contains("was not rolled back: release 1 serves"), "{problem:?}");
    let _ = stage.client.deploy(&deploy(&stage, PATIENT, "two", "staging")).await.unwrap();
    stage.until("it pauses", |status| status.places[0].rollout.as_ref().unwrap().phase == "paused").await;
    let _ = stage.client.operate(&operate("staging", Operation::Abort)).await.unwrap();
    settled(&stage, "staging", 1).await;
    let problem = said(stage.client.retry(&retry(" ")).await);
    assert!(problem.error.contains("not tried again without a reason"), "{problem:?}");
    let answer = stage.client.retry(&retry("it was the disk")).await.unwrap();
    assert_eq!(answer.release, ReleaseNumber(2));
    stage.until("it pauses", |status| status.places[0].rollout.as_ref().unwrap().phase == "paused").await;
    let _ = stage.client.operate(&operate("staging", Operation::PromoteFull)).await.unwrap();
    settled(&stage, "staging", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_has_a_code_and_a_way_out() {
    let stage = Stage::set().await;
    let back = Rollback {
        place: place("staging"),
        to: None,
        actor: "ada".to_owned(),
        reason: None,
        override_lock: false,
    };
    let problem = said(stage.client.rollback(&back).await);
    assert_eq!((problem.status, problem.code.as_str()), (409, "SHP-API-REFUSED"));
    assert!(problem.error.contains("nothing was ever deployed at shop/staging"), "{problem:?}");
    assert!(problem.instead.unwrap().contains("shipshape deploy"));
    let problem = said(stage.client.operate(&operate("staging", Operation::Pause)).await);
    assert_eq!(problem.status, 409);
    let secret = "secrets: {TOKEN: {environment: NOWHERE}}\n";
    let problem =
        said(stage.client.deploy(&deploy(&stage, &(MANIFEST.to_owned() + secret), "one", "staging")).await);
    assert!(problem.status == 409 && problem.error.contains("TOKEN"), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_shipped_is_told_apart() {
    let stage = Stage::set().await;
    let problem =
        said(stage.client.deploy(&deploy(&stage, "service: shop\nrum: x\n", "one", "staging")).await);
    assert_eq!((problem.status, problem.code.as_str()), (422, "SHP-API-MANIFEST"));
    assert!(problem.error.contains("shipshape.yaml:2:1"), "{problem:?}");
    let mut missing = deploy(&stage, MANIFEST, "one", "staging");
    missing.artifact = Some("/".into());
    let problem = said(stage.client.deploy(&missing).await);
    assert_eq!((problem.status, problem.code.as_str()), (422, "SHP-API-ARTIFACT"));
    assert!(problem.error.contains("/ has no name"), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_unavailable_and_changes_nothing() {
    let stage = Stage::set().await;
    stage.journal.fail(u32::MAX);
    let problem = said(stage.client.deploy(&deploy(&stage, MANIFEST, "one", "staging")).await);
    assert_eq!((problem.status, problem.code.as_str()), (503, "SHP-API-UNAVAILABLE"));
    assert!(problem.error.contains("no space left on the simulated disk"), "{problem:?}");
    stage.journal.fail(0);
    deployed(&stage, "one", "staging", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_refused_by_name() {
    let stage = Stage::set().await;
    let long = "x".repeat(20_000);
    let rollback = |more: &str| {
        format!(r#"{{"place":{{"service":"shop","environment":"staging"}},"to":null,"reason":null{more}}}"#)
    };
    let cases = [
        ("POST", "/v1/rollback", rollback(r#","actor":"ada","force":true"#), 400, "unknown field `force`"),
        ("POST", "/v1/rollback", rollback(""), 400, "missing field `actor`"),
        ("POST", "/v1/rollback", rollback(r#","actor":"""#), 400, "the actor has 0 bytes"),
        ("POST", "/v1/stop", format!(r#"{{"actor":"ada","reason":"{long}"}}"#), 400, "the reason has 20000 bytes"),
        ("POST", "/v1/operate", "{".to_owned(), 400, "EOF"),
        (
            "POST",
            "/v1/deploy",
            r#"{"manifest":"","directory":"here","artifact":null,"environment":null,"actor":"ada","reason":null}"#
                .to_owned(),
            400,
            "the path here is not absolute",
        ),
        ("POST", "/v1/deploy", "x".repeat(3 * 1024 * 1024), 413, "larger than 2097152 bytes"),
        ("GET", "/v1/status?service=Shop", String::new(), 400, "is not a name"),
        ("GET", "/v1/status?servce=shop", String::new(), 400, "unknown field"),
        ("GET", "/v1/nothing", String::new(), 404, "there is no /v1/nothing"),
        ("GET", "/v1/deploy", String::new(), 405, "does not take GET"),
        ("GET", "/v1/logs?service=shop&environment=staging", String::new(), 404, "nothing was ever deployed"),
    ];
    for (method, path, body, status, what) in cases {
        let (answered, text) = stage.raw(method, path, &body).await;
        assert_eq!(answered, status, "{method} {path}: {text}");
        let problem: Problem =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{method} {path}: {text}"));
        assert!(problem.error.contains(what), "{method} {path}: {problem:?}");
        assert!(problem.code.starts_with("SHP-"), "{problem:?}");
    }
}

fn ask(follow: bool) -> Ask {
    Ask {
        service: place("staging").service,
        environment: place("staging").environment,
        release: None,
        replica: None,
        lines: Some(2),
        follow,
        format: Format::Text,
    }
}

async fn text(mut output: api::client::Output) -> String {
    let mut text = String::new();
    while let Some(piece) = output.next().await.unwrap() {
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_comes_as_text_or_as_json_for_all_replicas_or_one() {
    let stage = Stage::set().await;
    deployed(&stage, "one", "staging", 1).await;
    for (replica, line) in [(1, "first"), (2, "second"), (1, "third \"quoted\"")] {
        stage.written.write(&place("staging"), replica, line);
    }
    assert_eq!(text(stage.client.logs(&ask(false)).await.unwrap()).await, "second\nthird \"quoted\"\n");
    let one = Ask { replica: Some(2), ..ask(false) };
    assert_eq!(text(stage.client.logs(&one).await.unwrap()).await, "second\n");
    let json = Ask { format: Format::Json, lines: Some(1), ..ask(false) };
    let expected = "{\"release\":1,\"replica\":1,\"line\":\"third \\\"quoted\\\"\"}\n";
    assert_eq!(text(stage.client.logs(&json).await.unwrap()).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_followed_until_control_leaves() {
    let mut stage = Stage::set().await;
    deployed(&stage, "one", "staging", 1).await;
    stage.written.write(&place("staging"), 1, "before");
    let mut output = stage.client.logs(&ask(true)).await.unwrap();
    assert_eq!(output.next().await.unwrap().unwrap(), "before\n");
    stage.written.write(&place("staging"), 1, "after");
    assert_eq!(output.next().await.unwrap().unwrap(), "after\n");
    stage.leave().await;
    assert!(output.next().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_control_and_its_socket() {
    let mut stage = Stage::set().await;
    let stop = Stop { actor: "ada".to_owned(), reason: Some("moving".to_owned()) };
    stage.fleet.set_reachable(false);
    let problem = said(stage.client.stop(&stop).await);
    assert_eq!((problem.status, problem.code.as_str()), (503, "SHP-API-UNAVAILABLE"));
    stage.fleet.set_reachable(true);
    stage.client.stop(&stop).await.unwrap();
    stage.ended().await;
    let error = stage.client.health().await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error}");
    assert_eq!(error.instead().unwrap(), "`shipshape up` starts it");
    assert!(!api::socket(stage.directory.path()).exists());
}

#[tokio::test]
async fn the_socket_is_private_replaces_a_dead_one_and_refuses_a_live_one() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let socket = Socket::open(&home).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home), mode(&api::socket(&home))), (0o700, 0o600));
    let error = Socket::open(&home).await.unwrap_err().to_string();
    assert!(error.contains("another control answers"), "{error}");
    drop(socket);
    drop(std::os::unix::net::UnixListener::bind(api::socket(&home)).unwrap());
    assert!(api::socket(&home).exists());
    let error = Client::new(&home).health().await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error}");
    drop(Socket::open(&home).await.unwrap());
    let error = Socket::open(&directory.path().join("x".repeat(120))).await.unwrap_err().to_string();
    assert!(error.contains("the system allows 107: choose a shorter home directory"), "{error}");
}
