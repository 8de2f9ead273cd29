//! Traces with the real binary: what a collector gets of the requests that were kept, and of no other.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::server::{Asked, serve_at};
use e2e::{Stage, eventually};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that takes OTLP over HTTP: traces, the metrics that were last sent, and records.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Got>>>, Arc<Mutex<BTreeMap<String, Metric>>>, Arc<Mutex<Vec<LogRecord>>>);

#[derive(Clone)]
struct Got {
    head: String,
    request: ExportTraceServiceRequest,
}

impl Collector {
    fn start() -> (Self, SocketAddr) {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn at(listener: TcpListener) -> (Self, SocketAddr) {
        let collector = Self::default();
        let (address, taker) = (listener.local_addr().unwrap(), collector.clone());
        serve_at(listener, move |asked| {
            taker.take(asked);
            (200, String::new())
        });
        (collector, address)
    }

    fn take(&self, Asked { head, body }: Asked) {
        if head.starts_with("POST /v1/metrics ") {
            let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
            let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
            let metrics = scopes.flat_map(|scope| scope.metrics);
            self.1.lock().unwrap().extend(metrics.map(|metric| (metric.name.clone(), metric)));
        } else if head.starts_with("POST /v1/logs ") {
            let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
            let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            self.2.lock().unwrap().extend(scopes.flat_map(|scope| scope.log_records));
        } else {
            let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
            self.0.lock().unwrap().push(Got { head, request });
        }
    }

    fn got(&self) -> Vec<Got> {
        self.0.lock().unwrap().clone()
    }

    /// Each span with what it is of.
    fn spans(&self) -> Vec<(BTreeMap<String, String>, Span)> {
        let resources = self.got().into_iter().flat_map(|got| got.request.resource_spans);
        let spans = resources.flat_map(|resource| {
            let about = words(&resource.resource.unwrap().attributes);
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(|span| (about.clone(), span)).collect::<Vec<_>>()
        });
        spans.collect()
    }

    /// The request's own span, for this path.
    fn served(&self, path: &str) -> Option<(BTreeMap<String, String>, Span)> {
        let is = |span: &Span| span.kind == 2 && words(&span.attributes)["url.path"] == path;
        self.spans().into_iter().find(|(_, span)| is(span))
    }
}

fn words(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let word = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::ArrayValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => {
            panic!("{attribute:?}")
        }
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), word(attribute))).collect()
}

