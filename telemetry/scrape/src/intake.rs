//! What one target says, as samples: with the target's own labels, staleness markers for what it no longer says, and the
//! series that tell how the asking went.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use exposition::{Family, Format, Kind, Limits};
use promql::labels::NAME;
use promql::{Labels, Point, STALE};
use store::{SeriesRef, Store};

use crate::exemplars::Exemplar;

/// How far ahead of the asking the times on a page may be, in milliseconds. A sample of a far future would end its series for
/// everything before, and the stretches of time that the store keeps open with it.
const MOST_AHEAD: i64 = 10 * 60 * 1000;
/// The series that tell how the asking went. A page that says one of them is not believed.
const TOLD: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// One target over time.
pub struct Intake {
    /// What every series of it carries.
    labels: Labels,
    limits: Limits,
    /// By the text that a page names a series with.
    known: HashMap<Box<str>, Known>,
    /// The series that tell how the asking went; made when they are first needed.
    told: BTreeMap<&'static str, SeriesRef>,
    /// How many pages were taken in.
    round: u64,
    /// What the metrics of the latest page mean.
    families: BTreeMap<String, Family>,
    /// Those of the latest page.
    exemplars: Vec<Exemplar>,
}

struct Known {
    series: SeriesRef,
    round: u64,
    /// Whether its samples carry times of their own: then it ends by itself, without a marker.
    timed: bool,
}

/// How an asking went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Samples on the page.
    pub samples: usize,
    /// Why there are none, in words.
    pub failure: Option<String>,
    /// Series that the store refused, and why the first of them was.
    pub refused: (usize, Option<String>),
}

impl Intake {
    /// A target whose series carry these labels, `job` and `instance` among them.
    pub fn new(labels: Labels, limits: Limits) -> Self {
        let (known, told, families) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { labels, limits, known, told, round: 0, families, exemplars: Vec::new() }
    }

    /// What the metrics of the latest page mean.
    pub fn families(&self) -> &BTreeMap<String, Family> {
        &self.families
    }

    /// The exemplars of the latest page, once.
    pub fn exemplars(&mut self) -> Vec<Exemplar> {
        std::mem::take(&mut self.exemplars)
    }

    /// Takes in what a target said at a time (milliseconds since 1970), or why it said nothing.
    pub fn take(
        &mut self,
        store: &Store,
        at: i64,
        said: Result<(&str, Format), String>,
        lasted: Duration,
    ) -> Outcome {
        self.round += 1;
        let is_open = matches!(said, Ok((_, Format::OpenMetrics)));
        let page = said.and_then(|(text, format)| {
            exposition::read(text, format, &self.limits).map_err(|error| error.to_string())
        });
        let mut samples: Vec<(SeriesRef, Point)> = Vec::new();
        // Those that carry times of their own: what they say of clocks is another's.
        let mut timed: Vec<(SeriesRef, Point)> = Vec::new();
        let mut refused = (0, None);
        let mut added = 0;
        let (count, failure) = match page {
            Ok(page) => {
                for entry in &page.entries {
                    let series = match entry.at {
                        Some(said) if said > at.saturating_add(MOST_AHEAD) => {
                            Err(format!("a sample of {} is more than 10 minutes ahead", entry.series))
                        }
                        at => self.series(store, entry.series, at.is_some(), &mut added),
                    };
                    match series {
                        Ok(series) => {
                            let into = if entry.at.is_some() { &mut timed } else { &mut samples };
                            into.push((series, Point { at: entry.at.unwrap_or(at), value: entry.value }));
                        }
                        Err(why) => {
                            refused.0 += 1;
                            refused.1.get_or_insert(why);
                        }
                    }
                }
                let named = |(name, it): (&str, Family)| match is_open {
                    true => (series_name(name, &it), it),
                    false => (name.to_owned(), it),
                };
                self.families = page.families.into_iter().map(named).collect();
                let exemplars = page.exemplars.into_iter().filter_map(|it| {
                    let series = self.labelled(&exposition::labels(it.series).ok()?);
                    let at = it.at.unwrap_or(at).min(at.saturating_add(MOST_AHEAD));
                    Some(Exemplar { series, labels: it.labels, value: it.value, at })
                });
                self.exemplars = exemplars.collect();
                (page.entries.len(), None)
            }
            Err(why) => (0, Some(why)),
        };
        self.end_the_missing(at, &mut samples);
        let up = f64::from(u8::from(failure.is_none()));
        let values = [up, lasted.as_secs_f64(), count as f64, count as f64, f64::from(added)];
        for (name, value) in TOLD.into_iter().zip(values) {
            samples.extend(self.told(store, name).map(|series| (series, Point { at, value })));
        }
        let no_room = store.append_now(&samples).no_room + store.append(&timed).no_room;
        if no_room > 0 {
            refused.0 += no_room;
            refused.1.get_or_insert("the disk takes no samples, and no more can wait for it".to_owned());
        }
        Outcome { samples: count, failure, refused }
    }

