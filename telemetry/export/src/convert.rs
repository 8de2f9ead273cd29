//! Series of Prometheus' kind as metrics of OpenTelemetry's: counters become cumulative monotonic sums, buckets become
//! histograms, quantiles summaries, and all else gauges. Pure.
//!
//! A counter's `_total` goes, as OpenTelemetry's own rules for Prometheus have it; whoever turns it back puts it on again. When
//! a count began is not known, and said to be so (a start of zero).

use std::collections::BTreeMap;

use exposition::{Family, Kind};
use model::Place;
use otlp::proto::common::v1::KeyValue;
use otlp::proto::metrics::v1::metric::Data;
use otlp::proto::metrics::v1::number_data_point::Value;
use otlp::proto::metrics::v1::summary_data_point::ValueAtQuantile;
use otlp::proto::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use otlp::value::{resource, scope, text};
use promql::{Labels, Point};

/// Who tells it.
const SCOPE: &str = "shipshape";
/// Data points in one part: a few hundred KiB.
const MOST_POINTS: usize = 2_000;
/// What the resource says already, or whoever receives it says anew.
const OF_THE_RESOURCE: [&str; 4] = ["__name__", "app", "environment", "job"];

/// Metrics in the making, by name.
type Made = BTreeMap<String, (Metric, Points)>;

/// The data points of one metric.
enum Points {
    Numbers(Vec<NumberDataPoint>),
    /// By labels, without `le`.
    Histograms(BTreeMap<Labels, Buckets>),
    /// By labels, without `quantile`.
    Summaries(BTreeMap<Labels, Quantiles>),
}

#[derive(Default)]
struct Buckets {
    at: i64,
    /// Bound and what is at or below it.
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: f64,
}

#[derive(Default)]
struct Quantiles {
    at: i64,
    quantiles: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

pub(crate) fn parts(
    series: Vec<(Labels, Point)>,
    meanings: &BTreeMap<String, Family>,
    place: &Place,
) -> Vec<ResourceMetrics> {
    let mut made = Made::new();
    for (labels, point) in series {
        let name = labels.name().to_owned();
        let (family, about, part) = meaning(&name, meanings);
        let (family, about) = (family.to_owned(), about.cloned().unwrap_or_default());
        add(&mut made, &family, &about, part, &labels, point);
    }
    let mut parts: Vec<(usize, Vec<Metric>)> = Vec::new();
    for (metric, points) in made.into_values() {
        for (size, data) in points.data(metric.data.as_ref()) {
            let metric = Metric { data: Some(data), ..metric.clone() };
            match parts.last_mut() {
                Some((full, metrics)) if *full + size <= MOST_POINTS => {
                    *full += size;
                    metrics.push(metric);
                }
                Some(_) | None => parts.push((size, vec![metric])),
            }
        }
    }
    let about = vec![
        text("service.name", place.service.as_str()),
        text("deployment.environment.name", place.environment.as_str()),
    ];
    let part = |(_, metrics): (usize, Vec<Metric>)| {
        let scope_metrics = vec![ScopeMetrics { scope: scope(SCOPE), metrics, ..ScopeMetrics::default() }];
        ResourceMetrics { resource: resource(about.clone()), scope_metrics, ..ResourceMetrics::default() }
    };
    parts.into_iter().map(part).collect()
}

/// Which part of a histogram or summary a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Bucket,
    Sum,
    Count,
}

/// The metric that a series belongs to.
fn meaning<'a>(name: &'a str, meanings: &'a BTreeMap<String, Family>) -> (&'a str, Option<&'a Family>, Part) {
    let suffixes = [("_bucket", Part::Bucket), ("_sum", Part::Sum), ("_count", Part::Count)];
    for (suffix, part) in suffixes {
        let family = name.strip_suffix(suffix).and_then(|stem| Some((stem, meanings.get(stem)?)));
        match family {
            Some((stem, about)) if about.kind == Kind::Histogram => return (stem, Some(about), part),
            Some((stem, about)) if about.kind == Kind::Summary && part != Part::Bucket => {
                return (stem, Some(about), part);
            }
            Some(_) | None => {}
        }
    }
    (name, meanings.get(name), Part::Whole)
}

