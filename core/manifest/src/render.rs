//! A [`Spec`] back in the manifest's own vocabulary, every default written out: what `env show` prints, what
//! [`crate::diff`] compares, and what [`crate::Manifest::parse`] reads back.

mod alerts;
mod changes;
mod notify;
mod objectives;
mod probes;

use std::collections::BTreeMap;
use std::time::Duration;

use model::assignment::{HeaderMatch, Pattern, SessionAffinity};
use model::check::{Http, Target};
use model::hook::{Hook, Hooks, Moment};
use model::otlp::{Otlp, Sample, Traces};
use model::records::Records;
use model::spec::{Authentication, Check, HeaderValue, Probe, RecordingRule, SecretSource};
use model::strategy::{
    Amount, Analysis, CanaryScale, Kind, Latency, Metric, Promotion, Source, Step, Strategy,
};
use model::{Spec, Weight};
use serde_json::{Map, Number, Value, json};

use crate::values::{format_bytes, format_cpu};

/// The effective configuration as YAML in the manifest's vocabulary.
pub fn render(spec: &Spec) -> String {
    let mut yaml = format!("# The effective configuration of {} in {}.\n", spec.service, spec.environment);
    if let Value::Object(map) = effective(spec) {
        write_map(&mut yaml, &map, 0);
    }
    yaml
}

/// A part of a manifest as YAML.
pub(crate) fn part(map: &Map<String, Value>) -> String {
    let mut yaml = String::new();
    write_map(&mut yaml, map, 0);
    yaml
}

/// The effective configuration as data, in the manifest's vocabulary. The environment's name has no place in it.
pub(crate) fn effective(spec: &Spec) -> Value {
    let mut map = Map::new();
    map.insert("service".to_owned(), json!(spec.service.as_str()));
    put(&mut map, "description", spec.about.description.as_ref().map(|text| json!(text)));
    put(&mut map, "owner", spec.about.owner.as_ref().map(|text| json!(text)));
    put(&mut map, "tier", spec.about.tier.map(|tier| json!(tier)));
    put(&mut map, "links", (!spec.about.links.is_empty()).then(|| json!(spec.about.links)));
    put(&mut map, "artifact", spec.artifact.as_ref().map(|path| json!(path)));
    put(&mut map, "run", Some(run(spec)));
    put(&mut map, "config", (!spec.config.is_empty()).then(|| json!(spec.config)));
    let secrets: Map<String, Value> =
        spec.secrets.iter().map(|(name, at)| (name.clone(), secret(at))).collect();
    put(&mut map, "secrets", (!secrets.is_empty()).then_some(Value::Object(secrets)));
    put(&mut map, "health", Some(health(spec)));
    put(&mut map, "replicas", Some(json!(spec.replicas)));
    put(&mut map, "resources", resources(spec));
    let shutdown = &spec.shutdown;
    map.insert(
        "shutdown".to_owned(),
        json!({"drainTimeout": time(shutdown.drain_timeout), "gracePeriod": time(shutdown.grace_period)}),
    );
    map.insert("logs".to_owned(), logs(spec));
    put(&mut map, "metrics", metrics(spec));
    put(&mut map, "traces", spec.traces.as_ref().map(traces));
    map.insert("objectives".to_owned(), objectives::objectives(&spec.objectives()));
    map.insert("alerts".to_owned(), alerts::alerts(&spec.declared_alerts));
    let probes: Vec<Value> = spec.probes.iter().map(probes::probe).collect();
    put(&mut map, "probes", (!probes.is_empty()).then(|| json!(probes)));
    put(&mut map, "notify", spec.notify.as_ref().map(notify::notify));
    map.insert("route".to_owned(), route(spec));
    map.insert("rollout".to_owned(), rollout(&spec.rollout));
    put(&mut map, "changes", changes::changes(&spec.changes));
    Value::Object(map)
}

fn logs(spec: &Spec) -> Value {
    let Records { retention, redact, export } = &spec.records;
    let mut map = Map::new();
    map.insert("maxFileSize".to_owned(), json!(format_bytes(spec.logs.file_bytes)));
    map.insert("maxFiles".to_owned(), json!(spec.logs.files));
    let kept = json!({"time": time(retention.time), "size": format_bytes(retention.size)});
    map.insert("retention".to_owned(), kept);
    put(&mut map, "redact", (!redact.is_empty()).then(|| json!(redact)));
    put(&mut map, "export", export.as_ref().map(|export| json!({"otlp": otlp(export)})));
    Value::Object(map)
}

