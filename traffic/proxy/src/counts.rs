//! Counters that many workers write and few readers add up. Each worker writes its own shard, so writing is one
//! uncontended atomic addition; nothing here takes a lock while a request runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use model::latency::{self, BUCKETS, Histogram};

use crate::error::Code;
use crate::replica::lock;
use crate::users::News;

/// The client asks too much.
const TOO_MANY_REQUESTS: u16 = 429;

/// Requests by status class, those that were turned away, and their latencies.
pub(crate) struct Counts {
    classes: [AtomicU64; 5],
    throttled: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            throttled: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_us: AtomicU64::new(0),
        }
    }
}

impl Counts {
    pub(crate) fn observe(&self, status: u16, latency: Duration) {
        let class = usize::from((status / 100).clamp(1, 5) - 1);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        if status == TOO_MANY_REQUESTS {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        self.buckets[latency::bucket(latency)].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn add_to(&self, sum: &mut Sum) {
        for (total, class) in sum.classes.iter_mut().zip(&self.classes) {
            *total += class.load(Ordering::Relaxed);
        }
        sum.throttled += self.throttled.load(Ordering::Relaxed);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        sum.latency.add(&Histogram { counts, sum_us: self.sum_us.load(Ordering::Relaxed) });
    }
}

/// [`Counts`] of all workers added up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    pub(crate) classes: [u64; 5],
    /// Of those, the ones that were answered 429.
    pub(crate) throttled: u64,
    pub(crate) latency: Histogram,
}

impl Sum {
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a Counts>) -> Self {
        let mut sum = Self::default();
        shards.for_each(|counts| counts.add_to(&mut sum));
        sum
    }

    pub(crate) fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }
}

/// The counts that the judge and the rules read: one release in one epoch.
pub(crate) struct TallyCell {
    drawn: Box<[Counts]>,
    /// Those that a header route led here; most epochs have none.
    aimed: OnceLock<Box<[Counts]>>,
    seen: AtomicU64,
    erred: AtomicU64,
    first_erred: AtomicU64,
}

impl TallyCell {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            drawn: shards(workers),
            aimed: OnceLock::new(),
            seen: AtomicU64::new(0),
            erred: AtomicU64::new(0),
            first_erred: AtomicU64::new(0),
        }
    }

    pub(crate) fn observe(&self, worker: usize, status: u16, latency: Duration) {
        self.drawn[worker].observe(status, latency);
    }

    pub(crate) fn observe_aimed(&self, worker: usize, status: u16, latency: Duration) {
        self.aimed.get_or_init(|| shards(self.drawn.len()))[worker].observe(status, latency);
    }

    pub(crate) fn observe_user(&self, news: News) {
        let count = |sum: &AtomicU64, is_news| {
            if is_news {
                sum.fetch_add(1, Ordering::Relaxed);
            }
        };
        count(&self.seen, news.seen);
        count(&self.erred, news.erred);
        count(&self.first_erred, news.first);
    }

    pub(crate) fn sum(&self) -> Sum {
        Sum::of(self.drawn.iter())
    }

    pub(crate) fn aimed(&self) -> Sum {
        Sum::of(self.aimed.get().iter().flat_map(|shards| shards.iter()))
    }

    /// Users seen, those with an error in this epoch, those with their first error of the rollout.
    pub(crate) fn users(&self) -> [u64; 3] {
        // Errors first: a user who errs meanwhile has been seen.
        let [first, erred, seen] =
            [&self.first_erred, &self.erred, &self.seen].map(|sum| sum.load(Ordering::Relaxed));
        [seen, erred, first]
    }
}

fn shards(workers: usize) -> Box<[Counts]> {
    (0..workers).map(|_| Counts::default()).collect()
}

/// The methods that have a label of their own.
pub(crate) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "other"];

/// The position of a method in [`METHODS`].
pub(crate) fn method_index(method: &str) -> usize {
    METHODS.iter().position(|name| *name == method).unwrap_or(METHODS.len() - 1)
}

/// The label sets that exist, against their limit.
#[derive(Default)]
pub(crate) struct Budget {
    pub(crate) used: AtomicUsize,
    pub(crate) limit: usize,
    pub(crate) collapsed: AtomicU64,
}

