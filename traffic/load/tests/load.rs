//! The generator against real servers on loopback: on schedule whatever they do, and honest about what came back.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use load::{Config, Load, Mix, Outcome, ReceivedLine, Running, Shape, Snapshot};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

const DEADLINE: Duration = Duration::from_secs(15);

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An HTTP server; the answer may wait. Also counts the connections it accepted.
async fn serve<A, F>(answer: A) -> (SocketAddr, Arc<AtomicU64>)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let (listener, address) = bind().await;
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, connections)
}

/// A server that reads a request's head and then writes these bytes and closes.
async fn serve_raw(bytes: &'static [u8]) -> SocketAddr {
    let (listener, address) = bind().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut piece = [0; 1024];
                    match stream.read(&mut piece).await {
                        Ok(n) if n > 0 => head.extend_from_slice(&piece[..n]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(bytes).await;
            });
        }
    });
    address
}

fn respond(status: u16, headers: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"body")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(
            http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            http::HeaderValue::from_str(value).unwrap(),
        );
    }
    response
}

fn config(target: SocketAddr, rate_per_second: f64) -> Config {
    Config {
        mix: Mix::only(Shape::get("/")),
        ..Config::new(target, rate_per_second, Duration::from_secs(60))
    }
}

async fn until(running: &Running, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen = running.snapshot();
        if condition(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "still {seen:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn every_request_is_answered_and_both_ledgers_agree() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let (target, connections) = serve(move |request| {
        let written = Arc::clone(&written);
        async move {
            let (parts, body) = request.into_parts();
            let host = parts.headers["host"].to_str().unwrap().to_owned();
            let body = body.collect().await.unwrap().to_bytes();
            let sequence = parts.headers["x-sequence"].to_str().unwrap().to_owned();
            let line = format!("{sequence} 3 a {} {}", parts.method, parts.uri.path());
            written.lock().await.push((line, host, body));
            respond(if parts.method == "POST" { 201 } else { 200 }, &[("X-Release", "3")])
        }
    })
    .await;
    let mut config = Config::new(target, 500.0, Duration::from_millis(400));
    config.host = Some("shop.localhost".into());
    config.connections = 4;
    let running = Load::start(config).unwrap();
    let run = running.run().to_owned();
    let report = running.wait().await.unwrap();

    assert_eq!((report.sent, report.answered, report.lost, report.errors()), (200, 200, 0, 0));
    assert_eq!(report.run, run);
    let counts = &report.releases["3"];
    assert_eq!((counts.answered, counts.by_class), (200, [0, 200, 0, 0, 0]));
    let posts = report.entries().filter(|e| e.outcome == Outcome::Answered { status: 201, release: "3" });
    assert_eq!(posts.map(|e| e.sequence).collect::<Vec<_>>(), (0..200).step_by(5).collect::<Vec<_>>());
    assert!(connections.load(Ordering::SeqCst) <= 4, "keep-alive connections are used again");

    let lines = lines.lock().await;
    assert!(lines.iter().all(|(_, host, _)| host == "shop.localhost"));
    assert!(lines.iter().all(|(line, _, body)| line.contains("POST /orders") != body.is_empty()));
    let received = || lines.iter().map(|(line, ..)| line.parse::<ReceivedLine>().unwrap());
    let result = load::reconcile(&report, received());
    assert_eq!((result.sent, result.received_once), (200, 200));
    let short = load::reconcile(&report, received().filter(|line| line.number != 17));
    assert_eq!(short.answered_but_never_received, [17]);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["releases"]["3"]["answered"], 200);
}

#[tokio::test]
async fn a_stall_moves_no_request_and_its_wait_is_counted() {
    let (release, gate) = watch::channel(false);
    let (target, connections) = serve(move |_| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            respond(200, &[("X-Release", "1")])
        }
    })
    .await;
    let running = Load::start(Config { connections: 3, ..config(target, 400.0) }).unwrap();
    let stalled = until(&running, |seen| seen.sent >= 100).await;
    assert_eq!(stalled.finished, 0, "the schedule goes on although nothing completes");

    let opened = Instant::now();
    release.send(true).unwrap();
    until(&running, |seen| seen.finished >= 100).await;
    let report = running.stop().await.unwrap();

    assert_eq!((report.lost, report.answered), (0, report.sent), "nothing is skipped");
    assert!(connections.load(Ordering::SeqCst) <= 3);
    for entry in report.entries() {
        let due = Duration::from_secs_f64(entry.sequence as f64 / 400.0).as_micros();
        assert_eq!(entry.intended.as_micros(), due, "number {} keeps its time", entry.sequence);
    }
    let opened = opened - report.start();
    let before: Vec<_> = report.entries().filter(|entry| entry.intended < opened).collect();
    assert!(before.len() >= 100);
    for entry in &before {
        let latency = entry.latency.unwrap() + Duration::from_micros(2);
        assert!(entry.intended + latency >= opened, "{entry:?} hides the stall that ended at {opened:?}");
    }
    // The three on the wire were served slowly; the others waited, and their own service time does not say so.
    let queued = before.iter().filter(|entry| entry.sent.unwrap() + Duration::from_micros(2) >= opened);
    assert!(queued.count() >= before.len() - 3);
}

