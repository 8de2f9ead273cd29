//! What an objective counts: requests at the gateway, whatever queries say, or a probe's attempts.

use std::time::Duration;

use model::latency::BOUNDS_US;
use model::objective::{Indicator, Part, Query, Requests, WINDOW_PLACEHOLDER};
use promql::expr::Expr;

use super::At;
use crate::diagnostic::Problem;
use crate::node::Span;
use crate::read::Mapping;
use crate::values;

/// What other tools write for the range.
const PLACEHOLDERS: [&str; 4] = ["{{.window}}", "{{ .window }}", "{{.Window}}", "{{ .Window }}"];
/// The longest query in bytes: each is asked every minute.
const LONGEST: usize = 10_000;
const QUERIES: [&str; 3] = ["good", "bad", "total"];

/// What is counted; `None` when that cannot be told.
pub(super) fn indicator(section: &Mapping<'_>, at: &At<'_>) -> Option<Indicator> {
    let within = section.read("within", |scalar, _| values::duration(scalar, true).and_then(bound));
    let requests = requests(section, at);
    let [good, bad, total] = QUERIES.map(|name| query(section, name, at));
    let is_partial = section.context.partial;
    let probe = section.read("probe", |scalar, _| probe(values::text(scalar)?, at, is_partial));
    let has = |name| section.entry(name).map(|entry| entry.key_span.clone());
    let queries = QUERIES.into_iter().find_map(has);
    let kinds: Vec<Span> = [has("within"), queries.clone(), has("probe")].into_iter().flatten().collect();
    if let [_, second, ..] = kinds.as_slice() {
        let problem =
            Problem::new("an objective counts one thing: requests `within` a time, queries or a `probe`");
        section.error(second, problem.help("make it two objectives, each with a name of its own"));
        return None;
    }
    let of_requests = ["routes", "methods"].into_iter().find_map(has);
    if let (Some(span), true) = (of_requests, queries.is_some() || has("probe").is_some()) {
        let problem = Problem::new("`routes` and `methods` choose among the requests at the gateway");
        section.error(&span, problem.help("say it in the queries, or remove it"));
    }
    if has("probe").is_some() {
        return Some(Indicator::Probe { name: probe? });
    }
    if has("within").is_some() {
        return Some(Indicator::Latency { within: within?, requests });
    }
    if queries.is_none() {
        return Some(Indicator::Availability(requests));
    }
    let part = match (has("good"), has("bad")) {
        (Some(_), None) => good.map(Part::Good),
        (None, Some(_)) => bad.map(Part::Bad),
        (Some(_), Some(second)) => {
            let problem = Problem::new("what is not good is bad: `good` and `bad` say the same twice");
            section.error(&second, problem.help("remove one of the two"));
            None
        }
        (None, None) => {
            if !section.context.partial {
                let problem = Problem::new("`total` alone does not say what is good");
                section.error(&section.place("total"), problem.help("add `good` or `bad`"));
            }
            None
        }
    };
    if has("total").is_none() && !section.context.partial {
        let problem = Problem::new("`total` is missing: what the good or bad ones are a part of");
        section.error(&section.at, problem.help("add `total`, a query like the other"));
    }
    Some(Indicator::Ratio { part: part?, total: total? })
}

/// A bound of the latency histogram, so that the count is exact.
pub(super) fn bound(within: Duration) -> Result<Duration, Problem> {
    let us = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
    let words = |us: u64| model::time::format_duration(Duration::from_micros(us));
    let above = BOUNDS_US.partition_point(|bound| *bound < us);
    let at = |index: usize| BOUNDS_US.get(index).copied();
    let help = match (above.checked_sub(1).and_then(at), at(above)) {
        (_, Some(bound)) if bound == us => return Ok(within),
        (Some(below), Some(above)) => format!("use {} or {}", words(below), words(above)),
        (None, Some(only)) | (Some(only), None) => format!("use {}", words(only)),
        (None, None) => return Ok(within),
    };
    let problem =
        format!("{} is no bound of the latency histogram, so what is within it is not known", words(us));
    Err(Problem::new(problem).help(help))
}

fn requests(section: &Mapping<'_>, at: &At<'_>) -> Requests {
    let known = || at.route.templates.iter().chain(&at.route.path_prefixes).map(String::as_str);
    let is_partial = section.context.partial;
    let route = |scalar: &_| {
        let path = values::path(scalar)?;
        if is_partial || known().any(|route| route == path) {
            return Ok(path);
        }
        let problem = Problem::new(format!("no request has the route `{path}`"));
        Err(problem.help(match values::closest(&path, known()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => {
                format!("add it to `route.templates`; there are {}", known().collect::<Vec<_>>().join(", "))
            }
        }))
    };
    let method = |scalar: &_| {
        let method = values::text(scalar)?;
        let is_token =
            method.len() <= 20 && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        if is_token {
            return Ok(method);
        }
        let problem = Problem::new(format!("`{method}` is no method of HTTP"));
        Err(problem.help(format!("did you mean `{}`?", method.to_uppercase())))
    };
    Requests {
        routes: section.scalars("routes", "a route such as /orders/{id}", route).unwrap_or_default(),
        methods: section.scalars("methods", "a method such as GET", method).unwrap_or_default(),
    }
}

/// One that is there; of what an environment alone says that is not known yet.
fn probe(name: String, at: &At<'_>, is_partial: bool) -> Result<String, Problem> {
    if is_partial || at.probes.contains(&name.as_str()) {
        return Ok(name);
    }
    let problem = Problem::new(format!("there is no probe `{name}`"));
    Err(problem.help(match values::closest(&name, at.probes.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if at.probes.is_empty() => {
            format!("declare it, as in `probes: [{{name: {name}, http: {{path: /}}}}]`")
        }
        None => format!("name one of those that are: {}", at.probes.join(", ")),
    }))
}

fn query(section: &Mapping<'_>, name: &'static str, at: &At<'_>) -> Option<Query> {
    section.entry(name)?;
    section.read(name, |scalar, _| {
        let mut text = values::text(scalar)?.trim().to_owned();
        for theirs in PLACEHOLDERS {
            text = text.replace(theirs, WINDOW_PLACEHOLDER);
        }
        parse(text, at.metrics.prometheus.is_some())
    })
}

/// A query that gives a number of events. A server of one's own may know a PromQL that is not served here.
fn parse(text: String, elsewhere: bool) -> Result<Query, Problem> {
    if text.len() > LONGEST {
        let problem = Problem::new(format!("the query has {} bytes; the most is {LONGEST}", text.len()));
        return Err(problem.help("let a recording rule do a part of the work"));
    }
    let has_window = text.contains(WINDOW_PLACEHOLDER);
    let read = promql::read(&text.replace(WINDOW_PLACEHOLDER, "1m"));
    match read {
        Ok(Expr::Instant(selector)) if !has_window => {
            if selector.offset != 0 || selector.at.is_some() {
                return Err(Problem::new("a selector of counters is counted as time goes by")
                    .help("remove `offset` and `@`"));
            }
            Ok(Query::Counter(text))
        }
        Ok(_) if has_window => Ok(Query::Windowed(text)),
        Ok(_) => Err(Problem::new("the query does not say over which range it counts").help(
            "write a plain selector of counters, or the range as `[$__window]`: sum(increase(jobs_total[$__window]))",
        )),
        Err(promql::Error::Syntax(what)) => Err(Problem::new(format!("the query is not PromQL: {what}"))),
        Err(_) if elsewhere && has_window => Ok(Query::Windowed(text)),
        Err(error) => Err(Problem::new(format!("the query cannot be evaluated: {error}"))),
    }
}
