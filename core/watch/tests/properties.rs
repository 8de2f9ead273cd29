//! Sums, budgets and alerts against slow and obvious references.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod support;

use model::objective::{Method, Ratio, Severity};
use proptest::prelude::*;
use support::{FIRST, end_of, objective, slices};
use watch::alert::To;
use watch::backtest::backtest;
use watch::budget::{Budget, Terms};
use watch::burn::{Rule, Rules, Verdict, exceeds, pairs};
use watch::{Counts, Exclusions, History, Minute, Range, Sums};

fn minute() -> impl Strategy<Value = Minute> {
    let busy = (0u64..50, 0u64..50).prop_map(|(good, bad)| Minute::new(good, good + bad, 60));
    prop_oneof![3 => busy, 1 => Just(Minute::new(0, 0, 60)), 1 => Just(Minute::default())]
}

fn ranges(most: u64) -> impl Strategy<Value = Vec<Range>> {
    let range = (0..most, 0u64..20)
        .prop_map(|(from, length)| Range { from: FIRST + from, to: FIRST + from + length });
    proptest::collection::vec(range, 0..6)
}

fn excluded(ranges: &[Range]) -> Exclusions {
    let mut exclusions = Exclusions::default();
    ranges.iter().for_each(|range| exclusions.exclude(*range));
    exclusions
}

/// Minute by minute, slice by slice, as one would on paper.
fn by_hand(minutes: &[Minute], method: &Method, exclusions: &[Range], asked: Range) -> Sums {
    let is_out = |minute: u64| exclusions.iter().any(|range| range.holds(minute));
    let of_slice = |minute: u64, length: u64| {
        let first = minute - minute % length;
        let all = (first..first + length).filter(|each| !is_out(*each) && *each >= FIRST);
        all.filter_map(|each| minutes.get((each - FIRST) as usize))
            .fold((0, 0), |sum, it| (sum.0 + it.good, sum.1 + it.total))
    };
    let mut sums = Sums::default();
    for (index, it) in minutes.iter().enumerate() {
        let minute = FIRST + index as u64;
        if !asked.holds(minute) {
            continue;
        }
        if is_out(minute) {
            sums.excluded += 1;
            continue;
        }
        sums.measured += u64::from(it.measured);
        sums.failed += it.total - it.good;
        match method {
            Method::Occurrences => {
                sums.good += it.good;
                sums.total += it.total;
            }
            Method::Timeslices { slice, good } => {
                let (fine, total) = of_slice(minute, slice.as_secs() / 60);
                let is_good = fine * 1_000_000 >= total * u64::from(good.parts());
                sums.total += u64::from(it.measured);
                sums.good += if is_good { u64::from(it.measured) } else { 0 };
            }
        }
    }
    sums
}

