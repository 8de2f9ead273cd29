//! What is sent to OpenTelemetry: traces, and metrics that are sent on. Does not live here: which metrics are collected
//! (`metrics`).

use model::otlp::{Export, Otlp, Protocol, Sample, Traces};

use crate::diagnostic::Problem;
use crate::read::Mapping;
use crate::{check, fields, headers};

/// What is added to an endpoint.
const SIGNALS: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1/logs"];

/// The traces of a service; `None` when none are sent, or nobody could be.
pub(crate) fn traces(root: &Mapping<'_>) -> Option<Traces> {
    root.entry("traces")?;
    let traces = root.child("traces", &fields::TRACES);
    let sample = traces.child("sample", &fields::SAMPLE);
    let default = Sample::default();
    let read = Sample {
        ratio: sample.number("ratio").unwrap_or(default.ratio),
        slower_than: sample.duration("slowerThan"),
        limit: sample.count("limit").unwrap_or(default.limit),
    };
    sample.finish();
    let otlp = otlp(&traces);
    traces.finish();
    Some(Traces { otlp: otlp?, sample: read })
}

/// The metrics that are sent on.
pub(crate) fn export(metrics: &Mapping<'_>) -> Option<Export> {
    metrics.entry("export")?;
    let export = metrics.child("export", &fields::EXPORT);
    let (otlp, interval) = (otlp(&export), export.duration("interval"));
    export.finish();
    Some(Export { otlp: otlp?, interval })
}

/// Who takes it.
pub(crate) fn otlp(section: &Mapping<'_>) -> Option<Otlp> {
    section.entry("otlp")?;
    let otlp = section.child("otlp", &fields::OTLP);
    let protocol = match otlp.choice("protocol", &["http/json"]) {
        Some("grpc") => Protocol::Grpc,
        Some(_) | None => Protocol::Http,
    };
    let endpoint = endpoint(&otlp, protocol);
    let headers = headers::read(&otlp);
    let ca_file = otlp.text("caFile");
    if let (Some(entry), Some(true)) =
        (otlp.entry("caFile"), endpoint.as_ref().map(|endpoint| endpoint.starts_with("http://")))
    {
        let problem = Problem::new("a server at http:// shows no certificate");
        otlp.error(&entry.key_span, problem.help("write the endpoint with https://, or remove `caFile`"));
    }
    if let Some(endpoint) = &endpoint {
        headers::in_the_open(&otlp, "endpoint", endpoint);
    }
    let timeout = otlp.duration("timeout");
    otlp.finish();
    Some(Otlp { endpoint: endpoint?, protocol, headers, ca_file, timeout })
}

fn endpoint(otlp: &Mapping<'_>, protocol: Protocol) -> Option<String> {
    let endpoint = otlp.text("endpoint")?;
    let (example, whole) = match protocol {
        Protocol::Http => ("http://127.0.0.1:4318", endpoint.trim_end_matches('/')),
        Protocol::Grpc => ("http://127.0.0.1:4317", endpoint.trim_end_matches('/')),
    };
    let invalid = |help: String| {
        Problem::new(format!("`{endpoint}` is no endpoint for {}", protocol.as_str())).help(help)
    };
    let rest = whole.strip_prefix("http://").or_else(|| whole.strip_prefix("https://"));
    let (authority, path) = rest.map_or(("", ""), |rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let problem = if rest.is_none() {
        Some(invalid(format!("write it whole, as in `{example}`")))
    } else if authority.contains('@') {
        otlp.context.sink.mask(&otlp.place("endpoint"));
        let problem = Problem::new("the endpoint holds a user or a password, which the journal would keep");
        Some(problem.help("use `headers` with an `authorization` by reference"))
    } else if whole.contains(['?', '#']) {
        Some(invalid("leave out what follows `?` and `#`".to_owned()))
    } else if check::authority(authority).is_err() {
        Some(invalid(format!("write it whole, as in `{example}`")))
    } else if let Some(signal) = SIGNALS.iter().find(|signal| path.ends_with(*signal)) {
        Some(invalid(format!("end it before `{signal}`, which is added")))
    } else if protocol == Protocol::Grpc && !path.is_empty() {
        Some(invalid(format!("gRPC has no path: end it after the port, as in `{example}`")))
    } else {
        None
    };
    if let Some(problem) = problem {
        otlp.error(&otlp.place("endpoint"), problem);
    }
    Some(whole.to_owned())
}
