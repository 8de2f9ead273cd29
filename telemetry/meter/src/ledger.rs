//! What was counted, minute by minute, on disk: a database in which a day is one packed row, and what was counted since
//! the last packing is one row a minute. A crash loses at most what was not committed, and then the time up to which an
//! objective was counted is older too, so that it is counted again: nothing twice, nothing never.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::day::{Day, MINUTES, Sums};

/// The form of the tables.
const FORM: i64 = 1;
/// Days whose minutes are kept in memory for each objective: those that alerts look at, and where a window begins.
const DAYS_AT_HAND: usize = 6;
const SCHEMA: &str = "
CREATE TABLE objective (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, counted_until INTEGER);
CREATE TABLE day (
    objective INTEGER NOT NULL, day INTEGER NOT NULL,
    bad INTEGER NOT NULL, total INTEGER NOT NULL, measured INTEGER NOT NULL, minutes BLOB NOT NULL,
    PRIMARY KEY (objective, day)
);
CREATE TABLE minute (
    objective INTEGER NOT NULL, minute INTEGER NOT NULL,
    bad INTEGER NOT NULL, total INTEGER NOT NULL, measured INTEGER NOT NULL,
    PRIMARY KEY (objective, minute)
) WITHOUT ROWID;
";

/// Why counts cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk or the database.
    #[error("the counts of objectives: {0}")]
    Database(#[from] rusqlite::Error),
    /// A newer Shipshape wrote it.
    #[error(
        "the counts of objectives were written by a newer Shipshape (form {0}): use that version, or a newer one"
    )]
    Newer(i64),
    /// A day is not what it was when it was written.
    #[error("the counts of {objective} on day {day} since 1970 are damaged")]
    Damaged {
        /// Whose.
        objective: String,
        /// Which.
        day: i64,
    },
}

/// The counts of all objectives, by their names.
pub struct Ledger {
    db: Connection,
    tracks: HashMap<String, Track>,
}

#[derive(Default)]
struct Track {
    id: i64,
    counted_until: Option<i64>,
    days: BTreeMap<i64, Sums>,
    /// The minutes of some days, and when they were last asked for.
    at_hand: BTreeMap<i64, (Day, u64)>,
    asked: u64,
    /// What was counted and is not committed, by minute.
    fresh: BTreeMap<i64, Sums>,
    moved: bool,
}

