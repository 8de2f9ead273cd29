//! `shipshape errors`: the inbox of what services print of exceptions, and deciding about them. Does not live here: how it reads
//! (`told`), and what is the same error (the crate `logs`).

mod told;

use api::errors::{Ask, Decide, ErrorGroup, Errors, Stance, Which};
use logs::Keep;
use model::ReleaseNumber;

use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;

/// The errors that services print, gathered: what is new, and what nobody has looked at yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape errors                       what is open, what the newest release brought first
  shipshape errors --state all -e production
  shipshape errors show 3fa1c0de
  shipshape errors ack 3fa1c0de --reason 'the bank is down, they know'")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Those that are open, acknowledged, resolved, or all
    #[arg(long, value_enum, value_name = "STATE", default_value_t = Asked::Open)]
    state: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Asked {
    Open,
    Acknowledged,
    Resolved,
    All,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show one: in which releases, since when, what was decided, and its last record
    #[command(after_help = "Example:
  shipshape errors show 3fa1c0de")]
    Show {
        /// How its identifier begins
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Say that you know of it: it is out of the way until a newer release has it, or it comes more than twice as often
    #[command(after_help = "Example:
  shipshape errors ack 3fa1c0de --reason 'the bank is down, they know'")]
    Ack(Decision),
    /// Say that it is mended: it opens again when it comes again
    #[command(after_help = "Example:
  shipshape errors resolve 3fa1c0de --in-release 13 --reason 'waits for the lock now'")]
    Resolve {
        #[command(flatten)]
        decision: Decision,
        /// Mended from this release on: older ones may still have it
        #[arg(long, value_name = "NUMBER")]
        in_release: Option<u64>,
    },
    /// Take back what was decided
    #[command(after_help = "Example:
  shipshape errors reopen 3fa1c0de --reason 'it was another one'")]
    Reopen(Decision),
}

#[derive(Debug, clap::Args)]
struct Decision {
    /// How its identifier begins
    #[arg(value_name = "ID")]
    id: String,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// In whose name; yours by default
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    match args.what {
        None => list(context, args.state).await,
        Some(What::Show { id }) => show(context, id).await,
        Some(What::Ack(decision)) => decide(context, decision, Stance::Acknowledged).await,
        Some(What::Resolve { decision, in_release }) => {
            decide(context, decision, Stance::Resolved { from: in_release.map(ReleaseNumber) }).await
        }
        Some(What::Reopen(decision)) => decide(context, decision, Stance::Reopened).await,
    }
}

async fn list(context: &Context<'_>, asked: Asked) -> Result<Done, Failure> {
    let state = match asked {
        Asked::Open => Which::Open,
        Asked::Acknowledged => Which::Acknowledged,
        Asked::Resolved => Which::Resolved,
        Asked::All => Which::All,
    };
    let found = ask(context, Ask { state, ..which(context) }).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&found);
        return Ok(Done::Well);
    }
    let Errors { errors, forgotten, left_out } = &found;
    for line in told::list(errors, api::errors::now()) {
        printer.data(&line.painted(printer));
    }
    if errors.is_empty() {
        printer.talk(match asked {
            Asked::Open => "no error is open; `--state all` shows every one",
            Asked::Acknowledged | Asked::Resolved | Asked::All => "there is no such error",
        });
    }
    if *left_out > 0 {
        printer.talk(&format!("{left_out} more are left out: name a service or an environment"));
    }
    if *forgotten > 0 {
        printer.talk(&format!("{forgotten} more made room for these: 500 are kept for each place"));
    }
    Ok(Done::Well)
}

async fn show(context: &Context<'_>, id: String) -> Result<Done, Failure> {
    let error = one(context, id).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&error);
        return Ok(Done::Well);
    }
    for line in told::whole(&error, api::errors::now()) {
        printer.data(&line.painted(printer));
    }
    Ok(Done::Well)
}

async fn decide(context: &Context<'_>, decision: Decision, stance: Stance) -> Result<Done, Failure> {
    let Decision { id, reason, by } = decision;
    let error = one(context, id).await?;
    let actor = by.unwrap_or_else(context::actor);
    let request = Decide { place: error.place, id: error.id, stance, actor, reason };
    context.client.decide_error(&request).await?;
    let decided = one(context, request.id).await?;
    if context.printer.is_json() {
        context.printer.json(&decided);
    } else {
        context.printer.talk(&format!("{}; `shipshape journal list` has it", told::decided(&decided)));
    }
    Ok(Done::Well)
}

async fn one(context: &Context<'_>, id: String) -> Result<ErrorGroup, Failure> {
    let asked = Ask { id: Some(id.clone()), ..which(context) };
    let found = ask(context, asked).await?.errors.into_iter().next();
    found.ok_or_else(|| Failure::new(format!("control said nothing of the error {id}")))
}

/// Asks control, or reads what its stores hold while there is none.
async fn ask(context: &Context<'_>, ask: Ask) -> Result<Errors, Failure> {
    match context.client.errors(&ask).await {
        Err(error) if error.is_absence() && context.is_here() => {
            context.printer.talk("control does not answer: what is new and what was decided is not known");
            let keep = Keep::new(crate::home::records(&context.home));
            keep.look_at_all().map_err(|error| Failure::new(error.to_string()))?;
            let found = api::errors::without_control(&keep, &ask);
            found.map_err(|problem| api::client::Error::Said(problem).into())
        }
        answer => Ok(answer?),
    }
}

/// Those of one service where one is named, and of one environment.
fn which(context: &Context<'_>) -> Ask {
    let (service, environment) = (context.common.service.clone(), context.environment().cloned());
    Ask { service, environment, ..Ask::default() }
}