    /// The target is not asked any more: everything of it ends.
    pub fn end(&mut self, store: &Store, at: i64) {
        self.round += 1;
        let mut samples = Vec::new();
        self.end_the_missing(at, &mut samples);
        samples.extend(self.told.values().map(|series| (*series, Point { at, value: STALE })));
        store.append_now(&samples);
        self.told.clear();
    }

    fn end_the_missing(&mut self, at: i64, samples: &mut Vec<(SeriesRef, Point)>) {
        let round = self.round;
        self.known.retain(|_, known| {
            let said = known.round == round;
            if !said && !known.timed {
                samples.push((known.series, Point { at, value: STALE }));
            }
            said
        });
    }

    fn series(
        &mut self,
        store: &Store,
        text: &str,
        timed: bool,
        added: &mut u32,
    ) -> Result<SeriesRef, String> {
        if let Some(known) = self.known.get_mut(text) {
            (known.round, known.timed) = (self.round, timed);
            return Ok(known.series);
        }
        let labels = self.labelled(&exposition::labels(text)?);
        if TOLD.contains(&labels.name()) && labels == self.labels.with(NAME, labels.name()) {
            return Err(format!("{} tells how the asking went, which the page cannot know", labels.name()));
        }
        let series = store.series(&labels).map_err(|refused| refused.to_string())?;
        self.known.insert(text.into(), Known { series, round: self.round, timed });
        *added += 1;
        Ok(series)
    }

