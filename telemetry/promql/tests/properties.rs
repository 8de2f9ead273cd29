//! Functions of ranges and aggregations against a slow obvious reference, over random series with resets, gaps,
//! staleness and NaN.
#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::collections::BTreeMap;

use promql::expr::Matcher;
use promql::{
    Error, Labels, Options, Point, Query, STALE, Selected, Series, Source, Value, evaluate, is_stale, read,
};
use proptest::prelude::*;

/// Series in memory.
#[derive(Debug, Clone)]
struct Memory(Vec<Series>);

impl Source for Memory {
    fn select(&self, matchers: &[Matcher], after: i64, until: i64, _limit: usize) -> Result<Selected, Error> {
        let matching = |series: &&Series| matchers.iter().all(|matcher| matcher.selects(&series.labels));
        let within = |series: &Series| Series {
            points: series.points.iter().filter(|it| it.at > after && it.at <= until).copied().collect(),
            labels: series.labels.clone(),
        };
        Ok(self.0.iter().filter(matching).map(within).collect::<Vec<_>>().into())
    }
}

/// A counter with resets or a gauge, with gaps, markers and NaN.
fn points() -> impl Strategy<Value = Vec<Point>> {
    let step = (1i64..40_000, 0u8..24, -50.0f64..50.0);
    (any::<bool>(), -300_000i64..300_000, prop::collection::vec(step, 0..60)).prop_map(
        |(counter, start, steps)| {
            let (mut at, mut value) = (start, 0.0);
            let point = |(gap, kind, number): (i64, u8, f64)| {
                at += gap;
                value = match (counter, kind) {
                    (true, 0 | 1) => 0.0,
                    (true, 2) => number.abs(),
                    (true, 3..=5) => value,
                    (true, _) => value + number.abs(),
                    (false, _) => (number * 4.0).round() / 4.0,
                };
                let shown = match kind {
                    20 => STALE,
                    21 => f64::NAN,
                    _ => value,
                };
                Point { at, value: shown }
            };
            steps.into_iter().map(point).collect()
        },
    )
}

/// What a function makes of the samples in `(after, until]`, written as plainly as it goes.
fn reference(function: &str, samples: &[Point], after: i64, until: i64) -> Option<f64> {
    let window: Vec<Point> = samples
        .iter()
        .filter(|sample| sample.at > after && sample.at <= until && !is_stale(sample.value))
        .copied()
        .collect();
    let values: Vec<f64> = window.iter().map(|sample| sample.value).collect();
    let (first, last) = (*values.first()?, *values.last()?);
    let count = values.len() as f64;
    let mean = || values.iter().sum::<f64>() / count;
    let variance = || values.iter().map(|value| (value - mean()).powi(2)).sum::<f64>() / count;
    let pairs = || (1..values.len()).map(|index| (values[index - 1], values[index]));
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    let seconds = (until - after) as f64 / 1000.0;
    Some(match function {
        "rate" => extrapolated(&window, after, until, true)? / seconds,
        "increase" => extrapolated(&window, after, until, true)?,
        "delta" => extrapolated(&window, after, until, false)?,
        "irate" | "idelta" => {
            let [.., a, b] = window.as_slice() else { return None };
            let gap = (b.at - a.at) as f64 / 1000.0;
            match (function, b.value < a.value) {
                ("idelta", _) => b.value - a.value,
                (_, true) => b.value / gap,
                (_, false) => (b.value - a.value) / gap,
            }
        }
        "resets" => pairs().filter(|(a, b)| b < a).count() as f64,
        "changes" => pairs().filter(|(a, b)| !(a == b || (a.is_nan() && b.is_nan()))).count() as f64,
        "sum_over_time" => values.iter().sum(),
        "avg_over_time" => mean(),
        "stdvar_over_time" => variance(),
        "stddev_over_time" => variance().sqrt(),
        "count_over_time" => count,
        "present_over_time" => 1.0,
        "last_over_time" => last,
        "min_over_time" => numbers().reduce(f64::min).unwrap_or(first),
        "max_over_time" => numbers().reduce(f64::max).unwrap_or(first),
        "quantile_over_time(0.3," => quantile(0.3, values),
        _ => panic!("{function}?"),
    })
}

