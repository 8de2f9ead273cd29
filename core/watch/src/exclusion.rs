//! Which minutes do not count: planned maintenance, a load test, a broken meter. Corrections are facts of the journal, with
//! somebody's name and a reason; here is their arithmetic.

use serde::{Deserialize, Serialize};

use crate::minutes::Range;

/// The most ranges that are kept for an objective, after those that touch became one.
pub const MOST: usize = 1_000;

/// Ranges of minutes that do not count: in order, none empty, none touching another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Exclusions(Vec<Range>);

impl Exclusions {
    /// The ranges, in order.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// Whether a minute does not count.
    pub fn hold(&self, minute: u64) -> bool {
        let next = self.0.partition_point(|range| range.to <= minute);
        self.0.get(next).is_some_and(|range| range.holds(minute))
    }

    /// Takes a range out, whatever was taken out of it before.
    pub fn exclude(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|each| each.to < range.from);
        let after = self.0.partition_point(|each| each.from <= range.to);
        let touched = self.0.get(first..after).unwrap_or_default();
        let from = touched.first().map_or(range.from, |each| each.from.min(range.from));
        let to = touched.last().map_or(range.to, |each| each.to.max(range.to));
        self.0.splice(first..after.max(first), [Range { from, to }]);
    }

    /// Lets a range count again.
    pub fn restore(&mut self, range: Range) {
        let rest = |each: Range| {
            let before = Range { from: each.from, to: each.to.min(range.from) };
            let after = Range { from: each.from.max(range.to), to: each.to };
            [before, after].into_iter().filter(|part| !part.is_empty())
        };
        if !range.is_empty() {
            self.0 = self.0.iter().copied().flat_map(rest).collect();
        }
    }

    /// Forgets what is before a minute: nobody asks for it any more.
    pub fn forget_before(&mut self, minute: u64) {
        self.0.retain(|range| range.to > minute);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exclusions_are_a_set_of_minutes(
            changes in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..15), 0..30)
        ) {
            let (mut exclusions, mut set) = (Exclusions::default(), BTreeSet::new());
            for (add, from, length) in changes {
                let range = Range { from, to: from + length };
                if add {
                    exclusions.exclude(range);
                    set.extend(from..from + length);
                } else {
                    exclusions.restore(range);
                    set.retain(|minute| !range.holds(*minute));
                }
                let ranges = exclusions.ranges();
                prop_assert!(ranges.iter().all(|range| !range.is_empty()));
                prop_assert!(ranges.windows(2).all(|two| two[0].to < two[1].from));
                for minute in 0..80 {
                    prop_assert_eq!(exclusions.hold(minute), set.contains(&minute));
                }
            }
        }
    }
}
