//! Aggregations: series into groups, and each group into one series, or into some of its own.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::Evaluator;
use super::notes::go_number;
use super::numbers::{Mean, Sum, Variance, quantile};
use super::rows::{ABSENT, Row, merged};
use crate::Error;
use crate::expr::{Aggregate, Aggregation, Grouping};
use crate::labels::{Labels, NAME};

/// Rows that become one.
struct Group {
    labels: Labels,
    drop_name: bool,
    members: Vec<usize>,
}

impl Grouping {
    /// The labels by which a series is grouped.
    pub(super) fn of(&self, labels: &Labels) -> Labels {
        match self {
            Self::Only(names) if names.is_empty() => Labels::default(),
            Self::Only(names) => labels.keep(names),
            Self::AllBut(names) if names.is_empty() => labels.unnamed(),
            Self::AllBut(names) => labels.without(names).unnamed(),
        }
    }

    /// The labels by which a series is grouped, one after the other.
    fn each<'a>(&self, labels: &'a Labels, mut each: impl FnMut((&'a str, &'a str))) {
        let counts = |name: &str| match self {
            Self::Only(names) => names.iter().any(|kept| kept == name),
            Self::AllBut(names) => name != NAME && names.iter().all(|gone| gone != name),
        };
        let kept = labels.iter().filter(|(name, _)| counts(name));
        kept.for_each(|(name, value)| each((name, value)));
    }

    /// Whether a series belongs to the group of these labels.
    fn are_one(&self, group: &Labels, labels: &Labels) -> bool {
        let mut left = group.iter();
        let mut same = true;
        self.each(labels, |label| {
            same &= left.next().is_some_and(|(name, value)| label == (&**name, &**value));
        });
        same && left.next().is_none()
    }
}

