//! Burn rates by the published numbers, alerts by given, when, then, and backtests of known days.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod support;

use std::time::Duration;

use model::objective::{Alerting, Pair, Severity, Window};
use model::{RolloutNumber, Timestamp};
use support::{DAY, FIRST, HOUR, end_of, good, history, objective, over};
use watch::alert::To;
use watch::backtest::backtest;
use watch::budget::WHOLE;
use watch::burn::{Rule, Rules, burn, exceeds, pairs};
use watch::charge::Charge;
use watch::{
    Command, Event, Level, Memory, Minute, Range, Reading, State, Sums, decide, next_deadline, plan, retire,
};

fn table(pairs: &[Pair]) -> Vec<(u64, u64, u32)> {
    pairs.iter().map(|pair| (pair.long.as_secs() / 60, pair.short.as_secs() / 60, pair.factor)).collect()
}

#[test]
fn the_pairs_are_those_of_the_field() {
    let of = |days| table(&pairs(&over("99.9%", days)));
    assert_eq!(of(30), [(60, 5, 14_400), (360, 30, 6_000), (1_440, 120, 3_000), (4_320, 360, 1_000)]);
    assert_eq!(of(28), [(60, 5, 13_440), (360, 30, 5_600), (1_440, 120, 2_800), (4_320, 360, 933)]);
    assert_eq!(of(7), [(14, 1, 14_400), (84, 7, 6_000), (336, 28, 3_000), (1_008, 84, 1_000)]);
    assert_eq!(of(90)[0], (60, 5, 43_200));
    let month = model::Objective { window: Window::month(), ..objective("99.9%") };
    assert_eq!(table(&pairs(&month)), of(30));
    // 90 %: the highest burn is 10, and 14.4 would never be reached.
    assert_eq!(table(&pairs(&over("90%", 30)))[0], (60, 5, 9_000));
}

#[test]
fn a_pair_uses_up_the_share_of_the_budget_that_it_says() {
    // 2 % of the budget of 30 days in an hour, 5 % in six, 10 % in a day and in three.
    for days in [1u64, 7, 28, 30, 90] {
        let shares = [0.02, 0.05, 0.1, 0.1];
        for (pair, share) in pairs(&over("99.99%", days)).iter().zip(shares) {
            let used = f64::from(pair.factor) / 1_000.0 * pair.long.as_secs_f64() / (days as f64 * 86_400.0);
            assert!((used - share).abs() < share / 20.0, "{days} {pair:?}: {used}");
        }
    }
}

#[test]
fn burn_is_the_error_rate_over_the_budget() {
    let target = "99.9%".parse().unwrap();
    let sums = Sums::events(98_560, 100_000);
    assert!((burn(sums, target).unwrap() - 14.4).abs() < 1e-9);
    assert!(!exceeds(sums, target, 14_400) && exceeds(sums, target, 14_399));
    assert!(exceeds(Sums::events(98_559, 100_000), target, 14_400));
    assert_eq!((burn(Sums::default(), target), exceeds(Sums::default(), target, 0)), (None, false));
}

/// A watched objective that is looked at by the minute.
struct Life {
    objective: model::Objective,
    state: State,
    memory: Memory,
    minutes: Vec<Minute>,
    told: Vec<(usize, Rule, To)>,
}

impl Life {
    fn new(objective: model::Objective, quiet: usize) -> Self {
        let minutes = good(100, quiet);
        Self { objective, state: State::default(), memory: Memory::default(), minutes, told: vec![] }
    }

    fn minute(&mut self, minute: Minute) {
        self.minutes.push(minute);
        let at = end_of(self.minutes.len() - 1);
        let rules = Rules::of(&self.objective);
        let history = history(&self.objective, self.minutes.clone());
        let reading = Reading::take(&self.objective, &rules, &history, at, true);
        let (commands, _) = plan(&self.state, &mut self.memory, &self.objective, &reading, at);
        for command in commands {
            for event in decide(&self.state, command, at).unwrap() {
                self.state.apply(&event, at).unwrap();
                if let Event::AlertChanged { rule, to, .. } = event {
                    self.told.push((self.minutes.len(), rule, to));
                }
            }
        }
    }
}

const PAGE: Rule = Rule::Burn(Severity::P1);

