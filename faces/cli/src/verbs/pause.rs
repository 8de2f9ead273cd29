//! `shipshape pause`: the rollout stands still. Does not live here: what moves it again (`promote`, `abort`).

use runtime::{Operate, Operation};
use serde_json::json;

use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;

/// Let the rollout stand still.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape pause -e production --reason 'the database is slow'

The judge goes on watching: it can still roll the release back.")]
pub(crate) struct Args {
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let place = context.place()?;
    let request =
        Operate { place, operation: Operation::Pause, actor: context::actor(), reason: args.reason };
    let answer = context.client.operate(&request).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&json!({"outcome": "paused", "place": answer.place, "release": answer.release}));
    } else {
        printer.data(&format!("the rollout of release {} at {} stands still", answer.release, answer.place));
        printer.talk("`shipshape promote` goes on, `shipshape abort` goes back");
    }
    Ok(Done::Well)
}
