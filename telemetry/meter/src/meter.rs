//! Rounds of counting: what happened since the last one goes into the ledger, with the time up to which it was counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use promql::Series;
use promql::expr::{Matcher, Test};
use promql::labels::NAME;

use crate::answers::{self, Rests};
use crate::count::{Counted, Lines, Part, Reach, What, firsts, settle};
use crate::day::Sums;
use crate::ledger::{Error, Ledger};
use crate::line::seconds;
use crate::provider::{Provider, Providers};

/// How far back counters are looked for that were followed before.
const BACK: i64 = 60_000;
/// How far back where they are not known, after a restart.
const FAR_BACK: i64 = 15 * 60_000;
/// How long a counter that is not read any more is remembered.
const REMEMBERED: i64 = 24 * 3_600_000;
/// How far (milliseconds) the clock may fall behind what was counted before that counts as set back.
const SETBACK: i64 = 60_000;
/// How often the ledger is packed.
const PACKS: i64 = 3_600_000;

/// Why an objective was not counted in this round; it is counted from where it was in the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Which.
    pub objective: String,
    /// In words.
    pub what: String,
}

/// Counts objectives.
pub struct Meter {
    ledger: Ledger,
    countings: HashMap<String, Counting>,
    /// The first days that are kept are this many before today.
    kept_days: i64,
    packed_at: Option<i64>,
}

struct Counting {
    asked: Arc<Counted>,
    part: Lines,
    whole: Lines,
    pulse: Lines,
    /// Whose counters were read.
    instances: HashSet<String>,
    owed: u64,
    rests: Rests,
    measured_until: i64,
    /// Whether samples were read since this process began.
    read: bool,
}

impl Meter {
    /// Counts into a ledger that keeps so many days.
    pub fn new(ledger: Ledger, kept_days: u32) -> Self {
        Self { ledger, countings: HashMap::new(), kept_days: i64::from(kept_days), packed_at: None }
    }

    /// What was counted.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// From now on these objectives are counted, and no others; those that are counted already go on where they are.
    pub fn want(&mut self, wanted: Vec<Counted>) {
        let mut before = std::mem::take(&mut self.countings);
        for counted in wanted {
            let kept = before.remove(&counted.name).filter(|counting| counting.asked.same(&counted));
            self.countings
                .insert(counted.name.clone(), kept.unwrap_or_else(|| Counting::new(Arc::new(counted))));
        }
    }

    /// Counts what happened up to now (milliseconds since 1970).
    ///
    /// # Errors
    /// When what was counted cannot be kept.
    pub fn round(&mut self, providers: &dyn Providers, now: i64) -> Result<Vec<Trouble>, Error> {
        let mut pulses = Pulses::default();
        let mut troubles = Vec::new();
        for (name, counting) in &mut self.countings {
            let counted = match providers.of(counting.asked.server.as_deref()) {
                Ok(provider) => counting.round(&mut self.ledger, provider, &mut pulses, now),
                Err(unknown) => Err(Failed::Provider(unknown)),
            };
            match counted {
                Ok(()) => {}
                Err(Failed::Provider(what)) => {
                    troubles.push(Trouble { objective: name.clone(), what });
                }
                Err(Failed::Ledger(error)) => return Err(error),
            }
        }
        self.ledger.commit()?;
        if self.packed_at.is_none_or(|packed| now - packed >= PACKS || now < packed) {
            self.ledger.pack(crate::minute_of(now).div_euclid(1_440) - self.kept_days)?;
            self.packed_at = Some(now);
        }
        Ok(troubles)
    }
}

pub(crate) enum Failed {
    /// Whoever has the metrics, in words.
    Provider(String),
    Ledger(Error),
}

impl From<String> for Failed {
    fn from(what: String) -> Self {
        Self::Provider(what)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Ledger(error)
    }
}

/// The samples of metrics that say that counters were being kept, read once a round for all objectives.
#[derive(Default)]
struct Pulses(HashMap<(String, i64, i64), Result<Vec<Series>, String>>);

