//! What an objective would have done: every alert it would have sent over minutes that are known, how soon after the burning
//! began, and what would be left of the budget. The same rules as live, minute by minute.

use std::collections::BTreeMap;

use model::Timestamp;
use model::objective::{Objective, Ratio, Severity, Window};
use serde::{Deserialize, Serialize};

use crate::alert::{Memory, Patience, Phase, Seen, To};
use crate::budget::{Budget, Terms};
use crate::burn::{Cause, Rule, Rules, Verdict};
use crate::history::History;
use crate::level::{Level, level};
use crate::minutes::{Counts, Range, SECONDS, Sums, begin_of};
use crate::window;

/// The most alerts and changes of level that are told one by one; more are counted.
const MOST: usize = 10_000;

/// An alert that would have been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Which rule.
    pub rule: Rule,
    /// How urgent.
    pub severity: Severity,
    /// The end of the minute that it fired at.
    pub at: Timestamp,
    /// The end of the minute that it was resolved at; `None`: it fires at the end.
    pub resolved: Option<Timestamp>,
    /// Why.
    pub cause: Cause,
    /// When the burning began that it tells of.
    pub began: Timestamp,
    /// Bad events, or seconds, from then until it fired.
    pub burned: u64,
}

/// What an objective would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backtest {
    /// The alerts in the order of their firing, at most 10,000.
    pub alerts: Vec<Told>,
    /// How many more there were.
    pub more: u64,
    /// What the budget allowed, from when on, in order.
    pub levels: Vec<(Timestamp, Level)>,
    /// The budget at the end.
    pub budget: Budget,
    /// What was left of the budget when least was, in parts of a million.
    pub lowest: i64,
    /// Bad events, or seconds, while no alert fired.
    pub untold: u64,
}

/// An alert on its way.
struct Open {
    phase: Phase,
    since: Timestamp,
    /// Its index among the alerts, when it was told.
    told: Option<usize>,
}

/// Replays minutes against an objective. The method that the history is counted by has to be the objective's.
pub fn backtest(objective: &Objective, history: &History) -> Backtest {
    let (rules, range) = (Rules::of(objective), history.range());
    let mut run =
        Run { objective, history, open: BTreeMap::new(), memory: Memory::default(), alerts: vec![], more: 0 };
    let mut levels = vec![];
    let (mut now, mut lowest, mut untold) = (Level::Unknown, i64::MAX, 0);
    let mut whole = window::whole(&objective.window, begin_of(range.from));
    for minute in range.from..range.to {
        let at = end_of(minute);
        // A rolling window moves with every minute, one of the calendar when its period is over.
        whole = match &objective.window {
            Window::Rolling(length) => Range::last(length.as_secs() / SECONDS, minute + 1),
            Window::Calendar { .. } if whole.holds(minute) => whole,
            Window::Calendar { .. } => window::whole(&objective.window, at),
        };
        run.minute(&rules, minute, at);
        let budget = Budget::over(Terms::of(objective), whole, history, at);
        lowest = lowest.min(budget.remaining);
        let next = level(&objective.policy, &budget, objective.alerting.minimum_events, now);
        if next != now && levels.len() < MOST {
            levels.push((at, next));
        }
        now = next;
        if !run.open.values().any(|open| open.phase == Phase::Firing) {
            untold += history.sums(Range::last(1, minute + 1)).bad();
        }
    }
    let end = end_of(range.to.saturating_sub(1).max(range.from));
    let budget = Budget::at(Terms::of(objective), history, end);
    let lowest = lowest.min(budget.remaining);
    Backtest { alerts: run.alerts, more: run.more, levels, budget, lowest, untold }
}

/// The last microsecond of a minute.
fn end_of(minute: u64) -> Timestamp {
    begin_of(minute + 1).moved(-1)
}

struct Run<'a> {
    objective: &'a Objective,
    history: &'a History,
    open: BTreeMap<Rule, Open>,
    memory: Memory,
    alerts: Vec<Told>,
    more: u64,
}

impl Run<'_> {
    fn minute(&mut self, rules: &Rules, minute: u64, at: Timestamp) {
        let patience = Patience::from(&self.objective.alerting);
        for finding in rules.look(self.history, minute, true) {
            let rule = finding.rule;
            let alert = self.open.get(&rule).map(|open| (open.phase, open.since));
            let to = self.memory.next(&finding.rule, alert, Seen::from(&finding.verdict), patience, at);
            match (to, finding.verdict) {
                (None, _) => {}
                (Some(To::Pending), _) => {
                    self.open.insert(rule, Open { phase: Phase::Pending, since: at, told: None });
                }
                (Some(To::Firing), Verdict::Holds(cause)) => {
                    let told = self.tell(rule, finding.severity, cause, minute, at);
                    self.open.insert(rule, Open { phase: Phase::Firing, since: at, told });
                }
                // Nothing fires but a rule that holds.
                (Some(To::Firing), Verdict::Clear | Verdict::Unknown) => {}
                (Some(To::Resolved), _) => {
                    let told = self.open.remove(&rule).and_then(|open| open.told);
                    if let Some(told) = told.and_then(|index| self.alerts.get_mut(index)) {
                        told.resolved = Some(at);
                    }
                }
            }
        }
    }

    /// The index of the alert, when it is told by itself.
    fn tell(
        &mut self,
        rule: Rule,
        severity: Severity,
        cause: Cause,
        minute: u64,
        at: Timestamp,
    ) -> Option<usize> {
        if self.alerts.len() >= MOST {
            self.more += 1;
            return None;
        }
        let seen = Range::last(cause.long.as_secs() / SECONDS, minute + 1);
        let from = if rule == Rule::NoData { seen.from } else { self.began(seen) };
        let burned = self.history.sums(Range { from, to: minute + 1 }).bad();
        let (resolved, began) = (None, begin_of(from));
        self.alerts.push(Told { rule, severity, at, resolved, cause, began, burned });
        Some(self.alerts.len() - 1)
    }

    /// The minute since which most was burned beyond what the target allows: the change point that a cumulative sum finds
    /// (Page, 1954).
    fn began(&self, seen: Range) -> u64 {
        let budget = i128::from(self.objective.target.budget().parts());
        let beyond =
            |sums: Sums| i128::from(sums.bad()) * i128::from(Ratio::ONE) - i128::from(sums.total) * budget;
        let from = |minute: &u64| beyond(self.history.sums(Range { from: *minute, to: seen.to }));
        let last_of_most = (seen.from..seen.to).max_by_key(from);
        last_of_most.unwrap_or(seen.from)
    }
}
