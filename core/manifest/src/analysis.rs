//! The judge's settings and the threshold rules, with the meaning of Argo Rollouts' fields. Nothing is judged here.

use std::collections::BTreeMap;
use std::time::Duration;

use model::strategy::{Analysis, Judge, Latency, MAX_QUANTILES, Metric, Promotion, Source};

use crate::check;
use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Node, Span};
use crate::promql::{self, Arguments};
use crate::read::Mapping;
use crate::service::mappings;
use crate::shape::Object;
use crate::values;

/// Each is written into the journal.
const SHORTEST_BETWEEN_CHECKS: Duration = Duration::from_secs(1);

pub(crate) fn analysis(rollout: &Mapping<'_>) -> Analysis {
    let analysis = rollout.child("analysis", &fields::ANALYSIS);
    let judge = judge(&analysis);
    let metrics = metrics(&analysis);
    analysis.finish();
    Analysis { judge, metrics }
}

/// Rules that something waits for, so each must come to an end.
pub(crate) fn waited_for(analysis: &Mapping<'_>) -> Vec<Metric> {
    let metrics = metrics(analysis);
    let endless = metrics.iter().find(|metric| metric.count.is_none());
    if let Some(Metric { name, .. }) = endless {
        let problem = Problem::new(format!("`{name}` has no `count`, so it would never end"));
        analysis.error(&analysis.place("metrics"), problem.help("say how many measurements: `count: 5`"));
    }
    if analysis.list("metrics").is_some_and(<[_]>::is_empty) {
        let problem = Problem::new("an analysis needs at least one metric");
        analysis.error(&analysis.place("metrics"), problem.help("remove it, or add a metric"));
    }
    metrics
}

/// Rules that a preview waits for: whatever counts requests has nothing to count.
pub(crate) fn of_a_preview(analysis: &Mapping<'_>) -> Vec<Metric> {
    for item in mappings(analysis, analysis.list("metrics").unwrap_or_default()) {
        let source = item.map().and_then(|map| map.get("source"));
        let counts = |text: &str| matches!(text, "errorRate" | "latency" | "requestRate");
        let of_requests = source.filter(|entry| entry.value.scalar().is_some_and(|it| counts(&it.text)));
        if let Some(entry) = of_requests {
            let problem = Problem::new("nobody's requests are counted before the switch");
            let help = "look at the preview by `http` or `command`, or measure this in postPromotionAnalysis";
            analysis.error(&entry.value.span, problem.help(help));
        }
    }
    waited_for(analysis)
}

/// The rules of a section, each with a name of its own.
fn metrics(analysis: &Mapping<'_>) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let arguments = Arguments::read(analysis);
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    for item in mappings(analysis, analysis.list("metrics").unwrap_or_default()) {
        let Some(metric) = metric(analysis, item, &arguments) else { continue };
        let span = item.map().and_then(|map| map.get("name")).map_or(&item.span, |entry| &entry.value.span);
        if let Some(first) = names.get(&metric.name) {
            let problem = Problem::new(format!("two metrics have the name `{}`", metric.name));
            let sink = analysis.context.sink;
            sink.error_with(span, problem.help("give each its own name"), first, "the first one");
        }
        names.insert(metric.name.clone(), span.clone());
        metrics.push(metric);
    }
    metrics
}

fn judge(analysis: &Mapping<'_>) -> Option<Judge> {
    let judge = unless_false(analysis, "judge", &fields::JUDGE)?;
    let read = settings(&judge);
    judge.finish();
    Some(read)
}

/// A section that is on unless it is `false`.
pub(crate) fn unless_false<'a>(
    parent: &Mapping<'a>,
    name: &'static str,
    object: &'static Object,
) -> Option<Mapping<'a>> {
    let entry = parent.entry(name);
    let scalar = entry.and_then(|entry| entry.value.scalar()).filter(|scalar| !scalar.quoted);
    match scalar.map(|scalar| scalar.text.as_str()) {
        Some("false") => None,
        Some("true") => {
            let problem = Problem::new(format!("the {name} is on unless it is `false`"));
            let help = format!("remove `{name}: true`, or write its settings");
            parent.error(&parent.place(name), problem.help(help));
            Some(Mapping::absent(parent.context, object, &parent.at))
        }
        Some(_) | None => Some(parent.child(name, object)),
    }
}

fn settings(judge: &Mapping<'_>) -> Judge {
    let by_evidence = judge.choice("promotion", &[]) == Some("evidence");
    let max_error_rate = judge.number("maxErrorRate").unwrap_or(0.01);
    let beta = judge.number("beta").unwrap_or(0.05);
    for name in ["maxErrorRate", "beta"] {
        if let Some(entry) = judge.entry(name).filter(|_| !by_evidence && !judge.context.partial) {
            let problem = Problem::new(format!("`{name}` has no effect"));
            let help = "it needs `promotion: evidence`";
            judge.context.sink.warning(&entry.key_span, problem.help(help));
        }
    }
    Judge {
        alpha: judge.number("alpha").unwrap_or(0.01),
        tolerance: judge.number("tolerance").unwrap_or(1.0),
        promotion: if by_evidence { Promotion::Evidence { max_error_rate, beta } } else { Promotion::Time },
        latency: latency(judge),
    }
}

/// What is judged of the latency unless something else is said.
const DEFAULT_QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

