//! From replicas' output into a store: lines are joined to records, freed of secrets, and written with the mark of how far they
//! were read. Does not live here: the files (whoever has them brings an [`Output`]), and when to look.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;

use crate::columns::Source;
use crate::join::groups;
use crate::redact::Redactor;
use crate::store::{Error, Line, Store};

/// The output of one place's replicas.
pub trait Output {
    /// How far somebody has read.
    type Mark: Display;

    /// The replicas whose output is there, by names that stay.
    ///
    /// # Errors
    /// When the output cannot be read.
    fn sources(&self) -> io::Result<Vec<(String, Source)>>;

    /// What a replica wrote behind a mark, or from its beginning; `None` when there is nothing new.
    ///
    /// # Errors
    /// When the output cannot be read.
    fn read(&self, of: Source, from: Option<&str>) -> io::Result<Option<Taken<Self::Mark>>>;
}

/// What a replica wrote.
#[derive(Debug)]
pub struct Taken<M> {
    /// Lines with when they were written at the latest, in microseconds since 1970, and how far was read with each.
    pub lines: Vec<(String, i64, M)>,
    /// Whether nothing will follow that belongs to the last line.
    pub settled: bool,
    /// About how many bytes are lost before them.
    pub missed: u64,
    /// Now, for what is said about them.
    pub at: i64,
}

/// Takes in what is new at a place. Says whether there may be more.
///
/// # Errors
/// When the output cannot be read, or the store cannot write. What was taken stays.
pub fn take<O: Output>(output: &O, store: &Store, redactor: &Redactor) -> Result<bool, Failed> {
    let (mut more, marks) = (false, store.marks());
    let mut present = BTreeSet::new();
    for (name, source) in output.sources().map_err(Failed::Read)? {
        let mark = marks.get(&name).map(String::as_str);
        if let Some(taken) = output.read(source, mark).map_err(Failed::Read)? {
            more |= keep(store, redactor, &name, source, &taken)?;
        }
        present.insert(name);
    }
    // Who is gone does not come back under the same name.
    for gone in marks.keys().filter(|name| !present.contains(*name)) {
        store.forget(gone);
    }
    Ok(more)
}

fn keep<M: Display>(
    store: &Store,
    redactor: &Redactor,
    of: &str,
    source: Source,
    taken: &Taken<M>,
) -> Result<bool, Failed> {
    let texts: Vec<&str> = taken.lines.iter().map(|(text, ..)| text.as_str()).collect();
    let mut groups = groups(&texts);
    // Its next line may be on its way; it is read again with it.
    if !taken.settled {
        groups.pop_if(|last| last.open);
    }
    let mut lines = Vec::with_capacity(groups.len() + 1);
    if taken.missed > 0 {
        let (bytes, release, replica) = (taken.missed, source.release, source.replica);
        tracing::warn!(
            event = "output.missed",
            bytes,
            release,
            replica,
            "output was rotated away before it could be read"
        );
        lines.push(Line {
            at: taken.at,
            text: format!(
                "[shipshape: about {bytes} bytes of output were rotated away before they could be read]"
            ),
        });
    }
    for group in &groups {
        let text = texts[group.lines.clone()].join("\n");
        let at = taken.lines[group.lines.start].1;
        lines.push(Line { at, text: redactor.redact(&text).into_owned() });
    }
    let Some(mark) = groups.last().and_then(|last| taken.lines.get(last.lines.end - 1)) else {
        return Ok(false);
    };
    store.append(of, &mark.2.to_string(), source, &lines).map_err(Failed::Keep)?;
    Ok(true)
}

/// Why nothing more was taken in.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The output cannot be read.
    #[error("the output cannot be read: {0}")]
    Read(io::Error),
    /// The store cannot write.
    #[error(transparent)]
    Keep(Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Limits, Query};
    use crate::store::Retention;

    /// Lines in memory; the mark is how many were read.
    struct Lines {
        all: Vec<&'static str>,
        settled: bool,
        first: usize,
    }

    impl Output for Lines {
        type Mark = usize;

        fn sources(&self) -> io::Result<Vec<(String, Source)>> {
            Ok(vec![("1/1".to_owned(), Source { release: 1, replica: 1 })])
        }

        fn read(&self, _: Source, from: Option<&str>) -> io::Result<Option<Taken<usize>>> {
            let from: usize = from.map_or(0, |mark| mark.parse().unwrap());
            let begin = from.max(self.first);
            let lines = (begin..self.all.len()).map(|n| (self.all[n].to_owned(), n as i64, n + 1)).collect();
            let missed = (begin - from) as u64;
            Ok((begin < self.all.len()).then_some(Taken { lines, settled: self.settled, missed, at: 99 }))
        }
    }

    fn texts(store: &Store) -> Vec<String> {
        let found = store.search(&Query { most: 100, ..Query::default() }, &Limits::default());
        let mut records = found.records;
        records.sort_by_key(|record| record.number);
        records.into_iter().map(|record| record.line).collect()
    }

    #[test]
    fn a_trace_that_arrives_in_two_pieces_is_one_record() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Retention::default()).unwrap();
        let redactor = Redactor::new(["hunter22"], []).unwrap();
        let mut output = Lines { all: vec!["a", "java.lang.Error: hunter22"], settled: false, first: 0 };
        assert!(take(&output, &store, &redactor).unwrap());
        assert_eq!(texts(&store), ["a"]);
        output.all.extend(["\tat a.B.c(B.java:1)", "\tat a.B.d(B.java:2)", "b"]);
        assert!(take(&output, &store, &redactor).unwrap());
        let trace = "java.lang.Error: [redacted]\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)";
        assert_eq!(texts(&store), ["a", trace, "b"]);
        assert!(!take(&output, &store, &redactor).unwrap());
    }

    #[test]
    fn the_last_record_is_taken_when_nothing_follows() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Retention::default()).unwrap();
        let redactor = Redactor::new([], []).unwrap();
        let output = Lines { all: vec!["ValueError: x"], settled: true, first: 0 };
        take(&output, &store, &redactor).unwrap();
        assert_eq!(texts(&store), ["ValueError: x"]);
    }

    #[test]
    fn what_is_missing_is_said_in_its_place() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Retention::default()).unwrap();
        let redactor = Redactor::new([], []).unwrap();
        let output = Lines { all: vec!["a", "b", "c"], settled: true, first: 2 };
        take(&output, &store, &redactor).unwrap();
        let found = texts(&store);
        assert!(found[0].contains("about 2 bytes") && found[1] == "c", "{found:?}");
    }
}