impl Pulses {
    fn of(
        &mut self,
        provider: &dyn Provider,
        metric: &str,
        (after, until): (i64, i64),
    ) -> Result<&[Series], String> {
        let read = self.0.entry((metric.to_owned(), after, until)).or_insert_with(|| {
            let named = Matcher { name: NAME.to_owned(), test: Test::Equal(metric.to_owned()) };
            provider.samples(&[named], after, until)
        });
        read.as_deref().map_err(Clone::clone)
    }
}

impl Counting {
    fn new(asked: Arc<Counted>) -> Self {
        Self {
            asked,
            part: Lines::default(),
            whole: Lines::default(),
            pulse: Lines::default(),
            instances: HashSet::new(),
            owed: 0,
            rests: Rests::default(),
            measured_until: i64::MIN,
            read: false,
        }
    }

    /// Counts on from where the ledger is.
    fn round(
        &mut self,
        ledger: &mut Ledger,
        provider: &dyn Provider,
        pulses: &mut Pulses,
        now: i64,
    ) -> Result<(), Failed> {
        let until = now - provider.settles();
        let before = ledger.counted_until(&self.asked.name);
        let counted = match before {
            // Somebody set the clock back: what was counted stays, and counting begins again.
            Some(counted) if counted > until + SETBACK => {
                *self = Self::new(Arc::clone(&self.asked));
                until
            }
            Some(counted) if counted >= until => return Ok(()),
            Some(counted) => counted,
            None => self.asked.since.unwrap_or(until).min(until),
        };
        let asked = Arc::clone(&self.asked);
        match &asked.what {
            What::Answers { part, whole } => {
                let rests = (&mut self.rests, &mut self.owed);
                answers::round(&self.asked.name, (part, whole), rests, ledger, provider, (counted, until))
            }
            What::Counters { part, whole, pulse } => {
                let after = counted - if self.read { BACK } else { FAR_BACK };
                let found = Found {
                    part: provider.samples(part.counting(), after, until)?,
                    whole: provider.samples(whole, after, until)?,
                    pulse: match pulse {
                        Some(metric) => Some(pulses.of(provider, metric, (after, until))?),
                        None => None,
                    },
                };
                let ever = before.is_some() || self.asked.since.is_some();
                self.take(ledger, &found, part, (ever, counted, until))
            }
        }
    }

    /// Counts what samples say.
    fn take(
        &mut self,
        ledger: &mut Ledger,
        found: &Found<'_>,
        part: &Part<Vec<Matcher>>,
        (ever, counted, until): (bool, i64, i64),
    ) -> Result<(), Failed> {
        let (mut parts, mut wholes) = (BTreeMap::new(), BTreeMap::new());
        let firsts = firsts(found.whole.iter().chain(&found.part));
        let begins_with_nothing = found.pulse.is_some();
        let reach = Reach { counted, ever, begins_with_nothing, instances: &self.instances, firsts: &firsts };
        self.part
            .take(&found.part, &reach, &mut |minute, events| *parts.entry(minute).or_default() += events);
        let read = self
            .whole
            .take(&found.whole, &reach, &mut |minute, events| *wholes.entry(minute).or_default() += events);
        let mut stretches = match found.pulse {
            // One that is new says nothing of the time before it.
            Some(pulse) => self.pulse.take(pulse, &Reach { ever: false, ..reach }, &mut |_, _| {}),
            None => read,
        };
        stretches.sort_unstable();
        for (minute, sums) in settle(&parts, &wholes, &mut self.owed, part.is_good()) {
            ledger.add(&self.asked.name, minute, sums)?;
        }
        for (from, until) in stretches {
            for (minute, measured) in seconds(from.max(self.measured_until), until) {
                ledger.add(&self.asked.name, minute, Sums { measured, ..Sums::default() })?;
            }
            self.measured_until = self.measured_until.max(until);
        }
        ledger.count_until(&self.asked.name, until)?;
        for lines in [&mut self.part, &mut self.whole, &mut self.pulse] {
            lines.forget(until - REMEMBERED);
        }
        self.instances = self.whole.instances();
        self.read = true;
        Ok(())
    }
}