fn groups(grouping: &Grouping, rows: &[Row]) -> Vec<Group> {
    // Most rows fall into a group that is there already: only a new one's labels are made.
    let mut known: HashMap<u64, Vec<usize>> = HashMap::new();
    let random = RandomState::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let mut hasher = random.build_hasher();
        grouping.each(&row.labels, |label| label.hash(&mut hasher));
        let alike = known.entry(hasher.finish()).or_default();
        let place = alike.iter().copied().find(|place| grouping.are_one(&groups[*place].labels, &row.labels));
        let place = place.unwrap_or_else(|| {
            let labels = grouping.of(&row.labels);
            let drop_name = row.drop_name && !labels.get(NAME).is_empty();
            groups.push(Group { labels, drop_name, members: vec![] });
            alike.push(groups.len() - 1);
            groups.len() - 1
        });
        groups[place].members.push(index);
    }
    groups
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate) -> Result<Vec<Row>, Error> {
        let rows = self.rows(&aggregate.inner)?;
        let groups = groups(&aggregate.grouping, &rows);
        match &aggregate.how {
            Aggregation::Topk(k) => self.some(rows, &groups, &self.scalar(k)?, true),
            Aggregation::Bottomk(k) => self.some(rows, &groups, &self.scalar(k)?, false),
            Aggregation::CountValues(label) => self.count_values(&rows, &groups, label),
            Aggregation::Quantile(wanted) => {
                let wanted = self.scalar(wanted)?;
                wanted.iter().for_each(|wanted| self.shared.check_quantile(*wanted));
                self.each(&rows, &groups, |values, at| quantile(wanted[at], values))
            }
            Aggregation::Sum => self.each(&rows, &groups, |values, _| {
                let mut sum = Sum::default();
                values.iter().for_each(|value| sum.add(*value));
                sum.total()
            }),
            Aggregation::Avg => self.each(&rows, &groups, |values, _| {
                let mut mean = Mean::default();
                values.iter().for_each(|value| mean.add(*value));
                mean.mean()
            }),
            Aggregation::Stdvar => self.each(&rows, &groups, |values, _| variance(values)),
            Aggregation::Stddev => self.each(&rows, &groups, |values, _| variance(values).sqrt()),
            Aggregation::Count => self.each(&rows, &groups, |values, _| values.len() as f64),
            Aggregation::Group => self.each(&rows, &groups, |_, _| 1.0),
            Aggregation::Min => self.each(&rows, &groups, |values, _| extreme(values, |a, best| a < best)),
            Aggregation::Max => self.each(&rows, &groups, |values, _| extreme(values, |a, best| a > best)),
        }
    }

    /// One value of each group at each step where it has any.
    fn each(
        &self,
        rows: &[Row],
        groups: &[Group],
        into_one: impl Fn(&mut [f64], usize) -> f64,
    ) -> Result<Vec<Row>, Error> {
        let mut results = Vec::with_capacity(groups.len());
        let mut values = Vec::new();
        for group in groups {
            let mut result = self.blank(group.labels.clone())?;
            result.drop_name = group.drop_name;
            for (index, into) in result.values.iter_mut().enumerate() {
                self.shared.spend(group.members.len())?;
                values.clear();
                values.extend(group.members.iter().filter_map(|row| rows[*row].present(index)));
                if !values.is_empty() {
                    *into = into_one(&mut values, index);
                }
            }
            results.push(result);
        }
        Ok(results)
    }

    /// The `k` greatest or least of each group at each step, in that order when there is but one step.
    fn some(
        &self,
        mut rows: Vec<Row>,
        groups: &[Group],
        k: &[f64],
        greatest: bool,
    ) -> Result<Vec<Row>, Error> {
        let mut order: Vec<usize> = Vec::new();
        for (index, wanted) in k.iter().enumerate() {
            if !(*wanted >= i64::MIN as f64 && *wanted <= i64::MAX as f64) {
                let what = format!("Scalar value {} overflows int64", go_number(*wanted));
                return Err(Error::Execution(what));
            }
            let wanted = wanted.max(0.0) as usize;
            for group in groups {
                self.shared.spend(group.members.len())?;
                let mut members: Vec<(f64, usize)> = Vec::with_capacity(group.members.len());
                members
                    .extend(group.members.iter().filter_map(|row| Some((rows[*row].present(index)?, *row))));
                members.sort_by(|(a, _), (b, _)| {
                    let by_value = if greatest { b.total_cmp(a) } else { a.total_cmp(b) };
                    let equal = a == b;
                    a.is_nan().cmp(&b.is_nan()).then(if equal { std::cmp::Ordering::Equal } else { by_value })
                });
                for (_, row) in members.iter().skip(wanted) {
                    rows[*row].values[index] = ABSENT;
                }
                if self.steps.count == 1 {
                    order.extend(members.iter().take(wanted).map(|(_, row)| *row));
                }
            }
        }
        if self.steps.count != 1 {
            return Ok(rows);
        }
        let mut kept: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
        Ok(order.into_iter().filter_map(|row| kept[row].take()).collect())
    }

    fn count_values(&self, rows: &[Row], groups: &[Group], label: &str) -> Result<Vec<Row>, Error> {
        if label.is_empty() {
            return Err(Error::Execution(format!("invalid label name {label}")));
        }
        let mut results = Vec::new();
        for group in groups {
            let mut by_value: BTreeMap<String, Row> = BTreeMap::new();
            for index in 0..self.steps.count {
                for value in group.members.iter().filter_map(|row| rows[*row].present(index)) {
                    let text = go_number(value);
                    if !by_value.contains_key(&text) {
                        let mut row = self.blank(group.labels.with(label, &text))?;
                        row.drop_name = group.drop_name && label != NAME;
                        by_value.insert(text.clone(), row);
                    }
                    if let Some(row) = by_value.get_mut(&text) {
                        row.values[index] = row.present(index).unwrap_or(0.0) + 1.0;
                    }
                }
            }
            results.extend(by_value.into_values());
        }
        merged(results)
    }
}

fn variance(values: &[f64]) -> f64 {
    let mut variance = Variance::default();
    values.iter().for_each(|value| variance.add(*value));
    variance.variance()
}

fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    let first = values.first().copied().unwrap_or(f64::NAN);
    values.iter().fold(first, |best, value| if better(*value, best) || best.is_nan() { *value } else { best })
}