#[test]
fn an_alert_waits_fires_is_kept_and_ends() {
    let alerting = Alerting { hold: Duration::from_secs(120), ..Alerting::default() };
    let mut life = Life::new(model::Objective { alerting, ..objective("99.9%") }, 120);
    (0..10).for_each(|_| life.minute(Minute::new(50, 100, 60)));
    (0..30).for_each(|_| life.minute(Minute::new(100, 100, 60)));
    let page: Vec<_> = life.told.iter().filter(|(_, rule, _)| *rule == PAGE).copied().collect();
    // Bad from the 121st to the 130th minute: 50 of 6,000 are no 1.44 %, 100 are. The pair of 30 minutes holds on.
    assert_eq!(page[0], (122, PAGE, To::Pending));
    assert_eq!(page[1], (124, PAGE, To::Firing));
    assert_eq!(page.len(), 2);
    (0..30).for_each(|_| life.minute(Minute::new(100, 100, 60)));
    let end = life.told.iter().find(|(_, rule, to)| (*rule, *to) == (PAGE, To::Resolved)).unwrap();
    // The last bad minute leaves the 30 after the 159th; five minutes on, it is over.
    assert_eq!(end.0, 164);
}

#[test]
fn a_pending_alert_that_comes_to_nothing_tells_nobody() {
    let alerting = Alerting { hold: Duration::from_secs(36_000), ..Alerting::default() };
    let mut life = Life::new(model::Objective { alerting, ..objective("99.9%") }, 120);
    life.minute(Minute::new(50, 100, 60));
    let due = next_deadline(&life.state, &life.memory, &life.objective).unwrap();
    assert_eq!(due.0, end_of(120).after(Duration::from_secs(36_000)));
    (0..400).for_each(|_| life.minute(Minute::new(100, 100, 60)));
    assert!(life.told.iter().all(|(_, _, to)| *to != To::Firing), "{:?}", life.told);
    assert!(
        life.state.alerts.is_empty() && next_deadline(&life.state, &life.memory, &life.objective).is_none()
    );
}

#[test]
fn a_lost_memory_only_makes_an_alert_last() {
    let mut life = Life::new(objective("99.9%"), 120);
    (0..3).for_each(|_| life.minute(Minute::new(0, 100, 60)));
    assert!(life.state.alerts.contains_key(&PAGE));
    life.memory = Memory::default();
    let json = serde_json::to_string(&life.state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&json).unwrap(), life.state);
    life.minute(Minute::new(100, 100, 60));
    assert!(life.state.alerts.contains_key(&PAGE));
}

#[test]
fn an_objective_that_is_gone_leaves_no_alert_behind() {
    let mut life = Life::new(objective("99.9%"), 120);
    (0..3).for_each(|_| life.minute(Minute::new(0, 100, 60)));
    let at = end_of(200);
    for command in retire(&life.state) {
        for event in decide(&life.state.clone(), command, at).unwrap() {
            life.state.apply(&event, at).unwrap();
        }
    }
    assert!(life.state.alerts.is_empty());
}

#[test]
fn a_spent_budget_freezes_and_a_correction_is_audited() {
    let mut life = Life::new(objective("99.9%"), 120);
    life.minute(Minute::new(99, 100, 60));
    assert_eq!(life.state.level, Level::Fine);
    (0..2).for_each(|_| life.minute(Minute::new(0, 100, 60)));
    assert_eq!(life.state.level, Level::Freeze);
    let at = end_of(130);
    let range = Range { from: FIRST + 120, to: FIRST + 123 };
    let correct = |range, reason: &str| Command::Correct { range, by: "ada".into(), reason: reason.into() };
    let events = decide(&life.state, correct(range, "drill of the database"), at).unwrap();
    life.state.apply(&events[0], at).unwrap();
    assert_eq!(life.state.exclusions.ranges(), [range]);
    // The same again changes nothing; nonsense is refused with a way out.
    assert_eq!(decide(&life.state, correct(range, "again"), at), Ok(vec![]));
    let future = Range { from: FIRST, to: FIRST + 500 };
    for (range, reason) in
        [(range, " "), (Range { from: 9, to: 9 }, "x"), (Range { from: 0, to: 20_000 }, "x"), (future, "x")]
    {
        let refused = decide(&life.state, correct(range, reason), at).unwrap_err();
        assert!(!refused.way_out.is_empty(), "{refused}");
    }
    let restore = Command::Restore { range, by: "ada".into(), reason: "it was no drill".into() };
    life.state.apply(&decide(&life.state, restore, at).unwrap()[0], at).unwrap();
    assert!(life.state.exclusions.ranges().is_empty());
}