fn latency(judge: &Mapping<'_>) -> Option<Latency> {
    let section = unless_false(judge, "latency", &fields::JUDGE_LATENCY)?;
    let quantile = |scalar: &_| values::number(scalar, 0.0, 1.0, true);
    let mut quantiles = section
        .scalars("quantiles", "a number such as 0.99", quantile)
        .unwrap_or_else(|| DEFAULT_QUANTILES.to_vec());
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup();
    quantiles.truncate(MAX_QUANTILES);
    let tolerance = section.number("tolerance").unwrap_or(1.5);
    if section.list("quantiles").is_some_and(<[_]>::is_empty) {
        let problem = Problem::new("`quantiles` is empty, so no latency would be judged");
        section.error(&section.place("quantiles"), problem.help("write `latency: false` instead"));
    }
    // The share of slow requests cannot be above 1.
    let idle = quantiles.iter().find(|quantile| tolerance * (1.0 - *quantile) >= 1.0);
    if let Some(quantile) = idle.filter(|_| !judge.context.partial) {
        let name = if section.entry("tolerance").is_some() { "tolerance" } else { "quantiles" };
        let problem = Problem::new(format!(
            "the quantile {quantile} could never be found worse: {tolerance} times its slow requests are tolerated, \
             and those are all there are"
        ));
        let help =
            format!("choose a tolerance below {:.1}, or leave that quantile out", 1.0 / (1.0 - quantile));
        section.error(&section.place(name), problem.help(help));
    }
    let initial_delay = section.duration("initialDelay");
    section.finish();
    Some(Latency { quantiles, tolerance, initial_delay })
}

fn metric(analysis: &Mapping<'_>, item: &Node, arguments: &Arguments) -> Option<Metric> {
    let metric = Mapping::open(analysis.context, &fields::METRIC, item, &item.span);
    let name = metric.text("name");
    let source = source_of(&metric, arguments);
    let compared = |name| if metric.entry("promql").is_some() { None } else { metric.condition(name) };
    let (success, failure) = (compared("successCondition"), compared("failureCondition"));
    let conditions = [metric.entry("successCondition"), metric.entry("failureCondition")];
    let given = conditions.iter().flatten().next();
    match (&source, given) {
        (Some(Source::Command(_)), Some(entry)) => {
            let problem = Problem::new("the exit status of a command is its verdict");
            metric.error(&entry.key_span, problem.help("remove the condition"));
        }
        (Some(_) | None, None) if metric.entry("source").or(metric.entry("promql")).is_some() => {
            let problem = Problem::new("a metric needs `successCondition` or `failureCondition`");
            metric.error(&metric.at, problem.help("as in `successCondition: result < 0.05`"));
        }
        (Some(_) | None, _) => {}
    }
    let interval = metric.duration("interval");
    if source.as_ref().is_some_and(Source::is_check) && interval < SHORTEST_BETWEEN_CHECKS {
        let problem = Problem::new("an `interval` between two checks is at least 1s");
        metric.error(&metric.place("interval"), problem.help("use `interval: 1s` or more"));
    }
    // Argo: without both one measurement, with an interval alone until the rollout stops it.
    let count = match (metric.count("count"), metric.entry("interval")) {
        (Some(count), _) => Some(count),
        (None, Some(_)) => None,
        (None, None) => Some(1),
    };
    let read = Metric {
        name: name.unwrap_or_default(),
        source: source.unwrap_or(Source::ErrorRate),
        interval,
        count,
        success_condition: success,
        failure_condition: failure,
        failure_limit: metric.count("failureLimit"),
        inconclusive_limit: metric.count("inconclusiveLimit"),
        consecutive_error_limit: metric.count("consecutiveErrorLimit"),
        dry_run: metric.flag("dryRun").unwrap_or_default(),
    };
    let complete = metric.entry("name").is_some();
    metric.finish();
    complete.then_some(read)
}

/// Exactly one of the four.
fn source_of(metric: &Mapping<'_>, arguments: &Arguments) -> Option<Source> {
    let from_outside = [metric.entry("http"), metric.entry("command"), metric.entry("promql")];
    let (counted, http, command) = (source(metric), check::http(metric), check::command(metric));
    let promql = promql::promql(metric, arguments);
    let all = [metric.entry("source")].into_iter().chain(from_outside);
    let mut given = all.flatten();
    match (given.next(), given.next()) {
        (None, _) => {
            let problem = Problem::new("a metric needs `source`, `http`, `command` or `promql`");
            let help = "as in `source: errorRate`, `http: {path: /healthz}`, `command: {run: ./smoke-test}` or \
                        `promql: \"sum(rate(...))\"`";
            metric.error(&metric.at, problem.help(help));
        }
        (Some(_), Some(second)) => {
            let problem = Problem::new("a metric has one of `source`, `http`, `command` and `promql`");
            metric.error(&second.key_span, problem.help("make it two metrics"));
        }
        (Some(_), None) => {}
    }
    let looks = http.map(Source::Http).or(command.map(Source::Command)).or(promql.map(Source::Promql));
    counted.or(looks)
}

fn source(metric: &Mapping<'_>) -> Option<Source> {
    let quantile = metric.number("quantile");
    metric.entry("source")?;
    let source = match metric.choice("source", &["query", "prometheus", "web", "job"])? {
        "latency" => Source::Latency(quantile.unwrap_or(0.99)),
        "requestRate" => Source::RequestRate,
        "restarts" => Source::Restarts,
        _ => Source::ErrorRate,
    };
    if let (Some(entry), Source::ErrorRate | Source::RequestRate | Source::Restarts) =
        (metric.entry("quantile"), &source)
    {
        let problem = Problem::new("`quantile` belongs to `source: latency` alone");
        metric.error(&entry.key_span, problem.help("remove it"));
    }
    Some(source)
}
