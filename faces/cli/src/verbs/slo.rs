//! `shipshape slo`: how objectives stand, what they would have done, what they came to. Does not live here: any arithmetic of
//! budgets.

mod told;

use std::time::Duration;

use api::objectives::{AskBacktest, AskReport, Which};
use model::{ObjectiveName, Timestamp};
use runtime::Correct;

use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;

/// How much is left of what may go wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape slo                                      every objective, everywhere
  shipshape slo -e production
  shipshape slo backtest availability --target 99.95% -e production")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Replay what was counted: every alert an objective would have sent, and what would be left of its budget
    #[command(after_help = "Example:
  shipshape slo backtest availability --target 99.95% --days 7 -e production")]
    Backtest {
        /// The objective
        #[arg(value_name = "OBJECTIVE")]
        objective: ObjectiveName,
        /// With this target instead of its own, as 99.95%
        #[arg(long, value_name = "PERCENT")]
        target: Option<String>,
        /// Over the last so many days; all that is known by default
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// What objectives came to in a month, in Markdown; with --output json, as data
    #[command(after_help = "Example:
  shipshape slo report --month 2026-11 > objectives.md")]
    Report {
        /// The month, as 2026-11; the running one by default
        #[arg(long, value_name = "MONTH")]
        month: Option<String>,
    },
    /// Take time out of an objective's counts, as for planned maintenance; it is recorded and stands in every report
    #[command(after_help = "Example:
  shipshape slo exclude availability --from 2026-11-21T02:00:00Z --lasts 30m --reason 'planned move' -e production")]
    Exclude(Correction),
    /// Let time count again that was taken out
    #[command(after_help = "Example:
  shipshape slo restore availability --from 2026-11-21T02:10:00Z --lasts 5m --reason 'it was no maintenance' -e production")]
    Restore(Correction),
}

#[derive(Debug, clap::Args)]
struct Correction {
    /// The objective
    #[arg(value_name = "OBJECTIVE")]
    objective: ObjectiveName,
    /// From when, as 2026-11-21T02:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Timestamp,
    /// Until when
    #[arg(long, value_name = "TIME", required_unless_present = "lasts", conflicts_with = "lasts")]
    to: Option<Timestamp>,
    /// For how long, in place of --to
    #[arg(long, value_name = "TIME", value_parser = model::time::parse_duration)]
    lasts: Option<Duration>,
    /// Why; it stands in every report
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    match args.what {
        None => status(context).await,
        Some(What::Backtest { objective, target, days }) => backtest(context, objective, target, days).await,
        Some(What::Report { month }) => report(context, month).await,
        Some(What::Exclude(correction)) => correct(context, correction, false).await,
        Some(What::Restore(correction)) => correct(context, correction, true).await,
    }
}

async fn status(context: &Context<'_>) -> Result<Done, Failure> {
    let all = context.client.objectives(&which(context)).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&all);
        return Ok(Done::Well);
    }
    if all.is_empty() {
        printer.talk("nothing is deployed here, so nothing is promised; `shipshape deploy` starts");
    }
    for line in told::lines(&all) {
        printer.data(&told::painted(printer, &line));
    }
    Ok(Done::Well)
}

async fn backtest(
    context: &Context<'_>,
    objective: ObjectiveName,
    target: Option<String>,
    days: Option<u32>,
) -> Result<Done, Failure> {
    let place = context.place()?;
    let ask = AskBacktest {
        service: place.service.clone(),
        environment: place.environment.clone(),
        objective,
        target,
        days,
    };
    let backtest = context.client.backtest(&ask).await?;
    if context.printer.is_json() {
        context.printer.json(&backtest);
        return Ok(Done::Well);
    }
    for line in told::backtest(&ask, &backtest) {
        context.printer.data(&told::painted(context.printer, &line));
    }
    Ok(Done::Well)
}

async fn report(context: &Context<'_>, month: Option<String>) -> Result<Done, Failure> {
    let Which { service, environment } = which(context);
    let all = context.client.objectives_report(&AskReport { service, environment, month }).await?;
    if context.printer.is_json() {
        context.printer.json(&all);
    } else {
        context.printer.data(told::markdown(&all).trim_end());
    }
    Ok(Done::Well)
}

async fn correct(context: &Context<'_>, asked: Correction, restore: bool) -> Result<Done, Failure> {
    let Correction { objective, from, to, lasts, reason } = asked;
    let to = to.or_else(|| lasts.map(|lasts| from.after(lasts))).unwrap_or(from);
    let (place, actor) = (context.place()?, context::actor());
    let request = Correct { place, objective, from, to, restore, actor, reason };
    context.client.correct(&request).await?;
    if !context.printer.is_json() {
        let counts = if restore { "counts again" } else { "does not count" };
        context.printer.talk(&format!(
            "{from} to {to} {counts} for {} at {}; `shipshape journal list` has it",
            request.objective, request.place
        ));
    }
    Ok(Done::Well)
}

/// Those of one service where one is named, and of one environment.
fn which(context: &Context<'_>) -> Which {
    Which { service: context.common.service.clone(), environment: context.environment().cloned() }
}