#[tokio::test]
async fn what_the_gateway_answers_is_lost_and_what_the_service_fails_is_an_error() {
    let (target, _) = serve(|request| async move {
        let sequence = request.headers()["x-sequence"].to_str().unwrap();
        let number: u64 = sequence.rsplit_once('-').unwrap().1.parse().unwrap();
        match number % 3 {
            0 => respond(500, &[("X-Release", "2")]),
            1 => respond(503, &[("Shipshape-Error", "no-ready-replica")]),
            _ => respond(404, &[("X-Release", "1")]),
        }
    })
    .await;
    let mut config = config(target, 1000.0);
    config.duration = Duration::from_millis(30);
    let report = Load::start(config).unwrap().wait().await.unwrap();
    assert_eq!((report.sent, report.answered, report.lost, report.errors()), (30, 20, 10, 10));
    assert_eq!((report.releases["1"].errors, report.releases["2"].errors), (0, 10));
    assert_eq!(report.lost_examples[0].reason, "the gateway answered 503 (no-ready-replica)");
    assert_eq!(report.lost_examples[0].sequence, 1);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_lost_request() {
    for (bytes, reason) in [
        (&b""[..], "connection closed before message completed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "response 200 broke off"),
        (b"not http at all\r\n\r\n", "invalid HTTP version parsed"),
    ] {
        let target = serve_raw(bytes).await;
        let mut config = config(target, 1000.0);
        config.duration = Duration::from_millis(5);
        let report = Load::start(config).unwrap().wait().await.unwrap();
        assert_eq!((report.sent, report.lost), (5, 5), "{reason}");
        assert!(report.lost_examples[0].reason.contains(reason), "{:?}", report.lost_examples[0]);
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_lost_request() {
    let (listener, target) = bind().await;
    drop(listener);
    let mut config = config(target, 1000.0);
    config.duration = Duration::from_millis(5);
    let report = Load::start(config).unwrap().wait().await.unwrap();
    assert_eq!((report.sent, report.lost), (5, 5));
    assert!(report.lost_examples[0].reason.contains("refused"), "{:?}", report.lost_examples[0]);
}

#[tokio::test]
async fn a_server_that_closes_after_each_response_loses_nothing() {
    let (target, connections) = serve(|_| async { respond(200, &[("Connection", "close")]) }).await;
    let mut config = config(target, 1000.0);
    config.duration = Duration::from_millis(50);
    let report = Load::start(config).unwrap().wait().await.unwrap();
    assert_eq!((report.sent, report.answered), (50, 50), "{:?}", report.lost_examples);
    assert_eq!(connections.load(Ordering::SeqCst), 50);
}

#[tokio::test]
async fn no_answer_in_time_is_lost_and_draining_is_bounded() {
    let (target, _) = serve(|_| std::future::pending()).await;
    let mut quick = config(target, 1000.0);
    quick.duration = Duration::from_millis(5);
    quick.timeout = Duration::from_millis(20);
    let report = Load::start(quick).unwrap().wait().await.unwrap();
    assert!(report.entries().all(|entry| entry.outcome == Outcome::TimedOut));
    assert!(report.latency.p50_us >= 20_000, "time waited in vain counts");

    let mut patient = config(target, 1000.0);
    patient.connections = 1;
    patient.drain = Duration::from_millis(20);
    let running = Load::start(patient).unwrap();
    until(&running, |seen| seen.sent >= 5).await;
    let report = running.stop().await.unwrap();
    assert_eq!(report.lost, report.sent);
    assert!(report.entries().all(|entry| entry.outcome == Outcome::Unfinished));
    assert!(report.lost_examples[0].reason.contains("in flight"));
    assert!(report.lost_examples[1].reason.contains("queued"));
}

#[tokio::test]
async fn the_limit_of_requests_holds_when_the_rate_is_raised() {
    let (target, _) = serve(|_| async { respond(200, &[]) }).await;
    let mut config = config(target, 1.0);
    config.max_requests = 60;
    let running = Load::start(config).unwrap();
    running.set_rate(2000.0).unwrap();
    assert!(running.set_rate(0.0).is_err());
    let report = running.wait().await.unwrap();
    assert_eq!((report.sent, report.answered, report.limit_reached), (60, 60, true));
}

#[tokio::test]
async fn a_dropped_handle_ends_the_load() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let (target, _) = serve(move |_| {
        let _ = arrived.send(());
        async { respond(200, &[]) }
    })
    .await;
    let running = Load::start(Config { connections: 1, ..config(target, 500.0) }).unwrap();
    arrivals.recv().await.unwrap();
    drop(running);
    // Silence: for a while in which the schedule would have sent many, at some point nothing comes any more.
    let deadline = Instant::now() + DEADLINE;
    while tokio::time::timeout(Duration::from_millis(200), arrivals.recv()).await.is_ok() {
        assert!(Instant::now() < deadline, "still sending");
    }
}

#[test]
fn other_machines_are_refused() {
    let error = Load::start(config("192.0.2.7:80".parse().unwrap(), 1.0)).unwrap_err();
    assert!(matches!(error, load::Error::NotLoopback { .. }), "{error}");
}