fn traces(traces: &Traces) -> Value {
    let Sample { ratio, slower_than, limit } = &traces.sample;
    let sample = json!({"ratio": ratio, "slowerThan": time(*slower_than), "limit": limit});
    json!({"otlp": otlp(&traces.otlp), "sample": sample})
}

fn otlp(otlp: &Otlp) -> Value {
    let mut map = Map::new();
    map.insert("endpoint".to_owned(), json!(otlp.endpoint));
    map.insert("protocol".to_owned(), json!(otlp.protocol.as_str()));
    put(&mut map, "headers", headers(&otlp.headers));
    put(&mut map, "caFile", otlp.ca_file.as_ref().map(|path| json!(path)));
    map.insert("timeout".to_owned(), json!(time(otlp.timeout)));
    Value::Object(map)
}

fn headers(headers: &BTreeMap<String, HeaderValue>) -> Option<Value> {
    let all = headers.iter().map(|(name, value)| {
        let value = match value {
            HeaderValue::Text(text) => json!(text),
            HeaderValue::Secret(source) => secret(source),
        };
        (name.clone(), value)
    });
    (!headers.is_empty()).then(|| Value::Object(all.collect()))
}

fn metrics(spec: &Spec) -> Option<Value> {
    let mut map = Map::new();
    let scrape = spec.metrics.scrape.as_ref().map(|scrape| {
        json!({
            "path": scrape.path,
            "interval": time(scrape.interval),
            "timeout": time(scrape.timeout),
            "sampleLimit": scrape.sample_limit,
        })
    });
    put(&mut map, "scrape", scrape);
    let rule = |rule: &RecordingRule| {
        let mut map = Map::new();
        map.insert("record".to_owned(), json!(rule.record));
        map.insert("expr".to_owned(), json!(rule.expr));
        put(&mut map, "labels", (!rule.labels.is_empty()).then(|| json!(rule.labels)));
        Value::Object(map)
    };
    if !spec.metrics.rules.is_empty() {
        map.insert("rules".to_owned(), spec.metrics.rules.iter().map(rule).collect());
        map.insert("evaluationInterval".to_owned(), json!(time(spec.metrics.evaluation_interval)));
    }
    let export = spec.metrics.export.as_ref();
    put(
        &mut map,
        "export",
        export.map(|export| json!({"otlp": otlp(&export.otlp), "interval": time(export.interval)})),
    );
    if let Some(server) = &spec.metrics.prometheus {
        map.insert("provider".to_owned(), json!("prometheus"));
        map.insert("address".to_owned(), json!(server.address));
        match &server.authentication {
            None => {}
            Some(Authentication::BearerToken(source)) => put(&mut map, "bearerToken", Some(secret(source))),
            Some(Authentication::BasicAuth { username, password }) => {
                let basic = json!({"username": username, "password": secret(password)});
                map.insert("basicAuth".to_owned(), basic);
            }
        }
        put(&mut map, "headers", (!server.headers.is_empty()).then(|| json!(server.headers)));
        put(&mut map, "caFile", server.ca_file.as_ref().map(|path| json!(path)));
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}

fn time(duration: Duration) -> String {
    model::time::format_duration(duration)
}

/// A number as people write it: `1`, not `1.0`.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return json!(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn run(spec: &Spec) -> Value {
    let mut run = Map::new();
    run.insert("command".to_owned(), json!(spec.run.command));
    put(&mut run, "args", (!spec.run.args.is_empty()).then(|| json!(spec.run.args)));
    put(&mut run, "workingDirectory", spec.run.working_directory.as_ref().map(|path| json!(path)));
    run.insert("portVariable".to_owned(), json!(spec.run.port_variable));
    Value::Object(run)
}

fn secret(source: &SecretSource) -> Value {
    match source {
        SecretSource::Environment(variable) => json!({"environment": variable}),
        SecretSource::File(path) => json!({"file": path}),
    }
}

fn health(spec: &Spec) -> Value {
    let mut health = Map::new();
    put(&mut health, "startup", spec.health.startup.as_ref().map(probe));
    put(&mut health, "live", spec.health.live.as_ref().map(probe));
    put(&mut health, "ready", spec.health.ready.as_ref().map(probe));
    Value::Object(health)
}

