//! PromQL: whatever is asked, reading and evaluating end within their limits, what fails says why, a range of one step is
//! the instant, and each step of a range is the instant of its time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ::promql::expr::Matcher;
use ::promql::{
    Error, Labels, Options, Point, Query, STALE, Selected, Series, Source, Value, evaluate, is_stale, read,
};

/// Words of the language.
pub(crate) const WORDS: &[&str] = &[
    "rate(",
    "increase(",
    "irate(",
    "delta(",
    "changes(",
    "resets(",
    "deriv(",
    "predict_linear(",
    "sum_over_time(",
    "quantile_over_time(0.5, ",
    "last_over_time(",
    "absent(",
    "absent_over_time(",
    "histogram_quantile(0.9, ",
    "label_replace(",
    "label_join(",
    ", \"a\", \"$1$1\", \"a\", \"(.*)\")",
    "clamp(",
    "round(",
    "scalar(",
    "vector(",
    "time()",
    "timestamp(",
    "sort_desc(",
    "sum by (job) (",
    "avg without (a) (",
    "topk(2, ",
    "bottomk(1, ",
    "quantile(0.5, ",
    "count_values(\"v\", ",
    "stddev(",
    " + ",
    " - ",
    " / ",
    " ^ ",
    " % ",
    " == ",
    " != bool ",
    " > ",
    " and ",
    " or ",
    " unless ",
    " atan2 ",
    " on (job) ",
    " ignoring (le) ",
    " group_left (a) ",
    " group_right ",
    " offset 5m",
    " offset -1h",
    " offset 0s",
    " @ 100",
    " @ 1e300",
    " @ Inf",
    " offset 1e300",
    "[1e300]",
    "[Inf]",
    "[NaN:0x7fffffffffffffff]",
    "5000000000ms",
    " @ start()",
    " @ end()",
    "[5m]",
    "[1h:1m]",
    "[1d:]",
    "[100y:1ms]",
    "m_total",
    "h_bucket",
    "gauge",
    "{job=\"x\"}",
    "{a=~\".+\"}",
    "{a!~\"(a|b)*{1000}\"}",
    "{__name__=~\".+\"}",
    "\\xff",
    "NaN",
    "Inf",
    "0x1F",
    "1e308",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "'",
    "`",
    "#",
];
const LIMIT: Duration = Duration::from_secs(10);
/// How long a query may take beyond its limit: what runs between two looks at the clock on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Series of every sort: counters with resets, a gauge with gaps and markers, NaN and infinities, a histogram.
struct Samples;

impl Source for Samples {
    fn select(&self, matchers: &[Matcher], after: i64, until: i64, limit: usize) -> Result<Selected, Error> {
        let mut left = limit;
        let mut selected = Vec::new();
        for (labels, value) in population() {
            if !matchers.iter().all(|matcher| matcher.selects(&labels)) {
                continue;
            }
            let times = (0..240i64).map(|step| step * 15_000).filter(|at| *at > after && *at <= until);
            let points: Vec<Point> =
                times.filter_map(|at| Some(Point { at, value: value(at / 15_000)? })).collect();
            left = left
                .checked_sub(points.len())
                .ok_or_else(|| Error::TooMuch("too many samples".to_owned()))?;
            selected.push(Series { labels, points });
        }
        Ok(selected.into())
    }
}

type Course = fn(i64) -> Option<f64>;

fn population() -> Vec<(Labels, Course)> {
    let courses: [(&str, &str, &str, Course); 9] = [
        ("m_total", "x", "1", |step| Some((step % 97 * 3) as f64)),
        ("m_total", "x", "2", |step| (step % 7 != 3).then_some(step as f64 / 7.0)),
        ("m_total", "y", "1", |step| (step > 100).then_some(step as f64)),
        ("gauge", "x", "", |step| Some(if step == 120 { STALE } else { (step % 11) as f64 - 5.0 })),
        ("gauge", "y", "", |step| (step < 60).then_some(f64::NAN)),
        ("gauge", "y", "inf", |step| Some(if step % 2 == 0 { f64::INFINITY } else { f64::NEG_INFINITY })),
        ("h_bucket", "x", "0.1", |step| Some((step * 2) as f64)),
        ("h_bucket", "x", "1", |step| Some((step * 5) as f64)),
        ("h_bucket", "x", "+Inf", |step| Some((step * 6) as f64)),
    ];
    let labels = |name: &str, job: &str, other: &str| {
        let label = if name == "h_bucket" { "le" } else { "a" };
        Labels::new([("__name__", name), ("job", job), (label, other)])
    };
    courses.into_iter().map(|(name, job, other, course)| (labels(name, job, other), course)).collect()
}

