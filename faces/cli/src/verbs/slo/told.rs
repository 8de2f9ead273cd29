//! Objectives in words. Pure, but for the paint.

use std::time::Duration;

use api::objectives::{AskBacktest, BacktestReport, MonthReport, ObjectiveStatus};
use views::objective::{
    AlertStatus, BudgetStatus, CauseStatus, ChargeStatus, ForecastStatus, Level, Outlook, Phase, Promise,
    Sent,
};

use crate::printer::{Paint, Printer};
use crate::words;

/// Charges that are shown.
const CHARGES: usize = 3;

/// A line, and how much it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line(String, Option<Paint>);

fn plain(text: impl AsRef<str>) -> Line {
    Line(words::plain(text.as_ref()), None)
}

fn coloured(paint: Paint, text: impl AsRef<str>) -> Line {
    Line(words::plain(text.as_ref()), Some(paint))
}

/// The line as stdout takes it.
pub(super) fn painted(printer: &Printer, Line(text, paint): &Line) -> String {
    paint.map_or_else(|| text.clone(), |paint| printer.paint(paint, text))
}

/// How all stand, place by place.
pub(super) fn lines(all: &[ObjectiveStatus]) -> Vec<Line> {
    let name = all.iter().map(|it| it.objective.as_str().len()).max().unwrap_or_default();
    let mut lines = Vec::new();
    let mut place = None;
    for it in all {
        if place != Some(&it.place) {
            if place.is_some() {
                lines.push(plain(""));
            }
            lines.push(coloured(Paint::Strong, it.place.to_string()));
            place = Some(&it.place);
        }
        lines.extend(one(it, name));
    }
    lines
}

fn one(it: &ObjectiveStatus, width: usize) -> Vec<Line> {
    let paint = match it.level {
        Level::Freeze | Level::CanaryOnly => Some(Paint::Bad),
        Level::Warn => Some(Paint::Warning),
        Level::Fine => Some(Paint::Good),
        Level::Unknown => None,
    };
    let name = it.objective.as_str();
    let head = format!("  {name:width$}  {}", standing(&it.promise, it.burn, it.forecast));
    let mut lines = vec![Line(words::plain(&head), paint)];
    let pad = " ".repeat(width + 4);
    let more = |text: String| plain(format!("{pad}{text}"));
    let default = if it.declared { "" } else { " (by default)" };
    let what = it.description.as_ref().unwrap_or(&it.indicator);
    lines.push(coloured(Paint::Faint, format!("{pad}{what}{default}")));
    lines.extend(
        it.promise
            .budget
            .as_ref()
            .map(|budget| coloured(Paint::Faint, format!("{pad}{}", counted(budget, &it.promise.unit)))),
    );
    lines.extend(it.trouble.as_ref().map(|why| coloured(Paint::Bad, format!("{pad}not counted: {why}"))));
    if let Some(level) = level(it) {
        lines.push(coloured(Paint::Bad, format!("{pad}{level}")));
    }
    lines.extend(it.alerts.iter().map(|alert| coloured(Paint::Bad, format!("{pad}{}", self::alert(alert)))));
    lines.extend(it.blame.iter().map(|blame| more(blame.clone())));
    if it.unknown.iter().any(|rule| rule != "no-data") && it.trouble.is_none() {
        lines.push(more("nothing was measured lately: no alert can fire or end".to_owned()));
    }
    lines.extend(it.charges.iter().take(CHARGES).map(|charge| more(self::charge(charge, &it.promise.unit))));
    if let Some(sla) = &it.sla {
        lines.push(more(format!("customers were promised {}", standing(sla, None, None))));
    }
    if it.hardly_used {
        lines.push(more(
            "hardly used: there is room for speed, for game days, or for a target that says what users get"
                .to_owned(),
        ));
    }
    lines
}

fn standing(promise: &Promise, burn: Option<f64>, forecast: Option<ForecastStatus>) -> String {
    let target = format!("{} over {}", percent(promise.target_percent), promise.window);
    let Some(budget) = &promise.budget else { return format!("{target:<16}  unknown") };
    let good = budget
        .attained_percent
        .map_or_else(|| "nothing counted yet".to_owned(), |attained| format!("good {}", percent(attained)));
    let left = if budget.remaining_percent < 0.0 {
        format!("overspent by {:.1}%", -budget.remaining_percent)
    } else {
        format!("budget {:.1}% left", budget.remaining_percent)
    };
    let mut parts = vec![format!("{target:<16}"), format!("{good:<13}"), format!("{left:<18}")];
    parts.extend(burn.map(|burn| {
        let then = match forecast.map(|forecast| (forecast.outlook, forecast.in_seconds)) {
            Some((Outlook::Lasts, _)) => ", lasts".to_owned(),
            Some((Outlook::RunsOut, Some(seconds))) => {
                format!(", gone in {}", words::duration(Duration::from_secs_f64(seconds.max(0.0))))
            }
            Some((Outlook::Spent | Outlook::RunsOut, _)) | None => String::new(),
        };
        format!("burns {}x{then}", words::number(burn))
    }));
    parts.join("  ").trim_end().to_owned()
}

fn counted(budget: &BudgetStatus, unit: &str) -> String {
    let count = |number: u64| match unit {
        "seconds" => words::duration(Duration::from_secs(number)),
        _ => number.to_string(),
    };
    let mut text = format!("{} of {} bad", count(budget.bad), count(budget.total));
    if budget.coverage_percent < 95.0 {
        text.push_str(&format!("; {:.0}% of the time measured", budget.coverage_percent));
    }
    if budget.excluded_minutes > 0 {
        text.push_str(&format!("; {} taken out", words::count(budget.excluded_minutes, "minute")));
    }
    text
}