/// The rule of `docs/promql.md`, a sentence a line.
fn extrapolated(window: &[Point], after: i64, until: i64, counter: bool) -> Option<f64> {
    // At least two samples.
    if window.len() < 2 {
        return None;
    }
    let (first, last) = (window[0], window[window.len() - 1]);
    let mut difference = last.value - first.value;
    // On a reset, what was there before is added.
    for index in 1..window.len() {
        if counter && window[index].value < window[index - 1].value {
            difference += window[index - 1].value;
        }
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let sampled = seconds(first.at, last.at);
    let spacing = sampled / (window.len() - 1) as f64;
    // To both ends of the range, or half a spacing when an end is 1.1 spacings away or more.
    let mut before = seconds(after, first.at);
    if before >= 1.1 * spacing {
        before = spacing / 2.0;
    }
    let mut behind = seconds(last.at, until);
    if behind >= 1.1 * spacing {
        behind = spacing / 2.0;
    }
    // But not to before the counter was zero.
    if counter && difference > 0.0 && first.value >= 0.0 {
        before = before.min(first.value / (difference / sampled));
    }
    Some(difference / sampled * (before + sampled + behind))
}

fn quantile(wanted: f64, mut values: Vec<f64>) -> f64 {
    values.sort_by(|a, b| {
        b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    });
    let rank = wanted * (values.len() - 1) as f64;
    let (below, above) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
    let part = rank - rank.floor();
    if part == 0.0 { below } else { below + (above - below) * part }
}

fn near(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e3)
}

fn at_times(source: &Memory, query: &str, range: Query) -> BTreeMap<i64, f64> {
    let answer = evaluate(source, &read(query).unwrap(), range, &Options::default()).unwrap();
    let Value::Matrix(series) = answer.value else { panic!("a matrix") };
    assert!(series.len() <= 1, "{series:?}");
    series.into_iter().flat_map(|series| series.points).map(|point| (point.at, point.value)).collect()
}

const FUNCTIONS: [&str; 17] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "changes",
    "sum_over_time",
    "avg_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "count_over_time",
    "present_over_time",
    "last_over_time",
    "min_over_time",
    "max_over_time",
    "quantile_over_time(0.3,",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_function_of_a_range_gives_what_the_plain_rule_gives(
        points in points(),
        function in prop::sample::select(&FUNCTIONS[..]),
        range in 1i64..400_000,
        offset in -100_000i64..100_000,
        start in -100_000i64..300_000,
        step in 1i64..70_000,
        steps in 0i64..20,
    ) {
        let labels = Labels::new([("__name__", "m_total"), ("a", "1")]);
        let source = Memory(vec![Series { labels, points: points.clone() }]);
        let open = if function.ends_with(',') { "" } else { "(" };
        let back = if offset == 0 { String::new() } else { format!(" offset {offset}ms") };
        let query = format!("{function}{open}m_total[{range}ms]{back})");
        let asked = Query::Range { start, end: start + step * steps, step };
        let given = at_times(&source, &query, asked);
        for index in 0..=steps {
            let at = start + index * step;
            let until = at - offset;
            let wanted = reference(function, &points, until - range, until);
            match (wanted, given.get(&at)) {
                (None, None) => {}
                (Some(wanted), Some(given)) if near(wanted, *given) => {}
                (wanted, given) => prop_assert!(false, "{} at {}: {:?} instead of {:?}", query, at, given, wanted),
            }
        }
    }

    #[test]
    fn a_selector_gives_the_newest_living_sample_of_the_last_five_minutes(
        points in points(),
        start in -100_000i64..300_000,
        step in 1i64..70_000,
    ) {
        let labels = Labels::new([("__name__", "m")]);
        let source = Memory(vec![Series { labels, points: points.clone() }]);
        let given = at_times(&source, "m", Query::Range { start, end: start + step * 10, step });
        for index in 0..=10 {
            let at = start + index * step;
            let newest = points.iter().rev().find(|point| point.at <= at);
            let living = newest.filter(|point| point.at > at - 300_000 && !is_stale(point.value));
            let same = match (living, given.get(&at)) {
                (None, None) => true,
                (Some(wanted), Some(given)) => near(wanted.value, *given),
                (Some(_), None) | (None, Some(_)) => false,
            };
            prop_assert!(same, "at {}: {:?} instead of {:?}", at, given.get(&at), living);
        }
    }

    #[test]
    fn a_subquery_is_the_query_at_each_multiple_of_its_step(
        points in points(),
        range in 1i64..300_000,
        step in 1_000i64..50_000,
        at in 0i64..300_000,
    ) {
        let source = Memory(vec![Series { labels: Labels::new([("__name__", "m")]), points }]);
        let ask = |query: &str, at: i64| at_times(&source, query, Query::Range { start: at, end: at, step: 1 });
        let times = (at - range + 1..=at).filter(|time| time % step == 0);
        let values: Vec<f64> = times.filter_map(|time| ask("m", time).get(&time).copied()).collect();
        let given = ask(&format!("sum_over_time(m[{range}ms:{step}ms])"), at).get(&at).copied();
        let wanted = (!values.is_empty()).then(|| values.iter().sum::<f64>());
        let same = match (wanted, given) {
            (Some(wanted), Some(given)) => near(wanted, given),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        prop_assert!(same, "{:?} instead of {:?}", given, wanted);
    }
}

