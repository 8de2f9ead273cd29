//! The judge's settings and the threshold rules, with the meaning of Argo Rollouts' fields. Nothing is judged here.

use std::collections::BTreeMap;

use model::strategy::{Analysis, Judge, Latency, MAX_QUANTILES, Metric, Promotion, Source};

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Node, Span};
use crate::read::Mapping;
use crate::service::mappings;
use crate::shape::Object;
use crate::values;

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

/// The rules of a section, each with a name of its own.
fn metrics(analysis: &Mapping<'_>) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    for item in mappings(analysis, analysis.list("metrics").unwrap_or_default()) {
        let Some(metric) = metric(analysis, item) else { continue };
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
fn unless_false<'a>(
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

fn metric(analysis: &Mapping<'_>, item: &Node) -> Option<Metric> {
    let metric = Mapping::open(analysis.context, &fields::METRIC, item, &item.span);
    let name = metric.text("name");
    let source = source(&metric);
    let (success, failure) = (metric.condition("successCondition"), metric.condition("failureCondition"));
    let conditions = [metric.entry("successCondition"), metric.entry("failureCondition")];
    if conditions.iter().flatten().next().is_none() {
        let problem = Problem::new("a metric needs `successCondition` or `failureCondition`");
        metric.error(&metric.at, problem.help("as in `successCondition: result < 0.05`"));
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
        interval: metric.duration("interval"),
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

fn source(metric: &Mapping<'_>) -> Option<Source> {
    let quantile = metric.number("quantile");
    let source = match metric.choice("source", &["query", "prometheus", "web", "job"])? {
        "latency" => Source::Latency(quantile.unwrap_or(0.99)),
        "requestRate" => Source::RequestRate,
        _ => Source::ErrorRate,
    };
    if let (Some(entry), Source::ErrorRate | Source::RequestRate) = (metric.entry("quantile"), source) {
        let problem = Problem::new("`quantile` belongs to `source: latency` alone");
        metric.error(&entry.key_span, problem.help("remove it"));
    }
    Some(source)
}
