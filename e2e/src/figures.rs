//! What the benchmarks of the whole product share: what a process takes of the machine, what the journal says of time,
//! and how a figure is told. Does not live here: what is measured.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use load::Quantiles;
use serde_json::{Value, json};

use crate::Stage;

/// Ticks of the processor's time in a second: the same on every Linux that people run.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process takes of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Memory in bytes, what is shared counted by its share.
    pub proportional_bytes: u64,
    /// Memory in bytes, what is shared counted whole.
    pub resident_bytes: u64,
    /// Processor time since its start.
    pub processor: Duration,
}

impl Taken {
    /// By a process.
    ///
    /// # Panics
    /// When it is gone.
    pub fn by(pid: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the process lives");
        let rollup = read("smaps_rollup");
        let bytes = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
                * 1024
        };
        // Behind the name in brackets, which may hold anything: the 12th and the 13th field.
        let stat = read("stat");
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks =
            |index: usize| fields.get(index).and_then(|it| it.parse::<f64>().ok()).unwrap_or_default();
        Self {
            proportional_bytes: bytes("Pss:"),
            resident_bytes: bytes("Rss:"),
            processor: Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_PER_SECOND),
        }
    }
}

/// Bytes as the mebibytes that people read.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The quantiles of durations as a part of a figure, in milliseconds.
pub fn quantiles(of: &[Duration]) -> Value {
    let found = Quantiles::of(of.iter().copied());
    let ms = |us: u64| us as f64 / 1e3;
    json!({
        "count": found.count, "p50Ms": ms(found.p50_us), "p99Ms": ms(found.p99_us), "maxMs": ms(found.max_us),
    })
}

/// Whether 99 of 100 durations are not above a bar.
pub fn p99_is_within(of: &[Duration], bar: Duration) -> bool {
    u128::from(Quantiles::of(of.iter().copied()).p99_us) <= bar.as_micros()
}

/// The same moment on both clocks: what the journal's times are on the ledger's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    /// Looks at both.
    pub fn read() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// A moment of the journal; `None` when it is before the clocks were read.
    pub fn steady(&self, at: SystemTime) -> Option<Instant> {
        Some(self.steady + at.duration_since(self.wall).ok()?)
    }
}

impl Stage {
    /// When each event of this kind happened, in the journal's order.
    ///
    /// # Panics
    /// When the journal cannot be read.
    pub fn times_of(&self, kind: &str) -> Vec<SystemTime> {
        let events = self.run(&["journal", "export"]).ok();
        let events = events.stdout.lines().map(|line| serde_json::from_str(line).expect("an event is JSON"));
        let events = events.filter(|event: &Value| event["kind"] == kind);
        events.map(|event| moment(event["at"].as_str().expect("every event has its time"))).collect()
    }
}

/// A time of the journal.
fn moment(text: &str) -> SystemTime {
    let at: model::Timestamp = serde_json::from_value(json!(text)).expect("a time of the journal");
    let micros = u64::try_from(at.as_micros()).expect("a time after 1970");
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}