impl Ledger {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer form.
    pub fn open(file: &Path) -> Result<Self, Error> {
        let db = Connection::open(file)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // A commit may be lost with the machine, never torn: what is lost is counted again.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        let form: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match form {
            0 => db.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {FORM}; COMMIT;"))?,
            FORM => {}
            newer => return Err(Error::Newer(newer)),
        }
        let tracks = load(&db)?;
        Ok(Self { db, tracks })
    }

    /// Up to when an objective was counted, in milliseconds since 1970; `None` when it never was.
    pub fn counted_until(&self, objective: &str) -> Option<i64> {
        self.tracks.get(objective)?.counted_until
    }

    /// Counts more in a minute of an objective.
    ///
    /// # Errors
    /// When what the minute holds already cannot be read.
    pub fn add(&mut self, objective: &str, minute: i64, more: Sums) -> Result<(), Error> {
        let track = track(&self.db, &mut self.tracks, objective)?;
        let (day, within) = split(minute);
        let taken = track.day(&self.db, objective, day)?.add(within, more);
        *track.days.entry(day).or_default() += taken;
        *track.fresh.entry(minute).or_default() += taken;
        Ok(())
    }

    /// Says up to when an objective was counted.
    ///
    /// # Errors
    /// When the database does not take it.
    pub fn count_until(&mut self, objective: &str, at: i64) -> Result<(), Error> {
        let track = track(&self.db, &mut self.tracks, objective)?;
        track.counted_until = Some(at);
        track.moved = true;
        Ok(())
    }

    /// The first minute in which an objective was measured at all.
    ///
    /// # Errors
    /// When its day cannot be read.
    pub fn first_measured(&mut self, objective: &str) -> Result<Option<i64>, Error> {
        let Some(track) = self.tracks.get_mut(objective) else { return Ok(None) };
        let first = track.days.iter().find(|(_, sums)| sums.measured > 0).map(|(day, _)| *day);
        let Some(day) = first else { return Ok(None) };
        let held = track.day(&self.db, objective, day)?;
        let within = (0..MINUTES).find(|within| held.minute(*within).measured > 0);
        track.let_go();
        Ok(within.map(|within| join(day, within)))
    }

    /// Forgets an objective and all that it counted.
    ///
    /// # Errors
    /// When the database does not take it; nothing has changed then.
    pub fn forget(&mut self, objective: &str) -> Result<(), Error> {
        let Some(id) = self.tracks.get(objective).map(|track| track.id) else { return Ok(()) };
        let unit = self.db.transaction()?;
        unit.execute("DELETE FROM minute WHERE objective = ?1", [id])?;
        unit.execute("DELETE FROM day WHERE objective = ?1", [id])?;
        unit.execute("DELETE FROM objective WHERE id = ?1", [id])?;
        unit.commit()?;
        self.tracks.remove(objective);
        Ok(())
    }

    /// Whose counts are kept.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tracks.keys().map(String::as_str)
    }

    /// Makes durable what was counted, all of it or nothing.
    ///
    /// # Errors
    /// When the database does not take it; it is kept in memory and tried again with the next.
    pub fn commit(&mut self) -> Result<(), Error> {
        let unit = self.db.transaction()?;
        {
            let mut add = unit.prepare_cached(
                "INSERT INTO minute VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (objective, minute) DO UPDATE SET \
                 bad = bad + excluded.bad, total = total + excluded.total, measured = measured + excluded.measured",
            )?;
            let mut until = unit.prepare_cached("UPDATE objective SET counted_until = ?2 WHERE id = ?1")?;
            for track in self.tracks.values().filter(|track| track.moved || !track.fresh.is_empty()) {
                for (minute, sums) in &track.fresh {
                    let [bad, total, measured] = columns(*sums);
                    add.execute(params![track.id, minute, bad, total, measured])?;
                }
                until.execute(params![track.id, track.counted_until])?;
            }
        }
        unit.commit()?;
        for track in self.tracks.values_mut() {
            track.fresh.clear();
            track.moved = false;
        }
        Ok(())
    }

    /// Packs the minutes that were committed into their days, and forgets the days before one.
    ///
    /// # Errors
    /// When the database does not take it; nothing has changed then.
    pub fn pack(&mut self, first_kept: i64) -> Result<(), Error> {
        self.commit()?;
        let names: HashMap<i64, String> =
            self.tracks.iter().map(|(name, track)| (track.id, name.clone())).collect();
        let loose: Vec<(i64, i64)> = self
            .db
            .prepare("SELECT DISTINCT objective, minute / 1440 FROM minute")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (id, day) in &loose {
            let Some(name) = names.get(id) else { continue };
            if let Some(track) = self.tracks.get_mut(name) {
                track.day(&self.db, name, *day)?;
            }
        }
        let unit = self.db.transaction()?;
        {
            let mut write = unit.prepare("INSERT OR REPLACE INTO day VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            for (id, day) in &loose {
                let Some(track) = names.get(id).and_then(|name| self.tracks.get(name)) else { continue };
                let Some((minutes, _)) = track.at_hand.get(day) else { continue };
                let [bad, total, measured] = columns(minutes.sums(0..MINUTES));
                write.execute(params![id, day, bad, total, measured, minutes.pack()])?;
            }
            unit.execute("DELETE FROM minute", [])?;
            unit.execute("DELETE FROM day WHERE day < ?1", [first_kept])?;
        }
        unit.commit()?;
        for track in self.tracks.values_mut() {
            track.days = track.days.split_off(&first_kept);
            track.let_go();
        }
        Ok(())
    }

    /// What an objective counted in these minutes.
    ///
    /// # Errors
    /// When a day at either end cannot be read.
    pub fn sums(&mut self, objective: &str, minutes: Range<i64>) -> Result<Sums, Error> {
        let mut sums = Sums::default();
        let Some(track) = self.tracks.get_mut(objective) else { return Ok(sums) };
        if minutes.is_empty() {
            return Ok(sums);
        }
        let ((first, from), (last, until)) = (split(minutes.start), split(minutes.end));
        if first == last {
            return track.part(&self.db, objective, first, from..until);
        }
        sums += track.part(&self.db, objective, first, from..MINUTES)?;
        for (_, day) in track.days.range(first + 1..last) {
            sums += *day;
        }
        sums += track.part(&self.db, objective, last, 0..until)?;
        Ok(sums)
    }

    /// The minutes in which an objective counted something or was measured, with what it counted, in order.
    ///
    /// # Errors
    /// When a day cannot be read.
    pub fn minutes(&mut self, objective: &str, minutes: Range<i64>) -> Result<Vec<(i64, Sums)>, Error> {
        let mut all = Vec::new();
        let Some(track) = self.tracks.get_mut(objective) else { return Ok(all) };
        let days = split(minutes.start).0..=split(minutes.end).0;
        let known: Vec<i64> = track.days.range(days).map(|(day, _)| *day).collect();
        for day in known {
            let held = track.day(&self.db, objective, day)?;
            let of_day = (0..MINUTES).map(|within| (join(day, within), held.minute(within)));
            all.extend(of_day.filter(|(minute, sums)| minutes.contains(minute) && *sums != Sums::default()));
            track.let_go();
        }
        Ok(all)
    }
}

