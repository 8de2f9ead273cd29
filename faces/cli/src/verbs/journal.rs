//! `shipshape journal`: what happened, read from the journal's file, with control running or not. Does not live here:
//! the file's form (`sqlite`), and the events' (`record`).

mod follow;

use std::path::PathBuf;

use ports::journal::Entry;
use record::Record;
use serde_json::json;
use sqlite::Reader;

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
    /// List events, oldest first; the last ones by default
    #[command(after_help = "Examples:
  shipshape journal list --limit 20
  shipshape journal list --after 0 --limit 1000 --output json")]
    List {
        /// Only events with a number above this
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// So many at most
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: usize,
    },
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
    if !follows && context.common.api.is_some() && arguments.journal.is_none() {
        return Err(Failure::new(
            "this reads a journal's file on this machine, and --api is about a control elsewhere",
        )
        .instead("`shipshape journal follow --after 0` reads it there; without --api, this home's is read"));
    }
    let path = match &arguments.journal {
        Some(path) => args::absolute(path)?,
        None => home::journal(&context.home),
    };
    match arguments.what {
        What::List { after, limit } => list(&open(&path)?, context, after, limit),
        What::Show { seq } => show(&open(&path)?, context, seq),
        What::Verify => verify(&path, context),
        What::Follow { after } => follow::follow(context, after).await,
        What::Export => export(&open(&path)?, context),
    }
}

fn open(path: &std::path::Path) -> Result<Reader, Failure> {
    Reader::open(path).map_err(|error| {
        let instead = match path.exists() {
            true => "`shipshape journal verify` says more",
            false => "`shipshape up` starts one; --home or --journal name another",
        };
        Failure::new(error.to_string()).instead(instead)
    })
}

fn damaged(error: &ports::journal::Error) -> Failure {
    Failure::new(error.to_string()).instead("`shipshape journal verify` says what is whole and what is not")
}

/// Everything readable before damage is shown, then the damage is told.
fn list(reader: &Reader, context: &Context<'_>, after: Option<u64>, limit: usize) -> Result<Done, Failure> {
    let last = reader.last_seq().map_err(|error| damaged(&error))?;
    let after = after.unwrap_or_else(|| last.saturating_sub(limit as u64));
    let mut rows = Vec::new();
    let mut trouble = None;
    for entry in reader.entries(after).take(limit) {
        match entry {
            Ok(entry) if context.printer.is_json() => context.printer.bytes(&line(&entry)),
            Ok(entry) => rows.push(row(&entry)),
            Err(error) => trouble = Some(damaged(&error)),
        }
    }
    if !rows.is_empty() {
        let shown = rows.len();
        rows.insert(0, ["EVENT", "AT", "WHO", "WHAT", "ABOUT", "WHY"].map(str::to_owned).to_vec());
        for line in words::table(&rows, "") {
            context.printer.data(&line);
        }
        if after > 0 || after + (shown as u64) < last {
            context.printer.talk(&format!("{shown} of {last} events; --after and --limit show others"));
        }
    } else if trouble.is_none() && !context.printer.is_json() {
        context.printer.talk(&format!("no event has a number above {after}; the last one has {last}"));
    }
    trouble.map_or(Ok(Done::Well), Err)
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

fn show(reader: &Reader, context: &Context<'_>, seq: u64) -> Result<Done, Failure> {
    let found = match seq.checked_sub(1) {
        Some(before) => reader.read(before, 1).map_err(|error| damaged(&error))?,
        None => vec![],
    };
    let Some(entry) = found.first() else {
        let last = reader.last_seq().map_err(|error| damaged(&error))?;
        return Err(Failure::new(format!("there is no event {seq}"))
            .instead(format!("the journal holds 1 to {last}: `shipshape journal list`")));
    };
    let checked = Record::from_bytes(&entry.bytes);
    match serde_json::from_slice::<serde_json::Value>(&entry.bytes) {
        Ok(value) => context.printer.json_pretty(&value),
        Err(_) => context.printer.bytes(&line(entry)),
    }
    match checked {
        Ok(_) => Ok(Done::Well),
        Err(error) => Err(Failure::new(error.to_string())
            .instead("`shipshape journal verify` says how far the journal is whole")),
    }
}

fn verify(path: &std::path::Path, context: &Context<'_>) -> Result<Done, Failure> {
    let report = sqlite::verify(path);
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

fn export(reader: &Reader, context: &Context<'_>) -> Result<Done, Failure> {
    for entry in reader.entries(0) {
        context.printer.bytes(&line(&entry.map_err(|error| damaged(&error))?));
        if context.printer.is_closed() {
            break;
        }
    }
    Ok(Done::Well)
}

fn line(entry: &Entry) -> Vec<u8> {
    let mut line = entry.bytes.clone();
    line.push(b'\n');
    line
}
