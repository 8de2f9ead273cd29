//! Quantiles of classic histograms: cumulative buckets in series with an `le` label.

use super::Evaluator;
use super::notes::go_number;
use super::rows::Row;
use crate::Error;
use crate::expr::Expr;
use crate::labels::{Labels, NAME};

const BUCKET: &str = "le";
/// How much a bucket may be below the one before it and still count as equal: what floating point loses.
const TOLERANCE: f64 = 1e-12;

/// The buckets of one histogram.
struct Buckets {
    labels: Labels,
    name: String,
    /// Upper bound and index of the row.
    bounds: Vec<(f64, usize)>,
}

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(&self, quantile: &Expr, buckets: &Expr) -> Result<Vec<Row>, Error> {
        let quantiles = self.scalar(quantile)?;
        quantiles.iter().for_each(|quantile| self.shared.check_quantile(*quantile));
        let rows = self.rows(buckets)?;
        let mut results = Vec::new();
        for histogram in self.histograms(&rows) {
            let mut result = self.blank(histogram.labels.clone())?;
            for (index, quantile) in quantiles.iter().enumerate() {
                let present = |(bound, row): &(f64, usize)| Some((*bound, rows[*row].present(index)?));
                let mut buckets: Vec<(f64, f64)> = histogram.bounds.iter().filter_map(present).collect();
                if buckets.is_empty() {
                    continue;
                }
                let (value, forced) = bucket_quantile(*quantile, &mut buckets);
                if forced {
                    self.shared.inform(&format!(
                        "input to histogram_quantile needed to be fixed for monotonicity (see \
                         https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for \
                         metric name {:?}",
                        histogram.name
                    ));
                }
                result.values[index] = value;
            }
            results.push(result);
        }
        self.unnamed(results)
    }

    fn histograms(&self, rows: &[Row]) -> Vec<Buckets> {
        let mut known = std::collections::HashMap::new();
        let mut histograms: Vec<Buckets> = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let text = row.labels.get(BUCKET);
            let Some(bound) = parsed(text) else {
                self.shared.warn(&format!(
                    "bucket label \"le\" is missing or has a malformed value of {text:?} for metric name {:?}",
                    row.labels.name()
                ));
                continue;
            };
            let labels = row.labels.without(&[BUCKET.to_owned()]);
            let key = if self.shared.options.delayed_name_removal { labels } else { labels.unnamed() };
            let place = *known.entry(key.clone()).or_insert_with(|| {
                histograms.push(Buckets {
                    labels: key,
                    name: row.labels.get(NAME).to_owned(),
                    bounds: vec![],
                });
                histograms.len() - 1
            });
            histograms[place].bounds.push((bound, index));
        }
        histograms.iter_mut().for_each(|histogram| histogram.bounds.sort_by(|a, b| a.0.total_cmp(&b.0)));
        histograms
    }
}

fn parsed(bound: &str) -> Option<f64> {
    match bound {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        _ if bound == go_number(f64::NEG_INFINITY) => Some(f64::NEG_INFINITY),
        _ => bound.parse().ok(),
    }
}

/// The quantile of cumulative buckets in order of their bounds, and whether they had to be made monotonic.
fn bucket_quantile(quantile: f64, buckets: &mut Vec<(f64, f64)>) -> (f64, bool) {
    if quantile.is_nan() {
        return (f64::NAN, false);
    }
    if quantile < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if quantile > 1.0 {
        return (f64::INFINITY, false);
    }
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return (f64::NAN, false);
    }
    buckets.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 += later.1;
        }
        same
    });
    let forced = force_monotonic(buckets);
    if buckets.len() < 2 {
        return (f64::NAN, false);
    }
    let observations = buckets[buckets.len() - 1].1;
    if observations == 0.0 {
        return (f64::NAN, false);
    }
    let rank = quantile * observations;
    let found = buckets[..buckets.len() - 1].partition_point(|(_, count)| *count < rank);
    if found == buckets.len() - 1 {
        return (buckets[buckets.len() - 2].0, forced);
    }
    let (end, upto) = buckets[found];
    if found == 0 && end <= 0.0 {
        return (end, forced);
    }
    let (start, before) = if found == 0 { (0.0, 0.0) } else { buckets[found - 1] };
    (start + (end - start) * ((rank - before) / (upto - before)), forced)
}

fn force_monotonic(buckets: &mut [(f64, f64)]) -> bool {
    let mut forced = false;
    for index in 1..buckets.len() {
        let (before, here) = (buckets[index - 1].1, buckets[index].1);
        if here < before {
            let lost = (before - here) / (before.abs() + here.abs()).max(f64::MIN_POSITIVE);
            forced |= lost > TOLERANCE;
            buckets[index].1 = before;
        }
    }
    forced
}
