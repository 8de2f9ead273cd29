//! `shipshape journal list`: which events are shown, and how. Measurements are most of a journal and seldom what is
//! looked for, so they are left out unless somebody asks. Does not live here: where the events are.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use ports::journal::Entry;
use record::Record;

use super::source::Source;
use crate::Done;
use crate::context::Context;
use crate::failure::Failure;
use crate::words;

/// What counts grow by, every few seconds of a rollout.
const MEASUREMENTS: [&str; 2] = ["rollout.measured", "rollout.ruleMeasured"];
/// How much further back is looked at each time when too few were found.
const FURTHER: u64 = 4;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only events with a number above this
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// So many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Only events of this kind, as `rollout.shifted`, or `rollout` for all of a rollout's; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Measurements too, which are left out by default
    #[arg(long)]
    all: bool,
}

impl Args {
    fn wants(&self, entry: &Entry) -> bool {
        // What cannot be read is shown: somebody should know.
        let Ok(record) = Record::from_bytes(&entry.bytes) else { return true };
        let kind = record.kind.as_str();
        if self.kind.is_empty() {
            return self.all || !MEASUREMENTS.contains(&kind);
        }
        self.kind.iter().any(|wanted| {
            kind.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// What was found, and how far was looked.
struct Found {
    entries: VecDeque<Entry>,
    /// Of the events between the first and the last that could have been shown, so many were not wanted.
    left_out: u64,
    trouble: Option<Failure>,
}

pub(super) async fn list(args: &Args, source: &Source<'_>, context: &Context<'_>) -> Result<Done, Failure> {
    let last = source.last_seq().await?;
    let found = match args.after {
        Some(after) => first(args, source, after).await,
        None => latest(args, source, last).await,
    };
    let (printer, shown) = (context.printer, found.entries.len());
    if printer.is_json() {
        found.entries.iter().for_each(|entry| printer.bytes(&super::line(entry)));
    } else if shown > 0 {
        let mut rows = vec![["EVENT", "AT", "WHO", "WHAT", "ABOUT", "WHY"].map(str::to_owned).to_vec()];
        rows.extend(found.entries.iter().map(super::row));
        words::table(&rows, "").iter().for_each(|line| printer.data(line));
    }
    if found.trouble.is_none() {
        printer.talk(&told(args, &found, last));
    }
    found.trouble.map_or(Ok(Done::Well), Err)
}

fn told(args: &Args, found: &Found, last: u64) -> String {
    let what = match (args.kind.is_empty(), found.left_out) {
        (_, 0) => String::new(),
        (true, 1) => "; 1 measurement between them is left out, --all shows it".to_owned(),
        (true, many) => format!("; {many} measurements between them are left out, --all shows them"),
        (false, many) => format!("; {many} between them are of another kind"),
    };
    match found.entries.len() {
        0 if args.after.is_some_and(|after| after >= last) => {
            format!("no event has a number above {}; the last one has {last}", args.after.unwrap_or_default())
        }
        0 => format!("no event to show{what}"),
        shown => format!("{shown} of {last} events{what}; --after and --limit show others"),
    }
}

/// The first ones after a number.
async fn first(args: &Args, source: &Source<'_>, after: u64) -> Found {
    let mut found = Found { entries: VecDeque::new(), left_out: 0, trouble: None };
    let read = source.each(after, |entry| {
        if found.entries.len() >= args.limit {
            return ControlFlow::Break(());
        }
        match args.wants(&entry) {
            true => found.entries.push_back(entry),
            false => found.left_out += 1,
        }
        ControlFlow::Continue(())
    });
    let trouble = read.await.err();
    Found { trouble, ..found }
}

/// The latest ones: looks back further and further until there are enough.
async fn latest(args: &Args, source: &Source<'_>, last: u64) -> Found {
    let mut window = args.limit as u64;
    loop {
        let after = last.saturating_sub(window);
        let mut found = Found { entries: VecDeque::new(), left_out: 0, trouble: None };
        let mut end = after;
        let read = source.each(after, |entry| {
            end = entry.seq;
            if args.wants(&entry) {
                found.entries.push_back(entry);
            }
            if found.entries.len() > args.limit {
                found.entries.pop_front();
            }
            ControlFlow::Continue(())
        });
        found.trouble = read.await.err();
        if after == 0 || found.entries.len() >= args.limit || found.trouble.is_some() {
            let begin = match found.entries.front() {
                Some(first) if found.entries.len() >= args.limit => first.seq,
                Some(_) | None => after + 1,
            };
            found.left_out = (end + 1).saturating_sub(begin + found.entries.len() as u64);
            return found;
        }
        window = window.saturating_mul(FURTHER);
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use ports::Journal as _;
    use record::{Chain, Draft};
    use serde_json::json;
    use sqlite::{Config, Store};

    use super::*;

    fn journal(kinds: &[&str]) -> (tempfile::TempDir, Source<'static>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let store = Store::open(&path, Config::default()).unwrap();
        let mut chain = Chain::new();
        let draft = |kind: &str| Draft {
            at: Timestamp::from_micros(1_700_000_000_000_000),
            actor: "ada".to_owned(),
            kind: kind.to_owned(),
            version: 1,
            subject: None,
            reason: None,
            body: json!({}),
        };
        let records: Vec<_> = kinds.iter().map(|kind| chain.next(draft(kind)).unwrap()).collect();
        let entries = records.iter().map(|it| Entry { seq: it.seq, bytes: it.to_bytes() }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.append(entries)).unwrap();
        drop(store);
        (folder, Source::file(&path).unwrap())
    }

    fn args(after: Option<u64>, limit: usize, kind: &[&str], all: bool) -> Args {
        Args { after, limit, kind: kind.iter().map(|it| (*it).to_owned()).collect(), all }
    }

    async fn found(args: &Args, source: &Source<'_>) -> (Vec<u64>, u64) {
        let found = match args.after {
            Some(after) => first(args, source, after).await,
            None => latest(args, source, source.last_seq().await.unwrap_or_default()).await,
        };
        (found.entries.iter().map(|entry| entry.seq).collect(), found.left_out)
    }

    const KINDS: [&str; 8] = [
        "control.started",
        "rollout.started",
        "rollout.measured",
        "rollout.measured",
        "rollout.shifted",
        "rollout.measured",
        "rollout.ruleMeasured",
        "rollout.completed",
    ];

    #[test]
    fn measurements_are_left_out_and_counted() {
        let (_folder, source) = journal(&KINDS);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let list = |after, limit, kind: &[&str], all| {
            runtime.block_on(found(&args(after, limit, kind, all), &source))
        };
        assert_eq!(list(None, 50, &[], false), (vec![1, 2, 5, 8], 4));
        assert_eq!(list(None, 2, &[], false), (vec![5, 8], 2));
        assert_eq!(list(None, 3, &[], true), (vec![6, 7, 8], 0));
        assert_eq!(list(Some(1), 2, &[], false), (vec![2, 5], 2));
        assert_eq!(list(None, 50, &["rollout.measured"], false), (vec![3, 4, 6], 5));
        assert_eq!(list(None, 1, &["control"], false), (vec![1], 7));
        assert_eq!(list(None, 50, &["roll"], false), (vec![], 8));
        assert_eq!(list(Some(8), 50, &[], false), (vec![], 0));
    }
}
