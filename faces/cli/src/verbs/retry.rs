//! `shipshape retry`: the rollout that was rolled back last, once more. Does not live here: when that is refused (control).

use std::time::Instant;

use runtime::Retry;

use super::lock::Passing;
use super::outcome::{self, Wish};
use super::requests::Told;
use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;

/// Try the rollout that was rolled back last again: the same release, by its declared strategy.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape retry -e production --reason 'the database is back'")]
pub(crate) struct Args {
    /// Why it shall go better, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Return when the order is given
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    passing: Passing,
    #[command(flatten)]
    told: Told,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let since = Instant::now();
    let place = context.place()?;
    let actor = context::actor();
    let (override_lock, override_budget) = (args.passing.lock.override_lock, args.passing.override_budget);
    let override_freeze = args.passing.override_freeze;
    let change = args.told.into();
    let answer = context
        .client
        .retry(&Retry {
            place,
            actor,
            reason: args.reason,
            override_lock,
            override_budget,
            override_freeze,
            change,
        })
        .await?;
    outcome::see(context, &answer, Wish::Forward, since, args.detach).await
}
