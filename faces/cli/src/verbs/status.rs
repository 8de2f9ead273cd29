//! `shipshape status`: what serves, what moves, and why it does not. Does not live here: the words (`overview`).

use std::time::Duration;

use views::Status;

use super::overview;
use crate::Done;
use crate::context::Context;
use crate::failure::Failure;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_millis(500);

/// Show what serves, what moves, and why it does not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape status                        everything
  shipshape status -e production --watch  one environment, again and again")]
pub(crate) struct Args {
    /// Show it again whenever it changes
    #[arg(short, long)]
    watch: bool,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    if !args.watch {
        show(context, &ask(context).await?);
        return Ok(Done::Well);
    }
    let mut last: Option<Status> = None;
    loop {
        let status = ask(context).await?;
        let news = last.as_ref().is_none_or(|last| differs(last, &status));
        if news || context.printer.is_redrawable() {
            if context.printer.is_redrawable() {
                context.printer.bytes(b"\x1b[H\x1b[2J");
            }
            show(context, &status);
        }
        if context.printer.is_closed() {
            return Ok(Done::Well);
        }
        last = Some(status);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Done::Well),
        }
    }
}

async fn ask(context: &Context<'_>) -> Result<Status, Failure> {
    let service = context.common.service.as_ref();
    Ok(context.client.status(service, context.environment()).await?)
}

fn differs(a: &Status, b: &Status) -> bool {
    let timeless = |status: &Status| Status { at: model::Timestamp::default(), ..status.clone() };
    timeless(a) != timeless(b)
}

fn show(context: &Context<'_>, status: &Status) {
    let printer = context.printer;
    if printer.is_json() {
        printer.json(status);
        return;
    }
    let chosen = context.common.service.is_some() || context.environment().is_some();
    if chosen && status.places.is_empty() {
        printer.data("nothing was ever deployed there; `shipshape status` alone shows everything");
        return;
    }
    for line in overview::lines(status) {
        printer.data(&overview::painted(printer, &line));
    }
}