/// The samples of a round.
struct Found<'a> {
    part: Vec<Series>,
    whole: Vec<Series>,
    pulse: Option<&'a [Series]>,
}

#[cfg(test)]
mod tests {
    use promql::{Labels, Point, STALE, Source};
    use tempfile::TempDir;

    use super::*;
    use crate::count::Question;
    use crate::provider::Embedded;

    const SETTLES: i64 = 3_000;

    /// Counters as a scrape would tell them, each five seconds.
    #[derive(Default)]
    struct Pages(Vec<Series>);

    impl Pages {
        fn tell(&mut self, labels: &[(&str, &str)], at: i64, value: f64) {
            let labels = Labels::new(labels.iter().copied());
            let index = self.0.iter().position(|series| series.labels == labels).unwrap_or_else(|| {
                self.0.push(Series { labels, points: vec![] });
                self.0.len() - 1
            });
            self.0[index].points.push(Point { at, value });
        }

        fn hits(&mut self, class: &str, at: i64, value: f64) {
            self.life("g1", class, at, value);
        }

        fn life(&mut self, instance: &str, class: &str, at: i64, value: f64) {
            self.tell(&[(NAME, "hits"), ("class", class), ("instance", instance)], at, value);
        }

        fn pulse(&mut self, instance: &str, at: i64) {
            self.tell(&[(NAME, "alive"), ("instance", instance)], at, 1.0);
        }
    }

    impl Source for Pages {
        fn select(
            &self,
            matchers: &[Matcher],
            after: i64,
            until: i64,
            _limit: usize,
        ) -> Result<promql::Selected, promql::Error> {
            let within = |series: &&Series| matchers.iter().all(|it| it.holds(series.labels.get(&it.name)));
            let cut = |series: &Series| {
                let points = series.points.iter().filter(|point| point.at > after && point.at <= until);
                Series { labels: series.labels.clone(), points: points.copied().collect() }
            };
            let found = self.0.iter().filter(within).map(cut).filter(|series| !series.points.is_empty());
            Ok(found.collect::<Vec<_>>().into())
        }
    }

    fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.to_owned(), test: Test::Equal(value.to_owned()) }
    }

    fn hits() -> Counted {
        Counted {
            name: "a".to_owned(),
            what: What::Counters {
                part: Part::Bad(vec![equal(NAME, "hits"), equal("class", "5xx")]),
                whole: vec![equal(NAME, "hits")],
                pulse: Some("alive".to_owned()),
            },
            server: None,
            since: None,
        }
    }

    impl Providers for Pages {
        fn of(&self, server: Option<&str>) -> Result<&dyn Provider, String> {
            match server {
                None => Ok(self),
                Some(server) => Err(format!("{server} is not known")),
            }
        }
    }

    /// As the store in this process, but later.
    impl Provider for Pages {
        fn samples(&self, matchers: &[Matcher], after: i64, until: i64) -> Result<Vec<Series>, String> {
            Embedded(self).samples(matchers, after, until)
        }

        fn ask(&self, query: &str, at: i64) -> Result<Vec<f64>, String> {
            Embedded(self).ask(query, at)
        }

        fn settles(&self) -> i64 {
            SETTLES
        }
    }

    struct World {
        home: TempDir,
        meter: Meter,
        pages: Pages,
    }

    impl World {
        fn new() -> Self {
            let home = TempDir::new().unwrap();
            let meter = Self::meter(&home);
            Self { home, meter, pages: Pages::default() }
        }

        fn meter(home: &TempDir) -> Meter {
            let mut meter = Meter::new(Ledger::open(&home.path().join("objectives.db")).unwrap(), 30);
            meter.want(vec![hits()]);
            meter
        }

        fn restart(&mut self) {
            self.meter = Self::meter(&self.home);
        }

        /// Looks at what was told up to this time.
        fn round(&mut self, at: i64) {
            let troubles = self.meter.round(&self.pages, at + SETTLES).unwrap();
            assert_eq!(troubles, []);
        }

        fn all(&mut self) -> Sums {
            self.meter.ledger().sums("a", 0..i64::MAX).unwrap()
        }
    }

    #[test]
    fn what_counters_had_before_is_not_counted_and_the_first_failure_is() {
        let mut world = World::new();
        world.pages.hits("2xx", 5_000, 1_000.0);
        world.pages.pulse("g1", 5_000);
        world.round(6_000);
        assert_eq!(world.all(), Sums::default());
        world.pages.hits("2xx", 20_000, 1_010.0);
        // Its first sample, and the only one: a rate would not see it.
        world.pages.hits("5xx", 20_000, 3.0);
        world.pages.pulse("g1", 20_000);
        world.round(21_000);
        assert_eq!(world.all(), Sums { bad: 3, total: 13, measured: 15 });
    }

    #[test]
    fn killed_anywhere_nothing_is_counted_twice_or_never() {
        for killed_after in 0..12 {
            let mut world = World::new();
            let mut value = 0.0;
            for step in 0..12 {
                let at = step * 15_000 + 5_000;
                value += 7.0;
                world.pages.hits("2xx", at, value);
                world.pages.pulse("g1", at);
                world.round(at + 1_000);
                if step == killed_after {
                    world.restart();
                }
            }
            assert_eq!(world.all(), Sums { bad: 0, total: 77, measured: 165 }, "killed after {killed_after}");
        }
    }

    #[test]
    fn what_an_instance_counts_later_than_it_was_first_read_began_with_nothing() {
        let mut world = World::new();
        world.meter.want(vec![Counted {
            what: What::Counters {
                part: Part::Bad(vec![equal(NAME, "hits"), equal("class", "5xx")]),
                whole: vec![equal(NAME, "hits")],
                pulse: None,
            },
            ..hits()
        }]);
        world.round(1_000);
        // Read before any of it was counted, and all of it comes in one round: what is there first is nobody's.
        world.pages.hits("2xx", 5_000, 40.0);
        world.pages.hits("2xx", 10_000, 50.0);
        world.pages.hits("5xx", 10_000, 3.0);
        world.round(11_000);
        assert_eq!(world.all(), Sums { bad: 3, total: 13, measured: 9 });
    }

    #[test]
    fn a_time_without_control_is_counted_by_the_counters_that_went_on() {
        let mut world = World::new();
        world.pages.hits("2xx", 5_000, 100.0);
        world.pages.pulse("g1", 5_000);
        world.round(6_000);
        world.restart();
        let later = 5_000 + 10 * 60_000;
        world.pages.hits("2xx", later, 700.0);
        world.pages.pulse("g1", later);
        world.round(later + 1_000);
        assert_eq!(world.all(), Sums { bad: 0, total: 600, measured: 600 });
        assert_eq!(world.meter.ledger().sums("a", 3..4).unwrap().total, 60);
    }

    #[test]
    fn the_time_between_two_lives_of_the_gateway_is_not_measured() {
        let mut world = World::new();
        for (instance, at, value) in
            [("g1", 5_000, 10.0), ("g1", 20_000, 20.0), ("g2", 80_000, 4.0), ("g2", 95_000, 9.0)]
        {
            world.pages.life(instance, "2xx", at, value);
            world.pages.pulse(instance, at);
            world.round(at + 1_000);
        }
        assert_eq!(world.all(), Sums { bad: 0, total: 19, measured: 30 });
    }

    #[test]
    fn an_end_that_was_none_changes_nothing() {
        let mut world = World::new();
        for (at, value) in [(5_000, 10.0), (10_000, STALE), (15_000, 12.0)] {
            world.pages.hits("2xx", at, value);
            world.pages.pulse("g1", at);
            world.round(at + 1_000);
        }
        assert_eq!(world.all().total, 2);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_what_was_counted_and_counts_on() {
        let mut world = World::new();
        let hour = 3_600_000;
        for (at, value) in [(hour, 10.0), (hour + 15_000, 20.0)] {
            world.pages.hits("2xx", at, value);
            world.round(at + 1_000);
        }
        let mut pages = Pages::default();
        pages.hits("2xx", 600_000, 22.0);
        world.pages = pages;
        world.round(601_000);
        world.pages.hits("2xx", 615_000, 27.0);
        world.round(616_000);
        assert_eq!(world.all().total, 15);
    }

    fn asked(part: &str, whole: &str, times: f64) -> Counted {
        let question = |query: &str| Question { query: query.to_owned(), times };
        let what = What::Answers { part: Part::Bad(question(part)), whole: question(whole) };
        Counted { name: "a".to_owned(), what, server: None, since: None }
    }

    #[test]
    fn minutes_that_are_asked_for_are_counted_once_though_counting_is_killed_in_between() {
        let mut world = World::new();
        let want = || vec![asked("bad", "all", 0.5)];
        world.meter.want(want());
        for step in 0..40 {
            let at = step * 15_000 + 20_000;
            // An answer is worth half an event, so that every other one waits for the next.
            world.pages.tell(&[(NAME, "all")], at, 9.0);
            world.pages.tell(&[(NAME, "bad")], at, 2.0);
            if step % 7 == 3 {
                world.restart();
                world.meter.want(want());
            }
            world.round(at);
        }
        // Minute 0 was under way when counting began; the last one is not over.
        let sums = world.meter.ledger().sums("a", 1..10).unwrap();
        assert_eq!((sums.bad, sums.measured), (9, 540));
        assert!((36..=41).contains(&sums.total), "{sums:?}: restarts lose half an event each");
        assert_eq!(world.all(), sums);
    }

    #[test]
    fn what_is_not_answered_is_not_measured_and_what_is_no_number_of_events_is_told() {
        let mut world = World::new();
        world.meter.want(vec![asked("bad", "all", 1.0)]);
        world.pages.tell(&[(NAME, "all")], 50_000, 5.0);
        world.round(59_000);
        world.round(121_000);
        assert_eq!(world.all(), Sums { bad: 0, total: 5, measured: 60 }, "nothing bad is none");
        world.pages.tell(&[(NAME, "all")], 130_000, STALE);
        world.round(181_000);
        assert_eq!(world.all().measured, 60);
        world.pages.tell(&[(NAME, "all")], 230_000, -1.0);
        let told = world.meter.round(&world.pages, 243_000 + SETTLES).unwrap();
        assert!(told[0].what.contains("no number of events"), "{told:?}");
        world.pages.tell(&[(NAME, "all"), ("x", "1")], 231_000, 1.0);
        let told = world.meter.round(&world.pages, 243_000 + SETTLES).unwrap();
        assert!(told[0].what.contains("2 series: add them up"), "{told:?}");
        assert_eq!(world.meter.ledger().counted_until("a"), Some(180_000), "it is asked again");
    }

    #[test]
    fn a_server_that_nobody_knows_is_told_and_others_count_on() {
        let mut world = World::new();
        let elsewhere = Counted { name: "b".to_owned(), server: Some("theirs".to_owned()), ..hits() };
        world.meter.want(vec![hits(), elsewhere]);
        for (at, value) in [(5_000, 1.0), (20_000, 4.0)] {
            world.pages.hits("2xx", at, value);
            let told = world.meter.round(&world.pages, at + SETTLES).unwrap();
            let theirs = Trouble { objective: "b".to_owned(), what: "theirs is not known".to_owned() };
            assert_eq!(told, [theirs]);
        }
        assert_eq!(world.all().total, 3);
    }
}
