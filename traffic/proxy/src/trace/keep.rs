//! Which requests are kept as traces, within a limit. Does not live here: what a trace says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::otlp::Sample;

use crate::trace::context::Position;
use crate::trace::{Kept, Trace};

/// Whoever gets the traces that are kept. It is called by threads that serve requests, so it never waits.
pub type Sink = Arc<dyn Fn(Trace) + Send + Sync>;

/// That the requests of a place are traced. Clones are one and the same: they share the limit.
#[derive(Clone)]
pub struct Tracing(Arc<Inner>);

struct Inner {
    /// Ids whose lowest 56 bits are at least this are kept.
    threshold: u64,
    slower_than: Duration,
    limit: u32,
    sink: Sink,
    /// What seconds are counted from.
    since: Instant,
    /// The second, and how many were kept in it.
    window: AtomicU64,
    limited: AtomicU64,
}

impl Tracing {
    /// Keeps what this sample says, and gives it to `sink`.
    pub fn new(sample: &Sample, sink: Sink) -> Self {
        Self(Arc::new(Inner {
            threshold: threshold(sample.ratio),
            slower_than: sample.slower_than,
            limit: sample.limit,
            sink,
            since: Instant::now(),
            window: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        }))
    }

    /// How many traces would have been kept, but for the limit.
    pub fn limited(&self) -> u64 {
        self.0.limited.load(Ordering::Relaxed)
    }

    /// Whether a trace that begins here is kept even when nothing of note happens.
    pub(crate) fn draws(&self, trace_id: u128) -> bool {
        (trace_id & u128::from(RANDOM)) as u64 >= self.0.threshold
    }

    /// Whether a request is kept, and why. The ordinary ones have half of the limit at most, so that a flood of them (a
    /// client says of its own trace whether it is sampled) does not hide what failed.
    pub(crate) fn keeps(&self, position: Position, failed: bool, latency: Duration) -> Option<Kept> {
        let kept = match (failed, position.parent) {
            (true, _) => Kept::Failed,
            (false, _) if latency > self.0.slower_than => Kept::Slow,
            (false, Some(_)) if position.is_sampled() => Kept::Parent,
            (false, None) if position.is_sampled() => Kept::Ratio,
            (false, Some(_) | None) => return None,
        };
        let room = match kept {
            Kept::Failed | Kept::Slow => self.0.limit,
            Kept::Parent | Kept::Ratio => self.0.limit.div_ceil(2),
        };
        let admitted = self.admit(room, self.0.since.elapsed().as_secs());
        if !admitted {
            self.0.limited.fetch_add(1, Ordering::Relaxed);
        }
        admitted.then_some(kept)
    }

    pub(crate) fn tell(&self, trace: Trace) {
        (self.0.sink)(trace);
    }

    fn admit(&self, room: u32, second: u64) -> bool {
        let next = |window: u64| {
            let count = if window >> 32 == second & LOW { window & LOW } else { 0 };
            (count < u64::from(room)).then_some(second << 32 | (count + 1))
        };
        self.0.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

impl PartialEq for Tracing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tracing {}

impl std::fmt::Debug for Tracing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracing").field("limit", &self.0.limit).finish_non_exhaustive()
    }
}

/// The bits of a trace's id that are random in every standard.
const RANDOM: u64 = (1 << 56) - 1;
const LOW: u64 = 0xffff_ffff;

/// OpenTelemetry's: of 2^56 ids, `ratio` lie at or above it. The same id is kept or not by everybody with this ratio.
fn threshold(ratio: f64) -> u64 {
    ((1.0 - ratio.clamp(0.0, 1.0)) * (RANDOM + 1) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracing(ratio: f64, limit: u32) -> Tracing {
        let sample = Sample { ratio, slower_than: Duration::from_secs(1), limit };
        Tracing::new(&sample, Arc::new(|_| {}))
    }

    fn position(sampled: bool, parent: Option<u64>) -> Position {
        Position { trace_id: 1, span_id: 1, flags: u8::from(sampled), parent }
    }

    #[test]
    fn the_ratio_is_drawn_from_the_lowest_56_bits_of_the_id() {
        let half = tracing(0.5, 1);
        assert!(half.draws(1 << 55) && half.draws(u128::MAX));
        assert!(!half.draws((1 << 55) - 1) && !half.draws(u128::from(RANDOM >> 1) | 0xff << 120));
        assert!(tracing(1.0, 1).draws(0));
        assert!(!tracing(0.0, 1).draws(u128::MAX));
        // Whoever keeps fewer keeps none that the other does not.
        let (few, many) = (tracing(0.1, 1), tracing(0.3, 1));
        let ids: Vec<u128> =
            (0..10_000_u128).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)).collect();
        assert!(ids.iter().all(|id| !few.draws(*id) || many.draws(*id)));
        let kept = ids.iter().filter(|id| few.draws(**id)).count();
        assert!((900..1100).contains(&kept), "{kept}");
    }

    #[test]
    fn what_failed_or_was_slow_is_kept_and_a_parent_decides_on_the_rest() {
        let quick = Duration::from_millis(1);
        let keeps = |position, failed, latency| tracing(0.0, 10).keeps(position, failed, latency);
        assert_eq!(keeps(position(false, Some(1)), true, quick), Some(Kept::Failed));
        assert_eq!(keeps(position(false, None), false, Duration::from_secs(2)), Some(Kept::Slow));
        assert_eq!(keeps(position(true, Some(1)), false, quick), Some(Kept::Parent));
        assert_eq!(keeps(position(true, None), false, quick), Some(Kept::Ratio));
        assert_eq!(keeps(position(false, Some(1)), false, quick), None);
        assert_eq!(keeps(position(false, None), false, quick), None);
    }

    #[test]
    fn a_flood_of_ordinary_traces_leaves_room_for_those_that_failed() {
        let tracing = tracing(1.0, 10);
        let admitted = |room, second| (0..100).filter(|_| tracing.admit(room, second)).count();
        assert_eq!(admitted(5, 7), 5);
        assert_eq!(admitted(10, 7), 5);
        assert_eq!(admitted(10, 8), 10);
        let nothing = self::tracing(1.0, 0);
        assert_eq!(nothing.keeps(position(true, None), true, Duration::ZERO), None);
        assert_eq!(nothing.limited(), 1);
    }
}
