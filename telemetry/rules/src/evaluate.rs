//! One round of a group, with the markers that end series which a rule no longer gives.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use promql::expr::Expr;
use promql::labels::NAME;
use promql::{Labels, Options, Point, Query, STALE, Value, evaluate};
use store::{SeriesRef, Store};

use crate::{Group, GroupHealth, Rule, RuleHealth};

/// Series that one rule may give.
const MOST_SERIES: usize = 10_000;

/// A group over time.
pub struct Evaluator {
    group: Group,
    rules: Vec<Prepared>,
}

struct Prepared {
    /// Or why it cannot be evaluated.
    expr: Result<Expr, String>,
    /// The series that it gave the last time.
    given: HashMap<Labels, SeriesRef>,
}

impl Evaluator {
    /// A group that was not evaluated yet. A rule whose expression makes no sense says so in each round.
    pub fn new(group: Group) -> Self {
        let prepared = |rule: &Rule| Prepared {
            expr: promql::read(&rule.expr).map_err(|error| error.to_string()),
            given: HashMap::new(),
        };
        Self { rules: group.rules.iter().map(prepared).collect(), group }
    }

    /// Evaluates each rule at a time (milliseconds since 1970), within the interval altogether.
    pub fn round(&mut self, store: &Store, at: i64) -> GroupHealth {
        let begun = Instant::now();
        let limit = self.group.interval;
        let mut rules = Vec::with_capacity(self.rules.len());
        for (rule, prepared) in self.group.rules.iter().zip(&mut self.rules) {
            let started = Instant::now();
            let options = Options { deadline: Some((begun + limit, limit)), ..Options::default() };
            let given = prepared.round(rule, store, at, &options);
            let (series, error) = match given {
                Ok(series) => (series, None),
                Err(why) => (0, Some(why)),
            };
            rules.push(RuleHealth { lasted: started.elapsed(), series, error });
        }
        GroupHealth { group: self.group.clone(), at: Some(at), lasted: begun.elapsed(), rules }
    }

    /// The group is not evaluated any more: its series end.
    pub fn end(self, store: &Store, at: i64) {
        let given = self.rules.iter().flat_map(|prepared| prepared.given.values());
        let ends: Vec<_> = given.map(|series| (*series, Point { at, value: STALE })).collect();
        store.append_now(&ends);
    }

    pub(crate) fn unknown(&self) -> GroupHealth {
        let rules = self.rules.iter().map(|_| RuleHealth::default()).collect();
        GroupHealth { group: self.group.clone(), at: None, lasted: Duration::ZERO, rules }
    }
}

impl Prepared {
    fn round(&mut self, rule: &Rule, store: &Store, at: i64, options: &Options) -> Result<usize, String> {
        let expr = self.expr.as_ref().map_err(Clone::clone)?;
        let answer = evaluate(store, expr, Query::Instant(at), options).map_err(|error| error.to_string())?;
        let found = match answer.value {
            Value::Vector(samples) => {
                samples.into_iter().map(|sample| (sample.labels, sample.point.value)).collect()
            }
            Value::Scalar(point) => vec![(Labels::default(), point.value)],
            Value::Text { .. } | Value::Matrix(_) => {
                return Err("a rule gives a vector or a scalar".to_owned());
            }
        };
        if found.len() > MOST_SERIES {
            return Err(format!("it gives {} series; the most is {MOST_SERIES}", found.len()));
        }
        let mut values: HashMap<Labels, f64> = HashMap::with_capacity(found.len());
        for (labels, value) in found {
            if let Some(_twice) = values.insert(named(&labels, rule), value) {
                return Err("it gives two series with the same labels, once its own are applied".to_owned());
            }
        }
        let mut given = HashMap::with_capacity(values.len());
        let mut samples = Vec::with_capacity(values.len());
        for (labels, value) in values {
            let series = match self.given.remove(&labels) {
                Some(series) => series,
                None => store.series(&labels).map_err(|refused| refused.to_string())?,
            };
            samples.push((series, Point { at, value }));
            given.insert(labels, series);
        }
        let count = given.len();
        let gone = std::mem::replace(&mut self.given, given);
        samples.extend(gone.into_values().map(|series| (series, Point { at, value: STALE })));
        store.append_now(&samples);
        Ok(count)
    }
}