fn add(made: &mut Made, family: &str, about: &Family, part: Part, labels: &Labels, point: Point) {
    let sum = Sum {
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
        ..Sum::default()
    };
    let (name, points, data) = match about.kind {
        Kind::Counter => {
            let name = family.strip_suffix("_total").unwrap_or(family);
            (name, Points::Numbers(Vec::new()), Some(Data::Sum(sum)))
        }
        Kind::Histogram if part != Part::Whole => (family, Points::Histograms(BTreeMap::new()), None),
        Kind::Summary => (family, Points::Summaries(BTreeMap::new()), None),
        Kind::Gauge
        | Kind::Histogram
        | Kind::Info
        | Kind::StateSet
        | Kind::GaugeHistogram
        | Kind::Unknown => (family, Points::Numbers(Vec::new()), None),
    };
    let metric =
        || Metric { name: name.to_owned(), description: about.help.clone(), data, ..Metric::default() };
    let (_, points) = made.entry(name.to_owned()).or_insert_with(|| (metric(), points));
    match points {
        Points::Numbers(numbers) => numbers.push(NumberDataPoint {
            attributes: attributes(labels, ""),
            time_unix_nano: nanos(point.at),
            value: Some(Value::AsDouble(point.value)),
            ..NumberDataPoint::default()
        }),
        Points::Histograms(all) => {
            let of = all.entry(labels.with("le", "").unnamed()).or_default();
            of.at = of.at.max(point.at);
            match part {
                Part::Bucket => of.buckets.extend(bound(labels.get("le")).map(|le| (le, point.value))),
                Part::Sum => of.sum = Some(point.value),
                Part::Count | Part::Whole => of.count = point.value,
            }
        }
        Points::Summaries(all) => {
            let of = all.entry(labels.with("quantile", "").unnamed()).or_default();
            of.at = of.at.max(point.at);
            match part {
                Part::Sum => of.sum = point.value,
                Part::Count => of.count = point.value,
                Part::Whole | Part::Bucket => {
                    of.quantiles
                        .extend(bound(labels.get("quantile")).map(|quantile| (quantile, point.value)));
                }
            }
        }
    }
}

