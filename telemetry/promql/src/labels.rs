//! The labels of a series: sorted by name, shared, cheap to clone.

use std::fmt;
use std::sync::Arc;

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// One label.
pub type Label = (Arc<str>, Arc<str>);

/// Labels sorted by name, without empty values: an empty value and a missing label are the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl Labels {
    /// From pairs in any order; of two with the same name the later one counts.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut labels: Vec<Label> = Vec::new();
        for (name, value) in pairs {
            set(&mut labels, name.into(), value.into());
        }
        Self(labels.into())
    }

    /// A label's value; empty when it is missing.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| &**known == name).map_or("", |(_, value)| value)
    }

    /// The metric's name; empty when it has none.
    pub fn name(&self) -> &str {
        self.get(NAME)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }

    /// Without the metric's name.
    #[must_use]
    pub fn unnamed(&self) -> Self {
        if self.name().is_empty() { self.clone() } else { self.filtered(|name| name != NAME) }
    }

    /// Only those of these names.
    #[must_use]
    pub fn keep(&self, names: &[String]) -> Self {
        self.filtered(|name| names.iter().any(|kept| kept == name))
    }

    /// All but those of these names.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        self.filtered(|name| names.iter().all(|gone| gone != name))
    }

    /// With one more, or one changed; an empty value removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut labels = self.0.to_vec();
        set(&mut labels, name.into(), value.into());
        Self(labels.into())
    }

    fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }
}

fn set(labels: &mut Vec<Label>, name: Arc<str>, value: Arc<str>) {
    match (labels.binary_search_by(|(known, _)| known.cmp(&name)), value.is_empty()) {
        (Ok(at), true) => drop(labels.remove(at)),
        (Ok(at), false) => labels[at].1 = value,
        (Err(_), true) => {}
        (Err(at), false) => labels.insert(at, (name, value)),
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As PromQL writes them: the metric's name, then the others in braces.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let others = self.iter().filter(|(name, _)| &**name != NAME);
        let others: Vec<String> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
        if others.is_empty() && !self.name().is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", others.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_a_missing_label() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("c", "")]);
        assert_eq!(labels, Labels::new([("a", "1"), ("b", "2")]));
        assert_eq!(labels.with("a", ""), Labels::new([("b", "2")]));
        assert_eq!(labels.get("c"), "");
        assert_eq!(labels.with(NAME, "up").to_string(), "up{a=\"1\", b=\"2\"}");
    }
}