fn probe(probe: &Probe) -> Value {
    let mut map = Map::new();
    match &probe.check {
        Check::Http(path) => map.insert("http".to_owned(), json!(path)),
        Check::Tcp => map.insert("tcp".to_owned(), json!(true)),
    };
    map.insert("initialDelay".to_owned(), json!(time(probe.initial_delay)));
    map.insert("period".to_owned(), json!(time(probe.period)));
    map.insert("timeout".to_owned(), json!(time(probe.timeout)));
    map.insert("successThreshold".to_owned(), json!(probe.success_threshold));
    map.insert("failureThreshold".to_owned(), json!(probe.failure_threshold));
    Value::Object(map)
}

fn resources(spec: &Spec) -> Option<Value> {
    let mut map = Map::new();
    put(&mut map, "memory", spec.resources.memory_bytes.map(|bytes| json!(format_bytes(bytes))));
    put(&mut map, "cpu", spec.resources.cpu_millis.map(|millis| json!(format_cpu(millis))));
    (!map.is_empty()).then_some(Value::Object(map))
}

fn route(spec: &Spec) -> Value {
    let route = &spec.route;
    let mut map = Map::new();
    map.insert("hosts".to_owned(), json!(route.hosts));
    map.insert("pathPrefixes".to_owned(), json!(route.path_prefixes));
    put(&mut map, "templates", (!route.templates.is_empty()).then(|| json!(route.templates)));
    let timeouts = &route.timeouts;
    map.insert(
        "timeouts".to_owned(),
        json!({
            "connect": time(timeouts.connect), "response": time(timeouts.response), "idle": time(timeouts.idle),
        }),
    );
    map.insert(
        "limits".to_owned(),
        json!({"maxBodySize": format_bytes(route.limits.body_bytes), "maxInFlight": route.limits.in_flight}),
    );
    Value::Object(map)
}

fn rollout(strategy: &Strategy) -> Value {
    let mut map = Map::new();
    match &strategy.kind {
        Kind::Rolling { max_surge, max_unavailable } => {
            map.insert("strategy".to_owned(), json!("rolling"));
            let rolling = json!({"maxSurge": amount(*max_surge), "maxUnavailable": amount(*max_unavailable)});
            map.insert("rolling".to_owned(), rolling);
        }
        Kind::Canary { steps, session_affinity } => {
            map.insert("strategy".to_owned(), json!("canary"));
            let steps: Vec<Value> = steps.iter().map(step).collect();
            let mut section = Map::new();
            section.insert("steps".to_owned(), json!(steps));
            put(&mut section, "sessionAffinity", session_affinity.as_ref().map(affinity));
            map.insert("canary".to_owned(), Value::Object(section));
        }
        Kind::BlueGreen {
            auto_promotion,
            preview_replicas,
            preview_hosts,
            pre_promotion,
            post_promotion,
        } => {
            map.insert("strategy".to_owned(), json!("blueGreen"));
            let mut section = Map::new();
            section.insert("autoPromotionEnabled".to_owned(), json!(auto_promotion.is_some()));
            put(&mut section, "autoPromotionDelay", auto_promotion.map(|delay| json!(time(delay))));
            put(&mut section, "previewReplicaCount", preview_replicas.map(|count| json!(count)));
            section.insert("previewHosts".to_owned(), json!(preview_hosts));
            let run = |rules: &[Metric]| {
                let metrics: Vec<Value> = rules.iter().map(metric).collect();
                (!metrics.is_empty()).then(|| json!({"metrics": metrics}))
            };
            put(&mut section, "prePromotionAnalysis", run(pre_promotion));
            put(&mut section, "postPromotionAnalysis", run(post_promotion));
            map.insert("blueGreen".to_owned(), Value::Object(section));
        }
    }
    map.insert("progressDeadline".to_owned(), json!(time(strategy.progress_deadline)));
    map.insert("minReady".to_owned(), json!(time(strategy.min_ready)));
    map.insert("scaleDownDelay".to_owned(), json!(time(strategy.scale_down_delay)));
    map.insert("bakeTime".to_owned(), json!(time(strategy.bake_time)));
    map.insert("rollbackWindow".to_owned(), json!(time(strategy.rollback_window())));
    map.insert("onFailure".to_owned(), json!(strategy.on_failure.name()));
    map.insert("analysis".to_owned(), analysis(&strategy.analysis));
    put(&mut map, "hooks", hooks(&strategy.hooks));
    Value::Object(map)
}