/// Under the rule's name and with its labels; one that is empty takes a label away.
fn named(labels: &Labels, rule: &Rule) -> Labels {
    let named = labels.with(NAME, &rule.record);
    rule.labels.iter().fold(named, |labels, (name, value)| labels.with(name, value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tempfile::TempDir;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const STEP: i64 = 15_000;

    struct World {
        store: Store,
        at: i64,
        _home: TempDir,
    }

    impl World {
        fn new() -> Self {
            let home = TempDir::new().unwrap();
            let store = Store::open(home.path(), store::Config::default()).unwrap();
            Self { store, at: NOW, _home: home }
        }

        /// One interval later, with these samples of `hits`.
        fn said(&mut self, samples: &[(&str, f64)]) {
            self.at += STEP;
            for (route, value) in samples {
                let series = self.store.series(&Labels::new([(NAME, "hits"), ("route", route)])).unwrap();
                self.store.append(&[(series, Point { at: self.at, value: *value })]);
            }
        }

        fn now(&self, query: &str) -> Vec<(String, f64)> {
            let expr = promql::read(query).unwrap();
            let answer = evaluate(&self.store, &expr, Query::Instant(self.at), &Options::default()).unwrap();
            let Value::Vector(samples) = answer.value else { panic!("a vector") };
            let mut all: Vec<_> =
                samples.into_iter().map(|it| (it.labels.to_string(), it.point.value)).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        }
    }

    fn rule(record: &str, expr: &str, labels: &[(&str, &str)]) -> Rule {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Rule { record: record.to_owned(), expr: expr.to_owned(), labels }
    }

    fn group(rules: Vec<Rule>) -> Evaluator {
        Evaluator::new(Group { name: "g".to_owned(), interval: Duration::from_secs(15), rules })
    }

    #[test]
    fn a_rule_builds_on_those_before_it_and_puts_its_labels_on_top() {
        let mut world = World::new();
        let mut group = group(vec![
            rule("route:hits:sum", "sum by (route) (hits)", &[("team", "a")]),
            rule("hits:max", "max(route:hits:sum)", &[]),
            rule("constant", "scalar(hits:max) * 2", &[]),
            rule("renamed", "route:hits:sum", &[("route", ""), ("team", "b")]),
        ]);
        world.said(&[("/a", 3.0)]);
        let health = group.round(&world.store, world.at);
        assert_eq!(health.rules.iter().map(|rule| rule.series).collect::<Vec<_>>(), [1; 4], "{health:?}");
        assert_eq!(
            world.now("route:hits:sum"),
            [("route:hits:sum{route=\"/a\", team=\"a\"}".to_owned(), 3.0)]
        );
        assert_eq!(world.now("hits:max")[0].1, 3.0);
        assert_eq!(world.now("constant")[0].1, 6.0);
        assert_eq!(world.now("renamed")[0].0, "renamed{team=\"b\"}");
    }

    #[test]
    fn what_a_rule_no_longer_gives_ends_at_once() {
        let mut world = World::new();
        let mut group = group(vec![rule("big", "hits > 1", &[])]);
        world.said(&[("/a", 3.0), ("/b", 5.0)]);
        let _ = group.round(&world.store, world.at);
        assert_eq!(world.now("big").len(), 2);
        world.said(&[("/a", 0.0), ("/b", 5.0)]);
        let _ = group.round(&world.store, world.at);
        assert_eq!(world.now("big").len(), 1);
        world.at += STEP;
        group.end(&world.store, world.at);
        assert!(world.now("big").is_empty());
    }

    #[test]
    fn a_rule_that_fails_says_why_and_the_others_go_on() {
        let mut world = World::new();
        let mut group = group(vec![
            rule("broken", "sum(", &[]),
            rule("twice", "hits", &[("route", "")]),
            rule("text", "\"x\"", &[]),
            rule("good", "sum(hits)", &[]),
        ]);
        world.said(&[("/a", 3.0), ("/b", 5.0)]);
        let health = group.round(&world.store, world.at);
        let errors: Vec<bool> = health.rules.iter().map(|rule| rule.error.is_some()).collect();
        assert_eq!(errors, [true, true, true, false], "{health:?}");
        assert!(health.rules[1].error.as_deref().unwrap().contains("same labels"));
        assert_eq!((world.now("good").len(), world.now("twice").len()), (1, 0));
    }

    #[test]
    fn labels_of_a_rule_are_sorted_in() {
        let labels = Labels::new([("b", "1"), ("z", "2")]);
        let named = named(
            &labels,
            &Rule {
                record: "r".to_owned(),
                expr: String::new(),
                labels: BTreeMap::from([("a".to_owned(), "0".to_owned()), ("z".to_owned(), "3".to_owned())]),
            },
        );
        assert_eq!(named.to_string(), "r{a=\"0\", b=\"1\", z=\"3\"}");
    }
}
