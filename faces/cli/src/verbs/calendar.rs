//! `shipshape calendar`: when rollouts may begin. Does not live here: what is closed when (control).

use api::objectives::Which;
use views::Calendar;

use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Paint;
use crate::words;

/// When rollouts may begin in the next two weeks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape calendar                      every place
  shipshape calendar -e production --output json

`changes.freeze` in the manifest says when none may begin; `shipshape rollback` is always free.")]
pub(crate) struct Args {}

pub(crate) async fn run(context: &Context<'_>) -> Result<Done, Failure> {
    let which =
        Which { service: context.common.service.clone(), environment: context.environment().cloned() };
    let all = context.client.calendar(&which).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&all);
        return Ok(Done::Well);
    }
    if all.is_empty() {
        printer.talk("nothing is deployed here, so nothing is closed; `shipshape deploy` starts");
    }
    for it in &all {
        let paint = if it.open { Paint::Good } else { Paint::Warning };
        printer.data(&printer.paint(paint, &words::plain(&now(it))));
        let row = |closed: &views::ClosedTime| {
            vec![
                format!("closed {}", closed.local_from),
                format!("to {}", closed.local_to),
                closed.freezes.join("; "),
            ]
        };
        for line in words::table(&it.closed.iter().map(row).collect::<Vec<_>>(), "  ") {
            printer.data(&words::plain(&line));
        }
    }
    Ok(Done::Well)
}

/// How it is now.
fn now(it: &Calendar) -> String {
    let place = &it.place;
    match (it.open, it.closed.first()) {
        (true, None) => format!("{place} is open for two weeks"),
        (true, Some(next)) => format!("{place} is open until {}", next.local_from),
        (false, Some(now)) => format!("{place} is closed until {}", now.local_to),
        (false, None) => format!("{place} is closed"),
    }
}
