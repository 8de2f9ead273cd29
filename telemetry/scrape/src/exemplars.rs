//! Exemplars: traces that stand for samples, the newest of them, in memory. Does not live here: the samples.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use promql::Labels;
use promql::expr::Matcher;

/// How many are kept; the oldest go.
const KEPT: usize = 20_000;

/// Something that happened and was counted in a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The series.
    pub series: Labels,
    /// What it is called, as in `trace_id`.
    pub labels: Labels,
    /// Its own value.
    pub value: f64,
    /// When it happened, in milliseconds since 1970.
    pub at: i64,
}

/// The newest exemplars of all targets.
#[derive(Debug, Default)]
pub struct Exemplars(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    all: VecDeque<Exemplar>,
    /// The newest of each series: a page says the same one until there is another.
    newest: HashMap<Labels, (Labels, i64)>,
}

impl Exemplars {
    /// Adds those that are new.
    pub fn add(&self, exemplars: impl IntoIterator<Item = Exemplar>) {
        let mut ring = self.lock();
        for exemplar in exemplars {
            let mark = (exemplar.labels.clone(), exemplar.at);
            if ring.newest.get(&exemplar.series) == Some(&mark) {
                continue;
            }
            ring.newest.insert(exemplar.series.clone(), mark);
            ring.all.push_back(exemplar);
            if ring.all.len() > KEPT
                && let Some(oldest) = ring.all.pop_front()
                && ring
                    .newest
                    .get(&oldest.series)
                    .is_some_and(|(labels, at)| (labels, *at) == (&oldest.labels, oldest.at))
            {
                ring.newest.remove(&oldest.series);
            }
        }
    }

    /// Those of series that one of the sets of matchers selects, from `from` to `until`, by series, in order of time.
    pub fn select(&self, sets: &[Vec<Matcher>], from: i64, until: i64) -> BTreeMap<Labels, Vec<Exemplar>> {
        let ring = self.lock();
        let selected =
            |series: &Labels| sets.iter().any(|set| set.iter().all(|matcher| matcher.selects(series)));
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for exemplar in ring.all.iter().filter(|exemplar| (from..=until).contains(&exemplar.at)) {
            if found.contains_key(&exemplar.series) || selected(&exemplar.series) {
                found.entry(exemplar.series.clone()).or_default().push(exemplar.clone());
            }
        }
        found.values_mut().for_each(|exemplars| exemplars.sort_by_key(|exemplar| exemplar.at));
        found
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use promql::expr::Expr;

    use super::*;

    fn exemplar(series: usize, trace: &str, at: i64) -> Exemplar {
        let series = Labels::new([("__name__", "lag_bucket".to_owned()), ("series", series.to_string())]);
        Exemplar { series, labels: Labels::new([("trace_id", trace)]), value: 1.0, at }
    }

    fn matchers(text: &str) -> Vec<Matcher> {
        let Ok(Expr::Instant(selector)) = promql::read(text) else { panic!("a selector") };
        selector.matchers
    }

    #[test]
    fn the_same_one_said_again_is_kept_once_and_the_oldest_go() {
        let exemplars = Exemplars::default();
        exemplars.add([exemplar(1, "a", 1), exemplar(1, "a", 1), exemplar(2, "b", 2), exemplar(1, "c", 3)]);
        exemplars.add([exemplar(1, "c", 3)]);
        let all = exemplars.select(&[matchers("lag_bucket")], 0, 10);
        let traces = |series: usize| -> Vec<String> {
            let of = all.iter().find(|(labels, _)| labels.get("series") == series.to_string()).unwrap().1;
            of.iter().map(|exemplar| exemplar.labels.get("trace_id").to_owned()).collect()
        };
        assert_eq!((traces(1), traces(2)), (vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()]));
        assert_eq!(exemplars.select(&[matchers("lag_bucket{series=\"2\"}")], 0, 10).len(), 1);
        assert!(exemplars.select(&[matchers("lag_bucket")], 4, 10).is_empty());
        exemplars.add((0..KEPT).map(|number| exemplar(number + 10, "x", 5)));
        assert_eq!(exemplars.select(&[matchers("lag_bucket")], 0, 10).len(), KEPT);
        let ring = exemplars.lock();
        assert_eq!((ring.all.len(), ring.newest.len()), (KEPT, KEPT));
    }
}
