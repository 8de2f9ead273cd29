//! Answering a question: blocks that cannot matter are not read, lines that cannot matter are not understood. Does not live
//! here: files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use memchr::memmem::Finder;

use crate::bloom::{self, Bloom};
use crate::columns::{Columns, Row, Shared};
use crate::level::Level;
use crate::query::{Counted, Found, Limits, Query, Test, Values, is_of_record};
use crate::segment::{Head, Segment};
use crate::store::LONGEST_INDEXED;

/// What there is to search: files of blocks, then the newest records.
pub(crate) struct Sources {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// How many blocks of each belong to this state.
    pub(crate) blocks: Vec<usize>,
    pub(crate) newest: Shared,
}

pub(crate) fn search(sources: &Sources, query: &Query, limits: &Limits) -> Found {
    let mut search = Search::new(query, limits);
    let mut parts: Vec<(usize, usize)> = sources
        .blocks
        .iter()
        .enumerate()
        .flat_map(|(segment, count)| (0..*count).map(move |block| (segment, block)))
        .collect();
    if !query.oldest {
        search.columns(&sources.newest);
        parts.reverse();
    }
    for (segment, block) in parts {
        if search.is_done() {
            break;
        }
        let segment = &sources.segments[segment];
        let block = &segment.blocks[block];
        if !search.may_have(&block.head) {
            continue;
        }
        let read = || {
            if !search.hashes.is_empty() && !search.may_hold(&segment.filter(block)?) {
                return Ok(None);
            }
            segment.columns(block).map(Some)
        };
        match read() {
            Ok(Some(columns)) => search.columns(&columns),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(path = %segment.path.display(), %error, "a block of log records is left out");
                search.found.damaged += 1;
            }
        }
    }
    if query.oldest && !search.is_done() {
        search.columns(&sources.newest);
    }
    search.finish(sources.newest.next())
}

pub(crate) struct Search<'q> {
    query: &'q Query,
    limits: &'q Limits,
    deadline: Instant,
    /// What a block's filter must have.
    hashes: Vec<u64>,
    texts: Vec<Finder<'q>>,
    values: Values<'q>,
    groups: HashMap<Vec<String>, u64>,
    found: Found,
    bytes: usize,
    full: bool,
}

impl<'q> Search<'q> {
    pub(crate) fn new(query: &'q Query, limits: &'q Limits) -> Self {
        let mut hashes: Vec<u64> =
            query.text.iter().flat_map(|text| bloom::bounded_words(text.as_bytes())).collect();
        hashes.extend(query.conditions.iter().filter_map(|condition| match &condition.test {
            Test::Is(value)
                if !value.is_empty() && value.len() <= LONGEST_INDEXED && !is_of_record(&condition.field) =>
            {
                Some(bloom::pair(&condition.field, value))
            }
            Test::Is(_) | Test::IsNot(_) | Test::Matches(_) | Test::MatchesNot(_) => None,
        }));
        Self {
            query,
            limits,
            deadline: Instant::now() + limits.time,
            hashes,
            texts: query.text.iter().map(|text| Finder::new(text.as_bytes())).collect(),
            values: Values::of(query),
            groups: HashMap::new(),
            found: Found::default(),
            bytes: 0,
            full: false,
        }
    }

    fn may_have(&self, head: &Head) -> bool {
        let wanted = self.query.level.map_or(u8::MAX, at_least);
        head.levels & wanted != 0
            && self.query.from.is_none_or(|from| head.until >= from)
            && self.query.until.is_none_or(|until| head.from < until)
            && self.query.after.is_none_or(|after| head.first + head.count > after)
    }

    fn may_hold(&self, filter: &Bloom) -> bool {
        self.hashes.iter().all(|hash| filter.may_have(*hash))
    }

    fn is_done(&mut self) -> bool {
        if self.found.cut.is_none() && Instant::now() >= self.deadline {
            let time = self.limits.time.as_secs();
            self.cut(format!("it took longer than {time} s: ask for less time, or more precisely"));
        }
        self.full || self.found.cut.is_some()
    }

    fn cut(&mut self, why: String) {
        self.found.cut.get_or_insert(why);
    }