proptest! {
    #[test]
    fn sums_over_any_range_are_those_of_counting(
        minutes in proptest::collection::vec(minute(), 1..120),
        out in ranges(120),
        from in 0u64..150,
        length in 0u64..150,
        by_time in any::<bool>(),
        pushed in any::<bool>(),
    ) {
        let method = if by_time { slices("99%", 5, 90).method } else { Method::Occurrences };
        let history = if pushed {
            let mut history = History::new(FIRST, method.clone(), excluded(&out));
            minutes.iter().for_each(|minute| history.push(*minute));
            history
        } else {
            History::of(FIRST, minutes.clone(), method.clone(), excluded(&out))
        };
        let asked = Range { from: FIRST - 10 + from, to: FIRST - 10 + from + length };
        prop_assert_eq!(history.sums(asked), by_hand(&minutes, &method, &out, asked));
    }

    #[test]
    fn a_correction_equals_never_having_counted(
        minutes in proptest::collection::vec(minute(), 1..100), out in ranges(100), by_time in any::<bool>()
    ) {
        let method = if by_time { slices("99%", 5, 90).method } else { Method::Occurrences };
        let mut corrected = History::of(FIRST, minutes.clone(), method.clone(), Exclusions::default());
        corrected.correct(excluded(&out));
        let blank = |(index, minute): (usize, &Minute)| {
            let is_out = out.iter().any(|range| range.holds(FIRST + index as u64));
            if is_out { Minute::default() } else { *minute }
        };
        let never: Vec<Minute> = minutes.iter().enumerate().map(blank).collect();
        let never = History::of(FIRST, never, method, Exclusions::default());
        for to in 0..=minutes.len() as u64 {
            let range = Range { from: FIRST, to: FIRST + to };
            prop_assert_eq!(Sums { excluded: 0, ..corrected.sums(range) }, never.sums(range));
        }
    }

    #[test]
    fn unmeasured_minutes_never_raise_availability(
        minutes in proptest::collection::vec(minute(), 1..100), gaps in 0usize..50, by_time in any::<bool>()
    ) {
        let objective = if by_time { slices("99%", 1, 90) } else { objective("99%") };
        let before = support::history(&objective, minutes.clone());
        let with_gaps: Vec<Minute> =
            std::iter::repeat_n(Minute::default(), gaps).chain(minutes.iter().copied()).collect();
        let after = support::history(&objective, with_gaps);
        let attained = |history: &History, minutes: usize| {
            Budget::at(Terms::of(&objective), history, end_of(minutes - 1)).attained
        };
        prop_assert!(attained(&after, minutes.len() + gaps) <= attained(&before, minutes.len()));
    }

    #[test]
    fn no_alert_without_both_windows_over(minutes in proptest::collection::vec(minute(), 1..300), low in any::<bool>()) {
        let objective = objective(if low { "60%" } else { "99%" });
        let history = support::history(&objective, minutes.clone());
        let rules = Rules::of(&objective);
        for index in 0..minutes.len() as u64 {
            let over = |length: std::time::Duration| history.sums(Range::last(length.as_secs() / 60, FIRST + index + 1));
            for finding in rules.look(&history, FIRST + index, true) {
                if let (Rule::Burn(severity), Verdict::Holds(cause)) = (finding.rule, finding.verdict) {
                    let both = pairs(&objective).into_iter().filter(|pair| pair.severity == severity).any(|pair| {
                        [pair.long, pair.short].iter().all(|length| exceeds(over(*length), objective.target, pair.factor))
                    });
                    let absolute = cause.factor.is_none() && {
                        let six_hours = over(cause.long);
                        severity == Severity::P1 && six_hours.bad() * 2 > six_hours.total
                    };
                    prop_assert!(both || absolute, "{:?} at {}", finding, index);
                }
            }
        }
    }

    #[test]
    fn a_backtest_tells_what_looking_by_the_minute_tells(minutes in proptest::collection::vec(minute(), 1..200)) {
        let objective = objective("98%");
        let history = support::history(&objective, minutes.clone());
        let rules = Rules::of(&objective);
        let (mut state, mut memory) = (watch::State::default(), watch::Memory::default());
        let mut told = vec![];
        for index in 0..minutes.len() {
            let at = end_of(index);
            let reading = watch::Reading::take(&objective, &rules, &history, at, true);
            for command in watch::plan(&state, &mut memory, &objective, &reading, at).0 {
                for event in watch::decide(&state, command, at).unwrap() {
                    state.apply(&event, at).unwrap();
                    if let watch::Event::AlertChanged { rule, to: To::Firing, .. } = event {
                        told.push((rule, at));
                    }
                }
            }
        }
        let found = backtest(&objective, &history);
        prop_assert_eq!(found.alerts.iter().map(|it| (it.rule, it.at)).collect::<Vec<_>>(), told);
    }

    #[test]
    fn a_budget_never_holds_more_than_all_of_it(minutes in proptest::collection::vec(minute(), 1..100)) {
        let objective = objective("99.9%");
        let budget = Budget::at(Terms::of(&objective), &support::history(&objective, minutes.clone()), end_of(minutes.len() - 1));
        prop_assert!(budget.remaining <= watch::budget::WHOLE);
        prop_assert!(budget.attained.unwrap_or(Ratio::ALL) <= Ratio::ALL && budget.coverage <= Ratio::ALL);
    }
}