impl Track {
    fn part(&mut self, db: &Connection, name: &str, day: i64, minutes: Range<usize>) -> Result<Sums, Error> {
        if minutes.is_empty() || !self.days.contains_key(&day) {
            return Ok(Sums::default());
        }
        let sums = self.day(db, name, day)?.sums(minutes);
        self.let_go();
        Ok(sums)
    }

    /// A day's minutes: at hand, or what was packed of them and what was committed since.
    fn day(&mut self, db: &Connection, name: &str, day: i64) -> Result<&mut Day, Error> {
        self.asked += 1;
        if !self.at_hand.contains_key(&day) {
            let held = read_day(db, self.id, name, day)?;
            self.at_hand.insert(day, (held, 0));
        }
        let (held, asked) = self.at_hand.entry(day).or_default();
        *asked = self.asked;
        Ok(held)
    }

    /// Forgets the minutes of the days that were not asked for longest. What is not committed stands in no day on disk.
    fn let_go(&mut self) {
        while self.at_hand.len() > DAYS_AT_HAND {
            let fresh: Vec<i64> = self.fresh.keys().map(|minute| split(*minute).0).collect();
            let idle = self.at_hand.iter().filter(|(day, _)| !fresh.contains(day));
            let Some(day) = idle.min_by_key(|(_, (_, asked))| *asked).map(|(day, _)| *day) else { return };
            self.at_hand.remove(&day);
        }
    }
}

fn read_day(db: &Connection, id: i64, name: &str, day: i64) -> Result<Day, Error> {
    let packed: Option<Vec<u8>> = db
        .prepare_cached("SELECT minutes FROM day WHERE objective = ?1 AND day = ?2")?
        .query_row([id, day], |row| row.get(0))
        .optional()?;
    let damaged = || Error::Damaged { objective: name.to_owned(), day };
    let mut held = match packed {
        Some(bytes) => Day::unpack(&bytes).ok_or_else(damaged)?,
        None => Day::default(),
    };
    let mut loose = db.prepare_cached(
        "SELECT minute, bad, total, measured FROM minute WHERE objective = ?1 AND minute >= ?2 AND minute < ?3",
    )?;
    let mut rows = loose.query(params![id, join(day, 0), join(day + 1, 0)])?;
    while let Some(row) = rows.next()? {
        held.add(split(row.get(0)?).1, sums(row, 1)?);
    }
    Ok(held)
}