fn bound(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

impl Points {
    /// In pieces that fit into a part, each with its size.
    fn data(self, like: Option<&Data>) -> Vec<(usize, Data)> {
        match self {
            Self::Numbers(numbers) => {
                let one = |points: &[NumberDataPoint]| {
                    let data_points = points.to_vec();
                    let data = match like {
                        Some(Data::Sum(sum)) => Data::Sum(Sum { data_points, ..sum.clone() }),
                        Some(
                            Data::Gauge(_)
                            | Data::Histogram(_)
                            | Data::ExponentialHistogram(_)
                            | Data::Summary(_),
                        )
                        | None => Data::Gauge(Gauge { data_points }),
                    };
                    (points.len(), data)
                };
                numbers.chunks(MOST_POINTS).map(one).collect()
            }
            Self::Histograms(all) => {
                let points: Vec<HistogramDataPoint> =
                    all.into_iter().map(|(labels, of)| histogram(&labels, of)).collect();
                let one = |points: &[HistogramDataPoint]| {
                    let aggregation_temporality = AggregationTemporality::Cumulative.into();
                    (
                        points.len() * 10,
                        Data::Histogram(Histogram { data_points: points.to_vec(), aggregation_temporality }),
                    )
                };
                points.chunks(MOST_POINTS / 10).map(one).collect()
            }
            Self::Summaries(all) => {
                let points: Vec<SummaryDataPoint> =
                    all.into_iter().map(|(labels, of)| summary(&labels, of)).collect();
                let one = |points: &[SummaryDataPoint]| {
                    (points.len(), Data::Summary(Summary { data_points: points.to_vec() }))
                };
                points.chunks(MOST_POINTS).map(one).collect()
            }
        }
    }
}

/// Each bucket holds what is in it, not all below it; the last one has no bound.
fn histogram(labels: &Labels, mut of: Buckets) -> HistogramDataPoint {
    of.buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut below = 0.0;
    let (mut bounds, mut counts) = (Vec::new(), Vec::new());
    for (bound, upto) in of.buckets.iter().filter(|(bound, _)| bound.is_finite()) {
        bounds.push(*bound);
        counts.push(whole(upto - below));
        below = upto.max(below);
    }
    counts.push(whole(of.count - below));
    HistogramDataPoint {
        attributes: attributes(labels, "le"),
        time_unix_nano: nanos(of.at),
        // What does not add up is refused by those who check, so the count follows from the buckets.
        count: counts.iter().sum(),
        sum: of.sum,
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

fn summary(labels: &Labels, of: Quantiles) -> SummaryDataPoint {
    let quantiles = of.quantiles.into_iter();
    SummaryDataPoint {
        attributes: attributes(labels, "quantile"),
        time_unix_nano: nanos(of.at),
        count: whole(of.count),
        sum: of.sum,
        quantile_values: quantiles.map(|(quantile, value)| ValueAtQuantile { quantile, value }).collect(),
        ..SummaryDataPoint::default()
    }
}

fn whole(number: f64) -> u64 {
    // Never negative, and NaN is none.
    number.max(0.0).round() as u64
}

fn attributes(labels: &Labels, but: &str) -> Vec<KeyValue> {
    let said = |name: &str| !OF_THE_RESOURCE.contains(&name) && name != but;
    labels.iter().filter(|(name, _)| said(name)).map(|(name, value)| text(name, value.to_string())).collect()
}

fn nanos(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, labels: &[(&str, &str)], value: f64) -> (Labels, Point) {
        let own = [("__name__", name), ("app", "shop"), ("environment", "production"), ("job", "shipshape")];
        (Labels::new(own.into_iter().chain(labels.iter().copied())), Point { at: 7_000, value })
    }

    fn metrics(series: Vec<(Labels, Point)>) -> Vec<Metric> {
        let kinds = [
            ("requests_total", Kind::Counter),
            ("lag_seconds", Kind::Histogram),
            ("size", Kind::Summary),
            ("heat", Kind::Gauge),
        ];
        let about = |kind| Family { kind, help: "Help.".to_owned(), unit: String::new() };
        let meanings = kinds.into_iter().map(|(name, kind)| (name.to_owned(), about(kind))).collect();
        let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
        let parts = parts(series, &meanings, &place);
        parts.into_iter().flat_map(|part| part.scope_metrics).flat_map(|scope| scope.metrics).collect()
    }

    #[test]
    fn a_counter_is_a_cumulative_sum_and_what_nobody_explains_a_gauge() {
        let made = metrics(vec![series("requests_total", &[("route", "/")], 3.0), series("a:b", &[], -1.5)]);
        let Some(Data::Gauge(gauge)) = &made[0].data else { panic!("{:?}", made[0]) };
        assert_eq!(
            (made[0].name.as_str(), &gauge.data_points[0].value),
            ("a:b", &Some(Value::AsDouble(-1.5)))
        );
        let Some(Data::Sum(sum)) = &made[1].data else { panic!("{:?}", made[1]) };
        assert_eq!((made[1].name.as_str(), made[1].description.as_str()), ("requests", "Help."));
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        assert_eq!(sum.data_points[0].attributes, [text("route", "/")]);
        assert_eq!(sum.data_points[0].time_unix_nano, 7_000_000_000);
    }

    #[test]
    fn buckets_become_a_histogram_that_adds_up() {
        let made = metrics(vec![
            series("lag_seconds_bucket", &[("le", "+Inf"), ("route", "/")], 9.0),
            series("lag_seconds_bucket", &[("le", "10"), ("route", "/")], 7.0),
            series("lag_seconds_bucket", &[("le", "0.5"), ("route", "/")], 4.0),
            series("lag_seconds_sum", &[("route", "/")], 12.5),
            series("lag_seconds_count", &[("route", "/")], 9.0),
        ]);
        let Some(Data::Histogram(histogram)) = &made[0].data else { panic!("{:?}", made[0]) };
        let point = &histogram.data_points[0];
        assert_eq!((made.len(), point.count, point.sum), (1, 9, Some(12.5)));
        assert_eq!((&point.explicit_bounds, &point.bucket_counts), (&vec![0.5, 10.0], &vec![4, 3, 2]));
        assert_eq!(point.attributes, [text("route", "/")]);
    }

    #[test]
    fn quantiles_become_a_summary() {
        let made = metrics(vec![
            series("size", &[("quantile", "0.5")], 2.0),
            series("size_sum", &[], 10.0),
            series("size_count", &[], 4.0),
        ]);
        let Some(Data::Summary(summary)) = &made[0].data else { panic!("{:?}", made[0]) };
        let point = &summary.data_points[0];
        assert_eq!((made.len(), point.count, point.sum), (1, 4, 10.0));
        assert_eq!(point.quantile_values, [ValueAtQuantile { quantile: 0.5, value: 2.0 }]);
    }

    #[test]
    fn many_series_go_in_parts() {
        let many = (0..4_500).map(|i| series("heat", &[("i", &i.to_string())], 1.0)).collect();
        let meanings = BTreeMap::new();
        let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
        assert_eq!(parts(many, &meanings, &place).len(), 3);
    }
}
