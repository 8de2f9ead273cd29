//! What is said of a kept trace, in OpenTelemetry's words (semantic conventions for HTTP, the stable ones) and, for what those
//! have no word for, in our own under `shipshape.`. Nothing of a request's query, of a header's value or of a body.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use otlp::proto::common::v1::KeyValue;
use otlp::proto::trace::v1::span::SpanKind;
use otlp::proto::trace::v1::status::StatusCode;
use otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use otlp::value::{flag, integer, number, resource, scope, text};
use proxy::{Attempt, Kept, Trace};

/// Who tells it.
const SCOPE: &str = "shipshape.gateway";
/// Says that the next bit is known.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The spans of a request: the client's side of it, and each attempt.
pub(crate) fn spans(trace: Trace) -> ResourceSpans {
    let mut spans = Vec::with_capacity(1 + trace.attempts.len());
    spans.push(server(&trace));
    spans.extend(trace.attempts.iter().enumerate().map(|(index, attempt)| client(&trace, index, attempt)));
    let mut about = vec![
        text("service.name", trace.place.service.as_str()),
        text("deployment.environment.name", trace.place.environment.as_str()),
    ];
    if let Some(served) = &trace.served {
        about.push(text("service.version", served.release.to_string()));
    }
    let scope_spans = vec![ScopeSpans { scope: scope(SCOPE), spans, ..ScopeSpans::default() }];
    ResourceSpans { resource: resource(about), scope_spans, ..ResourceSpans::default() }
}

fn server(trace: &Trace) -> Span {
    let (host, port) = split(&trace.host);
    let mut attributes = vec![
        method(trace.method),
        text("url.scheme", "http"),
        text("url.path", trace.path.clone()),
        text("http.route", trace.route.clone()),
        text("network.protocol.version", trace.protocol),
        text("shipshape.kept", kept(trace.kept)),
    ];
    if !host.is_empty() {
        attributes.push(text("server.address", host));
    }
    attributes.extend(port.map(|port| integer("server.port", port.into())));
    attributes.extend(trace.status.map(|status| integer("http.response.status_code", status.into())));
    // A client's mistake is no error of the server (the conventions), one of the gateway's own making or the replica's is.
    let failed = trace.status.filter(|status| *status >= 500).map(|status| status.to_string());
    let error = trace.error.map(str::to_owned).or(failed);
    attributes.extend(error.as_ref().map(|error| text("error.type", error.clone())));
    if trace.aborted {
        attributes.push(flag("shipshape.client_aborted", true));
    }
    if let Some(served) = &trace.served {
        attributes.push(integer("shipshape.release", number_of(served.release.0)));
        attributes.push(number("shipshape.weight", served.weight.fraction() * 100.0));
        attributes.push(integer("shipshape.epoch", number_of(served.epoch.0)));
        for (name, is) in [
            ("shipshape.aimed", served.aimed),
            ("shipshape.preview", served.preview),
            ("shipshape.fallback", served.fallback),
        ] {
            if is {
                attributes.push(flag(name, true));
            }
        }
    }
    let is_error = trace.kept == Kept::Failed
        && trace.status.is_none_or(|status| status >= 500 || trace.error.is_some());
    Span {
        trace_id: trace.trace_id.to_be_bytes().to_vec(),
        span_id: trace.span_id.to_be_bytes().to_vec(),
        trace_state: trace.state.clone(),
        parent_span_id: trace.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(trace.flags) | HAS_IS_REMOTE | if trace.parent.is_some() { IS_REMOTE } else { 0 },
        name: format!("{} {}", verb(trace.method), trace.route),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(trace.start),
        end_time_unix_nano: nanos(trace.start + trace.duration),
        attributes,
        status: status(is_error),
        ..Span::default()
    }
}

fn client(trace: &Trace, index: usize, attempt: &Attempt) -> Span {
    let (address, port) = (attempt.addr.ip().to_string(), i64::from(attempt.addr.port()));
    let mut attributes = vec![
        method(trace.method),
        text("url.full", format!("http://{}{}", attempt.addr, trace.path)),
        text("server.address", address.clone()),
        integer("server.port", port),
        text("network.peer.address", address),
        integer("network.peer.port", port),
        text("network.protocol.version", "1.1"),
        integer("shipshape.release", number_of(attempt.release.0)),
        integer("shipshape.replica", attempt.ordinal.into()),
    ];
    if index > 0 {
        attributes.push(integer("http.request.resend_count", i64::try_from(index).unwrap_or(i64::MAX)));
    }
    attributes.extend(attempt.status.map(|status| integer("http.response.status_code", status.into())));
    let failed = attempt.status.filter(|status| *status >= 400).map(|status| status.to_string());
    let error = attempt.error.map(str::to_owned).or(failed);
    let is_error = error.is_some();
    attributes.extend(error.map(|error| text("error.type", error)));
    Span {
        trace_id: trace.trace_id.to_be_bytes().to_vec(),
        span_id: attempt.span_id.to_be_bytes().to_vec(),
        trace_state: trace.state.clone(),
        parent_span_id: trace.span_id.to_be_bytes().to_vec(),
        flags: u32::from(trace.flags) | HAS_IS_REMOTE,
        name: verb(trace.method).to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: nanos(attempt.start),
        end_time_unix_nano: nanos(attempt.start + attempt.duration),
        attributes,
        status: status(is_error),
        ..Span::default()
    }
}

fn status(is_error: bool) -> Option<Status> {
    is_error.then(|| Status { code: StatusCode::Error.into(), ..Status::default() })
}

/// A method that is not one of the known ones has this name.
fn method(method: &str) -> KeyValue {
    text("http.request.method", if method == "other" { "_OTHER" } else { method })
}

/// The method as a span's name has it.
fn verb(method: &'static str) -> &'static str {
    if method == "other" { "HTTP" } else { method }
}

fn kept(kept: Kept) -> &'static str {
    match kept {
        Kept::Failed => "failed",
        Kept::Slow => "slow",
        Kept::Parent => "parent",
        Kept::Ratio => "ratio",
    }
}

/// A host without its port, and the port.
fn split(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        Some(_) | None => (host, None),
    }
}

fn number_of(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn nanos(at: SystemTime) -> u64 {
    let since: Duration = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
