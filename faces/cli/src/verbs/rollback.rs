//! `shipshape rollback`: an earlier release serves again. Does not live here: how (control).

use std::time::Instant;

use model::ReleaseNumber;
use runtime::Rollback;

use super::lock::PassLock;
use super::outcome::{self, Wish};
use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;

/// Go back to an earlier release, its configuration included.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape rollback -e production            to the release before; in a rollout, the same as abort
  shipshape rollback -e production --to 3     to release 3")]
pub(crate) struct Args {
    /// The release; the one before by default
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Return when the order is given
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    lock: PassLock,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let since = Instant::now();
    let place = context.place()?;
    let to = args.to.map(ReleaseNumber);
    let (actor, reason, override_lock) = (context::actor(), args.reason, args.lock.override_lock);
    let request = Rollback { place, to, actor, reason, override_lock };
    let answer = context.client.rollback(&request).await?;
    outcome::see(context, &answer, Wish::Back, since, args.detach).await
}
