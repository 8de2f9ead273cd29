//! Whether a journal is what was written: every link of the chain, SQLite's own structures, and the head.
//!
//! Never repairs and never writes; works beside a live writer.

use std::fmt;
use std::path::Path;

use record::{Chain, What};

use crate::fault::{self, Fault};
use crate::files::{self, Found};
use crate::head::{self, Known};
use crate::reader::Reader;
use crate::schema;

/// Entries checked at once.
const PAGE_ENTRIES: usize = 256;

/// A page ends early when it is this large, in bytes.
const PAGE_BYTES: usize = 8 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many events from the first on are proven to be what was written.
    pub events: u64,
    /// The first problem.
    pub problem: Option<Problem>,
    /// Whether there was a readable head to compare with. Without one, a loss at the end cannot be noticed.
    pub has_head: bool,
}

/// What is wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// At which event, when it is at one.
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What to do next.
    pub next: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.next)
    }
}

impl Problem {
    fn damage(seq: Option<u64>, what: String) -> Self {
        Self { seq, what, next: fault::RESTORE.to_owned() }
    }
}

impl From<Fault> for Problem {
    fn from(Fault { what, next, .. }: Fault) -> Self {
        Self { seq: None, what, next }
    }
}

/// Checks a whole journal. Its writer may be alive; what it appends meanwhile may or may not be counted.
pub fn verify(path: &Path) -> Report {
    let mut report = Report { events: 0, problem: None, has_head: false };
    if let Err(problem) = check(path, &mut report) {
        report.problem = Some(problem);
    }
    report
}

fn check(path: &Path, report: &mut Report) -> Result<(), Problem> {
    let path = files::resolve(path)?;
    // Before the entries: the journal may only have grown since.
    let known = head::read(&path)?;
    report.has_head = known.head().is_some();
    if let (Found::Nothing | Found::Empty, Some(head)) = (files::look(&path)?.0, known.head()) {
        let what = format!("the journal {} is gone or empty, but it had {} events", path.display(), head.seq);
        return Err(Problem { seq: None, what, next: head::next(&path) });
    }
    let reader = Reader::try_open(&path)?;
    check_chain(&reader, report)?;
    check_structure(&reader)?;
    check_head(&reader, known, report.events)
}

fn check_chain(reader: &Reader, report: &mut Report) -> Result<(), Problem> {
    let mut chain = Chain::new();
    loop {
        let page = reader.page(chain.last_seq, PAGE_ENTRIES, PAGE_BYTES);
        for entry in &page.entries {
            let seq = chain.last_seq + 1;
            if entry.seq != seq {
                let what =
                    format!("event {seq} is missing: the next one in the journal is event {}", entry.seq);
                return Err(Problem::damage(Some(seq), what));
            }
            chain.read(&entry.bytes).map_err(|broken| {
                let what = match broken.what {
                    What::Number | What::Link | What::Content => broken.to_string(),
                    What::Form => format!("event {seq} is not readable: {}", broken.found),
                };
                Problem::damage(Some(seq), what)
            })?;
            report.events = chain.last_seq;
        }
        if let Some(error) = page.error {
            let seq = chain.last_seq + 1;
            if fault::is_damage(&error) {
                return Err(Problem::damage(
                    Some(seq),
                    format!("the journal's file is damaged at event {seq}: {error}"),
                ));
            }
            return Err(fault::sqlite(reader.path(), "read", &error).into());
        }
        if page.entries.is_empty() {
            return Ok(());
        }
    }
}

fn check_structure(reader: &Reader) -> Result<(), Problem> {
    let what =
        |text: &str| Problem::damage(None, format!("the structure of the journal's file is damaged: {text}"));
    let check = || reader.conn().query_row("PRAGMA integrity_check(1)", (), |row| row.get::<_, String>(0));
    match check() {
        Ok(text) if text == "ok" => Ok(()),
        Ok(text) => Err(what(text.trim())),
        Err(error) if fault::is_damage(&error) => Err(what(&error.to_string())),
        Err(error) => Err(fault::sqlite(reader.path(), "check", &error).into()),
    }
}

fn check_head(reader: &Reader, known: Known, events: u64) -> Result<(), Problem> {
    let Some(head) = known.head() else { return Ok(()) };
    let there =
        schema::at(reader.conn(), head.seq).map_err(|error| fault::sqlite(reader.path(), "read", &error))?;
    match head::lost(head, events, there) {
        None => Ok(()),
        Some(what) => {
            let seq = Some(head.seq.min(events.saturating_add(1)));
            Err(Problem { seq, what: format!("the journal: {what}"), next: head::next(reader.path()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use ports::journal::Error;

    use super::*;

    #[test]
    fn what_is_wrong_and_what_to_do_stay_apart_whatever_they_say() {
        let fault = Fault::unavailable("cannot open /a: b", "remove /a: b.head");
        let said = Error::from(fault.clone()).to_string();
        let problem = Problem::from(fault);
        assert_eq!(
            (problem.what.as_str(), problem.next.as_str()),
            ("cannot open /a: b", "remove /a: b.head")
        );
        assert_eq!(problem.to_string(), said);
    }
}
