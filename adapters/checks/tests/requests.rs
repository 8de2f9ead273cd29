//! Requests as checks: whom they reach, what they accept, and whose fault it is when there is no answer.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the message")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use checks::{Checks, GuardCommand};
use model::ReleaseNumber;
use model::check::{Check, Expect, Http, Outcome, Target, Verdict};
use ports::Checks as _;
use ports::checks::Context;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A server that gives this answer, or none at all; it tells the requests' heads.
async fn server(answer: Option<&'static str>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&head[..read]).into_owned());
            match answer {
                Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                None => kept.push(stream),
            }
        }
    });
    (address, told)
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn context() -> Context {
    let place = model::Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
    Context::new(place, ReleaseNumber(7), PathBuf::from("/"))
}

fn at_path(path: &str) -> Http {
    Http {
        target: Target::Path(path.to_owned()),
        method: "GET".to_owned(),
        headers: [("x-smoke".to_owned(), "1".to_owned())].into(),
        expect: Expect::default(),
        timeout: Duration::from_secs(30),
    }
}

async fn ask(http: Http, context: Context) -> Outcome {
    let guard = GuardCommand { program: PathBuf::new(), args: vec![] };
    Checks::new(guard).run(Check::Http(http), context).await
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall is ok";
const BROKEN: &str = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_previewed_release_is_asked_at_its_preview_address() {
    let (gateway, mut heads) = server(Some(FINE)).await;
    let context = Context {
        gateway: Some(gateway.to_string()),
        preview_host: Some("preview.shop.test".to_owned()),
        replicas: vec![nobody().await],
        ..context()
    };
    let outcome = ask(at_path("/smoke?x=1"), context).await;
    assert_eq!(outcome.verdict, Verdict::Passed, "{}", outcome.detail);
    assert_eq!(outcome.detail, "GET /smoke?x=1 at preview.shop.test: answered 200");
    assert!(outcome.value.unwrap() > 0.0);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /smoke?x=1 HTTP/1.1\r\nhost: preview.shop.test\r\n"), "{head}");
    assert!(head.contains("x-smoke: 1\r\n"), "{head}");
}

#[tokio::test]
async fn without_a_preview_each_replica_is_asked_and_one_that_fails_is_enough() {
    let ((fine, mut heads), (broken, _)) = (server(Some(FINE)).await, server(Some(BROKEN)).await);
    let host = Some("shop.test".to_owned());
    let all = Context { replicas: vec![fine, fine], host, ..context() };
    let passed = ask(at_path("/"), all.clone()).await;
    assert_eq!(passed.detail, format!("GET / at {fine}: answered 200, and 1 more as expected"));
    assert!(heads.recv().await.unwrap().contains("host: shop.test\r\n"));
    let failed = ask(at_path("/"), Context { replicas: vec![fine, broken], ..all.clone() }).await;
    assert_eq!(failed.verdict, Verdict::Failed);
    assert_eq!(failed.detail, format!("GET / at {broken}: answered 500, expected 200 to 299"));
    let gone = nobody().await;
    let refused = ask(at_path("/"), Context { replicas: vec![fine, gone], ..all }).await;
    assert_eq!(refused.verdict, Verdict::Failed);
    assert!(refused.detail.starts_with(&format!("GET / at {gone}: cannot connect: ")), "{}", refused.detail);
}

#[tokio::test]
async fn what_stands_between_is_not_the_releases_fault() {
    let gateway = Some(nobody().await.to_string());
    let away = Context { gateway, preview_host: Some("preview.shop.test".to_owned()), ..context() };
    assert_eq!(ask(at_path("/"), away).await.verdict, Verdict::Error);
    let nobody_is_ready = ask(at_path("/"), context()).await;
    assert_eq!(nobody_is_ready.verdict, Verdict::Error);
    assert_eq!(nobody_is_ready.detail, "no replica of release 7 is ready to be asked");
    let target = Target::Url(format!("http://{}/", nobody().await));
    assert_eq!(ask(Http { target, ..at_path("/") }, context()).await.verdict, Verdict::Error);
    // It closes the connection without an answer.
    let (hangs_up, _) = server(Some("")).await;
    let preview_host = Some("preview.shop.test".to_owned());
    let cut = Context { gateway: Some(hangs_up.to_string()), preview_host, ..context() };
    assert_eq!(ask(at_path("/"), cut).await.verdict, Verdict::Error);
    let cut = Context { replicas: vec![hangs_up], ..context() };
    assert_eq!(ask(at_path("/"), cut).await.verdict, Verdict::Failed);
}

#[tokio::test]
async fn no_answer_in_time_is_a_failure() {
    let (silent, _) = server(None).await;
    let context = Context { replicas: vec![silent], ..context() };
    let late = ask(Http { timeout: Duration::from_millis(200), ..at_path("/") }, context).await;
    assert_eq!(late.verdict, Verdict::Failed);
    assert_eq!(late.detail, format!("GET / at {silent}: no answer within 200ms"));
}

#[tokio::test]
async fn the_answer_is_what_was_expected() {
    let (fine, mut heads) = server(Some(FINE)).await;
    let (teapot, _) = server(Some("HTTP/1.1 418 No\r\ncontent-length: 0\r\n\r\n")).await;
    let expecting = |to: SocketAddr, status, text: Option<&str>| {
        let expect = Expect { status, body_contains: text.map(str::to_owned) };
        let target = Target::Url(format!("http://{to}/a?b"));
        ask(Http { target, expect, method: "HEAD".to_owned(), ..at_path("/") }, context())
    };
    let expected = expecting(teapot, Some(418), None).await;
    assert_eq!(expected.verdict, Verdict::Passed, "{}", expected.detail);
    assert_eq!(expecting(fine, Some(204), None).await.verdict, Verdict::Failed);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with(&format!("HEAD /a?b HTTP/1.1\r\nhost: {fine}\r\n")), "{head}");
    let with_body = |text: &str| {
        let expect = Expect { status: None, body_contains: Some(text.to_owned()) };
        let context = Context { replicas: vec![fine], ..context() };
        ask(Http { expect, ..at_path("/") }, context)
    };
    assert_eq!(with_body("is ok").await.verdict, Verdict::Passed);
    let without = with_body("is not").await;
    assert_eq!(without.detail, format!("GET / at {fine}: answered 200 without \"is not\" in its body"));
}