fn hooks(hooks: &Hooks) -> Option<Value> {
    let mut map = Map::new();
    for moment in [Moment::Before, Moment::After] {
        let all: Vec<Value> = hooks.of(moment).iter().map(|it| hook(it, moment)).collect();
        put(&mut map, moment.name(), (!all.is_empty()).then(|| json!(all)));
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

fn hook(hook: &Hook, moment: Moment) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), json!(hook.name));
    map.insert("run".to_owned(), json!(hook.command.run));
    map.insert("timeout".to_owned(), json!(time(hook.command.timeout)));
    map.insert("idempotent".to_owned(), json!(hook.idempotent));
    // Those before a rollout have no choice.
    put(&mut map, "onFailure", (moment == Moment::After).then(|| json!(hook.on_failure.name())));
    Value::Object(map)
}

fn amount(amount: Amount) -> Value {
    match amount {
        Amount::Replicas(count) => json!(count),
        Amount::Share(share) => json!(share.to_string()),
    }
}

fn step(step: &Step) -> Value {
    match step {
        Step::SetWeight(weight) => json!({"setWeight": percent(*weight)}),
        Step::Pause { duration: Some(duration) } => json!({"pause": {"duration": time(*duration)}}),
        Step::Pause { duration: None } => json!({"pause": {}}),
        Step::Analysis { metrics } => {
            let metrics: Vec<Value> = metrics.iter().map(metric).collect();
            json!({"analysis": {"metrics": metrics}})
        }
        Step::SetCanaryScale(CanaryScale::Replicas(count)) => json!({"setCanaryScale": {"replicas": count}}),
        Step::SetCanaryScale(CanaryScale::Weight(share)) => {
            json!({"setCanaryScale": {"weight": percent(*share)}})
        }
        Step::SetCanaryScale(CanaryScale::MatchTrafficWeight) => {
            json!({"setCanaryScale": {"matchTrafficWeight": true}})
        }
        Step::SetHeaderRoute(route) => {
            let mut map = Map::new();
            map.insert("name".to_owned(), json!(route.name));
            let matches: Vec<Value> = route.matches.iter().map(header_match).collect();
            put(&mut map, "match", (!matches.is_empty()).then_some(Value::Array(matches)));
            json!({"setHeaderRoute": map})
        }
    }
}

fn percent(share: Weight) -> Value {
    number(f64::from(share.basis_points()) / 100.0)
}

fn header_match(header: &HeaderMatch) -> Value {
    let value = match &header.header_value {
        Pattern::Exact(text) => json!({"exact": text}),
        Pattern::Prefix(text) => json!({"prefix": text}),
        Pattern::Regex(text) => json!({"regex": text}),
    };
    json!({"headerName": header.header_name, "headerValue": value})
}

fn affinity(affinity: &SessionAffinity) -> Value {
    match affinity {
        SessionAffinity::Cookie { name, max_age } => {
            json!({"cookie": {"name": name, "maxAge": time(*max_age)}})
        }
        SessionAffinity::Header { name } => json!({"header": {"name": name}}),
    }
}

fn analysis(analysis: &Analysis) -> Value {
    let mut map = Map::new();
    let judge = match &analysis.judge {
        None => json!(false),
        Some(judge) => {
            let mut map = Map::new();
            map.insert("alpha".to_owned(), number(judge.alpha));
            map.insert("tolerance".to_owned(), number(judge.tolerance));
            match &judge.promotion {
                Promotion::Time => put(&mut map, "promotion", Some(json!("time"))),
                Promotion::Evidence { max_error_rate, beta } => {
                    map.insert("promotion".to_owned(), json!("evidence"));
                    map.insert("maxErrorRate".to_owned(), number(*max_error_rate));
                    map.insert("beta".to_owned(), number(*beta));
                }
            }
            map.insert("latency".to_owned(), judge.latency.as_ref().map_or(json!(false), latency));
            Value::Object(map)
        }
    };
    map.insert("judge".to_owned(), judge);
    let metrics: Vec<Value> = analysis.metrics.iter().map(metric).collect();
    put(&mut map, "metrics", (!metrics.is_empty()).then_some(Value::Array(metrics)));
    Value::Object(map)
}

