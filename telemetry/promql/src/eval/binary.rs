//! Operators between two expressions, and how the series of both sides find each other.

use std::collections::HashMap;

use super::Evaluator;
use super::rows::{Cells, Row};
use crate::Error;
use crate::expr::{Arithmetic, Binary, Comparison, Grouping, Many, Matching, Operator};
use crate::labels::{Labels, NAME};

impl Operator {
    /// The result; `None` where a filter lets nothing through.
    fn of(self, left: f64, right: f64) -> Option<f64> {
        match self {
            Self::Arithmetic(how) => Some(how.of(left, right)),
            Self::Compare { test, bool: true } => Some(f64::from(u8::from(test.holds(left, right)))),
            Self::Compare { test, bool: false } => test.holds(left, right).then_some(left),
            Self::And | Self::Or | Self::Unless => None,
        }
    }

    /// Whether the result is not the metric any more.
    fn renames(self) -> bool {
        matches!(self, Self::Arithmetic(_) | Self::Compare { bool: true, .. })
    }
}

impl Arithmetic {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => left % right,
            Self::Power => left.powf(right),
            Self::Atan2 => left.atan2(right),
        }
    }
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &Binary) -> Result<Cells, Error> {
        let operator = binary.operator;
        match (self.cells(&binary.left)?, self.cells(&binary.right)?) {
            (Cells::Scalar(left), Cells::Scalar(right)) => {
                let pairs = left.into_iter().zip(right);
                Ok(Cells::Scalar(pairs.map(|(a, b)| operator.of(a, b).unwrap_or(f64::NAN)).collect()))
            }
            (Cells::Rows(rows), Cells::Scalar(scalar)) => {
                self.with_scalar(rows, operator, |value, index| operator.of(value, scalar[index]))
            }
            (Cells::Scalar(scalar), Cells::Rows(rows)) => self.with_scalar(rows, operator, |value, index| {
                // A filter gives the vector's value, whichever side it stands on.
                let result = operator.of(scalar[index], value)?;
                Some(if operator.renames() { result } else { value })
            }),
            (Cells::Rows(left), Cells::Rows(right)) => {
                let rows = match operator {
                    Operator::And | Operator::Or | Operator::Unless => {
                        self.set(left, right, operator, &binary.matching.grouping)
                    }
                    Operator::Arithmetic(_) | Operator::Compare { .. } => {
                        self.matched(left, right, operator, &binary.matching)?
                    }
                };
                Ok(Cells::Rows(rows))
            }
            (Cells::Text(_), _) | (_, Cells::Text(_)) => {
                Err(Error::Syntax("an operator cannot take a text".to_owned()))
            }
        }
    }

    fn with_scalar(
        &self,
        mut rows: Vec<Row>,
        operator: Operator,
        result: impl Fn(f64, usize) -> Option<f64>,
    ) -> Result<Cells, Error> {
        for row in &mut rows {
            row.change(|value, index| result(value, index).unwrap_or(super::rows::ABSENT));
        }
        Ok(Cells::Rows(if operator.renames() { self.unnamed(rows)? } else { rows }))
    }

    fn set(&self, mut left: Vec<Row>, right: Vec<Row>, operator: Operator, by: &Grouping) -> Vec<Row> {
        let steps = self.steps.count;
        let present = |rows: &[Row]| {
            let mut present: HashMap<Labels, Vec<bool>> = HashMap::new();
            for row in rows {
                let flags = present.entry(by.of(&row.labels)).or_insert_with(|| vec![false; steps]);
                flags.iter_mut().enumerate().for_each(|(index, flag)| *flag |= row.present(index).is_some());
            }
            present
        };
        let keep = |rows: &mut Vec<Row>, others: &HashMap<Labels, Vec<bool>>, matched: bool| {
            for row in rows {
                let flags = others.get(&by.of(&row.labels));
                for (index, value) in row.values.iter_mut().enumerate() {
                    if flags.is_some_and(|flags| flags[index]) != matched {
                        *value = super::rows::ABSENT;
                    }
                }
            }
        };
        match operator {
            Operator::And => keep(&mut left, &present(&right), true),
            Operator::Unless => keep(&mut left, &present(&right), false),
            Operator::Or | Operator::Arithmetic(_) | Operator::Compare { .. } => {
                let mut rest = right;
                keep(&mut rest, &present(&left), false);
                left.extend(rest);
            }
        }
        left
    }

    /// Each series with the one of the other side that has the same labels, as far as they are looked at.
    fn matched(
        &self,
        left: Vec<Row>,
        right: Vec<Row>,
        operator: Operator,
        matching: &Matching,
    ) -> Result<Vec<Row>, Error> {
        let swapped = matches!(matching.many, Many::Right(_));
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let by = &matching.grouping;
        let mut ones: HashMap<Labels, Vec<&Row>> = HashMap::new();
        one.iter().for_each(|row| ones.entry(by.of(&row.labels)).or_default().push(row));
        self.check_unique(&ones, swapped)?;

        let mut results: Vec<Row> = Vec::new();
        let mut known: HashMap<Labels, usize> = HashMap::new();
        for row in &many {
            let Some(partners) = ones.get(&by.of(&row.labels)) else { continue };
            for partner in partners {
                self.shared.spend(self.steps.count)?;
                let labels = self.result_labels(row, partner, operator, matching);
                let place = match known.get(&labels) {
                    Some(place) => *place,
                    None => {
                        let mut blank = self.blank(labels.clone())?;
                        blank.drop_name = row.drop_name || operator.renames();
                        results.push(blank);
                        known.insert(labels, results.len() - 1);
                        results.len() - 1
                    }
                };
                for index in 0..self.steps.count {
                    let (Some(mine), Some(theirs)) = (row.present(index), partner.present(index)) else {
                        continue;
                    };
                    let (a, b) = if swapped { (theirs, mine) } else { (mine, theirs) };
                    let result =
                        operator.of(a, b).map(|result| if operator.renames() { result } else { mine });
                    if results[place].present(index).is_some() {
                        return Err(ambiguous(&matching.many));
                    }
                    if let Some(result) = result {
                        results[place].values[index] = result;
                    }
                }
            }
        }
        Ok(results)
    }

    /// No two series of the "one" side may match the same at the same step.
    fn check_unique(&self, ones: &HashMap<Labels, Vec<&Row>>, swapped: bool) -> Result<(), Error> {
        for (labels, rows) in ones.iter().filter(|(_, rows)| rows.len() > 1) {
            for index in 0..self.steps.count {
                self.shared.spend(rows.len())?;
                let mut present = rows.iter().filter(|row| row.present(index).is_some());
                if let (Some(first), Some(second)) = (present.next(), present.next()) {
                    let side = if swapped { "left" } else { "right" };
                    return Err(Error::Execution(format!(
                        "found duplicate series for the match group {labels} on the {side} hand-side of the \
                         operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one \
                         side",
                        second.labels, first.labels
                    )));
                }
            }
        }
        Ok(())
    }

    fn result_labels(&self, row: &Row, partner: &Row, operator: Operator, matching: &Matching) -> Labels {
        let mut labels = row.labels.clone();
        if operator.renames() && !self.shared.options.delayed_name_removal {
            labels = labels.unnamed();
        }
        let include = match (&matching.many, &matching.grouping) {
            (Many::Neither, Grouping::Only(names)) => return labels.keep(names),
            (Many::Neither, Grouping::AllBut(names)) => return labels.without(names),
            (Many::Left(include) | Many::Right(include), _) => include,
        };
        for name in include.iter().filter(|name| *name != NAME || !operator.renames()) {
            labels = labels.with(name, partner.labels.get(name));
        }
        labels
    }
}

fn ambiguous(many: &Many) -> Error {
    Error::Execution(
        match many {
            Many::Neither => {
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
            }
            Many::Left(_) | Many::Right(_) => {
                "multiple matches for labels: grouping labels must ensure unique matches"
            }
        }
        .to_owned(),
    )
}
