//! The wiring of records: the replicas' files into the stores of the home, freed of every secret that control knows. Does not
//! live here: reading the files (`process`), understanding, keeping and searching (`logs`).

pub(crate) mod declared;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use export::Board;
use logs::intake::{self, Output, Taken};
use logs::{Keep, Level, Redactor, Source};
use model::spec::SecretSource;
use model::{Place, ReleaseNumber};
use ports::secrets::{Error, Secret, Secrets};
use process::resume::{self, Mark};
use runtime::Snapshot;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::metrics::now;

/// How often the replicas' files are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long a crash of the machine may set the records back; the files they come from are read again from there.
const FLUSH: Duration = Duration::from_secs(1);
/// How often what is too much or too old goes.
const TIDY: Duration = Duration::from_secs(10);
/// How long a line must have been the last before nothing that belongs to it is waited for.
const SETTLED: Duration = Duration::from_secs(1);
/// How often a place is read on without a look at the others.
const ROUNDS: usize = 16;

/// Secrets that are looked up, with those that were found remembered, so that no line shows them.
struct Remembered<S> {
    inner: S,
    known: Arc<Known>,
}

/// The values of secrets that were found, what the manifests ask for, and what takes both out of lines.
#[derive(Default)]
pub(crate) struct Known {
    values: Mutex<Values>,
    declared: OnceLock<watch::Receiver<Arc<Snapshot>>>,
}

#[derive(Default)]
struct Values {
    values: BTreeSet<String>,
    /// For these values, and a place's patterns; none when a value was found since.
    redactors: BTreeMap<Place, (BTreeSet<String>, Arc<Redactor>)>,
}

impl Known {
    fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what the manifests ask for, from now on. A release is in the snapshot before it is started, so none of its
    /// lines is read without its patterns.
    pub(crate) fn follow(&self, snapshots: watch::Receiver<Arc<Snapshot>>) {
        // Only wired once.
        let _ = self.declared.set(snapshots);
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.declared.get().map(|snapshots| Arc::clone(&snapshots.borrow()))
    }

    /// What takes out everything that is known by now, at a place.
    pub(crate) fn redactor(&self, place: &Place) -> Result<Arc<Redactor>, String> {
        let patterns = self.snapshot().map(|snapshot| declared::patterns(&snapshot.world, place));
        let patterns = patterns.unwrap_or_default();
        let mut known = self.values();
        if let Some((_, redactor)) = known.redactors.get(place).filter(|(of, _)| *of == patterns) {
            return Ok(Arc::clone(redactor));
        }
        let built = patterns.iter().map(|text| logs::pattern(text)).collect::<Result<Vec<_>, _>>()?;
        let redactor = Arc::new(Redactor::new(known.values.iter().map(String::as_str), built)?);
        known.redactors.insert(place.clone(), (patterns, Arc::clone(&redactor)));
        Ok(redactor)
    }

    /// How much of a place's records is kept.
    fn retention(&self, place: &Place) -> Option<logs::Retention> {
        self.snapshot().map(|snapshot| declared::retention(&snapshot.world, place))
    }
}

/// Secrets that are looked up there, and what remembers those that were found.
pub(crate) fn remembering(inner: impl Secrets) -> (Arc<dyn Secrets>, Arc<Known>) {
    let known = Arc::<Known>::default();
    (Arc::new(Remembered { inner, known: Arc::clone(&known) }), known)
}

impl<S: Secrets> Secrets for Remembered<S> {
    fn resolve(&self, source: &SecretSource) -> Result<Secret, Error> {
        let secret = self.inner.resolve(source)?;
        let mut known = self.known.values();
        if !known.values.contains(secret.reveal()) {
            known.values.insert(secret.reveal().to_owned());
            known.redactors.clear();
        }
        Ok(secret)
    }
}

/// Opens what was kept before.
pub(crate) fn open(home: &Path) -> Result<Arc<Keep>, String> {
    let keep = Keep::new(cli::home::records(home));
    keep.open_all().map_err(|error| error.to_string())?;
    Ok(Arc::new(keep))
}

