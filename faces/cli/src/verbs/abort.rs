//! `shipshape abort`: the rollout ends where it began. Does not live here: the way back (control).

use std::time::Instant;

use runtime::{Operate, Operation};

use super::outcome::{self, Wish};
use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;

/// End the rollout and go back to the release before.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape abort -e production --reason 'wrong build'")]
pub(crate) struct Args {
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Return when the order is given
    #[arg(long)]
    detach: bool,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let since = Instant::now();
    let place = context.place()?;
    let request =
        Operate { place, operation: Operation::Abort, actor: context::actor(), reason: args.reason };
    let answer = context.client.operate(&request).await?;
    outcome::see(context, &answer, Wish::Back, since, args.detach).await
}
