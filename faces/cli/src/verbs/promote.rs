//! `shipshape promote`: on from a pause, or on to another environment. Does not live here: when that is refused
//! (control).

use std::time::Instant;

use model::EnvironmentName;
use runtime::{Operate, Operation, Ship};

use super::lock::Passing;
use super::outcome::{self, Wish};
use super::requests::Told;
use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;

/// Go on from a pause, or take a release on to another environment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape promote -e production                     go on from a pause
  shipshape promote -e production --full              past all the steps that are left
  shipshape promote --from staging --to production    roll out what serves in staging, the same release")]
pub(crate) struct Args {
    /// Past all the steps that are left
    #[arg(long, conflicts_with = "from")]
    full: bool,
    /// The environment where the release serves
    #[arg(long, value_name = "NAME", requires = "to")]
    from: Option<EnvironmentName>,
    /// The environment where it shall serve
    #[arg(long, value_name = "NAME", requires = "from")]
    to: Option<EnvironmentName>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
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
    let (actor, reason) = (context::actor(), args.reason);
    let (override_lock, override_budget) = (args.passing.lock.override_lock, args.passing.override_budget);
    let override_freeze = args.passing.override_freeze;
    let change = args.told.into();
    let answer = match (args.from, args.to) {
        (Some(from), Some(to)) => {
            let service = context.service()?;
            context
                .client
                .ship(&Ship {
                    service,
                    from,
                    to,
                    actor,
                    reason,
                    override_lock,
                    override_budget,
                    override_freeze,
                    change,
                })
                .await?
        }
        (None, _) | (_, None) => {
            let operation = if args.full { Operation::PromoteFull } else { Operation::Promote };
            let place = context.place()?;
            context.client.operate(&Operate { place, operation, actor, reason }).await?
        }
    };
    outcome::see(context, &answer, Wish::Forward, since, args.detach).await
}
