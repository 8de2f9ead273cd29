//! `shipshape alerts`: what is pending and firing, how the rules stand, and who is told. Does not live here: when an alert begins and ends.

mod receivers;

use api::alerts::{AlertStatus, RuleHealth, RuleState, RuleStatus};
use api::objectives::Which;
use model::Timestamp;
use views::alert::Phase;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;
use crate::words;

/// How long a line gets of what others wrote.
const WIDTH: usize = 100;

/// Show what somebody should know now: alerts that are pending or firing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape alerts                        everything that is pending or firing
  shipshape alerts -e production
  shipshape alerts rules                  every rule: whether it holds, and whether it can be told
  shipshape alerts receivers              who is told, and whether they take it
  shipshape alerts test -e production     whether the way to them works, now")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show every rule: whether it holds, whether that can be told, and when it was looked at
    #[command(after_help = "Example:
  shipshape alerts rules -e production")]
    Rules,
    /// Show who is told: what they took, what waits for them, and when the way to them was proved last
    #[command(after_help = "Example:
  shipshape alerts receivers -e production")]
    Receivers,
    /// Send receivers a test, and wait until they took it
    Test(receivers::Test),
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let which =
        Which { service: context.common.service.clone(), environment: context.environment().cloned() };
    match args.what {
        None => alerts(context, &which).await,
        Some(What::Rules) => rules(context, &which).await,
        Some(What::Receivers) => receivers::list(context, &which).await,
        Some(What::Test(args)) => receivers::test(args, context).await,
    }
}

async fn alerts(context: &Context<'_>, which: &Which) -> Result<Done, Failure> {
    let found = context.client.alerts(which).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(&found);
        return Ok(Done::Well);
    }
    if found.alerts.is_empty() {
        printer.talk("nothing is pending or firing; `shipshape alerts rules` says what is looked at");
    }
    for (line, paint) in lines(&found.alerts, found.at) {
        let line = words::plain(&line);
        printer.data(&paint.map_or_else(|| line.clone(), |paint| printer.paint(paint, &line)));
    }
    Ok(Done::Well)
}

async fn rules(context: &Context<'_>, which: &Which) -> Result<Done, Failure> {
    let found = context.client.alert_rules(which).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(&found);
        return Ok(Done::Well);
    }
    if found.rules.is_empty() {
        printer.talk("no rule holds yet: they are looked at some seconds after something is deployed");
    }
    for (line, paint) in rule_lines(&found.rules, found.at) {
        let line = words::plain(&line);
        printer.data(&paint.map_or_else(|| line.clone(), |paint| printer.paint(paint, &line)));
    }
    Ok(Done::Well)
}

type Line = (String, Option<Paint>);

/// A table, and below it what each alert that fires says.
fn lines(alerts: &[AlertStatus], now: Timestamp) -> Vec<Line> {
    if alerts.is_empty() {
        return vec![];
    }
    let head = ["SEVERITY", "STATE", "FOR", "PLACE", "ALERT", "RUNBOOK", "SUMMARY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(alerts.iter().map(|alert| row(alert, now)));
    let paint = |alert: &AlertStatus| match alert.phase {
        Phase::Firing => Some(Paint::Bad),
        Phase::Pending => Some(Paint::Warning),
    };
    let paints = std::iter::once(Some(Paint::Strong)).chain(alerts.iter().map(paint));
    words::table(&rows, "").into_iter().zip(paints).collect()
}

fn row(alert: &AlertStatus, now: Timestamp) -> Vec<String> {
    let dash = || "-".to_owned();
    let phase = match alert.phase {
        Phase::Firing => "firing",
        Phase::Pending => "pending",
    };
    vec![
        alert.severity.clone().unwrap_or_else(dash),
        phase.to_owned(),
        words::duration(now.since(alert.since)),
        place(alert.service.as_ref().zip(alert.environment.as_ref()), &alert.origin),
        alert.name.clone(),
        alert.runbook.clone().unwrap_or_else(dash),
        words::cut(alert.summary.as_deref().unwrap_or("-"), WIDTH),
    ]
}

/// `shop/production`, or who says so.
fn place(place: Option<(&model::ServiceName, &model::EnvironmentName)>, origin: &str) -> String {
    place.map_or_else(|| format!("({origin})"), |(service, environment)| format!("{service}/{environment}"))
}

/// A table, and below it why some rules cannot be told.
fn rule_lines(rules: &[RuleStatus], now: Timestamp) -> Vec<Line> {
    if rules.is_empty() {
        return vec![];
    }
    let head = ["PLACE", "RULE", "SEVERITY", "STATE", "HEALTH", "FOR", "LOOKED AT", "QUERY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(rules.iter().map(|rule| rule_row(rule, now)));
    let paint = |rule: &RuleStatus| match (rule.health, rule.state) {
        (RuleHealth::Err, _) => Some(Paint::Warning),
        (RuleHealth::Ok, RuleState::Firing) => Some(Paint::Bad),
        (RuleHealth::Ok, RuleState::Pending) => Some(Paint::Warning),
        (RuleHealth::Ok, RuleState::Inactive) => None,
    };
    let paints = std::iter::once(Some(Paint::Strong)).chain(rules.iter().map(paint));
    let mut lines: Vec<Line> = words::table(&rows, "").into_iter().zip(paints).collect();
    for rule in rules {
        let Some(error) = &rule.last_error else { continue };
        let at = place(rule.service.as_ref().zip(rule.environment.as_ref()), "machine");
        let why = format!("{at} {}: {error}", rule.name);
        lines.extend(words::wrapped(&why, WIDTH).into_iter().map(|line| (line, Some(Paint::Warning))));
    }
    lines
}

fn rule_row(rule: &RuleStatus, now: Timestamp) -> Vec<String> {
    let health = match rule.health {
        RuleHealth::Ok => "ok",
        RuleHealth::Err => "unknown",
    };
    vec![
        place(rule.service.as_ref().zip(rule.environment.as_ref()), "machine"),
        rule.name.clone(),
        rule.severity.name().to_owned(),
        rule.state.name().to_owned(),
        health.to_owned(),
        rule.hold.clone(),
        format!("{} ago", words::duration(now.since(rule.last_evaluation))),
        words::cut(&rule.query, WIDTH),
    ]
}