/// How many records there were, as a page of metrics. Counted since the beginning: a restart does not set them back.
pub(crate) fn page(keep: &Keep, board: &Board) -> String {
    let mut text = "# HELP log_messages_total Records made of what replicas print, by level.\n# TYPE log_messages_total counter\n".to_owned();
    for ((service, environment), store) in keep.stores() {
        for (release, counts) in store.counts() {
            for (level, count) in Level::ALL.into_iter().zip(counts) {
                text.push_str(&format!(
                    "log_messages_total{{app=\"{service}\",environment=\"{environment}\",version=\"{release}\",level=\"{level}\"}} {count}\n"
                ));
            }
        }
    }
    sent(&mut text, keep, board);
    text
}

/// What became of records that are sent on, and how many wait.
fn sent(text: &mut String, keep: &Keep, board: &Board) {
    let told = board.told();
    if told.is_empty() {
        return;
    }
    text.push_str("# HELP log_records_exported_total Records that were sent on, or could not be.\n# TYPE log_records_exported_total counter\n");
    for (Place { service, environment }, told) in &told {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let outcomes =
            [("sent", &told.counts.sent), ("refused", &told.counts.refused), ("missed", &told.missed)];
        for (outcome, of) in outcomes {
            text.push_str(&format!(
                "log_records_exported_total{{app=\"{service}\",environment=\"{environment}\",outcome=\"{outcome}\"}} {}\n",
                count(of)
            ));
        }
    }
    text.push_str("# HELP log_records_waiting Records that are still to be sent on.\n# TYPE log_records_waiting gauge\n");
    for (Place { service, environment }, told) in &told {
        let store = keep.store(service.as_str(), environment.as_str(), false).ok().flatten();
        let next = store.map_or(0, |store| store.next());
        let waiting = next.saturating_sub(told.next.load(Ordering::Relaxed));
        text.push_str(&format!(
            "log_records_waiting{{app=\"{service}\",environment=\"{environment}\"}} {waiting}\n"
        ));
    }
}

/// Looks up the secrets of every release: control that was started again has looked none up yet, and old lines may hold them.
pub(crate) fn learn(snapshot: &Snapshot, secrets: &dyn Secrets) {
    let releases = snapshot.world.services.values().flat_map(|service| service.releases.values());
    for spec in releases.flat_map(|release| release.specs.values()) {
        for source in spec.secrets.values() {
            if let Err(error) = secrets.resolve(source) {
                tracing::warn!(%error, "a release's secret is not known, and not taken out of its old lines");
            }
        }
    }
}

/// Takes in the replicas' output.
pub(crate) struct Intake {
    home: PathBuf,
    keep: Arc<Keep>,
    known: Arc<Known>,
    /// What was said of each place that makes trouble, or of all.
    troubled: BTreeMap<Option<Place>, String>,
    flushed: Instant,
    tidied: Instant,
}

impl Intake {
    pub(crate) fn new(home: &Path, keep: Arc<Keep>, known: Arc<Known>) -> Self {
        Self {
            home: home.to_owned(),
            keep,
            known,
            troubled: BTreeMap::new(),
            flushed: Instant::now(),
            tidied: Instant::now(),
        }
    }

