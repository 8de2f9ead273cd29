//! What a rollout burned of the budget. Only what its release did worse than the others did at the same time: in an outage
//! that both share, the deploy is not to blame. Does not live here: when a rollout and its bake are over.

use serde::{Deserialize, Serialize};

use crate::budget::{Budget, WHOLE};
use crate::minutes::Sums;

/// What a release burned from its first request to the end of its bake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// Its bad events, or seconds.
    pub bad: u64,
    /// All of its events, or seconds.
    pub total: u64,
    /// The bad ones beyond what the others' share makes expect, rounded down.
    pub excess: u64,
    /// The excess in parts of a million of the whole budget; more than a million when it is more than all of it.
    pub share: u64,
}

/// Charges a release with what it burned. `own` are its counts, `others` those of the releases beside it in the same time, and
/// `before` those of the time before it, which stand in where nobody served beside it; `budget` is the objective's at the end.
pub fn charge(own: Sums, others: Sums, before: Sums, budget: &Budget) -> Charge {
    let reference = if others.total > 0 { others } else { before };
    let expected = match reference.total {
        0 => 0,
        total => u128::from(reference.bad()) * u128::from(own.total) / u128::from(total),
    };
    let excess = own.bad().saturating_sub(u64::try_from(expected).unwrap_or(u64::MAX));
    let whole = u128::from(WHOLE.unsigned_abs());
    let share = u128::from(excess) * whole / u128::from(budget.allowed.max(1));
    Charge { bad: own.bad(), total: own.total, excess, share: u64::try_from(share).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::objective::Ratio;

    fn budget(allowed: u64) -> Budget {
        let (sums, coverage) = (Sums::default(), Ratio::ALL);
        Budget { sums, allowed, remaining: 0, attained: None, coverage, elapsed: 1, length: 1 }
    }

    #[test]
    fn a_release_pays_for_what_it_did_worse_than_the_others() {
        // 500 of 5,000 requests failed on the new one, 45 of 45,000 on the old: 5 would have failed anyway.
        let paid =
            charge(Sums::events(4_500, 5_000), Sums::events(44_955, 45_000), Sums::default(), &budget(4_950));
        assert_eq!((paid.bad, paid.excess, paid.share), (500, 495, 100_000));
    }

    #[test]
    fn an_outage_that_both_share_is_nobodys_deploy() {
        let paid =
            charge(Sums::events(500, 1_000), Sums::events(4_500, 9_000), Sums::default(), &budget(100));
        assert_eq!((paid.bad, paid.excess, paid.share), (500, 0, 0));
    }

    #[test]
    fn a_release_that_serves_alone_is_compared_with_the_time_before() {
        let before = Sums::events(990, 1_000);
        let paid = charge(Sums::events(900, 1_000), Sums::default(), before, &budget(45));
        assert_eq!((paid.excess, paid.share), (90, 2_000_000));
        assert_eq!(charge(Sums::default(), Sums::default(), before, &budget(0)).share, 0);
    }
}