fn load(db: &Connection) -> Result<HashMap<String, Track>, Error> {
    let mut by_id: HashMap<i64, (String, Track)> = HashMap::new();
    let mut all = db.prepare("SELECT id, name, counted_until FROM objective")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let track = Track { id: row.get(0)?, counted_until: row.get(2)?, ..Track::default() };
        by_id.insert(track.id, (row.get(1)?, track));
    }
    for query in [
        "SELECT objective, day, bad, total, measured FROM day",
        "SELECT objective, minute / 1440, sum(bad), sum(total), sum(measured) FROM minute GROUP BY 1, 2",
    ] {
        let mut days = db.prepare(query)?;
        let mut rows = days.query([])?;
        while let Some(row) = rows.next()? {
            if let Some((_, track)) = by_id.get_mut(&row.get(0)?) {
                *track.days.entry(row.get(1)?).or_default() += sums(row, 2)?;
            }
        }
    }
    Ok(by_id.into_values().collect())
}

fn track<'a>(
    db: &Connection,
    tracks: &'a mut HashMap<String, Track>,
    name: &str,
) -> Result<&'a mut Track, Error> {
    if !tracks.contains_key(name) {
        db.execute("INSERT INTO objective (name) VALUES (?1)", [name])?;
        let track = Track { id: db.last_insert_rowid(), ..Track::default() };
        tracks.insert(name.to_owned(), track);
    }
    Ok(tracks.entry(name.to_owned()).or_default())
}

/// SQLite's integers are signed; counts are capped far below.
fn columns(sums: Sums) -> [i64; 3] {
    [sums.bad, sums.total, sums.measured].map(|number| i64::try_from(number).unwrap_or(i64::MAX))
}

fn sums(row: &rusqlite::Row<'_>, first: usize) -> Result<Sums, rusqlite::Error> {
    let number =
        |column: usize| row.get(first + column).map(|number: i64| u64::try_from(number).unwrap_or(0));
    Ok(Sums { bad: number(0)?, total: number(1)?, measured: number(2)? })
}

/// A minute's day, and which of the day's it is.
fn split(minute: i64) -> (i64, usize) {
    let minutes = MINUTES as i64;
    (minute.div_euclid(minutes), usize::try_from(minute.rem_euclid(minutes)).unwrap_or(0))
}

