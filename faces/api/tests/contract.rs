//! What a program may rely on: events that are resumed, keys that make a request happen once, the door's guard, and
//! answers as the document says.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[allow(dead_code, reason = "the stage is shared with other tests")]
mod support;

use api::{Client, Token};
use model::Place;
use runtime::{
    Deploy, DeployGroup, GroupMember, LiftLock, Operate, Operation, Retry, Rollback, SetLock, Ship,
};
use serde_json::{Value, json};
use support::Stage;
use support::schema::unfit;

fn place() -> Place {
    Place { service: "shop".parse().unwrap(), environment: "staging".parse().unwrap() }
}

fn deploy(stage: &Stage, artifact: &str) -> Deploy {
    Deploy {
        manifest: "service: shop\nrun: ./shop\nenvironments: {staging: {}, production: {}}\n".to_owned(),
        directory: stage.directory.path().to_owned(),
        artifact: Some(stage.artifact(artifact)),
        environment: Some(place().environment),
        actor: "ada".to_owned(),
        reason: None,
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    }
}

async fn served(stage: &Stage, artifact: &str) {
    let release = stage.client.deploy(&deploy(stage, artifact)).await.unwrap().release;
    let serves = |status: &views::Status| status.places.iter().any(|place| place.serving == Some(release));
    let _ = stage.until("it serves", serves).await;
}

/// The numbers and data of a stream's events.
fn events(body: &str) -> Vec<(u64, String)> {
    let frames = body.split("\n\n").filter(|frame| frame.contains("id: "));
    frames
        .map(|frame| {
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            (field("id: ").parse().unwrap(), field("data: ").to_owned())
        })
        .collect()
}