    /// With the target's labels; what the page says under the same names goes on as `exported_…`.
    fn labelled(&self, said: &Labels) -> Labels {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in said.iter() {
            let mut name = name.to_string();
            while name != NAME && !self.labels.get(&name).is_empty() {
                name.insert_str(0, "exported_");
            }
            pairs.push((name, value.to_string()));
        }
        pairs.extend(self.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        Labels::new(pairs)
    }

    fn told(&mut self, store: &Store, name: &'static str) -> Option<SeriesRef> {
        if let Some(series) = self.told.get(name) {
            return Some(*series);
        }
        let series = store.series(&self.labels.with(NAME, name)).ok()?;
        self.told.insert(name, series);
        Some(series)
    }
}

/// What a counter's samples are called: OpenMetrics names the family without the suffix that its samples must have.
fn series_name(family: &str, about: &Family) -> String {
    if about.kind == Kind::Counter && !family.ends_with("_total") {
        return format!("{family}_total");
    }
    family.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::{Options, Query, Value, evaluate, read};
    use tempfile::TempDir;

    const NOW: i64 = 1_700_000_000_000;
    const STEP: i64 = 15_000;

    struct World {
        store: Store,
        intake: Intake,
        at: i64,
        _home: TempDir,
    }

    impl World {
        fn new() -> Self {
            let home = TempDir::new().unwrap();
            let store = Store::open(home.path(), store::Config::default()).unwrap();
            let labels = Labels::new([("job", "shop"), ("instance", "127.0.0.1:80")]);
            Self { store, intake: Intake::new(labels, Limits::default()), at: NOW, _home: home }
        }

        fn said(&mut self, text: &str) -> Outcome {
            self.at += STEP;
            let said = Ok((text, Format::Prometheus));
            self.intake.take(&self.store, self.at, said, Duration::from_millis(5))
        }

        fn silent(&mut self) -> Outcome {
            self.at += STEP;
            self.intake.take(&self.store, self.at, Err("connection refused".to_owned()), Duration::ZERO)
        }

        /// The series and values of a query now.
        fn now(&self, query: &str) -> Vec<(String, f64)> {
            let expr = read(query).unwrap();
            let answer = evaluate(&self.store, &expr, Query::Instant(self.at), &Options::default()).unwrap();
            let Value::Vector(samples) = answer.value else { panic!("a vector") };
            let mut all: Vec<(String, f64)> =
                samples.into_iter().map(|it| (it.labels.to_string(), it.point.value)).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        }
    }

    #[test]
    fn samples_carry_the_targets_labels_and_colliding_ones_are_kept() {
        let mut world = World::new();
        let outcome = world.said("hits{job=\"mine\",path=\"/\"} 3\n");
        assert_eq!((outcome.samples, outcome.failure), (1, None));
        let labels = "hits{exported_job=\"mine\", instance=\"127.0.0.1:80\", job=\"shop\", path=\"/\"}";
        assert_eq!(world.now("hits"), [(labels.to_owned(), 3.0)]);
        assert_eq!(world.now("up")[0].1, 1.0);
        assert_eq!(world.now("scrape_samples_scraped")[0].1, 1.0);
        assert_eq!(world.now("scrape_series_added")[0].1, 1.0);
    }

    #[test]
    fn a_series_that_is_not_said_any_more_ends_at_once_and_can_come_back() {
        let mut world = World::new();
        world.said("a 1\nb 1\n");
        world.said("a 2\n");
        assert_eq!((world.now("a").len(), world.now("b").len()), (1, 0));
        world.said("a 3\nb 5\n");
        assert_eq!(world.now("b")[0].1, 5.0);
    }

    #[test]
    fn a_silent_target_is_down_and_its_series_end() {
        let mut world = World::new();
        world.said("a 1\n");
        let outcome = world.silent();
        assert_eq!(outcome.failure.as_deref(), Some("connection refused"));
        assert_eq!((world.now("a").len(), world.now("up")[0].1), (0, 0.0));
        world.said("a 1\nbroken");
        assert_eq!((world.now("a").len(), world.now("up")[0].1), (0, 0.0));
        world.said("a 1\n");
        assert_eq!((world.now("a").len(), world.now("up")[0].1), (1, 1.0));
    }

    #[test]
    fn a_target_that_is_gone_leaves_nothing() {
        let mut world = World::new();
        world.said("a 1\n");
        world.at += STEP;
        world.intake.end(&world.store, world.at);
        assert_eq!((world.now("a").len(), world.now("up").len()), (0, 0));
    }

    #[test]
    fn a_page_cannot_say_that_it_is_up_nor_end_its_future() {
        let mut world = World::new();
        let ahead = NOW + STEP + 11 * 60 * 1000;
        let outcome = world.said(&format!("up 0\nup{{instance=\"other\"}} 0\na 1 {ahead}\nb 1\n"));
        assert_eq!((outcome.samples, outcome.refused.0), (4, 2));
        assert!(outcome.refused.1.unwrap().contains("up tells how the asking went"));
        assert_eq!(world.now("up{exported_instance=\"\"}")[0].1, 1.0);
        assert_eq!(world.now("up{exported_instance=\"other\"}")[0].1, 0.0);
        assert_eq!(world.said("up 0\na 2\n").failure, None);
        assert_eq!((world.now("a")[0].1, world.now("up")[0].1), (2.0, 1.0));
    }

    #[test]
    fn a_bomb_of_labels_is_refused_and_said_while_the_rest_lives() {
        let mut world = World::new();
        let long = "x".repeat(3000);
        let outcome = world.said(&format!("a 1\nb{{l=\"{long}\"}} 1\n"));
        assert_eq!(outcome.refused.0, 1);
        assert!(outcome.refused.1.unwrap().contains("2048 bytes"));
        assert_eq!(world.now("a").len(), 1);
    }
}
