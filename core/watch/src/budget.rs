//! What may be bad, what was, and what is left: exact, in whole events or seconds. Does not live here: how fast it goes
//! ([`crate::burn`]) and what follows from it ([`crate::level`]).

use model::Timestamp;
use model::objective::{Method, Objective, Ratio, Sla, Target, Window};
use serde::{Deserialize, Serialize};

use crate::minutes::{Counts, Range, SECONDS, Sums, minute_of};
use crate::window;

/// All of a budget, in parts.
pub const WHOLE: i64 = 1_000_000;
/// A full window that used at most this share of its budget is far better than its target.
const HARDLY_USED: Ratio = Ratio::percent(10);
/// A budget of fewer bad events than this says nothing when it is hardly used.
const TELLING: u64 = 10;
/// As much of a window has to be measured before it is called full.
const FULL: Ratio = Ratio::percent(95);

/// What is promised over which time: of an objective, or of what customers were promised.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// How much has to be good.
    pub target: Target,
    /// Over how long.
    pub window: &'a Window,
    /// In which unit.
    pub method: &'a Method,
}

impl<'a> Terms<'a> {
    /// Those of an objective.
    pub fn of(objective: &'a Objective) -> Self {
        Self { target: objective.target, window: &objective.window, method: &objective.method }
    }

    /// Those that customers were given, counted as the objective is.
    pub fn of_sla(sla: &'a Sla, objective: &'a Objective) -> Self {
        Self { target: sla.target, window: &sla.window, method: &objective.method }
    }
}

/// An error budget at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// What was counted since the window began.
    pub sums: Sums,
    /// How many events, or seconds, may be bad: rounded down.
    pub allowed: u64,
    /// What is left in parts of a million of the whole budget, rounded down; negative when it is overspent.
    pub remaining: i64,
    /// How much was good; `None` where nothing was counted.
    pub attained: Option<Ratio>,
    /// How much of the time since the window began, or since the service was first measured, was measured.
    pub coverage: Ratio,
    /// Seconds of the window that have passed since it began or the service was first measured.
    pub elapsed: u64,
    /// Seconds that the whole window has, without corrections.
    pub length: u64,
}

impl Budget {
    /// What is left of a budget at a time.
    pub fn at(terms: Terms<'_>, counts: &impl Counts, at: Timestamp) -> Self {
        Self::over(terms, window::whole(terms.window, at), counts, at)
    }

    /// The same, of a window that is known already.
    pub fn over(terms: Terms<'_>, whole: Range, counts: &impl Counts, at: Timestamp) -> Self {
        let now = u64::try_from(at.as_micros()).unwrap_or(0).div_ceil(1_000_000);
        let begun = Range { from: whole.from, to: whole.to.min(minute_of(at) + 1) };
        let sums = counts.sums(begun);
        let length = whole.len().saturating_sub(sums.excluded) * SECONDS;
        // Where nothing was measured ever, no time has passed.
        let known = begun.from.max(counts.since()).saturating_mul(SECONDS);
        let unknown = known.saturating_add(sums.excluded * SECONDS);
        let elapsed = now.min(begun.to * SECONDS).saturating_sub(unknown);
        // Events make their own budget; time has one from the beginning.
        let basis = match terms.method {
            Method::Occurrences => sums.total,
            Method::Timeslices { .. } => length,
        };
        let budget = u128::from(terms.target.budget().parts());
        let one = u128::from(Ratio::ONE);
        let allowed = u128::from(basis) * budget;
        let spent = u128::from(sums.bad()) * one * one;
        let spent = if sums.bad() == 0 { 0 } else { spent.div_ceil(allowed.max(1)) };
        let attained = Ratio::of(sums.good, sums.total);
        Self {
            sums,
            allowed: u64::try_from(allowed / one).unwrap_or(u64::MAX),
            remaining: WHOLE.saturating_sub(i64::try_from(spent).unwrap_or(i64::MAX)),
            attained: (sums.total > 0).then_some(attained),
            coverage: if elapsed == 0 { Ratio::NONE } else { Ratio::of(sums.measured, elapsed) },
            elapsed,
            length,
        }
    }

    /// The share that was spent, 1 for all of it; more when it is overspent.
    pub fn spent(&self) -> f64 {
        (WHOLE - self.remaining) as f64 / WHOLE as f64
    }

