//! A question to lines that no store keeps, one after the other. Does not live here: whose lines they are, and keeping them.

use crate::columns::{Row, Source};
use crate::level::Level;
use crate::query::{Found, Limits, Query};
use crate::search::Search;

/// What is asked of lines. `after`, `release`, `replica` and `most` of the query are for whoever has the lines.
pub struct Sieve<'q> {
    query: &'q Query,
    search: Search<'q>,
}

impl<'q> Sieve<'q> {
    /// No line was seen yet.
    pub fn new(query: &'q Query, limits: &'q Limits) -> Self {
        Self { query, search: Search::new(query, limits) }
    }

    /// Whether this line is asked for; counted when lines are to be. `at` is in microseconds since 1970.
    pub fn takes(&mut self, at: i64, level: Level, line: &str) -> bool {
        let source = Source { release: 0, replica: 0 };
        let row = Row { number: 0, at, level, source, line };
        let holds = self.query.level.is_none_or(|least| level >= least) && self.search.holds(&row);
        if holds && !self.query.group_by.is_empty() {
            self.search.take(&row);
        }
        holds
    }

    /// What was counted.
    pub fn counted(self) -> Found {
        self.search.finish(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_asked_by_level_time_field_and_text_and_counted() {
        let line = |event: &str| {
            format!(r#"{{"level":"WARN","event":"{event}","message":"no","place":"shop/dev"}}"#)
        };
        let limits = Limits::default();
        let query = Query {
            from: Some(5),
            level: Some(Level::Warn),
            conditions: vec!["event=a.b".parse().unwrap()],
            text: vec!["shop".to_owned()],
            most: 10,
            ..Query::default()
        };
        let mut sieve = Sieve::new(&query, &limits);
        assert!(sieve.takes(5, Level::Warn, &line("a.b")));
        assert!(!sieve.takes(4, Level::Warn, &line("a.b")));
        assert!(!sieve.takes(5, Level::Info, &line("a.b")));
        assert!(!sieve.takes(5, Level::Warn, &line("a.c")));
        assert!(!sieve.takes(5, Level::Warn, r#"{"event":"a.b"}"#));

        let query = Query { group_by: vec!["event".to_owned()], most: 10, ..Query::default() };
        let mut sieve = Sieve::new(&query, &limits);
        for event in ["x", "y", "y"] {
            assert!(sieve.takes(0, Level::Unknown, &line(event)));
        }
        let groups = sieve.counted().groups.into_iter().map(|group| (group.values.concat(), group.count));
        assert_eq!(groups.collect::<Vec<_>>(), [("y".to_owned(), 2), ("x".to_owned(), 1)]);
    }
}
