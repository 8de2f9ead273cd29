//! What the asker of a query should know about its answer, in Prometheus' words.

use std::collections::BTreeSet;

use super::Shared;

#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: BTreeSet<String>,
    pub(super) infos: BTreeSet<String>,
}

impl Shared<'_> {
    pub(super) fn warn(&self, text: &str) {
        self.notes.borrow_mut().warnings.insert(format!("PromQL warning: {text}"));
    }

    pub(super) fn inform(&self, text: &str) {
        self.notes.borrow_mut().infos.insert(format!("PromQL info: {text}"));
    }

    /// Warns of a quantile outside of 0 to 1.
    pub(super) fn check_quantile(&self, quantile: f64) {
        if !(0.0..=1.0).contains(&quantile) {
            let got = go_number(quantile);
            self.warn(&format!("quantile value should be between 0 and 1, got {got}"));
        }
    }
}

/// A number as Prometheus writes it.
pub(crate) fn go_number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}