/// A body as it came, its chunks put together.
fn dechunked(body: &str) -> String {
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_the_journal_and_is_resumed_without_a_gap_or_a_double() {
    let stage = Stage::set().await;
    served(&stage, "one").await;
    let (status, head, body) = stage.with("GET", "/v1/events?follow=false", "Host: c\r\n", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let all = events(&dechunked(&body));
    let stored = stage.journal.entries();
    let expected: Vec<_> =
        stored.iter().map(|e| (e.seq, String::from_utf8(e.bytes.clone()).unwrap())).collect();
    assert_eq!(all, expected[..all.len()]);
    assert!(all.len() > 4, "{body}");
    assert!(body.contains("event: release.registered\n"), "{body}");
    // A browser sends the header beside the address it began with.
    let resumed = "Host: c\r\nLast-Event-ID: 3\r\n";
    let (_, _, body) = stage.with("GET", "/v1/events?follow=false&after=1", resumed, "").await;
    assert_eq!(events(&dechunked(&body))[0].0, 4);
    let (status, _, body) = stage.with("GET", "/v1/events?after=100000", "Host: c\r\n", "").await;
    assert_eq!(status, 404, "{body}");
    let (status, _, body) = stage.with("GET", "/v1/events", "Host: c\r\nLast-Event-ID: x\r\n", "").await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_read_in_pages() {
    let stage = Stage::set().await;
    served(&stage, "one").await;
    let mut after = 0;
    let mut seen = Vec::new();
    loop {
        let (_, body) = stage.raw("GET", &format!("/v1/events?format=json&limit=2&after={after}"), "").await;
        let page: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(unfit("Page", &page), [""; 0]);
        let events = page["events"].as_array().unwrap();
        seen.extend(events.iter().map(|event| event["seq"].as_u64().unwrap()));
        after = page["next"].as_u64().unwrap();
        if events.is_empty() {
            break;
        }
        assert!(events.len() <= 2 && page["last"].as_u64().unwrap() >= after);
    }
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    assert!(seen.len() > 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_events_as_they_come_and_goes_on_with_the_next_control() {
    let stage = Stage::set().await;
    let begun = stage.client.last_event().await.unwrap();
    let mut reader = stage.client.events(begun, true).await.unwrap();
    served(&stage, "one").await;
    let first = reader.next().await.unwrap().unwrap();
    assert_eq!((first.seq, first.kind.as_str()), (begun + 1, "release.registered"));
    let stage = stage.again().await;
    let mut last = first.seq;
    while let Some(event) = reader.next().await.unwrap() {
        assert_eq!(event.seq, last + 1);
        last = event.seq;
    }
    let mut reader = stage.client.events(last, true).await.unwrap();
    let next = reader.next().await.unwrap().unwrap();
    assert_eq!(next.seq, last + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_a_request_happen_once_also_for_the_next_control() {
    let mut stage = Stage::set().await;
    for artifact in ["one", "two", "three"] {
        served(&stage, artifact).await;
    }
    let back = json!({"place": place(), "actor": "ada"}).to_string();
    let keyed = "Host: c\r\nIdempotency-Key: 7f3a\r\n";
    let (status, _, first) = stage.with("POST", "/v1/rollback", keyed, &back).await;
    assert_eq!(status, 200, "{first}");
    let serves = |status: &views::Status| status.places[0].serving.is_some_and(|release| release.0 == 2);
    let _ = stage.until("release 2 serves", serves).await;
    let rollouts = |stage: &Stage| {
        let entries = stage.journal.entries();
        entries.iter().filter(|e| String::from_utf8_lossy(&e.bytes).contains("\"rollout.started\"")).count()
    };
    let before = rollouts(&stage);
    for _ in 0..2 {
        assert_eq!(stage.with("POST", "/v1/rollback", keyed, &back).await.2, first);
        stage = stage.again().await;
    }
    assert_eq!(rollouts(&stage), before);
    let other = json!({"place": place(), "actor": "bob"}).to_string();
    for (path, body) in [("/v1/rollback", &other), ("/v1/operate", &other)] {
        let (status, _, answer) = stage.with("POST", path, keyed, body).await;
        let expected = if path == "/v1/rollback" { (422, "SHP-API-KEY") } else { (400, "SHP-API-REQUEST") };
        assert!(status == expected.0 && answer.contains(expected.1), "{answer}");
    }
    for key in ["", "a b", &"x".repeat(129)] {
        let headers = format!("Host: c\r\nIdempotency-Key: {key}\r\n");
        let (status, _, answer) = stage.with("POST", "/v1/rollback", &headers, &back).await;
        assert!(status == 400 && answer.contains("Idempotency-Key"), "{key}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_asks_again_with_the_same_key_when_the_connection_is_lost() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let home = tempfile::tempdir().unwrap();
    let listener = tokio::net::UnixListener::bind(api::socket(home.path())).unwrap();
    let control = tokio::spawn(async move {
        let mut heads = Vec::new();
        for turn in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 65536];
            let read = stream.read(&mut bytes).await.unwrap();
            heads.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
            if turn == 1 {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        }
        heads
    });
    let stop = api::Stop { actor: "ada".to_owned(), reason: None };
    Client::new(home.path()).stop(&stop).await.unwrap();
    let key = |head: &str| {
        head.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned)).unwrap()
    };
    let heads = control.await.unwrap();
    assert_eq!(key(&heads[0]), key(&heads[1]));
    assert_eq!(key(&heads[0]).len(), 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_lets_in_who_shows_the_token_and_names_it() {
    let stage = Stage::set().await;
    let token = std::fs::read_to_string(stage.directory.path().join(api::TOKEN)).unwrap();
    let (token, port) = (token.trim(), stage.door.port());
    let with =
        |host: &str, more: &str| format!("Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n{more}");
    let ok = [
        with("127.0.0.1", ""),
        with("localhost", &format!("Origin: http://localhost:{port}\r\n")),
        with("127.0.0.1", "").replace("Bearer", "bearer"),
    ];
    for headers in ok {
        assert_eq!(stage.at_door("GET", "/v1/health", &headers).await.0, 200, "{headers}");
    }
    let refused = [
        (403, with("evil.example", "")),
        (403, with("127.0.0.1.evil.example", "")),
        (403, format!("Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n")),
        (400, with("127.0.0.1", "Host: evil.example\r\n")),
        (403, with("127.0.0.1", "Origin: http://evil.example\r\n")),
        (403, with("127.0.0.1", "Origin: null\r\n")),
        (401, format!("Host: 127.0.0.1:{port}\r\n")),
        (401, format!("Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {}\r\n", &token[1..])),
        (401, format!("Host: 127.0.0.1:{port}\r\nAuthorization: Basic {token}\r\n")),
    ];
    for path in ["/v1/health", "/v1/events?follow=false", "/v1/openapi.json", "/nowhere"] {
        for (expected, headers) in &refused {
            let (status, head, body) = stage.at_door("GET", path, headers).await;
            assert_eq!(status, *expected, "{path} {headers} {body}");
            assert_eq!(head.contains("www-authenticate: Bearer"), status == 401, "{head}");
            assert!(!body.contains(token) && body.contains(r#""code":"SHP-"#), "{body}");
        }
    }
    let far = api::Door::open(stage.directory.path(), "0.0.0.0:0".parse().unwrap()).await.unwrap_err();
    assert!(far.to_string().contains("loopback"), "{far}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_asks_over_tcp_and_the_journal_says_so() {
    let stage = Stage::set().await;
    let client = Client::at(&format!("http://{}/", stage.door), stage.token.clone()).unwrap();
    assert_eq!(client.health().await.unwrap().api, Some(stage.door.to_string()));
    let _ = client.deploy(&deploy(&stage, "one")).await.unwrap();
    let mut events = client.events(1, false).await.unwrap();
    let line: Value = serde_json::from_str(&events.next().await.unwrap().unwrap().line).unwrap();
    assert_eq!(line["actor"], "ada (token)");
    let stranger = Client::at(&stage.door.to_string(), Token::new("wrong").unwrap()).unwrap();
    let refused = stranger.health().await.unwrap_err();
    assert!(matches!(refused, api::client::Error::Said(ref problem) if problem.status == 401), "{refused}");
    for url in ["http://example.org:80", "https://127.0.0.1:80", "http://127.0.0.1", "10.0.0.1:9465"] {
        assert!(Client::at(url, stage.token.clone()).is_err(), "{url}");
    }
}

/// Requests that name a place alone, as the client sends them.
fn fits(schema: &str, text: &str) {
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(unfit(schema, &value), [""; 0], "{text}");
}

fn orders() -> [(&'static str, Value); 4] {
    let (actor, reason) = (|| "ada".to_owned(), || "the disk was full".to_owned());
    let operate = Operate { place: place(), operation: Operation::PromoteFull, actor: actor(), reason: None };
    let back = Rollback { place: place(), to: None, actor: actor(), reason: None, override_lock: true };
    let retry = Retry {
        place: place(),
        actor: actor(),
        reason: reason(),
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    };
    let ship = Ship {
        service: place().service,
        from: place().environment,
        to: "production".parse().unwrap(),
        actor: actor(),
        reason: Some(reason()),
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    };
    [
        ("Operate", serde_json::to_value(operate).unwrap()),
        ("Rollback", serde_json::to_value(back).unwrap()),
        ("Retry", serde_json::to_value(retry).unwrap()),
        ("Ship", serde_json::to_value(ship).unwrap()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "one walk through the document, form by form")]
async fn answers_and_requests_are_as_the_document_says() {
    let stage = Stage::set().await;
    let (_, document) = stage.raw("GET", "/v1/openapi.json", "").await;
    assert_eq!(document, api::OPENAPI);
    let health = stage.raw("GET", "/v1/health", "").await.1;
    fits("Health", &health);
    let probes = stage.raw("GET", "/v1/probes", "").await.1;
    fits("Probes", &probes);
    assert!(probes.contains("staging") && probes.contains("\"reason\":\"status\""), "{probes}");
    let probes = stage.raw("GET", "/v1/probes?environment=staging", "").await.1;
    assert!(probes.contains("staging") && !probes.contains("production"), "{probes}");
    served(&stage, "one").await;
    let manifest = "service: shop\nrun: ./shop\nenvironments: {staging: {}, production: {}}\n\
        rollout: {strategy: canary, canary: {steps: [{setWeight: 20}, {pause: {}}]}}\n";
    let canary = Deploy { manifest: manifest.to_owned(), ..deploy(&stage, "two") };
    let canary = serde_json::to_string(&canary).unwrap();
    fits("Deploy", &canary);
    fits("Answer", &stage.raw("POST", "/v1/deploy", &canary).await.1);
    let _ = stage
        .until("it pauses", |status| {
            status.places[0].rollout.as_ref().is_some_and(|rollout| rollout.phase == "paused")
        })
        .await;
    let status = stage.raw("GET", "/v1/status", "").await.1;
    fits("Status", &status);
    assert!(status.contains("probe home of shop/production fails: answered 500"), "{status}");
    assert!(status.contains("\"evidence\":{") && status.contains("\"replicas\":[{"), "{status}");
    for (name, body) in orders() {
        fits(name, &body.to_string());
    }
    let scope = runtime::Scope { service: Some(place().service), environment: place().environment };
    let reason = Some("freeze".to_owned());
    let lock = SetLock { scope: scope.clone(), for_seconds: Some(60), actor: "ada".to_owned(), reason };
    let lock = serde_json::to_string(&lock).unwrap();
    fits("SetLock", &lock);
    assert_eq!(stage.raw("POST", "/v1/lock", &lock).await, (204, String::new()));
    let status = stage.raw("GET", "/v1/status", "").await.1;
    fits("Status", &status);
    assert!(status.contains("\"locks\":[{\"service\":\"shop\""), "{status}");
    let lift = LiftLock { scope, actor: "bob".to_owned(), reason: None };
    let lift = serde_json::to_string(&lift).unwrap();
    fits("LiftLock", &lift);
    assert_eq!(stage.raw("POST", "/v1/unlock", &lift).await.0, 204);
    assert_eq!(stage.raw("POST", "/v1/unlock", &lift).await.0, 409);
    let member = |service: &str, build: &str| {
        let Deploy { manifest, directory, artifact, .. } = deploy(&stage, build);
        GroupMember {
            manifest: manifest.replace("service: shop", &format!("service: {service}")),
            directory,
            artifact,
        }
    };
    let group = DeployGroup {
        name: "checkout".parse().unwrap(),
        members: vec![member("cart", "three"), member("till", "four")],
        environment: Some(place().environment),
        actor: "ada".to_owned(),
        reason: None,
        override_lock: false,
        override_budget: false,
        override_freeze: false,
        change: runtime::Words::default(),
    };
    let group = serde_json::to_string(&group).unwrap();
    fits("DeployGroup", &group);
    let (code, answer) = stage.raw("POST", "/v1/deploy-group", &group).await;
    assert_eq!(code, 200, "{answer}");
    fits("Answer", &answer);
    let status = stage.raw("GET", "/v1/status", "").await.1;
    fits("Status", &status);
    assert!(status.contains("\"name\":\"checkout\""), "{status}");
    fits("Stop", &json!({"actor": "ada", "reason": null}).to_string());
    for (method, path, body) in
        [("GET", "/nowhere", ""), ("POST", "/v1/rollback", "{}"), ("PUT", "/v1/stop", "")]
    {
        fits("Problem", &stage.raw(method, path, body).await.1);
    }
    // The check is no yes-man.
    let mut wrong: Value = serde_json::from_str(&health).unwrap();
    wrong["more"] = json!(1);
    wrong["pid"] = json!("1");
    assert_eq!(unfit("Health", &wrong).len(), 2);
}

#[tokio::test]
async fn objectives_are_as_the_document_says() {
    let budget = json!({
        "total": 9, "bad": 1, "allowed": 2, "remainingPercent": 50.0, "attainedPercent": 88.9, "coveragePercent": 100.0,
        "excludedMinutes": 0,
    });
    let promise = json!({"targetPercent": 99.9, "window": "30d", "unit": "events", "budget": budget});
    let cause = json!({"longSeconds": 3600, "shortSeconds": 300, "burn": 14.5, "bad": 1, "total": 9});
    let (at, sla) = ("2026-11-21T02:00:00.000000Z", promise.clone());
    let status = json!({
        "service": "shop", "environment": "production", "objective": "availability", "description": "it answers",
        "indicator": "requests", "declared": true, "promise": promise, "sla": sla, "burn": 1.5,
        "forecast": {"outlook": "runsOut", "inSeconds": 60.0}, "level": "canaryOnly", "levelSince": at,
        "alerts": [{"rule": "burn-P1", "phase": "firing", "severity": "P1", "since": at, "cause": cause}],
        "unknown": ["no-data"], "charges": [{"rollout": 2, "bad": 1, "total": 9, "excess": 1, "budgetPercent": 50.0}],
        "hardlyUsed": true, "trouble": "none",
    });
    let told: api::objectives::ObjectiveStatus = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(&told).unwrap(), status, "every field is described, and no other");
    fits("ObjectiveStatus", &status.to_string());
    let sent = json!({
        "rule": "burn-P1", "severity": "P1", "at": at, "resolvedAt": null, "beganAt": at, "burned": 3, "cause": cause,
    });
    let backtest = json!({
        "alerts": [sent], "more": 0, "levels": [{"at": at, "level": "freeze"}], "budget": budget, "lowestPercent": -1.0,
        "untold": 0,
    });
    let told: api::objectives::BacktestReport = serde_json::from_value(backtest.clone()).unwrap();
    assert_eq!(serde_json::to_value(&told).unwrap(), backtest);
    fits("Backtest", &backtest.to_string());
    let month = json!({
        "service": "shop", "environment": "production", "objective": "availability", "indicator": "requests",
        "month": "2026-11", "complete": false, "promise": promise, "sla": promise,
        "excluded": [{"from": at, "to": at}],
    });
    let told: api::objectives::MonthReport = serde_json::from_value(month.clone()).unwrap();
    assert_eq!(serde_json::to_value(&told).unwrap(), month);
    fits("MonthReport", &month.to_string());
    let stage = Stage::set().await;
    assert_eq!(stage.raw("GET", "/v1/objectives", "").await, (200, "[]".to_owned()));
    assert_eq!(stage.raw("GET", "/v1/objectives/report?month=2026-11", "").await, (200, "[]".to_owned()));
    let ask = "/v1/objectives/backtest?service=shop&environment=production&objective=x";
    assert_eq!(stage.raw("GET", ask, "").await.0, 404);
    let correct = json!({
        "place": {"service": "shop", "environment": "production"}, "objective": "x", "from": at,
        "to": "2026-11-21T03:00:00Z", "actor": "ada", "reason": "planned",
    });
    fits("Correct", &correct.to_string());
    assert_eq!(stage.raw("POST", "/v1/objectives/correct", &correct.to_string()).await.0, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_as_the_document_says() {
    let stage = Stage::set().await;
    served(&stage, "one").await;
    let words = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let changed = |place: Option<model::Place>, name: &str, severity: &str| lifecycle::Changed {
        place,
        machine: false,
        labels: words(&[("alertname", name), ("severity", severity)]),
        annotations: words(&[("summary", "too long"), ("description", "far"), ("runbook", "queue-too-long")]),
        to: watch::alert::To::Firing,
        value: Some("7".to_owned()),
        starts_at: None,
        generator_url: Some("http://127.0.0.1/graph".to_owned()),
    };
    let changes = vec![changed(Some(place()), "QueueTooLong", "P1"), changed(None, "Elsewhere", "critical")];
    stage.control.as_ref().unwrap().watched(lifecycle::Command::Alerts(changes)).await.unwrap();
    let all = stage.raw("GET", "/v1/alerts", "").await.1;
    fits("Alerts", &all);
    let all: api::alerts::Alerts = serde_json::from_str(&all).unwrap();
    let shown: Vec<_> = all.alerts.iter().map(|it| (it.name.as_str(), it.origin.as_str())).collect();
    assert_eq!(shown, [("QueueTooLong", "rule"), ("Elsewhere", "external")], "{all:?}");
    let production = stage.raw("GET", "/v1/alerts?environment=production", "").await.1;
    assert!(production.contains("Elsewhere") && !production.contains("QueueTooLong"), "{production}");
    let status = stage.raw("GET", "/v1/status", "").await.1;
    assert!(status.contains("P1 QueueTooLong fires for") && status.contains(": too long"), "{status}");
    let rules = stage.raw("GET", "/v1/alerts/rules", "").await.1;
    fits("AlertRules", &rules);
    assert!(rules.contains("no answer within 10s"), "{rules}");
    let staging = stage.raw("GET", "/v1/alerts/rules?environment=staging", "").await.1;
    assert!(!staging.contains("QueueTooLong"), "{staging}");
}
