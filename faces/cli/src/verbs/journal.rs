//! `shipshape journal`: what happened, read from the journal's file, with control running or not; with `--api`, from a
//! control elsewhere. Does not live here: the file's form (`sqlite`), and the events' (`record`).

mod follow;
mod list;
mod source;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ports::journal::Entry;
use record::{Chain, Record};
use serde_json::json;
use source::Source;

use crate::Done;
use crate::args;
use crate::context::Context;
use crate::failure::Failure;
use crate::home;
use crate::words;

/// What happened.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// The journal's file, as when it is a copy; the home's by default
    #[arg(long, global = true, value_name = "PATH")]
    journal: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List events, oldest first; the last ones by default, without measurements
    #[command(after_help = "Examples:
  shipshape journal list --limit 20
  shipshape journal list --kind rollout.shifted --kind release
  shipshape journal list --all --after 0 --limit 1000 --output json")]
    List(list::Args),
    /// Show one event whole
    #[command(after_help = "Example:
  shipshape journal show 12")]
    Show {
        /// The event's number
        #[arg(value_name = "NUMBER")]
        seq: u64,
    },
    /// Check that nothing was lost or changed since it was written
    #[command(after_help = "Example:
  shipshape journal verify --journal backup/journal.db")]
    Verify,
    /// Print events as they happen, until Ctrl-C
    #[command(after_help = "Examples:
  shipshape journal follow
  shipshape journal follow --after 0 --output json")]
    Follow {
        /// Begin after the event with this number; with what happens from now on by default
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
    },
    /// Print all events as they are stored, one JSON object on each line
    #[command(after_help = "Example:
  shipshape journal export > journal.ndjson")]
    Export,
}

pub(crate) async fn run(arguments: Args, context: &Context<'_>) -> Result<Done, Failure> {
    let follows = matches!(arguments.what, What::Follow { .. });
    if follows && arguments.journal.is_some() {
        return Err(Failure::new("only a control that runs can be followed, not a journal's file")
            .instead("`shipshape journal list --journal PATH` reads the file"));
    }
    // A file that is named is read here, wherever --api points.
    let path = match &arguments.journal {
        Some(path) => Some(args::absolute(path)?),
        None if !context.is_here() => None,
        None => Some(home::journal(&context.home)),
    };
    match (arguments.what, &path) {
        (What::Follow { after }, _) => follow::follow(context, after).await,
        (What::Verify, Some(path)) => tell(sqlite::verify(path), context),
        (What::Verify, None) => verify_there(&source(None, context)?, context).await,
        (What::List(list), path) => list::list(&list, &source(path.as_deref(), context)?, context).await,
        (What::Show { seq }, path) => show(&source(path.as_deref(), context)?, context, seq).await,
        (What::Export, path) => export(&source(path.as_deref(), context)?, context).await,
    }
}

fn source<'a>(path: Option<&Path>, context: &'a Context<'_>) -> Result<Source<'a>, Failure> {
    path.map_or_else(|| Ok(Source::Control(&context.client)), Source::file)
}

fn row(entry: &Entry) -> Vec<String> {
    match Record::from_bytes(&entry.bytes) {
        Ok(record) => vec![
            record.seq.to_string(),
            record.at.to_string(),
            words::plain(&record.actor),
            words::plain(&record.kind),
            record.subject.as_deref().map(words::plain).unwrap_or_default(),
            record.reason.as_deref().map(words::plain).unwrap_or_default(),
        ],
        Err(error) => vec![entry.seq.to_string(), words::plain(&error.to_string())],
    }
}

async fn show(source: &Source<'_>, context: &Context<'_>, seq: u64) -> Result<Done, Failure> {
    let mut found = None;
    if let Some(before) = seq.checked_sub(1) {
        let taken = source.each(before, |entry| {
            found = Some(entry);
            ControlFlow::Break(())
        });
        taken.await?;
    }
    let Some(entry) = found.filter(|entry| entry.seq == seq) else {
        let last = source.last_seq().await?;
        return Err(Failure::new(format!("there is no event {seq}"))
            .instead(format!("the journal holds 1 to {last}: `shipshape journal list`")));
    };
    let checked = Record::from_bytes(&entry.bytes);
    match serde_json::from_slice::<serde_json::Value>(&entry.bytes) {
        Ok(value) => context.printer.json_pretty(&value),
        Err(_) => context.printer.bytes(&line(&entry)),
    }
    match checked {
        Ok(_) => Ok(Done::Well),
        Err(error) => Err(Failure::new(error.to_string())
            .instead("`shipshape journal verify` says how far the journal is whole")),
    }
}

fn tell(report: sqlite::Report, context: &Context<'_>) -> Result<Done, Failure> {
    let printer = context.printer;
    let done = if report.problem.is_none() { Done::Well } else { Done::Badly };
    if printer.is_json() {
        let problem = report.problem.as_ref();
        printer.json(&json!({
            "whole": problem.is_none(),
            "events": report.events,
            "hasHead": report.has_head,
            "problem": problem.map(|problem| json!({
                "event": problem.seq, "error": problem.what, "instead": problem.next,
            })),
        }));
        return Ok(done);
    }
    let events = words::count(report.events, "event");
    match report.problem {
        None => {
            printer.data(&format!("the journal is whole: {events}, each as it was written, none missing"))
        }
        Some(problem) => {
            let failure = Failure::new(problem.what).instead(problem.next);
            printer.talk(&format!("{events} from the first on are as they were written"));
            return Err(failure);
        }
    }
    if !report.has_head {
        printer.warning(
            "there is no head beside the journal to compare with: a loss at its very end would not show",
        );
    }
    Ok(done)
}

/// What control elsewhere gives away, link by link. Its head, which notices a loss at the very end, is at its place alone.
async fn verify_there(source: &Source<'_>, context: &Context<'_>) -> Result<Done, Failure> {
    let (mut chain, mut broken) = (Chain::new(), None);
    let read = source.each(0, |entry| match chain.read(&entry.bytes) {
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => {
            broken = Some(error);
            ControlFlow::Break(())
        }
    });
    read.await?;
    let problem = broken.map(|broken| sqlite::Problem {
        seq: Some(broken.seq),
        what: broken.to_string(),
        next: "`shipshape journal verify` on control's own machine says what to do".to_owned(),
    });
    tell(sqlite::Report { events: chain.last_seq, has_head: false, problem }, context)
}

async fn export(source: &Source<'_>, context: &Context<'_>) -> Result<Done, Failure> {
    let read = source.each(0, |entry| {
        context.printer.bytes(&line(&entry));
        if context.printer.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    read.await?;
    Ok(Done::Well)
}

fn line(entry: &Entry) -> Vec<u8> {
    let mut line = entry.bytes.clone();
    line.push(b'\n');
    line
}
