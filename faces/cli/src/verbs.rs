//! The verbs, a module each.

pub(crate) mod abort;
pub(crate) mod alerts;
pub(crate) mod api;
pub(crate) mod calendar;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod down;
pub(crate) mod env;
pub(crate) mod errors;
pub(crate) mod hidden;
pub(crate) mod import;
pub(crate) mod journal;
pub(crate) mod lock;
pub(crate) mod logs;
pub(crate) mod pause;
pub(crate) mod probes;
pub(crate) mod promote;
pub(crate) mod query;
pub(crate) mod requests;
pub(crate) mod retry;
pub(crate) mod rollback;
pub(crate) mod schema;
pub(crate) mod silence;
pub(crate) mod slo;
pub(crate) mod status;
pub(crate) mod up;

mod outcome;
pub(crate) mod overview;

use crate::Done;
use crate::args::Verb;
use crate::context::Context;
use crate::failure::Failure;

/// Does what a verb says.
pub(crate) async fn run(verb: Verb, context: &Context<'_>) -> Result<Done, Failure> {
    match verb {
        Verb::Up(args) => up::run(args, context).await,
        Verb::Down(args) => down::run(args, context).await,
        Verb::Check(_) => check::run(context),
        Verb::Env(args) => env::run(args, context),
        Verb::Import(args) => import::run(&args, context),
        Verb::Schema(_) => schema::run(context),
        Verb::Deploy(args) => deploy::run(args, context).await,
        Verb::Promote(args) => promote::run(args, context).await,
        Verb::Pause(args) => pause::run(args, context).await,
        Verb::Abort(args) => abort::run(args, context).await,
        Verb::Rollback(args) => rollback::run(args, context).await,
        Verb::Retry(args) => retry::run(args, context).await,
        Verb::Lock(args) => lock::lock(args, context).await,
        Verb::Unlock(args) => lock::unlock(args, context).await,
        Verb::Requests(args) => requests::requests(args, context).await,
        Verb::Approve(args) => requests::approve(args, context).await,
        Verb::Reject(args) => requests::reject(args, context).await,
        Verb::Review(args) => requests::review(args, context).await,
        Verb::Calendar(_) => calendar::run(context).await,
        Verb::Status(args) => status::run(args, context).await,
        Verb::Probes(args) => probes::run(args, context).await,
        Verb::Logs(args) => logs::run(args, context).await,
        Verb::Errors(args) => errors::run(args, context).await,
        Verb::Query(args) => query::run(args, context).await,
        Verb::Alerts(args) => alerts::run(args, context).await,
        Verb::Silence(args) => silence::run(args, context).await,
        Verb::Slo(args) => slo::run(args, context).await,
        Verb::Journal(args) => journal::run(args, context).await,
        Verb::Completions(args) => Ok(completions::run(&args, context)),
        Verb::Api(_) => Ok(api::run(context)),
        Verb::Demo(_) | Verb::Agent(_) | Verb::Control(_) => {
            Err(Failure::new("this verb is a process of its own"))
        }
    }
}
