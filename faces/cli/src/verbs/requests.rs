//! `shipshape requests`, `approve`, `reject` and `review`: changes that wait for somebody else. Does not live here: who may decide
//! about them (control).

use std::time::{Duration, Instant};

use api::objectives::Which;
use model::Place;
use runtime::{Answer, Ballot, Vote, Words};
use serde_json::json;
use views::ChangeStatus;

use super::outcome::{self, Wish};
use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::printer::Paint;
use crate::words;

/// How often it is looked whether somebody has decided.
const LOOKS: Duration = Duration::from_secs(1);

/// Changes that wait for somebody, and the last that did.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape requests                      everywhere, the newest first
  shipshape requests -e production --output json")]
pub(crate) struct Args {
    /// Those that have ended as well
    #[arg(long)]
    all: bool,
}

/// Let somebody else's change begin.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape approve 7 --reason 'looked at it together'

It begins by itself once enough have approved. Nobody approves what they asked for themselves.")]
pub(crate) struct Approve {
    /// The request's number
    #[arg(value_name = "NUMBER")]
    number: u64,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Say no to a change, or take your own request back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape reject 7 --reason 'not before the fair is over'")]
pub(crate) struct Reject {
    /// The request's number
    #[arg(value_name = "NUMBER")]
    number: u64,
    /// Why; whoever asked reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Say what you found of an emergency that began without approval.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shipshape review 7 --reason 'was right: the certificate had run out'")]
pub(crate) struct Review {
    /// The request's number
    #[arg(value_name = "NUMBER")]
    number: u64,
    /// What you found
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// What whoever has to approve should know.
#[derive(Debug, clap::Args)]
pub(crate) struct Told {
    /// What will be better, for whoever has to approve; the reason by default
    #[arg(long, value_name = "TEXT")]
    outcome: Option<String>,
    /// What can go wrong, for whoever has to approve
    #[arg(long, value_name = "TEXT")]
    risk: Option<String>,
    /// How it comes back, for whoever has to approve; a rollback by default
    #[arg(long, value_name = "TEXT")]
    plan_back: Option<String>,
    /// Begin without approval; needs --reason, is recorded, and is to be reviewed afterwards
    #[arg(long, requires = "reason")]
    emergency: bool,
}

impl From<Told> for Words {
    fn from(Told { outcome, risk, plan_back, emergency }: Told) -> Self {
        Self { outcome, risk, plan_back, emergency }
    }
}

pub(crate) async fn requests(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let which =
        Which { service: context.common.service.clone(), environment: context.environment().cloned() };
    let mut all = context.client.changes(&which).await?;
    if !args.all {
        all.retain(|it| ["waiting", "approved", "unreviewed"].contains(&it.stand.as_str()));
    }
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&all);
        return Ok(Done::Well);
    }
    if all.is_empty() {
        printer.talk("nothing waits for anybody; `--all` shows what did");
    }
    for it in &all {
        let head = format!(
            "request {} of {}: release {} at {}, {}",
            it.number, it.by, it.release, it.place, it.stand
        );
        printer.data(&printer.paint(Paint::Strong, &words::plain(&head)));
        for line in words::table(&lines(it), "  ") {
            printer.data(&words::plain(&line));
        }
    }
    Ok(Done::Well)
}

fn lines(it: &ChangeStatus) -> Vec<Vec<String>> {
    let row = |name: &str, text: &str| vec![name.to_owned(), text.to_owned()];
    let mut rows = vec![row("outcome", &it.outcome), row("risk", &it.risk), row("plan back", &it.plan_back)];
    if !it.passes.is_empty() {
        rows.push(row("passes", &it.passes.join(", ")));
    }
    for approval in &it.approvals {
        let reason = approval.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        rows.push(row("approved", &format!("by {} at {}{reason}", approval.by, approval.at)));
    }
    match (it.stand.as_str(), &it.detail) {
        ("waiting", _) => rows.push(row(
            "waits",
            &format!(
                "for {} of {}, until {}",
                it.required as usize - it.approvals.len().min(it.required as usize),
                it.required,
                it.until
            ),
        )),
        (stand, Some(detail)) => rows.push(row(stand, detail)),
        (_, None) => {}
    }
    rows
}

pub(crate) async fn approve(args: Approve, context: &Context<'_>) -> Result<Done, Failure> {
    decide(context, Vote::Approve, args.number, args.reason).await
}

pub(crate) async fn reject(args: Reject, context: &Context<'_>) -> Result<Done, Failure> {
    decide(context, Vote::Reject, args.number, Some(args.reason)).await
}

pub(crate) async fn review(args: Review, context: &Context<'_>) -> Result<Done, Failure> {
    decide(context, Vote::Review, args.number, Some(args.reason)).await
}

async fn decide(
    context: &Context<'_>,
    vote: Vote,
    number: u64,
    reason: Option<String>,
) -> Result<Done, Failure> {
    context.client.vote(&vote, &Ballot { number, actor: context::actor(), reason }).await?;
    let Some(now) = find(context, number).await? else { return Ok(Done::Well) };
    if context.printer.is_json() {
        context.printer.json(&now);
        return Ok(Done::Well);
    }
    let place = &now.place;
    let said = match (now.stand.as_str(), now.rollout) {
        ("begun", Some(rollout)) => {
            format!("rollout {rollout} of release {} at {place} has begun", now.release)
        }
        ("waiting", _) => {
            format!("request {number} has {} of {} approvals", now.approvals.len(), now.required)
        }
        ("approved", _) => format!(
            "request {number} is approved, and begins as soon as it may: `shipshape status` says what is in its way"
        ),
        (stand, _) => format!("request {number} is {stand}"),
    };
    context.printer.data(&context.printer.paint(Paint::Good, &words::plain(&said)));
    Ok(Done::Well)
}

async fn find(context: &Context<'_>, number: u64) -> Result<Option<ChangeStatus>, Failure> {
    let all = context.client.changes(&Which::default()).await?;
    Ok(all.into_iter().find(|it| it.number == number))
}

/// Waits until somebody has decided about a request, and follows what it becomes.
pub(super) async fn wait(
    context: &Context<'_>,
    answer: &Answer,
    number: u64,
    since: Instant,
    detach: bool,
) -> Result<Done, Failure> {
    let Place { environment, .. } = &answer.place;
    let asks = format!(
        "release {} at {} waits for somebody else's approval, as request {number}: `shipshape approve {number}`",
        answer.release, answer.place
    );
    if context.printer.is_json() {
        context.printer.json(&json!({
            "outcome": "requested", "place": answer.place, "release": answer.release, "request": number,
        }));
    } else {
        context.printer.talk(&asks);
    }
    if detach {
        return Ok(Done::Well);
    }
    loop {
        let Some(now) = find(context, number).await? else {
            return Err(Failure::new(format!("request {number} is not known any more"))
                .instead(format!("`shipshape journal list -e {environment}` tells what became of it")));
        };
        match now.rollout {
            Some(rollout) => {
                let begun = Answer { rollout: Some(rollout), request: None, ..answer.clone() };
                return Box::pin(outcome::see(context, &begun, Wish::Forward, since, false)).await;
            }
            None if now.stand == "waiting" || now.stand == "approved" => tokio::time::sleep(LOOKS).await,
            None => {
                let why = now.detail.map_or_else(String::new, |why| format!(": {}", words::plain(&why)));
                return Err(Failure::new(format!("request {number} was {}{why}", now.stand))
                    .instead("nothing was changed; deploying again asks again"));
            }
        }
    }
}