fn latency(latency: &Latency) -> Value {
    let quantiles: Vec<Value> = latency.quantiles.iter().map(|quantile| number(*quantile)).collect();
    json!({
        "quantiles": quantiles,
        "tolerance": number(latency.tolerance),
        "initialDelay": time(latency.initial_delay),
    })
}

fn metric(metric: &Metric) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), json!(metric.name));
    let (key, source) = match &metric.source {
        Source::ErrorRate => ("source", json!("errorRate")),
        Source::RequestRate => ("source", json!("requestRate")),
        Source::Latency(_) => ("source", json!("latency")),
        Source::Restarts => ("source", json!("restarts")),
        Source::Http(check) => ("http", http(check)),
        Source::Command(command) => {
            ("command", json!({"run": command.run, "timeout": time(command.timeout)}))
        }
        Source::Promql(promql) => ("promql", json!({"query": promql.query, "timeout": time(promql.timeout)})),
    };
    map.insert(key.to_owned(), source);
    if let Source::Latency(quantile) = &metric.source {
        map.insert("quantile".to_owned(), number(*quantile));
    }
    map.insert("interval".to_owned(), json!(time(metric.interval)));
    put(&mut map, "count", metric.count.map(|count| json!(count)));
    let (success, failure) = metric.conditions();
    put(&mut map, "successCondition", success.map(|condition| json!(condition)));
    put(&mut map, "failureCondition", failure.map(|condition| json!(condition)));
    let limit = |limit: Option<u32>| limit.map_or(json!(-1), |limit| json!(limit));
    map.insert("failureLimit".to_owned(), limit(metric.failure_limit));
    map.insert("inconclusiveLimit".to_owned(), limit(metric.inconclusive_limit));
    map.insert("consecutiveErrorLimit".to_owned(), limit(metric.consecutive_error_limit));
    map.insert("dryRun".to_owned(), json!(metric.dry_run));
    Value::Object(map)
}

fn http(http: &Http) -> Value {
    let mut map = Map::new();
    match &http.target {
        Target::Path(path) => map.insert("path".to_owned(), json!(path)),
        Target::Url(url) => map.insert("url".to_owned(), json!(url)),
    };
    map.insert("method".to_owned(), json!(http.method));
    put(&mut map, "headers", (!http.headers.is_empty()).then(|| json!(http.headers)));
    let mut expect = Map::new();
    put(&mut expect, "status", http.expect.status.map(|status| json!(status)));
    put(&mut expect, "bodyContains", http.expect.body_contains.as_ref().map(|text| json!(text)));
    put(&mut map, "expect", (!expect.is_empty()).then_some(Value::Object(expect)));
    map.insert("timeout".to_owned(), json!(time(http.timeout)));
    Value::Object(map)
}

fn write_map(yaml: &mut String, map: &Map<String, Value>, indent: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        if indent > 0 && index == 0 && yaml.ends_with("- ") {
            // The first key of a list's item stands beside its dash.
        } else {
            yaml.push_str(&" ".repeat(indent));
        }
        yaml.push_str(&scalar(&Value::String(key.clone())));
        yaml.push(':');
        write_value(yaml, value, indent);
    }
}

fn write_value(yaml: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            yaml.push('\n');
            write_map(yaml, map, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            yaml.push('\n');
            for item in items {
                yaml.push_str(&" ".repeat(indent + 2));
                yaml.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => write_map(yaml, map, indent + 4),
                    Value::Object(_)
                    | Value::Array(_)
                    | Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_) => {
                        yaml.push_str(&scalar(item));
                        yaml.push('\n');
                    }
                }
            }
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            yaml.push(' ');
            yaml.push_str(&scalar(value));
            yaml.push('\n');
        }
    }
}

/// One value on one line; a string in quotes unless every YAML parser takes it for a string.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    let unmarked = text.strip_prefix("--").or(text.strip_prefix("./")).unwrap_or(text);
    let starts = unmarked.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let timely = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%')
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(['h', 'm', 's', 'i', '%'])
        && !text.starts_with("0x");
    if (starts && text.bytes().all(word) && !reserved.contains(&text.to_lowercase().as_str())) || timely {
        return text.clone();
    }
    quoted(text)
}

/// In double quotes, with what YAML and JSON escape alike.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
