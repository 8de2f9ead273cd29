//! Sends a service's records on, as they come, in order: each at least once as long as its store keeps it. How far a place was sent is
//! written beside its store after each request that was taken, so that a crash repeats one request at most; a destination that is
//! away costs a try every so often, and nothing waits in memory. Does not live here: records (`logs`), and sending (`otlp`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use logs::{Keep, Level, Limits, Query, Record, Store, Value, told};
use model::Place;
use otlp::proto::common::v1::any_value;
use otlp::proto::common::v1::{AnyValue, KeyValue};
use otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use otlp::value::{flag, integer, number, resource, scope, text};
use otlp::{Counts, Courier, Destination, Logs};
use tokio::task::JoinHandle;

/// How often new records are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Records of one request, and bytes of their lines.
const MOST_RECORDS: usize = 512;
const MOST_BYTES: usize = 1 << 20;
/// How far back a place begins that was never sent on.
const FIRST_US: i64 = 5 * 60 * 1_000_000;
/// The wait before a request is tried again; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How long a wait that a destination asks for is taken to be meant.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// The file that says how far a place was sent.
const SENT: &str = "sent.json";
/// Who tells it.
const SCOPE: &str = "shipshape";

/// What became of a place's records.
#[derive(Debug, Default)]
pub struct Told {
    /// Of those that were sent.
    pub counts: Arc<Counts>,
    /// How many went by retention before they could be sent.
    pub missed: AtomicU64,
    /// The number of the next record to be sent.
    pub next: AtomicU64,
}

/// What became of the records of each place that is sent on, for whoever tells of it.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<Place, Arc<Told>>>);

impl Board {
    /// All of it.
    pub fn told(&self) -> Vec<(Place, Arc<Told>)> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().map(|(place, told)| (place.clone(), Arc::clone(told))).collect()
    }

    /// Of a place: it counts on when the place goes elsewhere.
    fn of(&self, place: &Place) -> Arc<Told> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(place.clone()).or_default())
    }
}

/// All records that are sent on.
pub struct RecordExports {
    keep: Arc<Keep>,
    folder: PathBuf,
    now: fn() -> i64,
    board: Arc<Board>,
    lines: BTreeMap<Place, (Destination, JoinHandle<()>)>,
}

impl RecordExports {
    /// Sends nothing yet. `folder` is where the stores of `keep` are; `now`: microseconds since 1970.
    pub fn new(keep: Arc<Keep>, folder: PathBuf, now: fn() -> i64, board: Arc<Board>) -> Self {
        Self { keep, folder, now, board, lines: BTreeMap::new() }
    }

    /// Sends to these destinations from now on, and nothing else. Must be called within a runtime.
    pub fn follow(&mut self, orders: BTreeMap<Place, Destination>) {
        self.lines.retain(|place, (destination, task)| {
            let stays = orders.get(place) == Some(destination);
            if !stays {
                task.abort();
            }
            stays
        });
        for (place, destination) in orders {
            if self.lines.contains_key(&place) {
                continue;
            }
            let told = self.board.of(&place);
            let (service, environment) = (place.service.as_str(), place.environment.as_str());
            let line = Line {
                place: place.clone(),
                path: Keep::folder(&self.folder, service, environment).join(SENT),
                courier: Courier::new(destination.clone(), Arc::clone(&told.counts)),
                told,
                now: self.now,
            };
            let keep = Arc::clone(&self.keep);
            self.lines.insert(place, (destination, tokio::spawn(line.run(keep))));
        }
    }
}

impl Drop for RecordExports {
    fn drop(&mut self) {
        self.lines.values().for_each(|(_, task)| task.abort());
    }
}

struct Line {
    place: Place,
    path: PathBuf,
    courier: Courier<Logs>,
    told: Arc<Told>,
    now: fn() -> i64,
}

impl Line {
    async fn run(mut self, keep: Arc<Keep>) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next = sent(&self.path);
        loop {
            let _ = ticks.tick().await;
            let (service, environment) = (self.place.service.as_str(), self.place.environment.as_str());
            let store = match keep.store(service, environment, true) {
                Ok(Some(store)) => store,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(place = %self.place, %error, "records cannot be sent on");
                    continue;
                }
            };
            while next.is_none_or(|next| store.next() > next) {
                next = self.batch(Arc::clone(&store), next).await;
            }
        }
    }

    /// Sends the next records, for as long as it takes. Says which come then.
    async fn batch(&mut self, store: Arc<Store>, next: Option<u64>) -> Option<u64> {
        let now = (self.now)();
        let reading = tokio::task::spawn_blocking(move || read(&store, next, now)).await;
        let Ok((records, then)) = reading else { return next };
        if let (Some(next), Some(first)) = (next, records.first())
            && first.number > next
        {
            let missed = first.number - next;
            self.told.missed.fetch_add(missed, Ordering::Relaxed);
            tracing::warn!(event = "records.missed", place = %self.place, missed, "records were too old to be kept before they could be sent on");
        }
        if !records.is_empty() {
            let mut retry = FIRST_RETRY;
            while let Err(asked) = self.courier.send(parts(&self.place, &records)).await {
                tokio::time::sleep(asked.map_or(retry, |asked| asked.clamp(retry, LONGEST_ASKED))).await;
                retry = (retry * 2).min(LONGEST_RETRY);
            }
        }
        self.told.next.store(then, Ordering::Relaxed);
        if let Err(error) = write(&self.path, then) {
            tracing::warn!(path = %self.path.display(), %error, "how far records were sent is not written down; a restart may repeat some");
        }
        Some(then)
    }
}

