//! Which metrics are collected, in Prometheus' words for how a page is asked for, and who answers questions about them.

use std::collections::BTreeMap;

use model::spec::{Authentication, Metrics, Prometheus, RecordingRule, Scrape};

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Entry, Node};
use crate::read::{Mapping, scalar_in};
use crate::shape::Object;
use crate::{check, headers, service, traces, values};

/// What makes no sense without a server.
const OF_A_SERVER: [&str; 5] = ["address", "bearerToken", "basicAuth", "headers", "caFile"];

pub(crate) fn metrics(root: &Mapping<'_>) -> Metrics {
    let metrics = root.child("metrics", &fields::METRICS);
    let scrape = metrics.entry("scrape").map(|_| {
        let scrape = metrics.child("scrape", &fields::SCRAPE);
        let (interval, timeout) = (scrape.duration("interval"), scrape.duration("timeout"));
        if timeout > interval && scrape.entry("timeout").is_some() {
            let problem = Problem::new("an answer may not take longer than the interval");
            let help = format!("write a `timeout` of at most {}", model::time::format_duration(interval));
            scrape.error(&scrape.place("timeout"), problem.help(help));
        }
        let read = Scrape {
            path: scrape.path("path").unwrap_or_default(),
            interval,
            timeout: timeout.min(interval),
            sample_limit: scrape.count("sampleLimit").unwrap_or_default(),
        };
        scrape.finish();
        read
    });
    let prometheus = server(&metrics);
    let rules = recording_rules(&metrics);
    let export = traces::export(&metrics);
    let evaluation_interval = metrics.duration("evaluationInterval");
    metrics.finish();
    Metrics { scrape, prometheus, rules, evaluation_interval, export }
}

fn recording_rules(metrics: &Mapping<'_>) -> Vec<RecordingRule> {
    let items = service::mappings(metrics, metrics.list("rules").unwrap_or_default());
    let rule = |item: &Node| {
        let rule = Mapping::open(metrics.context, &fields::RECORDING_RULE, item, &item.span);
        let read = RecordingRule {
            record: rule.read("record", |scalar, _| series_name(&values::text(scalar)?)).unwrap_or_default(),
            expr: rule.read("expr", |scalar, _| expression(values::text(scalar)?)).unwrap_or_default(),
            labels: rule
                .entries("labels")
                .iter()
                .filter_map(|entry| {
                    let value = scalar_in(rule.context, &entry.value, "a text", values::written)?;
                    Some((entry.key.clone(), value))
                })
                .collect(),
        };
        rule.finish();
        read
    };
    items.into_iter().map(rule).collect()
}

/// A name that PromQL can say without quotes.
fn series_name(name: &str) -> Result<String, Problem> {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let is_name = name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit());
    match is_name && name.len() <= 200 {
        true => Ok(name.to_owned()),
        false => Err(Problem::new(format!("`{name}` cannot name a series"))
            .help("letters, digits, `_` and `:`, as in `shop:requests:rate5m`")),
    }
}

/// An expression that can be evaluated.
fn expression(text: String) -> Result<String, Problem> {
    match promql::read(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Problem::new(format!("it is not PromQL that can be evaluated: {error}"))),
    }
}

fn server(metrics: &Mapping<'_>) -> Option<Prometheus> {
    let is_prometheus =
        metrics.choice("provider", &["datadog", "newRelic", "wavefront", "graphite"]) == Some("prometheus");
    let given: Vec<&Entry> = OF_A_SERVER.into_iter().filter_map(|name| metrics.entry(name)).collect();
    // An environment that says `embedded` need not take back what the others say of their server.
    let is_forgotten = metrics.entry("provider").is_none() && !metrics.context.partial;
    if let Some(entry) = given.first().filter(|_| is_forgotten) {
        let problem = Problem::new(format!("`{}` belongs to a server of your own", entry.key));
        metrics.error(&entry.key_span, problem.help("add `provider: prometheus`, or remove it"));
    }
    let read = Prometheus {
        address: address(metrics).unwrap_or_default(),
        authentication: authentication(metrics, &fields::BASIC_AUTH),
        headers: metrics
            .entries("headers")
            .iter()
            .filter_map(|entry| check::header(metrics, entry, "name a `bearerToken` or `basicAuth` instead"))
            .collect::<BTreeMap<_, _>>(),
        ca_file: metrics.text("caFile"),
    };
    if is_prometheus && metrics.entry("address").is_none() && !metrics.context.partial {
        let problem = Problem::new("`provider: prometheus` needs the server's `address`");
        metrics.error(&metrics.place("provider"), problem.help("as in `address: http://127.0.0.1:9090`"));
    }
    headers::in_the_open(metrics, "address", &read.address);
    if let Some(entry) = metrics.entry("caFile").filter(|_| read.address.starts_with("http://")) {
        let problem = Problem::new("a server at http:// shows no certificate");
        metrics.error(&entry.key_span, problem.help("write the address with https://, or remove `caFile`"));
    }
    is_prometheus.then_some(read)
}

/// An absolute address, without what the journal should not keep and without what the query's own part takes.
fn address(metrics: &Mapping<'_>) -> Option<String> {
    let address = metrics.text("address")?;
    let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    let invalid = |help: &str| Problem::new(format!("`{address}` is not a server's address")).help(help);
    let problem = match rest {
        None => Some(invalid("write it whole, as in `http://127.0.0.1:9090`")),
        Some(rest) if rest.split('/').next().is_some_and(|authority| authority.contains('@')) => {
            metrics.context.sink.mask(&metrics.place("address"));
            let problem =
                Problem::new("the address holds a user or a password, which the journal would keep");
            Some(problem.help("use `basicAuth` with a `password` by reference"))
        }
        Some(rest) if rest.contains(['?', '#']) => Some(invalid("leave out what follows `?` and `#`")),
        Some(rest) if rest.contains("/api/v1") => Some(invalid("end it before `/api/v1`, which is added")),
        Some(rest) => match check::authority(rest) {
            Ok(()) => None,
            Err(()) => Some(invalid("write it whole, as in `http://127.0.0.1:9090`")),
        },
    };
    if let Some(problem) = problem {
        metrics.error(&metrics.place("address"), problem);
    }
    Some(address.trim_end_matches('/').to_owned())
}

/// What a section's `bearerToken` or `basicAuth` says.
pub(crate) fn authentication(metrics: &Mapping<'_>, basic_auth: &'static Object) -> Option<Authentication> {
    let (token, basic) = (metrics.entry("bearerToken"), metrics.entry("basicAuth"));
    if let (Some(_), Some(basic)) = (token, basic) {
        let problem = Problem::new("a server is told by `bearerToken` or by `basicAuth` who asks");
        metrics.error(&basic.key_span, problem.help("remove one of the two"));
    }
    if let Some(token) = token {
        return service::secret(metrics, token).map(Authentication::BearerToken);
    }
    basic?;
    let section = metrics.child("basicAuth", basic_auth);
    let username = section.text("username");
    let password = section.entry("password").and_then(|entry| service::secret(&section, entry));
    if username.as_ref().is_some_and(|name| name.contains(':')) {
        let problem = Problem::new("a name with a colon cannot be told from its password");
        metrics.error(&section.place("username"), problem.help("use a name without `:`"));
    }
    section.finish();
    Some(Authentication::BasicAuth { username: username?, password: password? })
}
