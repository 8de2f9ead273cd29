//! `shipshape query`: PromQL, asked of control, for people at a terminal. Does not live here: evaluating it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;

/// Columns of the picture of a series over time.
const COLUMNS: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Ask for metrics in PromQL.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape query 'topk(5, sum by (route) (rate(http_requests_total{status_class=\"5xx\"}[5m])))'
  shipshape query --over 1h 'sum by (version) (rate(http_requests_total[1m]))'
  shipshape query --output json up

With --output json the answer is Prometheus' own, which control also gives at /api/v1/query and /api/v1/query_range.")]
pub(crate) struct Args {
    /// The expression
    #[arg(value_name = "PROMQL")]
    expression: String,
    /// The values over this time until now, as 30m; only those of now by default
    #[arg(long, value_name = "TIME", value_parser = model::time::parse_duration)]
    over: Option<Duration>,
    /// The time between two values, with --over; a sixtieth of it by default, but a second at least
    #[arg(long, value_name = "TIME", value_parser = model::time::parse_duration, requires = "over")]
    step: Option<Duration>,
}

/// What Prometheus answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    data: Data,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", tag = "resultType", content = "result")]
enum Data {
    Vector(Vec<Sample>),
    Matrix(Vec<Series>),
    Scalar((f64, String)),
    String((f64, String)),
}

#[derive(Debug, Deserialize)]
struct Sample {
    metric: serde_json::Map<String, Value>,
    value: (f64, String),
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: serde_json::Map<String, Value>,
    values: Vec<(f64, String)>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let answer = match args.over {
        None => context.client.query(&args.expression).await?,
        Some(over) => {
            let least = Duration::from_secs(1);
            let step = args.step.unwrap_or(over / u32::try_from(COLUMNS).unwrap_or(1)).max(least);
            let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            context.client.query_range(&args.expression, end.saturating_sub(over), end, step).await?
        }
    };
    if context.printer.is_json() {
        context.printer.json(&answer);
        return Ok(Done::Well);
    }
    let answer: Answer = serde_json::from_value(answer)
        .map_err(|error| Failure::new(format!("control's answer cannot be understood: {error}")))?;
    for note in answer.warnings.iter().chain(&answer.infos) {
        context.printer.warning(note);
    }
    let lines = told(answer.data);
    if lines.is_empty() {
        context.printer.talk("no series matches");
    }
    lines.iter().for_each(|line| context.printer.data(line));
    Ok(Done::Well)
}

fn told(data: Data) -> Vec<String> {
    match data {
        Data::Scalar((_, value)) | Data::String((_, value)) => vec![value],
        Data::Vector(samples) => {
            let width = samples.iter().map(|sample| sample.value.1.len()).max().unwrap_or_default();
            let line = |sample: &Sample| format!("{:>width$}  {}", sample.value.1, name(&sample.metric));
            samples.iter().map(line).collect()
        }
        Data::Matrix(all) => all.iter().map(over_time).collect(),
    }
}

/// A series as people write it: `name{label="value"}`.
fn name(metric: &serde_json::Map<String, Value>) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = metric.get("__name__").map(text).unwrap_or_default();
    let labels: Vec<String> = metric
        .iter()
        .filter(|(label, _)| *label != "__name__")
        .map(|(label, value)| format!("{label}={:?}", text(value)))
        .collect();
    match labels.is_empty() && !name.is_empty() {
        true => name,
        false => format!("{name}{{{}}}", labels.join(", ")),
    }
}

fn over_time(series: &Series) -> String {
    let values: Vec<f64> = series.values.iter().filter_map(|(_, value)| value.parse().ok()).collect();
    let known = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let last = values.last().copied().unwrap_or(f64::NAN);
    if !low.is_finite() {
        return format!("{}\n  last {last}", name(&series.metric));
    }
    format!(
        "{}\n  {}  last {}, least {}, most {}",
        name(&series.metric),
        picture(&values, low, high),
        short(last),
        short(low),
        short(high)
    )
}

/// Each column shows the highest value in its part of the time.
fn picture(values: &[f64], low: f64, high: f64) -> String {
    let each = values.len().div_ceil(COLUMNS).max(1);
    let bar = |part: &[f64]| {
        let top = part.iter().copied().filter(|value| value.is_finite()).fold(f64::NEG_INFINITY, f64::max);
        if !top.is_finite() {
            return ' ';
        }
        let share = if high > low { (top - low) / (high - low) } else { 0.0 };
        let at = (share * (BARS.len() - 1) as f64).round() as usize;
        BARS.get(at).copied().unwrap_or(' ')
    };
    values.chunks(each).map(bar).collect()
}

/// Four digits are enough to read.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(data: Value) -> Vec<String> {
        told(serde_json::from_value(data).unwrap())
    }

    #[test]
    fn values_stand_before_their_series() {
        let answer = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "shop"}, "value": [1.5, "1"]},
            {"metric": {"route": "/a\"b"}, "value": [1.5, "12.5"]},
            {"metric": {"__name__": "up"}, "value": [1.5, "NaN"]},
        ]});
        assert_eq!(lines(answer), ["   1  up{job=\"shop\"}", "12.5  {route=\"/a\\\"b\"}", " NaN  up"]);
        assert_eq!(lines(json!({"resultType": "scalar", "result": [1.5, "3"]})), ["3"]);
    }

    #[test]
    fn time_is_a_picture_with_its_bounds() {
        let values: Vec<Value> =
            [0.0, 1.0, 7.0].iter().map(|value| json!([1.0, value.to_string()])).collect();
        let answer = json!({"resultType": "matrix", "result": [{"metric": {}, "values": values}]});
        assert_eq!(lines(answer), ["{}\n  ▁▂█  last 7, least 0, most 7"]);
        let flat = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1.0, "NaN"]]}]});
        assert_eq!(lines(flat), ["{}\n  last NaN"]);
    }

    #[test]
    fn four_digits_are_shown() {
        let shown = [0.0, 1.0, 1234.56, 0.001_234_56, 99.999].map(short);
        assert_eq!(shown, ["0", "1", "1235", "0.001235", "100"]);
    }
}