/// The next records, and which come after them.
fn read(store: &Store, next: Option<u64>, now: i64) -> (Vec<Record>, u64) {
    let from = next.is_none().then_some(now - FIRST_US);
    let query = Query { from, after: next, oldest: true, most: MOST_RECORDS, ..Query::default() };
    let limits = Limits { bytes: MOST_BYTES, ..Limits::default() };
    let found = store.search(&query, &limits);
    let mut records = found.records;
    records.sort_by_key(|record| record.number);
    let is_whole = found.cut.is_none() && records.len() < MOST_RECORDS;
    let behind = records.last().map(|last| last.number + 1);
    let then = if is_whole { found.next } else { behind.or(next).unwrap_or_default() };
    (records, then)
}

fn sent(path: &Path) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Sent {
        next: u64,
    }
    let text = fs::read(path).ok()?;
    serde_json::from_slice::<Sent>(&text).ok().map(|sent| sent.next)
}

fn write(path: &Path, next: u64) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::json!({"next": next}).to_string())?;
    fs::rename(&new, path)
}

/// Records as the protocol writes them, those of one replica together.
fn parts(place: &Place, records: &[Record]) -> Vec<ResourceLogs> {
    let mut parts: Vec<((u64, u32), Vec<LogRecord>)> = Vec::new();
    for record in records {
        let of = (record.release, record.replica);
        let said = said(place, record);
        match parts.iter_mut().find(|(known, _)| *known == of) {
            Some((_, records)) => records.push(said),
            None => parts.push((of, vec![said])),
        }
    }
    let part = |((release, replica), log_records): ((u64, u32), Vec<LogRecord>)| {
        let about = vec![
            text("service.name", place.service.as_str()),
            text("service.version", release.to_string()),
            text("service.instance.id", format!("{place}/{release}/{replica}")),
            text("deployment.environment.name", place.environment.as_str()),
        ];
        let scope_logs = vec![ScopeLogs { scope: scope(SCOPE), log_records, ..ScopeLogs::default() }];
        ResourceLogs { resource: resource(about), scope_logs, ..ResourceLogs::default() }
    };
    parts.into_iter().map(part).collect()
}

fn said(place: &Place, record: &Record) -> LogRecord {
    let found = told(&record.line);
    let mut attributes: Vec<KeyValue> = vec![text("log.record.uid", format!("{place}/{}", record.number))];
    attributes.extend(found.error_type.map(|kind| text("error.type", kind)));
    attributes.extend(found.fields.into_iter().map(|(path, value)| match value {
        Value::Text(value) => text(&path, value),
        Value::Whole(value) => integer(&path, value),
        Value::Number(value) => number(&path, value),
        Value::Bool(value) => flag(&path, value),
    }));
    let mut id = |name: &str, given: Option<String>, bytes: usize| {
        let given = given?;
        let id = bytes_of(&given).filter(|id| id.len() == bytes);
        if id.is_none() {
            attributes.push(text(name, given));
        }
        id
    };
    let trace_id = id("trace_id", found.trace, 16).unwrap_or_default();
    let span_id = id("span_id", found.span, 8).unwrap_or_default();
    let at = u64::try_from(record.at).unwrap_or_default().saturating_mul(1000);
    let (severity, severity_text) = severity(record.level);
    LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at,
        severity_number: severity as i32,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(found.message)) }),
        attributes,
        trace_id,
        span_id,
        ..LogRecord::default()
    }
}

fn severity(level: Level) -> (SeverityNumber, &'static str) {
    match level {
        Level::Trace => (SeverityNumber::Trace, "TRACE"),
        Level::Debug => (SeverityNumber::Debug, "DEBUG"),
        Level::Unknown => (SeverityNumber::Unspecified, ""),
        Level::Info => (SeverityNumber::Info, "INFO"),
        Level::Warn => (SeverityNumber::Warn, "WARN"),
        Level::Error => (SeverityNumber::Error, "ERROR"),
        Level::Fatal => (SeverityNumber::Fatal, "FATAL"),
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let whole = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    whole.then(|| pairs.map(byte).collect::<Option<Vec<u8>>>())?
}

#[cfg(test)]
mod tests;