    /// Takes in what comes, for ever.
    pub(crate) async fn run(mut self) -> Infallible {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let round = tokio::task::spawn_blocking(move || {
                self.round();
                self
            });
            match round.await {
                Ok(intake) => self = intake,
                // It panicked and has said so; or the program ends.
                Err(_) => return std::future::pending().await,
            }
        }
    }

    fn round(&mut self) {
        let places = match process::logs::places(&self.home) {
            Ok(places) => places,
            Err(error) => {
                self.trouble(None, Some(error.to_string()));
                return;
            }
        };
        self.trouble(None, None);
        let (flush, tidy) = (self.flushed.elapsed() >= FLUSH, self.tidied.elapsed() >= TIDY);
        for place in places {
            let trouble = self.place(&place, flush, tidy).err();
            self.trouble(Some(place), trouble);
        }
        if flush {
            self.flushed = Instant::now();
        }
        if tidy {
            self.tidied = Instant::now();
        }
    }

    /// Says what is wrong at a place, or everywhere, once, and when it is over.
    fn trouble(&mut self, place: Option<Place>, trouble: Option<String>) {
        let at = place.as_ref().map_or_else(|| "everywhere".to_owned(), ToString::to_string);
        match trouble {
            Some(error) if self.troubled.get(&place) != Some(&error) => {
                tracing::error!(event = "records.stuck", at, %error, "output cannot be kept as records; it is tried again");
                self.troubled.insert(place, error);
            }
            None if self.troubled.remove(&place).is_some() => {
                tracing::info!(event = "records.recovered", at, "output can be kept as records again");
            }
            Some(_) | None => {}
        }
    }

    fn place(&self, place: &Place, flush: bool, tidy: bool) -> Result<(), String> {
        // Without it nothing is kept: better no line than a secret.
        let redactor = self.known.redactor(place)?;
        let store = self.keep.store(place.service.as_str(), place.environment.as_str(), true);
        let Some(store) = store.map_err(|error| error.to_string())? else { return Ok(()) };
        let files = Files { home: &self.home, place };
        for _ in 0..ROUNDS {
            if !intake::take(&files, &store, &redactor).map_err(|error| error.to_string())? {
                break;
            }
        }
        if let Some(retention) = self.known.retention(place).filter(|_| tidy) {
            store.retain(retention);
        }
        let kept = match (tidy, flush) {
            (true, _) => store.tidy(now().saturating_mul(1000)),
            (false, true) => store.flush(),
            (false, false) => Ok(()),
        };
        kept.map_err(|error| error.to_string())
    }
}

/// The files of one place's replicas.
struct Files<'a> {
    home: &'a Path,
    place: &'a Place,
}

/// A mark as text.
struct Written(Mark);

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| std::fmt::Error)?)
    }
}

impl Output for Files<'_> {
    type Mark = Written;

    fn sources(&self) -> io::Result<Vec<(String, Source)>> {
        let sources = process::logs::sources(self.home, self.place, None)?.into_iter();
        let named = |source: process::logs::Source| {
            let source = Source { release: source.release.0, replica: source.ordinal };
            (format!("{}/{}", source.release, source.replica), source)
        };
        Ok(sources.map(named).collect())
    }

    fn read(&self, of: Source, from: Option<&str>) -> io::Result<Option<Taken<Written>>> {
        let release = ReleaseNumber(of.release);
        let group = ports::fleet::GroupId { place: self.place.clone(), release };
        let directory =
            process::logs::directory(self.home, &process::ReplicaId { group, ordinal: of.replica });
        let mark = from.and_then(|mark| serde_json::from_str::<Mark>(mark).ok());
        let Some(piece) = resume::read(&directory, mark.as_ref())? else { return Ok(None) };
        let lines = piece.lines.into_iter().map(|line| {
            let text = String::from_utf8_lossy(&line.bytes).into_owned();
            (text, micros(line.written), Written(line.mark))
        });
        Ok(Some(Taken {
            lines: lines.collect(),
            settled: piece.quiet >= SETTLED,
            missed: piece.missed,
            at: micros(SystemTime::now()),
        }))
    }
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_by_release_and_level() {
        let home = tempfile::tempdir().unwrap();
        let keep = open(home.path()).unwrap();
        let store = keep.store("shop", "dev", true).unwrap().unwrap();
        let lines =
            ["ERROR no", "INFO yes", "ERROR no"].map(|text| logs::Line { at: 1, text: text.to_owned() });
        store.append("3/1", "m", Source { release: 3, replica: 1 }, &lines).unwrap();
        let page = page(&keep, &Board::default());
        let wanted = r#"log_messages_total{app="shop",environment="dev",version="3",level="error"} 2"#;
        assert!(page.lines().any(|line| line == wanted), "{page}");
    }

    #[test]
    fn a_secret_that_was_looked_up_is_taken_out_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "hush hush").unwrap();
        let (secrets, known) = remembering(crate::secrets::FromHere);
        let place = Place { service: "shop".parse().unwrap(), environment: "dev".parse().unwrap() };
        assert_eq!(known.redactor(&place).unwrap().redact("hush hush"), "hush hush");
        let _ = secrets.resolve(&SecretSource::File(path.display().to_string())).unwrap();
        assert_eq!(known.redactor(&place).unwrap().redact("hush hush"), "[redacted]");
    }
}
