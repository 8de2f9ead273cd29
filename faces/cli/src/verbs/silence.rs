//! `shipshape silence`: some alerts are told to nobody for a while. Does not live here: what a silence mutes (control).

use std::time::Duration;

use model::matcher::{Matcher, Op};
use model::notify::{APP, ENVIRONMENT};
use paging::SilenceId;
use runtime::{EndSilence, SetSilence};
use views::paging::SilenceStatus;

use crate::Done;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::printer::Paint;
use crate::words;

/// Tell nobody of some alerts for a while.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape silence add DiskFull --for 2h --reason 'the disk is being replaced'
  shipshape silence list
  shipshape silence expire 3")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Begin one
    Add(Add),
    /// Show those that are not over
    List(List),
    /// End some before their time
    Expire(Expire),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape silence add DiskFull --for 2h --reason 'the disk is being replaced'
  shipshape silence add -e production --for 30m --reason 'planned restart'      all of this service there
  shipshape silence add 'instance=~\"db.*\"' 'severity!=\"P1\"' --for 1d --reason TEXT

An alert is silenced when all matchers hold: NAME=VALUE, !=, =~ or !~ a regular expression that matches all of the value. Who
was told that it fires is told when it ends, silenced or not.")]
struct Add {
    /// Which alerts: an alert's name, or matchers as alertname=~\"Disk.*\"
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// For how long, as in 30m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = model::time::parse_duration)]
    holds_for: Duration,
    /// From when on, as 2026-11-21T22:00:00Z; from now on by default
    #[arg(long, value_name = "TIME")]
    from: Option<model::Timestamp>,
    /// Why; whoever looks for the alert reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape silence list
  shipshape silence list --output json")]
struct List {}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shipshape silence expire 3
  shipshape silence expire 3 4 --reason 'done sooner'")]
struct Expire {
    /// Which, by number
    #[arg(required = true, value_name = "ID")]
    ids: Vec<SilenceId>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Done, Failure> {
    match args.what {
        What::Add(add) => self::add(add, context).await,
        What::List(_) => list(context).await,
        What::Expire(expire) => self::expire(expire, context).await,
    }
}

async fn add(args: Add, context: &Context<'_>) -> Result<Done, Failure> {
    let mut matchers: Vec<String> = args.matchers.iter().map(|text| named(text)).collect();
    let common = &context.common;
    let scope = [(APP, common.service.as_ref().map(ToString::to_string))];
    let environment = [(ENVIRONMENT, common.environment.as_ref().map(ToString::to_string))];
    for (label, value) in scope.into_iter().chain(environment) {
        matchers.extend(value.map(|value| Matcher::new(label, Op::Is, &value).to_string()));
    }
    if args.matchers.is_empty() && common.service.is_none() {
        // What is said of an environment alone means the manifest's service, as everywhere.
        let place = context.place()?;
        matchers.clear();
        matchers.push(Matcher::new(APP, Op::Is, place.service.as_str()).to_string());
        matchers.push(Matcher::new(ENVIRONMENT, Op::Is, place.environment.as_str()).to_string());
    }
    let for_seconds = args.holds_for.as_secs().max(u64::from(!args.holds_for.is_zero()));
    let (actor, reason) = (context::actor(), args.reason);
    let made =
        context.client.silence(&SetSilence { matchers, from: args.from, for_seconds, actor, reason }).await?;
    let all = context.client.silences().await?;
    let made: Vec<SilenceStatus> = all.into_iter().filter(|silence| silence.id == made.id).collect();
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(&made);
        return Ok(Done::Well);
    }
    for silence in &made {
        printer.data(&printer.paint(Paint::Good, &in_words(silence)));
        printer.talk(&format!("`shipshape silence expire {}` ends it before its time", silence.id));
    }
    Ok(Done::Well)
}

/// A word alone is the name of an alert, as with `amtool`.
fn named(text: &str) -> String {
    match text.contains(['=', '!', '~']) {
        true => text.to_owned(),
        false => Matcher::new(model::alert::NAME, Op::Is, text).to_string(),
    }
}

async fn list(context: &Context<'_>) -> Result<Done, Failure> {
    let all = context.client.silences().await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_pretty(&all);
        return Ok(Done::Well);
    }
    if all.is_empty() {
        printer.talk("nothing is silenced");
        return Ok(Done::Well);
    }
    let head = ["ID", "SINCE", "UNTIL", "BY", "MATCHERS", "REASON"].map(str::to_owned).to_vec();
    let row = |silence: &SilenceStatus| {
        let from = if silence.active { silence.from.to_string() } else { format!("from {}", silence.from) };
        let matchers = silence.matchers.join(" ");
        let (until, reason) = (silence.until.to_string(), words::cut(&silence.reason, 60));
        vec![silence.id.to_string(), from, until, silence.by.clone(), matchers, reason]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(all.iter().map(row)).collect();
    for line in words::table(&rows, "") {
        printer.data(&words::plain(&line));
    }
    Ok(Done::Well)
}

async fn expire(args: Expire, context: &Context<'_>) -> Result<Done, Failure> {
    for id in args.ids {
        let (actor, reason) = (context::actor(), args.reason.clone());
        context.client.end_silence(&EndSilence { id, actor, reason }).await?;
        if !context.printer.is_json() {
            context.printer.data(&format!("silence {id} is over"));
        }
    }
    if context.printer.is_json() {
        context.printer.json_pretty(&context.client.silences().await?);
    }
    Ok(Done::Well)
}

/// A silence in one line.
fn in_words(silence: &SilenceStatus) -> String {
    let SilenceStatus { id, matchers, from, until, by, reason, active } = silence;
    let from = if *active { String::new() } else { format!(" from {from}") };
    words::plain(&format!("silence {id} of {}{from} until {until}, by {by}: {reason}", matchers.join(" ")))
}
