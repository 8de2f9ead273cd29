//! What the judge counts when users keep the release they were given. Then requests are not assigned one by one: all of
//! a user's follow one draw, so the unit is the user.
//!
//! **Against the release** each user counts once in a whole rollout, with the first error on whichever release. Until
//! that error nothing is known of the user that depends on the draw, so it comes from the new release with the
//! probability `w` of its epoch, as the judge assumes. Once an epoch would be too often: who was on the new release at
//! 5 % is on it at 25 % for certain, and an error that such a user meets again is no new evidence.
//!
//! **For the release** the same formula is fed with users seen at this weight and those of them with an error at this
//! weight. Its hypothesis bounds the first request of each user; whatever errors come later only take evidence away.
//!
//! The executor forgets who erred when it dies, so the lives of the counter cannot be added up: a user would count once
//! in each. Instead each life is judged alone, and they share `alpha`: nine tenths for the first, half of the rest for
//! each after it. The probabilities add up to less than `alpha`.

use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::judge::Stretch;
use crate::observation::Counts;
use crate::rollout::Rollout;

/// The first life's part of `alpha`. Later ones are for executors that die in the middle of a rollout, which is rare.
const FIRST_LIFE: f64 = 0.9;

/// Users of one release in one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Users {
    /// Seen.
    pub seen: u64,
    /// Of those, with an error in this epoch.
    pub erred: u64,
    /// Of those, with their first error of the rollout, on any release.
    pub first_erred: u64,
}

/// Users of both releases in one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserTally {
    /// Of the new release.
    pub candidate: Users,
    /// Of the old release.
    pub stable: Users,
}

impl Users {
    /// Both added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            seen: self.seen + other.seen,
            erred: self.erred + other.erred,
            first_erred: self.first_erred + other.first_erred,
        }
    }

    /// As evidence against a release: one error a user.
    pub fn against(self) -> Counts {
        Counts { requests: self.seen, errors: self.first_erred }
    }

    /// As evidence for a release.
    pub fn in_favour(self) -> Counts {
        Counts { requests: self.seen, errors: self.erred }
    }
}

impl UserTally {
    /// Both added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { candidate: self.candidate.plus(other.candidate), stable: self.stable.plus(other.stable) }
    }

    /// Whether nobody was seen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the judge looks at: requests, or users when they keep their release.
pub(crate) struct Judged {
    /// As evidence against the new release.
    pub(crate) stretches: Vec<Stretch>,
    /// Which part of `alpha` it may spend.
    pub(crate) share_of_alpha: f64,
    /// As evidence for the new release, in the epoch in force.
    pub(crate) in_favour: Counts,
}

pub(crate) fn judged(rollout: &Rollout, book: &Book) -> Judged {
    if rollout.session_affinity().is_none() {
        return Judged {
            stretches: book.stretches(),
            share_of_alpha: 1.0,
            in_favour: in_favour(rollout, book),
        };
    }
    let stretches = book.users_by_weight().into_iter().map(|(weight, tally)| Stretch {
        weight: weight.fraction(),
        candidate: tally.candidate.against(),
        stable: tally.stable.against(),
    });
    Judged {
        stretches: stretches.collect(),
        share_of_alpha: share_of_alpha(book.lives()),
        in_favour: in_favour(rollout, book),
    }
}

/// What the judge counts for the new release in the epoch in force.
pub(crate) fn in_favour(rollout: &Rollout, book: &Book) -> Counts {
    match rollout.session_affinity() {
        None => book.candidate_in(rollout.epoch),
        Some(_) => book.users_in(rollout.epoch).candidate.in_favour(),
    }
}

fn share_of_alpha(lives: u32) -> f64 {
    match lives {
        0 | 1 => FIRST_LIFE,
        later => (1.0 - FIRST_LIFE) * 0.5_f64.powi(i32::try_from(later - 1).unwrap_or(i32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lives_together_have_no_more_than_alpha() {
        let sum: f64 = (1..=2_000).map(share_of_alpha).sum();
        assert!(sum <= 1.0 && sum > 0.999, "{sum}");
        assert_eq!(share_of_alpha(0), share_of_alpha(1), "before the first report it is the first life");
    }
}
