//! Objectives as faces show them. Does not live here: what a budget is, and when somebody is told (`watch`).

use model::objective::{Indicator, Method, Part, Requests, Severity};
use model::{Objective, ObjectiveName, Place, RolloutNumber, Timestamp};
use serde::{Deserialize, Serialize};
pub use watch::Level;
pub use watch::alert::Phase;
use watch::backtest::{Backtest, Told};
use watch::budget::Terms;
use watch::burn::Cause;
use watch::forecast::Forecast;
use watch::minutes::begin_of;
use watch::{Budget, Counts, Range, Reading, Report, State};

/// Parts of a million in a percent.
const PERCENT: f64 = 10_000.0;

/// One objective at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveStatus {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Its name.
    pub objective: ObjectiveName,
    /// What it means to users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is counted, in words.
    pub indicator: String,
    /// Whether the team declared it; otherwise it is the product's own.
    pub declared: bool,
    /// What is promised.
    pub promise: Promise,
    /// What customers were promised, and what is left of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla: Option<Promise>,
    /// How many times as fast as allowed the budget burned in the last hour; nothing where nothing was counted.
    pub burn: Option<f64>,
    /// When the budget is gone if it goes on like this; nothing while nothing can be read.
    pub forecast: Option<ForecastStatus>,
    /// What the budget allows to be deployed.
    pub level: Level,
    /// Since when.
    pub level_since: Option<Timestamp>,
    /// The alerts that are pending or firing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertStatus>,
    /// Rules that cannot be told, because nothing is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// What the last rollouts burned, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<ChargeStatus>,
    /// Whether a whole window went by with hardly anything of the budget spent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hardly_used: bool,
    /// What its page says of the release that came last: whether it is to blame, and whether it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<String>,
    /// Why it is not counted or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A target over a window, and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promise {
    /// How much has to be good, in percent.
    pub target_percent: f64,
    /// Over how long.
    pub window: String,
    /// `events` or `seconds`: what the numbers of the budget count.
    pub unit: String,
    /// How it stands; nothing while nothing can be read.
    pub budget: Option<BudgetStatus>,
}

/// An error budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetStatus {
    /// What was counted, in the promise's unit.
    pub total: u64,
    /// What of it was bad.
    pub bad: u64,
    /// What may be bad.
    pub allowed: u64,
    /// What is left of what may be bad, in percent; below zero when more was bad.
    pub remaining_percent: f64,
    /// How much was good, in percent; nothing where nothing was counted.
    pub attained_percent: Option<f64>,
    /// How much of the time was measured, in percent.
    pub coverage_percent: f64,
    /// Minutes of the window that were taken out by corrections.
    pub excluded_minutes: u64,
}

/// An alert of an objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// Which rule.
    pub rule: String,
    /// `pending` or `firing`.
    pub phase: Phase,
    /// How urgent.
    pub severity: Severity,
    /// Since when.
    pub since: Timestamp,
    /// What was seen when it came to stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseStatus>,
}

/// When a budget is gone if it burns on as it does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForecastStatus {
    /// Whether it lasts, runs out before its window ends, or is gone.
    pub outlook: Outlook,
    /// In so many seconds it is gone, when it runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_seconds: Option<f64>,
}

/// What becomes of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outlook {
    /// It lasts.
    Lasts,
    /// It will be gone.
    RunsOut,
    /// It is gone.
    Spent,
}

/// Why a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CauseStatus {
    /// The window that it was seen over, in seconds.
    pub long_seconds: u64,
    /// The window that says that it goes on, in seconds.
    pub short_seconds: u64,
    /// How many times as fast as the target allows it burned over the long window; nothing for rules that do not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn: Option<f64>,
    /// Bad ones in the long window.
    pub bad: u64,
    /// All of them.
    pub total: u64,
}

/// What an objective would have done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BacktestReport {
    /// The alerts that it would have sent, in order.
    pub alerts: Vec<Sent>,
    /// How many more there were.
    pub more: u64,
    /// What the budget would have allowed, from when on.
    pub levels: Vec<LevelChange>,
    /// The budget at the end.
    pub budget: BudgetStatus,
    /// What was left of the budget when least was, in percent.
    pub lowest_percent: f64,
    /// Bad ones while no alert fired.
    pub untold: u64,
}