/// The status of an answer.
fn get(gateway: SocketAddr, target: &str, more: &str) -> u16 {
    let mut stream = TcpStream::connect(gateway).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n{more}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// An answer of control's API.
fn control(stage: &Stage, target: &str) -> serde_json::Value {
    let mut stream = UnixStream::connect(stage.home().join("control.sock")).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

fn traced(collector: SocketAddr, ratio: &str) -> String {
    format!(
        "traces:\n  otlp:\n    endpoint: http://{collector}\n    headers: {{x-tenant: shop, authorization: \
         {{environment: OTLP_AUTHORIZATION}}}}\n  sample: {{ratio: {ratio}, slowerThan: 250ms}}\nreplicas: 1\n"
    )
}

#[test]
fn what_failed_or_was_slow_is_traced_and_what_did_not_is_thinned() {
    let (collector, address) = Collector::start();
    let mut stage = Stage::with(&traced(address, "0"));
    stage.set("OTLP_AUTHORIZATION", "Bearer hunter2");
    stage.up();
    let fails = stage.path("fails");
    let first = stage.build("one", &json!({"version": "1", "failWhile": fails.to_str().unwrap()}));
    let _ = stage.run(&["deploy", &first]).ok();
    let gateway = stage.gateway();

    for _ in 0..50 {
        assert_eq!(get(gateway, "/quick?token=hush", ""), 404);
        assert_eq!(get(gateway, "/?token=hush", ""), 200);
    }
    assert_eq!(get(gateway, "/slow?ms=400&token=hush", ""), 200);
    let parent =
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n";
    assert_eq!(get(gateway, "/orders/7?token=hush", parent), 200);
    std::fs::write(&fails, "").unwrap();
    assert_eq!(get(gateway, "/orders/8?token=hush", ""), 500);

    let (about, failed) = eventually("the failed one", PATIENCE, || collector.served("/orders/8"));
    assert_eq!(about["service.name"], "shop");
    assert_eq!(about["service.version"], "1");
    assert_eq!(about["deployment.environment.name"], "production");
    let said = words(&failed.attributes);
    assert_eq!(said["http.response.status_code"], "500");
    assert_eq!(said["error.type"], "500");
    assert_eq!(said["shipshape.kept"], "failed");
    assert_eq!(said["shipshape.weight"], "100");
    assert_eq!(said["server.address"], "shop.example");
    assert_eq!(failed.status.as_ref().unwrap().code, 2);
    let (_, slow) = eventually("the slow one", PATIENCE, || collector.served("/slow"));
    assert_eq!(words(&slow.attributes)["shipshape.kept"], "slow");
    assert!(slow.status.is_none() && slow.end_time_unix_nano - slow.start_time_unix_nano >= 400_000_000);
    let (_, child) = eventually("the sampled one", PATIENCE, || collector.served("/orders/7"));
    assert_eq!(child.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(child.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(child.trace_state, "a=b");
    let all = collector.spans();
    for (_, server) in [&failed, &slow, &child].map(|span| ((), span)) {
        let attempts = all.iter().filter(|(_, span)| span.kind == 3 && span.parent_span_id == server.span_id);
        assert_eq!(attempts.count(), 1, "{server:?}");
    }
    // From a graph to the trace.
    let id: String = slow.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    eventually("an exemplar of the slow one", PATIENCE, || {
        let asked = "/api/v1/query_exemplars?query=rate(http_request_duration_seconds_bucket[1m])";
        let found = control(&stage, asked)["data"].as_array().cloned().unwrap_or_default();
        let marks =
            found.iter().flat_map(|series| series["exemplars"].as_array().cloned().unwrap_or_default());
        marks.into_iter().find(|mark| mark["labels"]["trace_id"] == id.as_str()).map(|_| ())
    });
    // Neither the quick ones, nor a query, nor a secret.
    assert_eq!(all.len(), 6, "{all:?}");
    assert!(!format!("{all:?}").contains("hush") && !format!("{all:?}").contains("hunter2"));
    let head = collector.got().remove(0).head;
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("authorization: Bearer hunter2\r\n") && head.contains("x-tenant: shop\r\n"),
        "{head}"
    );
    for file in ["wanted.json", "agent.log", "control.log"] {
        let kept = std::fs::read_to_string(stage.home().join(file)).unwrap_or_default();
        assert!(!kept.contains("hunter2"), "{file}");
    }
}

#[test]
fn a_dead_collector_costs_no_request_and_a_new_release_may_name_another() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut stage = Stage::with(&traced(nobody, "1"));
    stage.set("OTLP_AUTHORIZATION", "Bearer hunter2");
    stage.up();
    let first = stage.build("one", &json!({"version": "1"}));
    let _ = stage.run(&["deploy", &first]).ok();
    let load = stage.load(200.0);
    e2e::answered(&load, 400);
    let (collector, address) = Collector::start();
    let export = format!("metrics: {{export: {{otlp: {{endpoint: \"http://{address}\"}}, interval: 1s}}}}\n");
    stage.manifest(&(traced(address, "1") + &export));
    let second = stage.build("two", &json!({"version": "2"}));
    let _ = stage.run(&["deploy", &second]).ok();
    let (about, _) = eventually("a trace of the second", PATIENCE, || {
        let spans = collector.spans();
        spans.into_iter().find(|(about, _)| about["service.version"] == "2")
    });
    assert_eq!(about["service.name"], "shop");
    eventually("metrics that were sent on", PATIENCE, || {
        let got = collector.1.lock().unwrap();
        let served = got.get("http_requests").and_then(|metric| metric.data.as_ref());
        let lag = got.get("http_request_duration_seconds").and_then(|metric| metric.data.as_ref());
        (matches!(served, Some(Data::Sum(_))) && matches!(lag, Some(Data::Histogram(_)))).then_some(())
    });
    let _ = stage.nothing_lost(load);
}

#[test]
fn records_reach_a_collector_that_was_away_without_a_gap_and_without_what_the_manifest_takes_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    // Until it is back, nobody answers there.
    drop(taken);
    let stage = Stage::with(&format!(
        "replicas: 1\nlogs:\n  redact: ['card=([0-9]+)']\n  export: {{otlp: {{endpoint: \"http://{address}\", timeout: 1s}}}}\n"
    ));
    stage.up();
    let artifact = stage.build("one", &json!({"version": "1"}));
    let directory = stage.path("one");
    std::fs::rename(directory.join("shop"), directory.join("real")).unwrap();
    let script = r#"#!/bin/sh
(i=0; while [ $i -lt 1200 ]; do i=$((i+1)); echo "{\"level\":\"error\",\"error.type\":\"Io\",\"msg\":\"beat $i card=4111\",\"n\":$i}"; done) &
exec ./real
"#;
    let shop = directory.join("shop");
    std::fs::write(&shop, script).unwrap();
    std::fs::set_permissions(&shop, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let _ = stage.run(&["deploy", &artifact]).ok();
    let kept = || stage.run(&["logs", "--all", "--text", "beat", "--output", "json"]).ok().stdout;
    let all =
        eventually("all were kept", PATIENCE, || Some(kept()).filter(|all| all.lines().count() == 1200));
    assert!(all.contains("card=[redacted]") && !all.contains("4111"), "taken out before it is kept");
    assert!(!stage.run(&["logs", "-n", "2000"]).ok().stdout.contains("4111"), "and before it is shown");
    let _ = stage.kill(stage.pid_of("control"));
    assert!(!stage.run(&["logs", "-n", "2000"]).ok().stdout.contains("4111"), "also without control");
    stage.up();
    let (collector, _) = Collector::at(TcpListener::bind(address).unwrap());
    let numbers = || -> BTreeMap<String, u64> {
        let got = collector.2.lock().unwrap();
        let words = got.iter().map(|record| words(&record.attributes));
        words.filter_map(|words| words.get("n").cloned()).fold(BTreeMap::new(), |mut counts, n| {
            *counts.entry(n).or_default() += 1;
            counts
        })
    };
    eventually("all were sent", PATIENCE, || (numbers().len() == 1200).then_some(()));
    let got = collector.2.lock().unwrap();
    assert!(got.iter().all(|record| !format!("{record:?}").contains("4111")), "and before it is sent");
    let beat = got.iter().find(|record| words(&record.attributes).contains_key("n")).unwrap();
    assert_eq!((beat.severity_number, words(&beat.attributes)["error.type"].as_str()), (17, "Io"));
}