/// Up to 24 series of three labels with a sample each.
fn population() -> impl Strategy<Value = Vec<(Labels, f64)>> {
    let value = prop_oneof![
        6 => (-40i32..40).prop_map(|number| f64::from(number) / 4.0),
        1 => Just(f64::NAN),
    ];
    prop::collection::btree_map((0u8..3, 0u8..4, 0u8..2), value, 0..24).prop_map(|series| {
        let labels = |(a, b, c): (u8, u8, u8)| {
            let text = |number: u8| if number == 0 { String::new() } else { number.to_string() };
            Labels::new([("__name__", "m".to_owned()), ("a", text(a)), ("b", text(b)), ("c", text(c))])
        };
        series.into_iter().map(|(key, value)| (labels(key), value)).collect()
    })
}

fn instant(series: &[(Labels, f64)], query: &str) -> Vec<(Labels, f64)> {
    let points = |value: f64| vec![Point { at: 0, value }];
    let series =
        series.iter().map(|(labels, value)| Series { labels: labels.clone(), points: points(*value) });
    let source = Memory(series.collect());
    let answer = evaluate(&source, &read(query).unwrap(), Query::Instant(0), &Options::default()).unwrap();
    let Value::Vector(samples) = answer.value else { panic!("a vector") };
    samples.into_iter().map(|sample| (sample.labels, sample.point.value)).collect()
}

fn aggregated(function: &str, values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    match function {
        "sum" => values.iter().sum(),
        "avg" => mean,
        "count" => count,
        "group" => 1.0,
        "min" => numbers().reduce(f64::min).unwrap_or(f64::NAN),
        "max" => numbers().reduce(f64::max).unwrap_or(f64::NAN),
        "stdvar" => values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count,
        "stddev" => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
        "quantile" => quantile(0.7, values.to_vec()),
        _ => panic!("{function}?"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_aggregation_gives_what_grouping_by_hand_gives(
        series in population(),
        function in prop::sample::select(&["sum", "avg", "count", "group", "min", "max", "stdvar", "stddev", "quantile"][..]),
        names in prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..4),
        by in any::<bool>(),
    ) {
        let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
        for (labels, value) in &series {
            let kept = |name: &str| name != "__name__" && names.contains(&name) == by;
            let pairs = labels.iter().filter(|(name, _)| kept(name)).cloned();
            groups.entry(Labels::new(pairs)).or_default().push(*value);
        }
        let word = if by { "by" } else { "without" };
        let parameter = if function == "quantile" { "0.7, " } else { "" };
        let query = format!("{function} {word} ({}) ({parameter}m)", names.join(", "));
        let given: BTreeMap<Labels, f64> = instant(&series, &query).into_iter().collect();
        prop_assert_eq!(given.keys().collect::<Vec<_>>(), groups.keys().collect::<Vec<_>>(), "{}", query);
        for (labels, values) in &groups {
            let wanted = aggregated(function, values);
            prop_assert!(near(wanted, given[labels]), "{} {}: {} instead of {}", query, labels, given[labels], wanted);
        }
    }

    #[test]
    fn topk_and_bottomk_keep_the_right_series_as_they_are(
        series in population(),
        greatest in any::<bool>(),
        k in 0usize..6,
        by in any::<bool>(),
    ) {
        let (function, grouping) = (if greatest { "topk" } else { "bottomk" }, if by { "by (a)" } else { "" });
        let query = format!("{function} {grouping} ({k}, m)");
        let given = instant(&series, &query);
        prop_assert!(given.iter().all(|sample| series.iter().any(|(labels, value)| {
            *labels == sample.0 && near(*value, sample.1)
        })), "{}: {:?} has others than {:?}", query, given, series);
        let group = |labels: &Labels| if by { labels.get("a").to_owned() } else { String::new() };
        let by_group = |samples: &[(Labels, f64)]| {
            let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for (labels, value) in samples {
                groups.entry(group(labels)).or_default().push(*value);
            }
            for values in groups.values_mut() {
                let sign = if greatest { -1.0 } else { 1.0 };
                // NaN stands last in both.
                values.sort_by(|a, b| {
                    let order = (a * sign).partial_cmp(&(b * sign)).unwrap_or(std::cmp::Ordering::Equal);
                    a.is_nan().cmp(&b.is_nan()).then(order)
                });
                values.truncate(k);
            }
            groups.retain(|_, values| !values.is_empty());
            let bits = |value: f64| if value.is_nan() { u64::MAX } else { (value + 0.0).to_bits() };
            groups.into_iter().map(|(name, values)| (name, values.into_iter().map(bits).collect::<Vec<_>>())).collect::<Vec<_>>()
        };
        prop_assert_eq!(by_group(&given), by_group(&series), "{}", query);
    }
}