fn join(day: i64, within: usize) -> i64 {
    day * MINUTES as i64 + within as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const DAY: i64 = MINUTES as i64;

    fn one(bad: u64, total: u64) -> Sums {
        Sums { bad, total, measured: 60 }
    }

    fn open(home: &TempDir) -> Ledger {
        Ledger::open(&home.path().join("objectives.db")).unwrap()
    }

    #[test]
    fn what_was_committed_is_there_again_and_what_was_not_is_not() {
        let home = TempDir::new().unwrap();
        let mut ledger = open(&home);
        ledger.add("a", 20_000_000, one(1, 10)).unwrap();
        ledger.count_until("a", 77).unwrap();
        ledger.commit().unwrap();
        ledger.add("a", 20_000_001, one(2, 20)).unwrap();
        ledger.count_until("a", 99).unwrap();
        assert_eq!(ledger.sums("a", 0..i64::MAX).unwrap().total, 30);
        drop(ledger);
        let mut again = open(&home);
        assert_eq!(again.sums("a", 0..i64::MAX).unwrap(), one(1, 10));
        assert_eq!(again.counted_until("a"), Some(77));
        assert_eq!(again.counted_until("b"), None);
    }

    #[test]
    fn packing_changes_no_sum_and_a_late_event_finds_its_packed_minute() {
        let home = TempDir::new().unwrap();
        let mut ledger = open(&home);
        for minute in 0..3 * DAY {
            ledger.add("a", minute, one(u64::from(minute % 7 == 0), 5)).unwrap();
        }
        let window = 100..2 * DAY + 50;
        let before = ledger.sums("a", window.clone()).unwrap();
        ledger.pack(0).unwrap();
        assert_eq!(ledger.sums("a", window.clone()).unwrap(), before);
        ledger.add("a", 200, Sums { bad: 1, total: 1, measured: 0 }).unwrap();
        ledger.commit().unwrap();
        let mut again = open(&home);
        let after = again.sums("a", window).unwrap();
        assert_eq!(
            (after.bad, after.total, after.measured),
            (before.bad + 1, before.total + 1, before.measured)
        );
        assert_eq!(again.minutes("a", 199..202).unwrap().len(), 3);
    }

    #[test]
    fn days_before_the_first_kept_are_forgotten() {
        let home = TempDir::new().unwrap();
        let mut ledger = open(&home);
        for day in 0..4 {
            ledger.add("a", day * DAY, one(0, 1)).unwrap();
        }
        ledger.pack(2).unwrap();
        assert_eq!(ledger.sums("a", 0..4 * DAY).unwrap().total, 2);
        assert_eq!(open(&home).sums("a", 0..4 * DAY).unwrap().total, 2);
    }

    #[test]
    fn what_is_forgotten_is_gone_and_begins_anew() {
        let home = TempDir::new().unwrap();
        let mut ledger = open(&home);
        ledger.add("a", DAY + 7, one(1, 10)).unwrap();
        ledger.pack(0).unwrap();
        assert_eq!(ledger.first_measured("a").unwrap(), Some(DAY + 7));
        ledger.forget("a").unwrap();
        assert_eq!((ledger.names().count(), ledger.first_measured("a").unwrap()), (0, None));
        let mut again = open(&home);
        assert_eq!(again.sums("a", 0..9 * DAY).unwrap(), Sums::default());
    }

    #[test]
    fn a_form_from_the_future_is_refused() {
        let home = TempDir::new().unwrap();
        open(&home).db.pragma_update(None, "user_version", FORM + 1).unwrap();
        assert!(matches!(Ledger::open(&home.path().join("objectives.db")), Err(Error::Newer(_))));
    }

    #[test]
    fn a_damaged_day_says_which() {
        let home = TempDir::new().unwrap();
        let mut ledger = open(&home);
        ledger.add("a", 10, one(0, 1)).unwrap();
        ledger.pack(0).unwrap();
        ledger.db.execute("UPDATE day SET minutes = x'ff'", []).unwrap();
        let mut again = open(&home);
        assert!(matches!(again.sums("a", 5..20), Err(Error::Damaged { day: 0, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_window_is_the_sum_of_its_minutes(
            counted in proptest::collection::vec((0..9 * DAY, 0u64..3, 0u64..50), 1..60),
            ends in (0..9 * DAY, 0..9 * DAY),
            packed in 0usize..60,
        ) {
            let home = TempDir::new().unwrap();
            let mut ledger = open(&home);
            for (index, (minute, bad, more)) in counted.iter().enumerate() {
                ledger.add("a", *minute, Sums { bad: *bad, total: bad + more, measured: 1 }).unwrap();
                if index == packed {
                    ledger.pack(0).unwrap();
                }
            }
            let window = ends.0.min(ends.1)..ends.0.max(ends.1);
            let within = counted.iter().filter(|(minute, ..)| window.contains(minute));
            let expected = within.fold((0, 0), |sum, (_, bad, more)| (sum.0 + bad, sum.1 + bad + more));
            let sums = ledger.sums("a", window).unwrap();
            prop_assert_eq!((sums.bad, sums.total), expected);
        }
    }
}
