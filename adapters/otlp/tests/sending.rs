//! What is sent, what is sent again, and what is lost and counted, to receivers that fail in every way the protocol knows.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod receiver;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::otlp::Protocol;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use otlp::{Counts, Destination, Exporter, Pace, Spans};
use ports::Secret;
use prost::Message as _;
use receiver::{Receiver, Say};

fn pace() -> Pace {
    Pace { delay: Duration::from_millis(5), first_retry: Duration::from_millis(5), ..Pace::default() }
}

fn destination(address: SocketAddr, protocol: Protocol) -> Destination {
    Destination {
        endpoint: format!("http://{address}"),
        protocol,
        headers: BTreeMap::from([("authorization".to_owned(), Secret::new("Bearer hunter2".to_owned()))]),
        ca_file: None,
        timeout: Duration::from_secs(10),
    }
}

fn start(address: SocketAddr, protocol: Protocol, pace: Pace) -> (Exporter<Spans>, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    (Exporter::start(destination(address, protocol), pace, Arc::clone(&counts)), counts)
}

fn span(name: &str) -> ResourceSpans {
    let span = Span { name: name.to_owned(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ResourceSpans { scope_spans, ..ResourceSpans::default() }
}

/// Sent, overflowed, refused, undelivered.
fn counted(counts: &Counts) -> [u64; 4] {
    [&counts.sent, &counts.overflowed, &counts.refused, &counts.undelivered]
        .map(|count| count.load(Ordering::Relaxed))
}

async fn until(counts: &Counts, expected: [u64; 4]) {
    let reached = async {
        while counted(counts) != expected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
    assert!(reached.is_ok(), "{:?} is not {expected:?}", counted(counts));
}

const BOTH: [Protocol; 2] = [Protocol::Http, Protocol::Grpc];

#[tokio::test]
async fn spans_go_out_in_one_batch_with_the_headers_that_are_asked_for() {
    for (protocol, path) in [
        (Protocol::Http, "/v1/traces"),
        (Protocol::Grpc, "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ] {
        let (receiver, address) = Receiver::start([], protocol == Protocol::Grpc).await;
        let (exporter, counts) = start(address, protocol, pace());
        let offer = exporter.offer();
        assert!(offer.give(span("a")) && offer.give(span("b")));
        until(&counts, [2, 0, 0, 0]).await;
        assert!(offer.give(span("c")));
        until(&counts, [3, 0, 0, 0]).await;
        let got = receiver.got();
        assert_eq!(got[0].path, path);
        assert_eq!(got[0].headers["authorization"], "Bearer hunter2");
        assert_eq!(
            got.iter().map(|got| got.spans.as_slice()).collect::<Vec<_>>(),
            [vec!["a", "b"], vec!["c"]]
        );
        assert_eq!(receiver.connections(), 1);
    }
}

#[tokio::test]
async fn what_may_be_sent_again_is_sent_again_and_nothing_else() {
    for status in [429, 502, 503, 504] {
        let (receiver, address) = Receiver::start([Say::Http(status, None, vec![])], false).await;
        let (exporter, counts) = start(address, Protocol::Http, pace());
        assert!(exporter.offer().give(span("a")));
        until(&counts, [1, 0, 0, 0]).await;
        assert_eq!(receiver.got().len(), 2, "{status}");
    }
    for status in [400, 401, 404, 413, 500, 302] {
        let (receiver, address) =
            Receiver::start([Say::Http(status, None, b"no hunter2".to_vec())], false).await;
        let (exporter, counts) = start(address, Protocol::Http, pace());
        assert!(exporter.offer().give(span("a")));
        until(&counts, [0, 0, 1, 0]).await;
        assert_eq!(receiver.got().len(), 1, "{status}");
    }
    for (code, again) in [(14, true), (4, true), (1, true), (8, false), (3, false), (16, false), (13, false)]
    {
        let (receiver, address) = Receiver::start([Say::Grpc(code, None)], true).await;
        let (exporter, counts) = start(address, Protocol::Grpc, pace());
        assert!(exporter.offer().give(span("a")));
        until(&counts, if again { [1, 0, 0, 0] } else { [0, 0, 1, 0] }).await;
        assert_eq!(receiver.got().len(), 1 + usize::from(again), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_server_asks_for_is_kept() {
    // RetryInfo of 7 s, as google.rpc.Status in base64.
    let details = "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw";
    let cases = [
        (Protocol::Http, Say::Http(503, Some("7"), vec![])),
        (Protocol::Grpc, Say::Grpc(8, Some(details.to_owned()))),
        (Protocol::Grpc, Say::Grpc(14, Some(details.to_owned()))),
    ];
    for (protocol, say) in cases {
        let (receiver, address) = Receiver::start([say.clone()], protocol == Protocol::Grpc).await;
        let (exporter, _) = start(address, protocol, pace());
        assert!(exporter.offer().give(span("a")));
        let _ = receiver.until(1).await;
        let first = tokio::time::Instant::now();
        let _ = receiver.until(2).await;
        // The clock is the test's own: it moves only when all wait.
        assert!(first.elapsed() >= Duration::from_secs(6), "{say:?}");
    }
}

#[tokio::test]
async fn what_a_server_rejects_of_what_it_takes_is_counted_and_never_sent_again() {
    for protocol in BOTH {
        let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".to_owned() };
        let message = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let (receiver, address) = Receiver::start([Say::Partial(message)], protocol == Protocol::Grpc).await;
        let (exporter, counts) = start(address, protocol, pace());
        assert!(exporter.offer().give(span("a")) && exporter.offer().give(span("b")));
        until(&counts, [1, 0, 1, 0]).await;
        assert_eq!(receiver.got().len(), 1);
    }
}

#[tokio::test]
async fn a_full_queue_loses_the_newest_and_counts_it() {
    let (receiver, address) = Receiver::start([Say::Nothing], false).await;
    let (exporter, counts) = start(address, Protocol::Http, Pace { queue: 3, batch: 1, ..pace() });
    let offer = exporter.offer();
    assert!(offer.give(span("first")));
    let _ = receiver.until(1).await;
    let given: Vec<bool> = (0..5).map(|_| offer.give(span("more"))).collect();
    assert_eq!(given, [true, true, true, false, false]);
    assert_eq!(counted(&counts), [0, 2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_tried_for_a_while_and_then_the_batch_is_lost() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for protocol in BOTH {
        let (exporter, counts) = start(address, protocol, pace());
        assert!(exporter.offer().give(span("a")));
        let begun = tokio::time::Instant::now();
        until_lost(&counts).await;
        assert!(begun.elapsed() <= Duration::from_secs(61), "{:?}", begun.elapsed());
    }
}

async fn until_lost(counts: &Counts) {
    while counts.undelivered.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_waits_is_sent_when_it_closes_within_a_bound() {
    for protocol in BOTH {
        let (receiver, address) = Receiver::start([], protocol == Protocol::Grpc).await;
        let (exporter, counts) =
            start(address, protocol, Pace { delay: Duration::from_secs(3600), ..pace() });
        assert!(exporter.offer().give(span("a")));
        exporter.close(Duration::from_secs(20)).await;
        assert_eq!(counted(&counts), [1, 0, 0, 0]);
        assert_eq!(receiver.got().len(), 1);
    }
    let (_receiver, address) = Receiver::start([Say::Nothing], false).await;
    let (exporter, _) = start(address, Protocol::Http, pace());
    assert!(exporter.offer().give(span("a")));
    let closing = exporter.close(Duration::from_millis(50));
    assert!(tokio::time::timeout(Duration::from_secs(5), closing).await.is_ok());
}
