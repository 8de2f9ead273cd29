//! What is told of requests where they are traced: both ways in, retries, refusals, protocols that are switched to, and
//! clients that go away.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::otlp::Sample;
use proxy::{Gateway, Kept, Trace, Tracing};
use support::{Shop, gateway, get, mirror, named, nobody, raw, read_head, shop, status, until};
use tokio::io::AsyncWriteExt as _;

type Traces = Arc<Mutex<Vec<Trace>>>;

/// All of a shop's requests are kept.
fn traced(mut shop: Shop) -> (Shop, Traces) {
    let traces = Traces::default();
    let sample = Sample { ratio: 1.0, slower_than: Duration::from_secs(60), limit: 10_000 };
    let kept = Arc::clone(&traces);
    shop.0.tracing = Some(Tracing::new(&sample, Arc::new(move |trace| kept.lock().unwrap().push(trace))));
    (shop, traces)
}

async fn one(traces: &Traces) -> Trace {
    until("a trace", || !traces.lock().unwrap().is_empty()).await;
    let all = traces.lock().unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// Trace id, span id and flags of a `traceparent`.
fn position(text: &str) -> (u128, u64, u8) {
    let mut parts = text.split('-').skip(1);
    let mut next = || parts.next().unwrap();
    let trace_id = u128::from_str_radix(next(), 16).unwrap();
    let span_id = u64::from_str_radix(next(), 16).unwrap();
    (trace_id, span_id, u8::from_str_radix(next(), 16).unwrap())
}

fn told(gateway: &Gateway, shop: Shop) -> Traces {
    let (shop, traces) = traced(shop);
    shop.on(gateway);
    traces
}

#[tokio::test]
async fn the_attempts_span_is_what_the_replica_sees_as_its_parent() {
    let gateway = gateway();
    let traces = told(&gateway, Shop::only(mirror().await));
    let answer = get(&gateway, "/a?secret=1").await;
    let (trace_id, parent, flags) = position(answer.seen("traceparent").unwrap());
    let trace = one(&traces).await;
    assert_eq!((trace.trace_id, trace.flags, flags), (trace_id, 1, 1));
    assert_eq!((trace.attempts.len(), trace.attempts[0].span_id), (1, parent));
    assert_eq!((trace.path.as_str(), trace.method, trace.protocol), ("/a", "GET", "1.1"));
    assert_eq!((trace.status, trace.parent, trace.kept), (Some(200), None, Kept::Ratio));
    assert_ne!(trace.span_id, parent);
    let page = gateway.open_metrics();
    let mark = format!("# {{trace_id=\"{trace_id:032x}\",span_id=\"{:016x}\"}}", trace.span_id);
    assert_eq!(page.matches(&mark).count(), 1, "{page}");
    assert!(page.contains("# TYPE http_requests counter\n") && page.ends_with("# EOF\n"), "{page}");
    assert!(!gateway.metrics_text().contains("trace_id"));
}

#[tokio::test]
async fn a_try_that_never_left_is_a_span_of_its_own_and_the_trace_is_kept() {
    let gateway = gateway();
    let (dead, alive) = (nobody().await, mirror().await);
    let traces = told(&gateway, shop().share(1, 10_000).ready(1, 0, dead).ready(1, 1, alive));
    // Whichever is asked first: within some requests one meets the dead one.
    for _ in 0..20 {
        let answer = get(&gateway, "/").await;
        let (trace_id, parent, _) = position(answer.seen("traceparent").unwrap());
        let all = traces.lock().unwrap().clone();
        let Some(trace) = all.iter().find(|trace| trace.trace_id == trace_id) else { continue };
        assert_eq!(trace.attempts.last().unwrap().span_id, parent);
        if let [failed, _] = trace.attempts.as_slice() {
            assert_eq!((failed.error, failed.status), (Some("SHP-GW-CONNECT-FAILED"), None));
            assert_ne!(failed.span_id, parent);
            assert_eq!((trace.kept, trace.status, trace.error), (Kept::Failed, Some(200), None));
            return;
        }
    }
    panic!("no request met the dead replica");
}

#[tokio::test]
async fn an_answer_of_the_gateways_own_has_its_code() {
    let gateway = gateway();
    let traces = told(&gateway, shop().share(1, 10_000));
    assert_eq!(get(&gateway, "/").await.status, 503);
    let trace = one(&traces).await;
    assert_eq!((trace.status, trace.error), (Some(503), Some("SHP-GW-NO-REPLICA")));
    assert!(trace.served.is_none() && trace.attempts.is_empty());
    assert_eq!(trace.kept, Kept::Failed);
}

#[tokio::test]
async fn a_failure_of_the_replica_is_kept_though_nothing_is_drawn() {
    let gateway = gateway();
    let traces = Traces::default();
    let kept = Arc::clone(&traces);
    let sample = Sample { ratio: 0.0, slower_than: Duration::from_secs(60), limit: 10 };
    let tracing = Tracing::new(&sample, Arc::new(move |trace| kept.lock().unwrap().push(trace)));
    let mut failing = Shop::only(status(500).await);
    failing.0.tracing = Some(tracing.clone());
    failing.on(&gateway);
    assert_eq!(get(&gateway, "/").await.status, 500);
    let trace = one(&traces).await;
    assert_eq!((trace.flags, trace.attempts[0].status, trace.attempts[0].error), (0, Some(500), None));
    let mut fine = Shop::only(named("a").await).epoch(2);
    fine.0.tracing = Some(tracing);
    fine.on(&gateway);
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/").await.status, 200);
    }
    assert_eq!(traces.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_protocol_that_is_switched_to_is_traced_up_to_its_head() {
    let (backend, _) = raw(|_, mut socket| async move {
        let _ = read_head(&mut socket).await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        socket.write_all(head).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = gateway();
    let traces = told(&gateway, Shop::only(backend));
    let mut client = support::Client::to(&gateway).await;
    let _ = client.send("GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    assert_eq!(one(&traces).await.status, Some(101));
}
