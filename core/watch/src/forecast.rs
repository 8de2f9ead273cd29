//! When a budget is gone if it goes on like this. Does not live here: how fast it goes now ([`crate::burn`]).

use std::time::Duration;

use model::objective::{Method, Window};
use serde::{Deserialize, Serialize};

use crate::budget::Budget;

/// When a budget is gone if it burns on as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Forecast {
    /// Not before the window's end, or not at all.
    Lasts,
    /// In so long.
    #[serde(with = "model::time::words")]
    In(Duration),
    /// It is gone.
    Spent,
}

/// When a budget of `window` is gone at a burn rate (1 = just used up in a window). With `s` spent, `W` the window and `b` the
/// burn:
///
/// - a full rolling window, and time: `W (1 - s) / b`, as if nothing bad left the window meanwhile: the earliest time;
/// - events while the window still grows, `e` of it over: the budget grows with the events, so it is `e (1 - s) / (b - 1)`;
/// - at `b` of one or less it lasts.
pub fn forecast(budget: &Budget, window: &Window, method: &Method, burn: f64) -> Forecast {
    if budget.remaining <= 0 {
        return Forecast::Spent;
    }
    if burn <= 1.0 || !burn.is_finite() {
        return Forecast::Lasts;
    }
    let (length, elapsed) = (budget.length as f64, budget.elapsed as f64);
    let spent = budget.spent();
    let left = (length - elapsed).max(0.0);
    let from_full = |spent: f64| length * (1.0 - spent) / burn;
    let seconds = match (method, window) {
        (Method::Timeslices { .. }, _) => from_full(spent),
        (Method::Occurrences, _) => {
            let growing = elapsed * (1.0 - spent) / (burn - 1.0);
            let at_full = (spent * elapsed + burn * left) / length.max(1.0);
            match (growing <= left, window) {
                (true, _) => growing,
                (false, Window::Rolling(_)) => left + from_full(at_full).max(0.0),
                (false, Window::Calendar { .. }) => f64::INFINITY,
            }
        }
    };
    let ends = matches!(window, Window::Calendar { .. });
    if !seconds.is_finite() || (ends && seconds > left) {
        return Forecast::Lasts;
    }
    Forecast::In(Duration::from_secs(seconds.max(0.0) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minutes::Sums;
    use model::objective::Ratio;

    const DAY: u64 = 86_400;

    fn budget(remaining: i64, elapsed: u64, length: u64) -> Budget {
        let (coverage, sums) = (Ratio::ALL, Sums::default());
        Budget { sums, allowed: 0, remaining, attained: None, coverage, elapsed, length }
    }

    fn rolling() -> Window {
        Window::default()
    }

    fn days(days: u64) -> Forecast {
        Forecast::In(Duration::from_secs(days * DAY))
    }

    #[test]
    fn a_full_budget_at_a_burn_of_ten_lasts_a_tenth_of_the_window() {
        let of = |remaining, burn| {
            forecast(&budget(remaining, 30 * DAY, 30 * DAY), &rolling(), &Method::Occurrences, burn)
        };
        assert_eq!(
            (of(1_000_000, 10.0), of(500_000, 10.0)),
            (days(3), Forecast::In(Duration::from_secs(3 * DAY / 2)))
        );
        assert_eq!(
            (of(0, 10.0), of(1, 1.0), of(1, f64::NAN)),
            (Forecast::Spent, Forecast::Lasts, Forecast::Lasts)
        );
    }

    #[test]
    fn a_young_window_grows_while_it_burns() {
        // Four days old, half spent, burning at three times: in a day (4 x 0.5 + 3) / 5 = 1 is spent.
        let young = budget(500_000, 4 * DAY, 30 * DAY);
        assert_eq!(forecast(&young, &rolling(), &Method::Occurrences, 3.0), days(1));
        // At 1.1 times it would be 20 days, and the window has 26 left; in a month of 20 days it lasts.
        assert_eq!(
            forecast(&young, &rolling(), &Method::Occurrences, 1.1),
            Forecast::In(Duration::from_secs(1_727_999))
        );
        let short = budget(500_000, 4 * DAY, 20 * DAY);
        assert_eq!(forecast(&short, &Window::month(), &Method::Occurrences, 1.1), Forecast::Lasts);
    }

    #[test]
    fn a_budget_of_time_is_whole_from_the_first_day() {
        let slices = Method::Timeslices { slice: Duration::from_secs(60), good: Ratio::percent(95) };
        let first = budget(900_000, DAY, 30 * DAY);
        assert_eq!(forecast(&first, &Window::month(), &slices, 27.0), days(1));
        assert_eq!(forecast(&first, &Window::month(), &slices, 1.01), days(26).min_of_month());
    }

    impl Forecast {
        /// 30 x 0.9 / 1.01 days is within the 29 that are left.
        fn min_of_month(self) -> Self {
            Self::In(Duration::from_secs((30.0 * 86_400.0 * 0.9 / 1.01) as u64))
        }
    }
}