/// An alert that would have been sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// Which rule.
    pub rule: String,
    /// How urgent.
    pub severity: Severity,
    /// When it would have fired.
    pub at: Timestamp,
    /// When it would have been over; nothing when it fires at the end.
    pub resolved_at: Option<Timestamp>,
    /// When the burning began that it tells of.
    pub began_at: Timestamp,
    /// Bad ones from then until it fired.
    pub burned: u64,
    /// Why.
    pub cause: CauseStatus,
}

/// What a budget would have allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelChange {
    /// From when on.
    pub at: Timestamp,
    /// What.
    pub level: Level,
}

impl From<Forecast> for ForecastStatus {
    fn from(forecast: Forecast) -> Self {
        match forecast {
            Forecast::Lasts => Self { outlook: Outlook::Lasts, in_seconds: None },
            Forecast::In(time) => Self { outlook: Outlook::RunsOut, in_seconds: Some(time.as_secs_f64()) },
            Forecast::Spent => Self { outlook: Outlook::Spent, in_seconds: None },
        }
    }
}

impl From<Cause> for CauseStatus {
    fn from(cause: Cause) -> Self {
        Self {
            long_seconds: cause.long.as_secs(),
            short_seconds: cause.short.as_secs(),
            burn: (cause.burn > 0).then_some(cause.burn as f64 / 1_000.0),
            bad: cause.bad,
            total: cause.total,
        }
    }
}

impl From<Backtest> for BacktestReport {
    fn from(found: Backtest) -> Self {
        let sent = |told: Told| Sent {
            rule: told.rule.name().to_owned(),
            severity: told.severity,
            at: told.at,
            resolved_at: told.resolved,
            began_at: told.began,
            burned: told.burned,
            cause: told.cause.into(),
        };
        Self {
            alerts: found.alerts.into_iter().map(sent).collect(),
            more: found.more,
            levels: found.levels.into_iter().map(|(at, level)| LevelChange { at, level }).collect(),
            budget: budget_status(&found.budget),
            lowest_percent: found.lowest as f64 / PERCENT,
            untold: found.untold,
        }
    }
}

/// What a rollout burned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeStatus {
    /// Which.
    pub rollout: RolloutNumber,
    /// Bad ones of its release.
    pub bad: u64,
    /// All of its release.
    pub total: u64,
    /// Bad ones beyond what the other releases' share makes expect.
    pub excess: u64,
    /// The excess in percent of the whole budget.
    pub budget_percent: f64,
}

/// An objective as faces show it.
pub fn objective(
    place: &Place,
    objective: &Objective,
    state: &State,
    reading: Option<&Reading>,
    report: &Report,
    trouble: Option<String>,
) -> ObjectiveStatus {
    let promise = |target: model::objective::Target,
                   window: &model::objective::Window,
                   budget: Option<&Budget>| Promise {
        target_percent: f64::from(target.ratio().parts()) / PERCENT,
        window: window.to_string(),
        unit: unit(objective).to_owned(),
        budget: budget.map(budget_status),
    };
    let of_reading = |reading: &Reading| (reading.burn, reading.forecast, reading.budget.is_hardly_used());
    let (burn, forecast, hardly_used) = match reading.map(of_reading) {
        Some((burn, forecast, hardly_used)) => (burn, Some(forecast.into()), hardly_used),
        None => (None, None, false),
    };
    let alert = |(rule, alert): (&watch::burn::Rule, &watch::alert::Alert)| AlertStatus {
        rule: rule.name().to_owned(),
        phase: alert.phase,
        severity: alert.severity,
        since: alert.since,
        cause: alert.cause.map(Into::into),
    };
    let charge = |(rollout, charge): (&RolloutNumber, &watch::charge::Charge)| ChargeStatus {
        rollout: *rollout,
        bad: charge.bad,
        total: charge.total,
        excess: charge.excess,
        budget_percent: charge.share as f64 / PERCENT,
    };
    let of_sla = |sla: &model::objective::Sla| {
        promise(sla.target, &sla.window, reading.and_then(|reading| reading.sla.as_ref()))
    };
    ObjectiveStatus {
        place: place.clone(),
        objective: objective.name.clone(),
        description: objective.description.clone(),
        indicator: in_words(&objective.indicator),
        declared: objective.declared,
        promise: promise(objective.target, &objective.window, reading.map(|reading| &reading.budget)),
        sla: objective.sla.as_ref().map(of_sla),
        burn,
        forecast,
        level: state.level,
        level_since: state.since,
        alerts: state.alerts.iter().map(alert).collect(),
        unknown: report.unknown.iter().map(|rule| rule.name().to_owned()).collect(),
        charges: state.charges.iter().rev().map(charge).collect(),
        hardly_used,
        blame: None,
        trouble,
    }
}