/// # Panics
/// When a promise is broken.
pub fn target(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let began = Instant::now();
    let expr = match read(&text) {
        Ok(expr) => expr,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(began.elapsed() < PATIENCE, "{:?} to refuse it", began.elapsed());
            return;
        }
    };
    let ask = |query: Query| {
        let began = Instant::now();
        let deadline = Some((began + LIMIT, LIMIT));
        let options = Options { max_samples: 200_000, deadline, ..Options::default() };
        let answer = evaluate(&Samples, &expr, query, &options).map(|answer| answer.value);
        assert!(began.elapsed() < LIMIT + PATIENCE, "{:?} to evaluate it", began.elapsed());
        match &answer {
            Ok(value) => check(value),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        answer
    };
    let times = [600_000, 1_800_000, 3_000_000];
    let instants = times.map(|at| ask(Query::Instant(at)));
    let single = ask(Query::Range { start: times[1], end: times[1], step: 1 });
    if let (Ok(single), Ok(instant)) = (&single, &instants[1]) {
        compare(single, instant, times[1]);
    }
    // What says when a query begins and ends is another query for each of them.
    let lower = text.to_lowercase();
    if lower.contains("start") || lower.contains("end") {
        return;
    }
    let range = ask(Query::Range { start: times[0], end: times[2], step: times[1] - times[0] });
    for (instant, at) in instants.iter().zip(times) {
        if let (Ok(range), Ok(instant)) = (&range, instant) {
            compare(range, instant, at);
        }
    }
}

/// No marker comes out, no series twice, and times go up.
fn check(value: &Value) {
    let series: Vec<(&Labels, &[Point])> = match value {
        Value::Vector(samples) => {
            samples.iter().map(|it| (&it.labels, std::slice::from_ref(&it.point))).collect()
        }
        Value::Matrix(series) => series.iter().map(|it| (&it.labels, it.points.as_slice())).collect(),
        Value::Scalar(_) | Value::Text { .. } => vec![],
    };
    let known: BTreeMap<_, _> = series.iter().copied().collect();
    assert_eq!(known.len(), series.len(), "a series twice: {series:?}");
    for (labels, points) in series {
        assert!(!points.is_empty(), "{labels} without a sample");
        assert!(points.iter().all(|point| !is_stale(point.value)), "{labels}: {points:?}");
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at), "{labels}: {points:?}");
    }
}

/// What a range gives at a time is what an instant query gives there.
fn compare(range: &Value, instant: &Value, at: i64) {
    let Value::Matrix(range) = range else { panic!("a range gave {range:?}") };
    let then = |series: &Series| {
        let point = series.points.iter().find(|point| point.at == at)?;
        Some((series.labels.clone(), shown(point.value)))
    };
    let given: BTreeMap<Labels, String> = range.iter().filter_map(then).collect();
    let wanted: BTreeMap<Labels, String> = match instant {
        Value::Vector(samples) => {
            samples.iter().map(|sample| (sample.labels.clone(), shown(sample.point.value))).collect()
        }
        Value::Scalar(point) => BTreeMap::from([(Labels::default(), shown(point.value))]),
        Value::Text { .. } | Value::Matrix(_) => panic!("a range was given for {instant:?}"),
    };
    assert_eq!(given, wanted, "at {at}");
}

fn shown(value: f64) -> String {
    if value.is_nan() { "NaN".to_owned() } else { format!("{value:?}") }
}
