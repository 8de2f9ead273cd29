//! Sends what was traced, measured and printed to whoever takes OpenTelemetry's protocol: over HTTP in protobuf, or by gRPC.
//!
//! Lives here: a bounded queue that never makes its giver wait ([`Exporter`]), one request at a time for whoever keeps
//! what was not taken ([`Courier`]), batches, retries by the protocol's rules
//! ([`answer`]), and both ways to carry a request ([`http`], [`grpc`]). Does not live here: what a span or a metric says,
//! which of them are sent, and where secrets come from.

mod answer;
mod connection;
mod destination;
mod exporter;
mod grpc;
mod http;
mod losses;
pub mod value;

pub use answer::Refusal;
pub use destination::Destination;
pub use exporter::{Counts, Courier, Exporter, Offer, Pace};
pub use opentelemetry_proto::tonic as proto;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;

/// One kind of what is sent.
pub trait Signal: Send + 'static {
    /// What is given to the queue at once; it is sent or lost as a whole.
    type Item: Send + std::fmt::Debug + 'static;
    /// Where it goes over HTTP, below the endpoint.
    const PATH: &'static str;
    /// Where it goes by gRPC.
    const METHOD: &'static str;

    /// How much an item is, in the protocol's own units: spans, metrics.
    fn size(item: &Self::Item) -> usize;

    /// The body of a request with these.
    fn encode(items: Vec<Self::Item>) -> Vec<u8>;
}

/// Spans.
#[derive(Debug)]
pub struct Spans;

impl Signal for Spans {
    type Item = ResourceSpans;
    const PATH: &'static str = "/v1/traces";
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    fn size(item: &ResourceSpans) -> usize {
        item.scope_spans.iter().map(|scope| scope.spans.len()).sum()
    }

    fn encode(items: Vec<ResourceSpans>) -> Vec<u8> {
        let mut resource_spans: Vec<ResourceSpans> = Vec::new();
        for item in items {
            // Whoever is traced seldom changes from one trace to the next.
            match resource_spans.iter_mut().find(|known| known.resource == item.resource) {
                Some(known) => join(known, item),
                None => resource_spans.push(item),
            }
        }
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}

fn join(known: &mut ResourceSpans, item: ResourceSpans) {
    for scope in item.scope_spans {
        match known.scope_spans.iter_mut().find(|other| other.scope == scope.scope) {
            Some(other) => other.spans.extend(scope.spans),
            None => known.scope_spans.push(scope),
        }
    }
}

/// Metrics.
#[derive(Debug)]
pub struct Metrics;

impl Signal for Metrics {
    type Item = ResourceMetrics;
    const PATH: &'static str = "/v1/metrics";
    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

    fn size(item: &ResourceMetrics) -> usize {
        item.scope_metrics.iter().map(|scope| scope.metrics.len()).sum()
    }

    fn encode(items: Vec<ResourceMetrics>) -> Vec<u8> {
        ExportMetricsServiceRequest { resource_metrics: items }.encode_to_vec()
    }
}

/// Records of logs.
#[derive(Debug)]
pub struct Logs;

impl Signal for Logs {
    type Item = ResourceLogs;
    const PATH: &'static str = "/v1/logs";
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

    fn size(item: &ResourceLogs) -> usize {
        item.scope_logs.iter().map(|scope| scope.log_records.len()).sum()
    }

    fn encode(items: Vec<ResourceLogs>) -> Vec<u8> {
        ExportLogsServiceRequest { resource_logs: items }.encode_to_vec()
    }
}
