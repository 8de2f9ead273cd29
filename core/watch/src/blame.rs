//! Whether the release that took over last is to blame for a budget that burns: it burned from its rollout on and not before,
//! surely more than before, and whoever served beside it did not burn as well. Does not live here: what follows from it, and
//! when it is asked (`lifecycle::blame`).
//!
//! What nobody can tell by counts alone is a dependency that fails by itself after the rollout; who knows of more than these
//! counts looks at that beside it.

use model::Timestamp;
use model::objective::Target;
use serde::{Deserialize, Serialize};

use crate::bound::surely_above;
use crate::minutes::{Counts, Range, Sums, begin_of};

/// The time before a rollout that it is compared with has at least so many minutes.
const BEFORE: u64 = 60;
/// A release is worse when it fails surely more than so many times as often as before: rates differ from hour to hour.
const WORSE: f64 = 2.0;

/// When a rollout moved requests, in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// The one in which it began.
    pub began: u64,
    /// The one in which its release came to take all requests.
    pub alone: u64,
    /// The last one that is counted.
    pub now: u64,
}

impl Course {
    /// The time before it that it is compared with.
    pub fn known(&self) -> Range {
        let end = self.now + 1;
        Range { from: self.began.saturating_sub(end.saturating_sub(self.began).max(BEFORE)), to: self.began }
    }
}

/// What was counted since it burns, and before the rollout began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blame {
    /// Since when it burns: the minute's beginning.
    pub since: Timestamp,
    /// Bad events since then.
    pub bad: u64,
    /// All events since then.
    pub total: u64,
    /// Bad events before the rollout.
    pub bad_before: u64,
    /// All events before the rollout.
    pub total_before: u64,
}

impl Blame {
    /// Whether it surely fails more than twice as often as before, with 99 % confidence: given all that failed, so many of them
    /// would be the later ones' by chance with a probability below 1 % (the conditional test of two Poisson rates,
    /// Przyborowski and Wilenski 1940). Without anything before there is nothing to compare with, and nothing is sure.
    pub fn is_sure(&self) -> bool {
        worse((self.bad, self.total), (self.bad_before, self.total_before))
    }

    /// In words: `9 of 400 requests failed since 12:03, 1 of 9000 before`.
    pub fn in_words(&self) -> String {
        let Self { since, bad, total, bad_before, total_before } = self;
        format!("{bad} of {total} were bad since {since}, {bad_before} of {total_before} before its rollout")
    }
}

/// Looks for whom to blame. `all` are the events of the place, `own` those of the new release where somebody tells them apart.
///
/// # Errors
/// With the reason, in words, why it is not to blame.
pub fn blame<C: Counts>(all: &C, own: Option<&C>, course: Course, target: Target) -> Result<Blame, String> {
    let Course { began, alone, now } = course;
    let end = now + 1;
    let known = course.known();
    let before = all.sums(known);
    let from = onset(all, Range { from: known.from, to: end }, before, target);
    if from < began {
        return Err(format!("it burned since {} already, before the rollout began", begin_of(from)));
    }
    let since = Range { from, to: end };
    // Without counts of its own, the minutes in which both served say nothing.
    let after = own.map_or_else(|| all.sums(since), |own| own.sums(since));
    if from < alone {
        let Some(own) = own else {
            return Err(format!(
                "both releases served when it began at {}, and nobody tells them apart",
                begin_of(from)
            ));
        };
        let together = Range { from, to: (alone + 1).min(end) };
        let (mine, others) = (own.sums(together), all.sums(together) - own.sums(together));
        if shared(mine, others, before) {
            return Err("the release before burned beside it: they share it".to_owned());
        }
    }
    let blame = Blame {
        since: begin_of(from),
        bad: after.bad(),
        total: after.total,
        bad_before: before.bad(),
        total_before: before.total,
    };
    match blame.is_sure() {
        true => Ok(blame),
        false => Err(format!("{}: too little to be sure that it is worse", blame.in_words())),
    }
}

/// Whether those beside a release burned, too: surely more than before, and not surely less than it.
fn shared(mine: Sums, others: Sums, before: Sums) -> bool {
    let of = |sums: Sums| (sums.bad(), sums.total);
    worse(of(others), of(before)) && !worse(of(mine), of(others))
}

fn worse((bad, total): (u64, u64), (bad_before, total_before): (u64, u64)) -> bool {
    let (many, few) = (total as f64 * WORSE, total_before as f64);
    total_before > 0 && surely_above(bad, bad.saturating_add(bad_before), many / (many + few))
}

