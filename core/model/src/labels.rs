//! How metrics name a place, in Prometheus' text format. Metrics' own names live with whoever measures.

use crate::Place;

/// A label's value, which may hold anything, as it stands between quotes.
pub fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Place {
    /// The labels of everything that is measured here, without braces: `app="shop",environment="production"`.
    pub fn labels(&self) -> String {
        let Self { service, environment } = self;
        format!("app=\"{service}\",environment=\"{environment}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
