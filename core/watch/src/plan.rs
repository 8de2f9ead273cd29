//! The planner: what should happen to an objective after a look at its counts. It decides nothing by itself: every command it
//! gives goes through [`crate::decide()`], as an operator's would.

use model::Timestamp;
use model::objective::{Objective, Sla};

use crate::alert::{Alert, Memory, Patience, Phase, Seen, To};
use crate::budget::{Budget, Terms, WHOLE};
use crate::burn::{self, Finding, Rule, Rules, Verdict};
use crate::decide::Command;
use crate::forecast::{Forecast, forecast};
use crate::level::{Level, level};
use crate::minutes::{Counts, Range, minute_of};
use crate::state::State;

/// The burn that a forecast goes by is that of so many minutes: long enough to be more than noise, short enough to be now.
const RECENT: u64 = 60;

/// What an objective's counts say at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The budget.
    pub budget: Budget,
    /// The same for what customers were promised.
    pub sla: Option<Budget>,
    /// How fast it burned in the last hour; `None` where nothing was counted.
    pub burn: Option<f64>,
    /// When it is gone.
    pub forecast: Forecast,
    /// What each rule says.
    pub findings: Vec<Finding>,
}

impl Reading {
    /// Reads the counts. `wanted` says whether the service should run.
    pub fn take(
        objective: &Objective,
        rules: &Rules,
        counts: &impl Counts,
        at: Timestamp,
        wanted: bool,
    ) -> Self {
        let minute = minute_of(at);
        let budget = Budget::at(Terms::of(objective), counts, at);
        let burn = burn::burn(counts.sums(Range::last(RECENT, minute + 1)), objective.target);
        let of_sla = |sla: &Sla| Budget::at(Terms::of_sla(sla, objective), counts, at);
        Self {
            sla: objective.sla.as_ref().map(of_sla),
            forecast: forecast(&budget, &objective.window, &objective.method, burn.unwrap_or(0.0)),
            findings: rules.look(counts, minute, wanted),
            budget,
            burn,
        }
    }
}

/// Why something stands as it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rules that cannot be told, because nothing is measured.
    pub unknown: Vec<Rule>,
    /// Rules that hold now.
    pub holding: Vec<Rule>,
}

/// Compares an objective's state with what its counts say. The commands are to be carried out in order.
pub fn plan(
    state: &State,
    memory: &mut Memory,
    objective: &Objective,
    reading: &Reading,
    at: Timestamp,
) -> (Vec<Command>, Report) {
    let (mut commands, mut report) = (vec![], Report::default());
    let patience = Patience::from(&objective.alerting);
    for finding in &reading.findings {
        let alert = state.alerts.get(&finding.rule).map(|alert| (alert.phase, alert.since));
        let cause = match finding.verdict {
            Verdict::Holds(cause) => {
                report.holding.push(finding.rule);
                Some(cause)
            }
            Verdict::Unknown => {
                report.unknown.push(finding.rule);
                None
            }
            Verdict::Clear => None,
        };
        let to = memory.next(&finding.rule, alert, Seen::from(&finding.verdict), patience, at);
        let Finding { rule, severity, .. } = *finding;
        commands.extend(to.map(|to| Command::ChangeAlert { rule, to, severity, cause }));
    }
    // Rules that the objective no longer has.
    let is_gone = |rule: &Rule| reading.findings.iter().all(|finding| finding.rule != *rule);
    commands.extend(resolved(state, is_gone));
    let minimum = objective.alerting.minimum_events;
    let now = level(&objective.policy, &reading.budget, minimum, state.level);
    if now != state.level {
        let remaining = reading.budget.remaining;
        commands.push(Command::ChangeLevel {
            level: now,
            remaining,
            why: why(objective, &reading.budget, now),
        });
    }
    (commands, report)
}

/// What becomes of an objective that is declared no longer: its alerts end.
pub fn retire(state: &State) -> Vec<Command> {
    resolved(state, |_| true).collect()
}

fn resolved(state: &State, which: impl Fn(&Rule) -> bool) -> impl Iterator<Item = Command> {
    state.alerts.iter().filter(move |(rule, _)| which(rule)).map(|(rule, alert)| Command::ChangeAlert {
        rule: *rule,
        to: To::Resolved,
        severity: alert.severity,
        cause: None,
    })
}

/// When the next look is due at the latest, and why. Counts change every few seconds anyway.
pub fn next_deadline(
    state: &State,
    memory: &Memory,
    objective: &Objective,
) -> Option<(Timestamp, &'static str)> {
    let alerting = &objective.alerting;
    let of_alert = |(rule, alert): (&Rule, &Alert)| match alert.phase {
        Phase::Pending => {
            Some((alert.since.after(alerting.hold), "a pending alert fires when its rule holds on"))
        }
        Phase::Firing => {
            let held = memory.held(rule)?;
            Some((held.after(alerting.keep_firing), "a firing alert ends when its rule stays clear"))
        }
    };
    state.alerts.iter().filter_map(of_alert).min_by_key(|(at, _)| *at)
}

fn why(objective: &Objective, budget: &Budget, level: Level) -> String {
    let window = &objective.window;
    match level {
        Level::Unknown => format!("nothing was measured over {window}"),
        Level::Fine | Level::Warn | Level::CanaryOnly | Level::Freeze => {
            let percent = budget.remaining as f64 * 100.0 / WHOLE as f64;
            let (bad, total) = (budget.sums.bad(), budget.sums.total);
            let target = objective.target;
            format!(
                "{percent:.1}% of the budget is left: {bad} of {total} were bad over {window}, target {target}"
            )
        }
    }
}