/// The minute since which most was bad beyond what is usual: the change point that a cumulative sum finds (Page, 1954). Usual is
/// twice the rate before, or the target's own where that is more.
fn onset(all: &impl Counts, range: Range, before: Sums, target: Target) -> u64 {
    let rate = if before.total == 0 { 0.0 } else { before.bad() as f64 / before.total as f64 };
    let usual = (rate * WORSE).max(target.budget().fraction());
    let beyond = |minute: u64| {
        let sums = all.sums(Range { from: minute, to: range.to });
        sums.bad() as f64 - sums.total as f64 * usual
    };
    let last_of_most = |best: (u64, f64), minute| {
        let here = beyond(minute);
        if here >= best.1 { (minute, here) } else { best }
    };
    (range.from..range.to).fold((range.from, f64::NEG_INFINITY), last_of_most).0
}

#[cfg(test)]
mod tests {
    use model::objective::Method;

    use super::*;
    use crate::exclusion::Exclusions;
    use crate::history::History;
    use crate::minutes::Minute;

    const FIRST: u64 = 28_000_000;

    /// Minutes of `(how many, bad, all)` in a row.
    fn told(parts: &[(usize, u64, u64)]) -> History {
        let minute = |(many, bad, all): &(usize, u64, u64)| vec![Minute::new(all - bad, *all, 60); *many];
        let minutes = parts.iter().flat_map(minute).collect();
        History::of(FIRST, minutes, Method::Occurrences, Exclusions::default())
    }

    /// A rollout after an hour that takes two minutes, looked at after `minutes` more.
    fn course(minutes: u64) -> Course {
        Course { began: FIRST + 60, alone: FIRST + 62, now: FIRST + 61 + minutes }
    }

    fn found(all: &History, own: &History, minutes: u64) -> Result<Blame, String> {
        blame(all, Some(own), course(minutes), "99.9%".parse().unwrap())
    }

    #[test]
    fn a_release_that_burns_from_its_rollout_on_is_to_blame() {
        let (all, own) = (told(&[(60, 0, 100), (5, 20, 100)]), told(&[(60, 0, 0), (5, 20, 50)]));
        let blame = found(&all, &own, 3).unwrap();
        assert_eq!((blame.since, blame.bad, blame.bad_before), (begin_of(FIRST + 60), 100, 0));
        assert_eq!(blame.total_before, 6_000);
    }

    #[test]
    fn one_that_turns_bad_half_an_hour_later_is_as_well() {
        let (all, own) = (
            told(&[(60, 1, 100), (30, 1, 100), (4, 40, 100)]),
            told(&[(60, 0, 0), (30, 1, 100), (4, 40, 100)]),
        );
        assert_eq!(found(&all, &own, 32).unwrap().since, begin_of(FIRST + 90));
    }

    #[test]
    fn an_outage_that_was_there_before_is_not_its_fault() {
        let (all, own) =
            (told(&[(50, 0, 100), (10, 60, 100), (10, 60, 100)]), told(&[(60, 0, 0), (10, 60, 100)]));
        assert!(found(&all, &own, 8).unwrap_err().contains("before the rollout began"));
    }

    #[test]
    fn an_outage_that_began_while_both_served_and_that_both_have_is_not_its_fault() {
        // Half of the requests are the old release's for two minutes; both fail alike, and the outage goes on after it is gone.
        let all = told(&[(60, 0, 100), (2, 50, 100), (6, 50, 100)]);
        let own = told(&[(60, 0, 0), (2, 25, 50), (6, 50, 100)]);
        assert!(found(&all, &own, 6).unwrap_err().contains("they share it"));
    }

    #[test]
    fn where_nobody_tells_releases_apart_only_the_time_alone_counts() {
        let target = || "99.9%".parse().unwrap();
        let early = told(&[(60, 0, 100), (8, 50, 100)]);
        assert!(blame(&early, None, course(6), target()).unwrap_err().contains("nobody tells them apart"));
        let late = told(&[(60, 0, 100), (4, 0, 100), (6, 50, 100)]);
        assert!(blame(&late, None, course(8), target()).is_ok());
    }

    #[test]
    fn a_few_errors_and_an_unknown_past_are_not_enough() {
        let (all, own) = (told(&[(60, 1, 100), (5, 3, 100)]), told(&[(60, 0, 0), (5, 3, 100)]));
        assert!(found(&all, &own, 3).unwrap_err().contains("too little"));
        let (all, own) = (told(&[(60, 0, 0), (5, 90, 100)]), told(&[(60, 0, 0), (5, 90, 100)]));
        assert!(found(&all, &own, 3).unwrap_err().contains("too little"), "nobody knows how it was");
    }

    #[test]
    fn twice_as_bad_as_usual_is_usual() {
        let (all, own) = (told(&[(60, 10, 100), (30, 19, 100)]), told(&[(60, 0, 0), (30, 19, 100)]));
        assert!(found(&all, &own, 28).is_err());
    }
}