/// What the numbers of a budget count.
fn unit(objective: &Objective) -> &'static str {
    match objective.method {
        Method::Occurrences => "events",
        Method::Timeslices { .. } => "seconds",
    }
}

/// What is counted.
fn in_words(indicator: &Indicator) -> String {
    let which = |Requests { routes, methods }: &Requests| {
        let of = |what: &str, list: &[String]| match list {
            [] => String::new(),
            some => format!(" {what} {}", some.join(", ")),
        };
        format!("requests{}{}", of("with", methods), of("to", routes))
    };
    match indicator {
        Indicator::Availability(requests) => {
            format!("{} answered without a fault of the service", which(requests))
        }
        Indicator::Latency { within, requests } => {
            format!("{} answered within {}", which(requests), model::time::format_duration(*within))
        }
        Indicator::Ratio { part: Part::Good(good), total } => format!("{} of {}", good.text(), total.text()),
        Indicator::Ratio { part: Part::Bad(bad), total } => {
            format!("all but {} of {}", bad.text(), total.text())
        }
        Indicator::Probe { name } => format!("attempts of the probe {name} that succeed"),
    }
}

fn budget_status(budget: &Budget) -> BudgetStatus {
    BudgetStatus {
        total: budget.sums.total,
        bad: budget.sums.bad(),
        allowed: budget.allowed,
        remaining_percent: budget.remaining as f64 / PERCENT,
        attained_percent: budget.attained.map(|ratio| f64::from(ratio.parts()) / PERCENT),
        coverage_percent: f64::from(budget.coverage.parts()) / PERCENT,
        excluded_minutes: budget.sums.excluded,
    }
}

/// What an objective came to in a month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonthReport {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Its name.
    pub objective: ObjectiveName,
    /// What is counted, in words.
    pub indicator: String,
    /// Which month, as `2026-11`.
    pub month: String,
    /// Whether the month is over.
    pub complete: bool,
    /// The team's own target, over this month.
    pub promise: Promise,
    /// What customers were promised, over this month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla: Option<Promise>,
    /// What was taken out of the counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Excluded>,
}

/// Time that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// What an objective came to in a month that begins and ends with these minutes, read at `at`, in that month or after it.
pub fn month(
    place: &Place,
    objective: &Objective,
    state: &State,
    (name, range): (&str, Range),
    counts: &impl Counts,
    at: Timestamp,
) -> MonthReport {
    let complete = begin_of(range.to) <= at;
    // The month's own last moment: then its budget is that of all of it.
    let at = if complete { begin_of(range.to).moved(-1) } else { at };
    let budget = |terms: Terms<'_>| Budget::over(terms, range, counts, at);
    let promise = |terms: Terms<'_>| Promise {
        target_percent: f64::from(terms.target.ratio().parts()) / PERCENT,
        window: name.to_owned(),
        unit: unit(objective).to_owned(),
        budget: Some(budget_status(&budget(terms))),
    };
    let cut = state.exclusions.ranges().iter().map(|excluded| excluded.both(range));
    let excluded = cut.filter(|cut| !cut.is_empty());
    MonthReport {
        place: place.clone(),
        objective: objective.name.clone(),
        indicator: in_words(&objective.indicator),
        month: name.to_owned(),
        complete,
        promise: promise(Terms::of(objective)),
        sla: objective.sla.as_ref().map(|sla| promise(Terms::of_sla(sla, objective))),
        excluded: excluded.map(|it| Excluded { from: begin_of(it.from), to: begin_of(it.to) }).collect(),
    }
}