/// One route of one version: a label set for each method that was used.
pub(crate) struct Label {
    pub(crate) route: String,
    methods: [OnceLock<PerMethod>; METHODS.len()],
    workers: usize,
    budget: Arc<Budget>,
    /// Where requests are counted that find the budget spent; `None` for that label itself.
    other: Option<Arc<Label>>,
    /// The last kept trace of each method and bucket that has one. Written for kept traces only, which are few.
    exemplars: Mutex<BTreeMap<(usize, usize), Exemplar>>,
}

/// A request that stands for its bucket, and can be looked up as a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) latency: Duration,
    pub(crate) at: SystemTime,
}

/// The counts of one method, or nothing when there was no budget for it.
struct PerMethod(Option<Box<[Counts]>>);

impl Label {
    pub(crate) fn new(route: String, workers: usize, budget: Arc<Budget>, other: Option<Arc<Self>>) -> Self {
        Self { route, methods: Default::default(), workers, budget, other, exemplars: Mutex::default() }
    }

    /// Names a kept trace where its request was counted.
    pub(crate) fn exemplify(&self, method: usize, latency: Duration, (trace_id, span_id): (u128, u64)) {
        if let (Some(PerMethod(None)), Some(other)) = (self.methods[method].get(), &self.other) {
            return other.exemplify(method, latency, (trace_id, span_id));
        }
        let exemplar = Exemplar { trace_id, span_id, latency, at: SystemTime::now() };
        lock(&self.exemplars).insert((method, latency::bucket(latency)), exemplar);
    }

    /// What stands for the buckets of a method.
    pub(crate) fn exemplars(&self, method: &str) -> BTreeMap<usize, Exemplar> {
        let index = method_index(method);
        let all = lock(&self.exemplars);
        all.range((index, 0)..(index + 1, 0)).map(|((_, bucket), exemplar)| (*bucket, *exemplar)).collect()
    }

    pub(crate) fn observe(&self, worker: usize, method: usize, status: u16, latency: Duration) {
        let PerMethod(counts) = self.methods[method].get_or_init(|| self.admit());
        match (counts, &self.other) {
            (Some(counts), _) => counts[worker].observe(status, latency),
            (None, Some(other)) => {
                self.budget.collapsed.fetch_add(1, Ordering::Relaxed);
                other.observe(worker, method, status, latency);
            }
            (None, None) => {}
        }
    }

    fn admit(&self) -> PerMethod {
        let fits = self.budget.used.fetch_add(1, Ordering::Relaxed) < self.budget.limit;
        if !fits {
            self.budget.used.fetch_sub(1, Ordering::Relaxed);
        }
        // The label `other` is always admitted: there is one for each version, and versions are bounded elsewhere.
        let admitted = fits || self.other.is_none();
        PerMethod(admitted.then(|| (0..self.workers).map(|_| Counts::default()).collect()))
    }

    /// The sums by method, for those that were used.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (&'static str, Sum)> {
        METHODS.iter().zip(&self.methods).filter_map(|(name, cell)| {
            let PerMethod(counts) = cell.get()?;
            let sum = Sum::of(counts.as_ref()?.iter());
            (sum.requests() > 0).then_some((*name, sum))
        })
    }

    /// Gives its share of the budget back when nobody will read it any more.
    pub(crate) fn release_budget(&self) {
        let used = self.methods.iter().filter(|cell| matches!(cell.get(), Some(PerMethod(Some(_))))).count();
        let _ = self
            .budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| Some(all.saturating_sub(used)));
    }
}

/// What one worker counts beside requests.
pub(crate) struct WorkerCounts {
    errors: Vec<AtomicU64>,
    pub(crate) retries: AtomicU64,
    pub(crate) aborts: AtomicU64,
    pub(crate) fallbacks: AtomicU64,
    pub(crate) ejections: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
}

impl Default for WorkerCounts {
    fn default() -> Self {
        Self {
            errors: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            retries: AtomicU64::new(0),
            aborts: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
        }
    }
}

impl WorkerCounts {
    pub(crate) fn error(&self, code: Code) {
        self.errors[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn errors(&self, code: Code) -> u64 {
        self.errors[code as usize].load(Ordering::Relaxed)
    }
}