#[test]
fn a_rollout_is_charged_once() {
    let mut state = State::default();
    let charge = Charge { bad: 5, total: 10, excess: 4, share: 100 };
    let command = || Command::Charge { rollout: RolloutNumber(3), release: model::ReleaseNumber(2), charge };
    let events = decide(&state, command(), Timestamp::default()).unwrap();
    state.apply(&events[0], Timestamp::default()).unwrap();
    assert_eq!(decide(&state, command(), Timestamp::default()), Ok(vec![]));
}

#[test]
fn a_backtest_tells_what_would_have_been_told() {
    // 30 days of 1,000 requests a minute; on the tenth day at noon 2 % fail for 40 minutes: a burn of 20.
    let begin = 9 * DAY + 12 * HOUR;
    let mut minutes = good(1_000, 30 * DAY);
    minutes.iter_mut().skip(begin).take(40).for_each(|minute| minute.good = 980);
    let objective = objective("99.9%");
    let found = backtest(&objective, &history(&objective, minutes));
    // An hour burns at 14.4 after 14.4 / 20 x 60 = 43.2 minutes, which do not come; six hours
    // at 6 would take 108. 800 errors of 43.2 million are a fiftieth of the budget: nobody is told.
    assert_eq!((found.budget.sums.bad(), found.budget.allowed), (800, 43_200));
    assert_eq!(found.budget.remaining, WHOLE - 18_519);
    assert_eq!((found.alerts.len(), found.untold), (0, 800));
    // With a tenth failing it pages: after 14.4 / 100 x 60 = 8.64, and as 900 of 60,000
    // could be chance (a probability of 11 %), a minute later than in the ninth.
    let mut minutes = good(1_000, 30 * DAY);
    minutes.iter_mut().skip(begin).take(40).for_each(|minute| minute.good = 900);
    let found = backtest(&objective, &history(&objective, minutes));
    let page = found.alerts.iter().find(|told| told.rule == PAGE).unwrap();
    assert_eq!(page.at, end_of(begin + 9));
    assert_eq!((page.began, page.burned), (watch::minutes::begin_of(FIRST + begin as u64), 1_000));
    assert!(page.resolved.unwrap() > page.at);
    assert_eq!(found.untold, 900);
}

#[test]
fn a_stricter_target_tells_more_and_a_looser_one_less() {
    let mut minutes = good(1_000, 10 * DAY);
    minutes.iter_mut().skip(DAY).step_by(97).for_each(|minute| minute.good = 850);
    let count = |target: &str| {
        let objective = objective(target);
        let found = backtest(&objective, &history(&objective, minutes.clone()));
        (found.alerts.len(), found.budget.remaining)
    };
    let (loose, strict) = (count("99%"), count("99.95%"));
    assert!(loose.0 == 0 && strict.0 > 0, "{loose:?} {strict:?}");
    assert!(loose.1 > strict.1);
}

#[test]
fn a_month_starts_with_a_whole_budget() {
    let mut minutes = good(100, 40 * DAY);
    minutes.iter_mut().take(DAY).for_each(|minute| minute.good = 0);
    let objective = model::Objective { window: Window::month(), ..objective("99%") };
    let found = backtest(&objective, &history(&objective, minutes));
    let levels: Vec<Level> = found.levels.iter().map(|(_, level)| *level).collect();
    assert_eq!(levels, [Level::Freeze, Level::Fine]);
    assert_eq!(found.levels[1].0.to_string(), "2026-04-01T00:00:59.999999Z");
}

/// Nobody has measured anything yet.
struct Unmeasured;

impl watch::Counts for Unmeasured {
    fn sums(&self, _range: Range) -> Sums {
        Sums::default()
    }

    fn since(&self) -> u64 {
        u64::MAX
    }
}

#[test]
fn a_service_that_was_never_measured_has_all_its_budget_and_no_past_to_miss() {
    let objective = objective("99.9%");
    let reading = Reading::take(&objective, &Rules::of(&objective), &Unmeasured, end_of(0), true);
    assert_eq!((reading.budget.remaining, reading.budget.elapsed), (WHOLE, 0));
    let asked = plan(&State::default(), &mut Memory::default(), &objective, &reading, end_of(0)).0;
    let told = |command: &Command| matches!(command, Command::ChangeAlert { .. });
    assert!(!asked.iter().any(told), "{asked:?}");
}