    /// Whether a whole window went by with hardly anything spent, of a budget that could have shown it: room for speed,
    /// for game days, or for a target that says what users get.
    pub fn is_hardly_used(&self) -> bool {
        let is_full = Ratio::of(self.elapsed, self.length) >= FULL && self.coverage >= FULL;
        let left = i64::from(HARDLY_USED.rest().parts());
        is_full && self.allowed >= TELLING && self.remaining >= left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exclusion::Exclusions;
    use crate::history::History;
    use crate::minutes::{Minute, begin_of};

    const DAY: usize = 1_440;

    fn terms<'a>(target: &str, window: &'a Window, method: &'a Method) -> Terms<'a> {
        Terms { target: target.parse().unwrap(), window, method }
    }

    fn days(days: u64) -> Window {
        Window::rolling(Duration::from_secs(days * 86_400)).unwrap()
    }

    fn end(history: &History) -> Timestamp {
        Timestamp::from_micros(begin_of(history.range().to).as_micros() - 1)
    }

    fn occurrences(minutes: Vec<Minute>) -> History {
        History::of(1_000_000, minutes, Method::Occurrences, Exclusions::default())
    }

    #[test]
    fn a_budget_is_what_the_target_leaves() {
        // 100 requests a minute for 30 days: 4,320,000; 99.9 % leaves 4,320; 1,080 of them is a quarter.
        let mut minutes = vec![Minute::new(100, 100, 60); 30 * DAY];
        minutes.iter_mut().take(1_080).for_each(|minute| minute.good = 99);
        let history = occurrences(minutes);
        let window = days(30);
        let budget = Budget::at(terms("99.9%", &window, &Method::Occurrences), &history, end(&history));
        assert_eq!((budget.sums.total, budget.allowed, budget.remaining), (4_320_000, 4_320, 750_000));
        assert_eq!((budget.attained.unwrap().to_string(), budget.length), ("99.975%".to_owned(), 2_592_000));
        assert_eq!((budget.coverage, budget.is_hardly_used()), (Ratio::ALL, false));
        // The month's famous 43 minutes and 12 seconds.
        let slices = Method::Timeslices { slice: Duration::from_secs(60), good: Ratio::percent(95) };
        let history =
            History::of(0, vec![Minute::new(1, 1, 60); 30 * DAY], slices.clone(), Exclusions::default());
        assert_eq!(Budget::at(terms("99.9%", &window, &slices), &history, end(&history)).allowed, 2_592);
    }

    #[test]
    fn no_minute_can_poison_a_month() {
        // The 0/0 of a quiet minute made budgets of 30 days NaN elsewhere (sloth 231, 531).
        let mut minutes = vec![Minute::new(100, 100, 60); DAY];
        minutes[7] = Minute::new(0, 0, 60);
        minutes[8] = Minute::new(0, 0, 0);
        let history = occurrences(minutes);
        let window = days(30);
        let budget = Budget::at(terms("99.9%", &window, &Method::Occurrences), &history, end(&history));
        assert_eq!((budget.remaining, budget.attained), (WHOLE, Some(Ratio::ALL)));
        let nothing = occurrences(vec![Minute::default(); DAY]);
        let budget = Budget::at(terms("99.9%", &window, &Method::Occurrences), &nothing, end(&nothing));
        assert_eq!((budget.remaining, budget.attained, budget.coverage), (WHOLE, None, Ratio::NONE));
    }

    #[test]
    fn a_budget_is_no_average_of_averages() {
        // One hour of 100,000 requests a minute with 1 % errors, 23 hours of ten a minute without: the average of the
        // minutes' rates is 0.04 % (sloth 241), the truth 0.99 %.
        let mut minutes = vec![Minute::new(10, 10, 60); DAY];
        minutes.iter_mut().take(60).for_each(|minute| *minute = Minute::new(99_000, 100_000, 60));
        let history = occurrences(minutes);
        let budget = Budget::at(terms("99.9%", &days(30), &Method::Occurrences), &history, end(&history));
        assert_eq!(budget.sums.bad(), 60_000);
        assert_eq!(budget.attained.unwrap().to_string(), "99.0022%");
        assert!(budget.remaining < -8 * WHOLE);
    }

    #[test]
    fn unmeasured_time_is_not_uptime() {
        let mut minutes = vec![Minute::new(99, 100, 60); DAY];
        minutes.iter_mut().skip(720).for_each(|minute| *minute = Minute::default());
        let (window, slices) =
            (days(1), Method::Timeslices { slice: Duration::from_secs(300), good: Ratio::percent(95) });
        let history = occurrences(minutes.clone());
        let budget = Budget::at(terms("99%", &window, &Method::Occurrences), &history, end(&history));
        assert_eq!(
            (budget.attained.unwrap(), budget.coverage.to_string()),
            (Ratio::percent(99), "50%".to_owned())
        );
        let history = History::of(0, minutes, slices.clone(), Exclusions::default());
        let budget = Budget::at(terms("99%", &window, &slices), &history, end(&history));
        assert_eq!((budget.sums.total, budget.sums.good), (720 * 60, 720 * 60));
    }

    #[test]
    fn a_full_window_that_used_nothing_is_said() {
        let window = days(30);
        let full = occurrences(vec![Minute::new(100, 100, 60); 30 * DAY]);
        let hardly = |target, history: &History| {
            Budget::at(terms(target, &window, &Method::Occurrences), history, end(history)).is_hardly_used()
        };
        assert!(hardly("99.9%", &full));
        assert!(!hardly("99.9%", &occurrences(vec![Minute::new(100, 100, 60); 3 * DAY])), "a young service");
        // Four requests a day leave a budget of nothing: no errors are no merit.
        let quiet = (0..30 * DAY)
            .map(|minute| Minute::new(u64::from(minute % 360 == 0), u64::from(minute % 360 == 0), 60));
        assert!(!hardly("99.9%", &occurrences(quiet.collect())));
    }
}
