//! What a budget allows to be deployed. It gets stricter at once, and looser only when the budget is a little above the step
//! again, so that a deploy is not allowed and refused by turns. Does not live here: enforcing it (`lifecycle`).

use model::objective::{Action, PolicyStep};
use serde::{Deserialize, Serialize};

use crate::budget::Budget;

/// So much more of the budget than the step has to be left before it is taken back, in parts of a million.
const AGAIN: i64 = 20_000;

/// What a budget allows, in ascending order of strictness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Nothing was measured in the whole window: it forbids nothing and promises nothing.
    #[default]
    Unknown,
    /// Everything.
    Fine,
    /// Everything, with a warning.
    Warn,
    /// Only canaries.
    CanaryOnly,
    /// Only what goes back.
    Freeze,
}

impl Level {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fine => "fine",
            Self::Warn => "warn",
            Self::CanaryOnly => "canaryOnly",
            Self::Freeze => "freeze",
        }
    }
}

impl From<Action> for Level {
    fn from(action: Action) -> Self {
        match action {
            Action::Warn => Self::Warn,
            Action::CanaryOnly => Self::CanaryOnly,
            Action::Freeze => Self::Freeze,
        }
    }
}

/// What a budget allows now, when it allowed `now` until now. Fewer bad events than `minimum_events` allow everything: the
/// first request of a month is no month.
pub fn level(policy: &[PolicyStep], budget: &Budget, minimum_events: u64, now: Level) -> Level {
    if budget.sums.measured == 0 {
        return Level::Unknown;
    }
    if budget.sums.failed < minimum_events {
        return Level::Fine;
    }
    let strict = at(policy, budget.remaining);
    if strict >= now {
        return strict;
    }
    at(policy, budget.remaining.saturating_sub(AGAIN)).min(now)
}

fn at(policy: &[PolicyStep], remaining: i64) -> Level {
    let reached = policy.iter().filter(|step| remaining <= i64::from(step.remaining.parts()));
    reached.map(|step| Level::from(step.action)).max().unwrap_or(Level::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minutes::Sums;
    use model::objective::Ratio;

    fn budget(remaining: i64, failed: u64, measured: u64) -> Budget {
        let sums = Sums { good: 0, total: failed, failed, measured, excluded: 0 };
        let coverage = Ratio::ALL;
        Budget { sums, allowed: 0, remaining, attained: None, coverage, elapsed: 1, length: 1 }
    }

    fn of(remaining: i64, now: Level) -> Level {
        level(&PolicyStep::defaults(), &budget(remaining, 100, 60), 5, now)
    }

    #[test]
    fn each_step_begins_where_it_says_and_ends_a_little_above() {
        assert_eq!((of(250_001, Level::Fine), of(250_000, Level::Fine)), (Level::Fine, Level::Warn));
        assert_eq!((of(0, Level::Fine), of(-1, Level::Warn)), (Level::Freeze, Level::Freeze));
        assert_eq!(
            (of(10_000, Level::Freeze), of(20_001, Level::Freeze)),
            (Level::Freeze, Level::CanaryOnly)
        );
        assert_eq!((of(270_000, Level::Warn), of(270_001, Level::Warn)), (Level::Warn, Level::Fine));
        // A new month.
        assert_eq!(of(1_000_000, Level::Freeze), Level::Fine);
    }

    #[test]
    fn a_level_never_comes_and_goes_on_the_spot() {
        let mut now = Level::Fine;
        let mut changes = 0;
        for turn in 0..100 {
            let next = of(if turn % 2 == 0 { 99_990 } else { 100_010 }, now);
            changes += usize::from(next != now);
            now = next;
        }
        assert_eq!((changes, now), (1, Level::CanaryOnly));
    }

    #[test]
    fn without_data_nothing_is_forbidden_and_nothing_is_fine() {
        let policy = PolicyStep::defaults();
        assert_eq!(level(&policy, &budget(1_000_000, 0, 0), 5, Level::Freeze), Level::Unknown);
        assert_eq!(
            level(&policy, &budget(-500_000, 4, 60), 5, Level::Fine),
            Level::Fine,
            "the first requests of a month"
        );
    }
}