    fn columns(&mut self, columns: &Columns) {
        // A text is looked for in all lines at once, and those between two hits are not touched.
        if let Some(first) = self.texts.first().cloned() {
            let mut rows: Vec<usize> = Vec::new();
            let mut at = 0;
            while let Some(hit) = columns.text().get(at..).and_then(|rest| first.find(rest)) {
                let row = columns.row_of(at + hit);
                rows.push(row);
                at = columns.behind(row);
            }
            self.rows(columns, rows.into_iter());
        } else {
            self.rows(columns, 0..columns.len());
        }
    }

    fn rows(&mut self, columns: &Columns, rows: impl DoubleEndedIterator<Item = usize>) {
        let rows: &mut dyn Iterator<Item = usize> =
            if self.query.oldest { &mut { rows } } else { &mut rows.rev() };
        for (looked, row) in rows.enumerate() {
            if self.full || looked % 1024 == 1023 && self.is_done() {
                break;
            }
            if self.query.level.is_some_and(|level| columns.level(row) < level) {
                continue;
            }
            let row = columns.row(row);
            if self.holds(&row) {
                self.take(&row);
            }
        }
    }

    pub(crate) fn holds(&mut self, row: &Row<'_>) -> bool {
        let query = self.query;
        let simple = query.from.is_none_or(|from| row.at >= from)
            && query.until.is_none_or(|until| row.at < until)
            && query.after.is_none_or(|after| row.number >= after)
            && query.release.is_none_or(|release| row.source.release == release)
            && query.replica.is_none_or(|replica| row.source.replica == replica)
            && self.texts.iter().all(|text| text.find(row.line.as_bytes()).is_some());
        if !simple || !query.conditions.iter().all(|condition| may_fulfil(row, condition)) {
            return false;
        }
        if !self.values.fields.is_empty() {
            self.values.read(row);
        }
        query.conditions.iter().all(|condition| self.values.fulfil(condition))
    }

    pub(crate) fn take(&mut self, row: &Row<'_>) {
        if self.query.group_by.is_empty() {
            self.bytes += row.line.len();
            if self.bytes > self.limits.bytes {
                self.cut(format!("the lines are more than {} MiB: ask for fewer", self.limits.bytes >> 20));
                return;
            }
            self.found.records.push(row.record());
            self.full = self.found.records.len() >= self.query.most;
            return;
        }
        let key: Vec<String> =
            self.query.group_by.iter().map(|field| self.values.first(field).into_owned()).collect();
        if let Some(count) = self.groups.get_mut(&key) {
            *count += 1;
        } else if self.groups.len() < self.limits.groups {
            self.groups.insert(key, 1);
        } else {
            let most = self.limits.groups;
            self.cut(format!("there are more than {most} groups: group by a field with fewer values"));
        }
    }

    pub(crate) fn finish(mut self, next: u64) -> Found {
        self.found.next = next;
        self.found.records.sort_by_key(|record| (record.at, record.number));
        let by_values: BTreeMap<Vec<String>, u64> = self.groups.into_iter().collect();
        let mut groups: Vec<Counted> =
            by_values.into_iter().map(|(values, count)| Counted { values, count }).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        if groups.len() > self.query.most {
            let all = groups.len();
            groups.truncate(self.query.most);
            self.found.cut.get_or_insert(format!("there are {all} groups; these are the most frequent"));
        }
        self.found.groups = groups;
        self.found
    }
}

/// Whether a line can fulfil a condition, by a look at its bytes: a value that is a word stands in the line as it is, unless
/// something in the line is escaped.
fn may_fulfil(row: &Row<'_>, condition: &crate::query::Condition) -> bool {
    let Test::Is(value) = &condition.test else { return true };
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if value.is_empty() || is_number || is_of_record(&condition.field) || condition.field == "error.type" {
        return true;
    }
    memchr::memmem::find(row.line.as_bytes(), value.as_bytes()).is_some()
        || memchr::memchr(b'\\', row.line.as_bytes()).is_some()
}

fn at_least(level: Level) -> u8 {
    Level::ALL.into_iter().filter(|other| *other >= level).fold(0, |bits, level| bits | level.bit())
}
