//! The values of an expression at all steps.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::Error;
use crate::labels::Labels;
use crate::value::{STALE, is_stale};

/// Stands where a row has no value.
pub(super) const ABSENT: f64 = STALE;

/// The values of an expression at all steps.
pub(super) enum Cells {
    Scalar(Vec<f64>),
    Text(String),
    Rows(Vec<Row>),
}

/// One series at all steps.
pub(super) struct Row {
    pub(super) labels: Labels,
    /// Whether the metric's name is to go at the end.
    pub(super) drop_name: bool,
    pub(super) values: Vec<f64>,
}

impl Row {
    pub(super) fn present(&self, index: usize) -> Option<f64> {
        self.values.get(index).copied().filter(|value| !is_stale(*value))
    }

    pub(super) fn change(&mut self, change: impl Fn(f64, usize) -> f64) {
        for (index, value) in self.values.iter_mut().enumerate() {
            if !is_stale(*value) {
                *value = change(*value, index);
            }
        }
    }

    pub(super) fn cleaned(mut self) -> Self {
        if self.drop_name {
            self.labels = self.labels.unnamed();
            self.drop_name = false;
        }
        self
    }
}

/// Rows of the same labels become one.
///
/// # Errors
/// When two of them have a value at the same step.
pub(super) fn merged(rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    let mut known: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match known.entry(row.labels.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(kept.len());
                kept.push(row);
            }
            Entry::Occupied(entry) => {
                let into = &mut kept[*entry.get()];
                for (into, value) in into.values.iter_mut().zip(row.values) {
                    if is_stale(value) {
                        continue;
                    }
                    if !is_stale(*into) {
                        let what = "vector cannot contain metrics with the same labelset";
                        return Err(Error::Execution(what.to_owned()));
                    }
                    *into = value;
                }
            }
        }
    }
    Ok(kept)
}
