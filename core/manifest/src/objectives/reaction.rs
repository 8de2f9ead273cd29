//! What follows from a budget that burns: who is told, and what may still be deployed. What the numbers mean for a window is
//! known to `core/watch`; here it is only refused what could never happen.

use std::time::Duration;

use model::objective::{
    Action, Alerting, LowTraffic, NoData, Pair, PolicyStep, Ratio, Severity, Target, Window,
};

use super::minutes;
use crate::analysis::unless_false;
use crate::diagnostic::Problem;
use crate::fields;
use crate::read::Mapping;
use crate::service::mappings;

/// Nothing measured for longer than this is told anyway.
const LONGEST_BLIND: Duration = Duration::from_secs(86_400);

pub(super) fn alerting(objective: &Mapping<'_>, target: Target, window: &Window) -> Alerting {
    let Some(alerts) = unless_false(objective, "alerts", &fields::ALERTS) else { return Alerting::none() };
    let pairs = alerts.list("pairs").map(|items| {
        let items = mappings(&alerts, items);
        let open = |item| Mapping::open(alerts.context, &fields::PAIR, item, &item.span);
        items.into_iter().map(open).filter_map(|section| pair(section, target, window)).collect()
    });
    let low_traffic = unless_false(&alerts, "lowTraffic", &fields::LOW_TRAFFIC).and_then(low_traffic);
    let no_data = unless_false(&alerts, "noData", &fields::NO_DATA).and_then(|section| {
        let (after, severity) = (minutes(&section, "after", Some(LONGEST_BLIND)), severity(&section));
        section.finish();
        Some(NoData { after: after?, severity })
    });
    let read = Alerting {
        pairs,
        minimum_events: alerts.integer("minimumEvents").and_then(|it| u64::try_from(it).ok()).unwrap_or(5),
        low_traffic,
        no_data,
        hold: alerts.duration("for"),
        keep_firing: alerts.duration("keepFiringFor"),
    };
    alerts.finish();
    // Of what nobody is told, nothing else needs to be remembered.
    if read.is_none() { Alerting::none() } else { read }
}

fn severity(section: &Mapping<'_>) -> Severity {
    let word = section.choice("severity", &["page", "ticket", "critical", "warning"]);
    Severity::ALL.into_iter().find(|each| Some(each.name()) == word).unwrap_or(Severity::P1)
}

fn pair(section: Mapping<'_>, target: Target, window: &Window) -> Option<Pair> {
    let long = minutes(&section, "long", Some(window.nominal()));
    let twelfth = long.map(|long| Duration::from_secs((long.as_secs() / 12 / 60).max(1) * 60));
    let short = match section.entry("short") {
        Some(_) => minutes(&section, "short", None),
        None => {
            section.optional_duration("short");
            twelfth
        }
    };
    let factor = section.number("factor").map(|factor| (factor * 1_000.0).round() as u32);
    let severity = severity(&section);
    if let (Some(long), Some(short)) = (long, short)
        && short >= long
        && section.entry("short").is_some()
    {
        let problem =
            Problem::new("the short window says that it goes on, so it is shorter than the long one");
        let help = format!("use {}", model::time::format_duration(twelfth.unwrap_or(long)));
        section.error(&section.place("short"), problem.help(help));
    }
    match factor {
        Some(0) => {
            let problem = Problem::new("this factor is no more than nothing");
            section.error(&section.place("factor"), problem.help("use at least 0.001"));
        }
        Some(factor) if u64::from(factor) * u64::from(target.budget().parts()) >= 1_000_000_000 => {
            section.error(&section.place("factor"), never(factor, target));
        }
        Some(_) | None => {}
    }
    section.finish();
    Some(Pair { long: long?, short: short?, factor: factor?, severity })
}

/// A burn that nothing reaches, and the numbers that something could.
fn never(factor: u32, target: Target) -> Problem {
    let shown = f64::from(factor) / 1_000.0;
    let highest = target.highest_burn() as f64 / 1_000.0;
    let message = format!(
        "at a target of {target}, the budget never burns {shown} times too fast: everything failing is {highest} times"
    );
    // 1 - 1 / factor, rounded up to a millionth.
    let needed = 1_000_000_000u64 / u64::from(factor.max(1));
    let needed = u32::try_from(needed).ok().and_then(Ratio::from_parts).map(Ratio::rest);
    let help = match needed.filter(|needed| *needed > Ratio::NONE) {
        Some(needed) => format!("use a factor below {highest}, or a target above {needed}"),
        None => format!("use a factor below {highest}"),
    };
    Problem::new(message).help(help)
}

fn low_traffic(section: Mapping<'_>) -> Option<LowTraffic> {
    let errors = section.ratio("errors");
    if errors.is_some_and(|errors| errors == Ratio::ALL || errors == Ratio::NONE) {
        let problem = Problem::new("surely more than all, or more than nothing, says nothing");
        section.error(&section.place("errors"), problem.help("as in `errors: 50%`"));
    }
    let (over, severity) = (minutes(&section, "over", None), severity(&section));
    section.finish();
    Some(LowTraffic { errors: errors?, over: over?, severity })
}

/// The steps in descending order of what is left; `None` when nothing is said.
pub(super) fn policy(objective: &Mapping<'_>) -> Option<Vec<PolicyStep>> {
    let mut steps: Vec<(PolicyStep, crate::node::Span)> = Vec::new();
    for item in mappings(objective, objective.list("budget")?) {
        let section = Mapping::open(objective.context, &fields::BUDGET_STEP, item, &item.span);
        let remaining = section.ratio("remaining");
        let word = section.choice("then", &["notify", "block", "review"]);
        section.finish();
        let action = Action::ALL.into_iter().find(|action| Some(action.name()) == word);
        let (Some(remaining), Some(action)) = (remaining, action) else { continue };
        if let Some((_, first)) = steps.iter().find(|(step, _)| step.action == action) {
            let problem = Problem::new(format!("`{}` begins twice", action.name())).help("remove one");
            objective.context.sink.error_with(&item.span, problem, first, "the first one");
            continue;
        }
        steps.push((PolicyStep { remaining, action }, item.span.clone()));
    }
    steps.sort_by_key(|(step, _)| (std::cmp::Reverse(step.remaining), step.action));
    for two in steps.windows(2) {
        let [(before, first), (after, span)] = two else { continue };
        if after.action < before.action || after.remaining == before.remaining {
            let (mild, strict) =
                (before.action.min(after.action).name(), before.action.max(after.action).name());
            let message = format!("`{mild}` never has an effect: `{strict}` begins no later");
            let help = "let the stricter one begin when less is left, or remove the other";
            let sink = objective.context.sink;
            sink.error_with(span, Problem::new(message).help(help), first, "begins here");
        }
    }
    Some(steps.into_iter().map(|(step, _)| step).collect())
}