fn level(it: &ObjectiveStatus) -> Option<String> {
    let since = it.level_since.map_or_else(String::new, |since| format!(" since {since}"));
    match it.level {
        Level::Freeze => Some(format!("frozen{since}: only what goes back may be deployed")),
        Level::CanaryOnly => Some(format!("only canaries may be deployed{since}")),
        Level::Warn => Some(format!("running out{since}")),
        Level::Fine | Level::Unknown => None,
    }
}

fn alert(alert: &AlertStatus) -> String {
    let phase = match alert.phase {
        Phase::Pending => "pending",
        Phase::Firing => "firing",
    };
    let why = alert.cause.as_ref().map_or_else(String::new, |cause| format!(": {}", self::cause(cause)));
    format!("{} {phase} since {} ({}){why}", alert.rule, alert.since, alert.severity.name())
}

fn cause(cause: &CauseStatus) -> String {
    let long = model::time::format_duration(Duration::from_secs(cause.long_seconds));
    let counted = format!("{} of {} bad in {long}", cause.bad, cause.total);
    match cause.burn {
        None => counted,
        Some(burn) => format!("{counted}, {} times what the target allows", words::number(burn)),
    }
}

fn charge(charge: &ChargeStatus, unit: &str) -> String {
    let ChargeStatus { rollout, bad, total, excess, budget_percent } = charge;
    if *excess == 0 {
        return format!("rollout {rollout} burned nothing of it ({bad} of {total} {unit} bad)");
    }
    format!(
        "rollout {rollout} burned {budget_percent:.1}% of it: {excess} of its {total} {unit} bad beyond the others"
    )
}

/// What an objective would have done.
pub(super) fn backtest(ask: &AskBacktest, found: &BacktestReport) -> Vec<Line> {
    let mut lines = Vec::new();
    let target = ask.target.as_ref().map_or_else(String::new, |target| format!(" with a target of {target}"));
    let count = words::count(found.alerts.len() as u64 + found.more, "alert");
    lines.push(coloured(Paint::Strong, format!("{} at {}{target}: {count}", ask.objective, ask.place())));
    for Sent { rule, severity, at, resolved_at, began_at, burned, cause } in &found.alerts {
        let lasted = resolved_at.map_or_else(
            || "and still fires".to_owned(),
            |resolved| format!("for {}", words::duration(resolved.since(*at))),
        );
        let delay = words::duration(at.since(*began_at));
        let text = format!(
            "  {at}  {} {rule} {lasted}, {delay} after it began ({burned} bad until then): {}",
            severity.name(),
            self::cause(cause)
        );
        lines.push(if severity.pages() { coloured(Paint::Bad, text) } else { plain(text) });
    }
    if found.more > 0 {
        lines.push(plain(format!("  and {} more", found.more)));
    }
    for change in found.levels.iter().filter(|change| change.level >= Level::Warn) {
        lines.push(plain(format!("  {}  the budget would allow: {}", change.at, change.level.name())));
    }
    let budget = &found.budget;
    lines.push(plain(format!(
        "  budget at the end: {:.1}% left ({} of {} bad), {:.1}% when least was; {} bad while nothing fired",
        budget.remaining_percent, budget.bad, budget.total, found.lowest_percent, found.untold
    )));
    lines
}

/// What objectives came to in a month, for people and their tools.
pub(super) fn markdown(all: &[MonthReport]) -> String {
    let month = all.first().map_or("this month", |first| first.month.as_str());
    let running = if all.iter().any(|it| !it.complete) { " (so far)" } else { "" };
    let mut text = format!(
        "# Objectives in {month}{running}\n\n\
         | where | objective | target | good | met | budget left | bad of all | measured |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for it in all {
        text.push_str(&row(it, it.objective.as_str(), &it.promise));
        if let Some(sla) = &it.sla {
            text.push_str(&row(it, &format!("{} (promised to customers)", it.objective), sla));
        }
    }
    let excluded: Vec<String> = all
        .iter()
        .flat_map(|it| {
            it.excluded
                .iter()
                .map(move |time| format!("- {} {}: {} to {}\n", it.place, it.objective, time.from, time.to))
        })
        .collect();
    if !excluded.is_empty() {
        text.push_str("\nTaken out of the counts (the journal says by whom and why):\n\n");
        text.extend(excluded);
    }
    text
}

fn row(it: &MonthReport, name: &str, promise: &Promise) -> String {
    let target = percent(promise.target_percent);
    let Some(budget) = &promise.budget else { return String::new() };
    let good = budget.attained_percent.map_or_else(|| "-".to_owned(), percent);
    let met = match budget.attained_percent {
        None => "no data",
        Some(_) if budget.remaining_percent >= 0.0 => "yes",
        Some(_) => "**no**",
    };
    format!(
        "| {} | {name} | {target} | {good} | {met} | {:.1}% | {} of {} {} | {:.1}% |\n",
        it.place, budget.remaining_percent, budget.bad, budget.total, promise.unit, budget.coverage_percent
    )
}

/// `99.9%`, with as many decimal places as say something.
fn percent(percent: f64) -> String {
    let text = format!("{percent:.4}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}
