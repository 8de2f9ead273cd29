//! The store as others see it.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use promql::expr::Matcher;
use promql::{Labels, Point};

use crate::block::{Block, Name};
use crate::chunk;
use crate::folder;
use crate::head::{Head, NotTaken};
use crate::log::{self, Log};
use crate::registry::{Registry, SeriesRef};

/// The times that samples may have: 1970 to 9999, in milliseconds since 1970.
const TIMES: RangeInclusive<i64> = 0..=253_402_300_799_999;

/// How much is kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// Blocks whose newest sample is older are removed.
    pub retention: Duration,
    /// The oldest blocks are removed while everything together takes more bytes than this.
    pub max_bytes: u64,
    /// How many series may get samples at the same time; more are refused.
    pub max_series: usize,
    /// How many labels a series may have.
    pub max_labels: usize,
    /// How many bytes a label's name and its value may have each.
    pub max_label_bytes: usize,
    /// How long a stretch of time is that becomes a block.
    pub span: Duration,
    /// How long the stretch of a block may become by merging. A block goes as a whole: a tenth of the retention is much.
    pub longest: Duration,
    /// How many bytes may wait for a disk that takes nothing.
    pub max_waiting_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(15 * 24 * 3600),
            max_bytes: 4 << 30,
            max_series: 200_000,
            max_labels: 64,
            max_label_bytes: 2048,
            span: Duration::from_secs(2 * 3600),
            longest: Duration::from_secs(24 * 3600),
            max_waiting_bytes: 64 << 20,
        }
    }
}

/// Why the store fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, most likely.
    #[error("the metrics under {folder}: {source}")]
    Io {
        /// Where.
        folder: PathBuf,
        /// What.
        source: io::Error,
    },
}

/// Why a series is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many get samples at the same time.
    #[error("{0} series get samples already, and no more are allowed")]
    TooManySeries(usize),
    /// It has no name, too many labels, or too long ones.
    #[error("{0}")]
    Labels(String),
}

/// What became of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Taken.
    pub taken: usize,
    /// Exactly these were there already.
    pub known: usize,
    /// Older than the newest of their series.
    pub out_of_order: usize,
    /// Other values at times that have one.
    pub contradicting: usize,
    /// Of a stretch of time that is finished.
    pub too_old: usize,
    /// At times before 1970 or after the year 9999, which no clock shows.
    pub beyond: usize,
    /// Of series that this store does not know any more, or may not take up again: ask for them anew.
    pub unknown: usize,
    /// More than memory can hold until the disk takes samples again.
    pub no_room: usize,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that get samples.
    pub active: usize,
    /// Series that are known.
    pub series: usize,
    /// Finished stretches of time.
    pub blocks: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Series refused because there were too many, since the store was opened.
    pub refused: u64,
    /// Chunks of blocks that were found damaged since the store was opened.
    pub damaged: usize,
}

/// Metrics on disk and in memory. One process at a time may have a folder open.
pub struct Store {
    folder: PathBuf,
    config: Config,
    state: RwLock<State>,
    log: Mutex<Log>,
    /// One at a time moves samples into blocks.
    tidying: Mutex<()>,
    closing: AtomicBool,
}

pub(crate) struct State {
    pub(crate) registry: Registry,
    pub(crate) head: Head,
    /// In the order in which they were written.
    pub(crate) blocks: Vec<Arc<Block>>,
    refused: u64,
}

impl State {
    /// Whether there may be samples that were written later than others of their series and are older.
    pub(crate) fn is_disordered(&self) -> bool {
        let back = |pair: &[Arc<Block>]| pair[1].name.from < pair[0].name.until;
        self.head.is_disordered() || self.steps_into_blocks().is_some() || self.blocks.windows(2).any(back)
    }

    /// From when on samples are taken, in milliseconds, when that is a time that blocks have samples of.
    fn steps_into_blocks(&self) -> Option<i64> {
        let from = self.head.from;
        self.blocks.iter().any(|block| block.name.until > from).then_some(from)
    }
}

impl Store {
    /// Opens a folder, which is made if it is missing, and brings back everything that was durable.
    ///
    /// # Errors
    /// When it cannot be read or written. A damaged block is set aside under another name, and said in the log.
    pub fn open(folder: &Path, config: Config) -> Result<Self, Error> {
        let open = || -> io::Result<Self> {
            std::fs::create_dir_all(folder)?;
            let blocks = folder::open(folder)?;
            let registry = Registry::open(folder)?;
            let span = i64::try_from(config.span.as_millis()).unwrap_or(i64::MAX).max(1);
            let from = blocks.iter().map(|block| block.name.until).max().unwrap_or(i64::MIN);
            let mut head = Head::new(span, from);
            let log = Log::open(folder, &mut head, |series| registry.labels(series).is_some())?;
            Ok(Self {
                folder: folder.to_owned(),
                config: config.clone(),
                state: RwLock::new(State { registry, head, blocks, refused: 0 }),
                log: Mutex::new(log),
                tidying: Mutex::new(()),
                closing: AtomicBool::new(false),
            })
        };
        open().map_err(|source| Error::Io { folder: folder.to_owned(), source })
    }

    /// The series with these labels, made known if it is not.
    ///
    /// # Errors
    /// When it may not be.
    pub fn series(&self, labels: &Labels) -> Result<SeriesRef, Refused> {
        if let Some(number) = self.read().registry.number(labels) {
            return Ok(SeriesRef(number));
        }
        self.check(labels)?;
        let mut state = self.write();
        let State { registry, head, refused, .. } = &mut *state;
        let most = self.config.max_series;
        if let Some(number) = registry.number(labels) {
            return Ok(SeriesRef(number));
        }
        // Those that were made known and have no sample yet count too.
        if head.active() >= most || registry.len() >= most.saturating_mul(16) {
            *refused += 1;
            return Err(Refused::TooManySeries(most));
        }
        registry.add(labels).map(SeriesRef).ok_or(Refused::TooManySeries(most))
    }

    fn check(&self, labels: &Labels) -> Result<(), Refused> {
        let Config { max_labels, max_label_bytes, .. } = self.config;
        if labels.name().is_empty() {
            return Err(Refused::Labels("a series needs a name".to_owned()));
        }
        let count = labels.iter().count();
        if count > max_labels {
            return Err(Refused::Labels(format!("{count} labels; the most is {max_labels}")));
        }
        match labels.iter().find(|(name, value)| name.len().max(value.len()) > max_label_bytes) {
            Some((name, _)) => {
                let shown: String = name.chars().take(40).collect();
                Err(Refused::Labels(format!("the label {shown} has more than {max_label_bytes} bytes")))
            }
            None => Ok(()),
        }
    }

    /// Takes samples. They can be queried at once, and are durable after the next [`Store::flush`]. While the disk takes
    /// nothing and [`Config::max_waiting_bytes`] wait for it, all are refused.
    pub fn append(&self, samples: &[(SeriesRef, Point)]) -> Appended {
        self.take(samples, false)
    }

    /// The same with samples that were taken just now by this machine's clock. When their series have much newer ones, the clock
    /// was ahead when those were taken: they are hidden wherever there are such that were taken afterwards.
    pub fn append_now(&self, samples: &[(SeriesRef, Point)]) -> Appended {
        self.take(samples, true)
    }

    fn take(&self, samples: &[(SeriesRef, Point)], now: bool) -> Appended {
        let mut result = Appended::default();
        if self.waiting() > self.config.max_waiting_bytes {
            result.no_room = samples.len();
            return result;
        }
        let mut taken = Vec::with_capacity(samples.len());
        let mut state = self.write();
        let State { registry, head, refused, .. } = &mut *state;
        let (was_disordered, mut steps) = (head.is_disordered(), false);
        for (SeriesRef(series), point) in samples {
            if !TIMES.contains(&point.at) {
                result.beyond += 1;
                continue;
            }
            let fresh = !head.has(*series);
            if fresh && head.active() >= self.config.max_series {
                *refused += 1;
                result.unknown += 1;
                continue;
            }
            if fresh && registry.labels(*series).is_none() {
                result.unknown += 1;
                continue;
            }
            let pushed = match now {
                true => head.push_now(*series, *point).map(|stepped| steps |= stepped),
                false => head.push(*series, *point),
            };
            match pushed {
                Ok(()) => taken.push((*series, *point)),
                Err(NotTaken::Known) => result.known += 1,
                Err(NotTaken::OutOfOrder) => result.out_of_order += 1,
                Err(NotTaken::Contradicts) => result.contradicting += 1,
                Err(NotTaken::TooOld) => result.too_old += 1,
            }
        }
        result.taken = taken.len();
        // In the order in which the head took them: the state is still locked.
        self.log().samples(&taken, steps);
        if steps && !was_disordered {
            tracing::warn!(
                "the clock was set back: metrics of later times are hidden by those that are taken now"
            );
        }
        result
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// When the disk refuses; the same samples are tried again with the next flush.
    pub fn flush(&self) -> Result<(), Error> {
        // Series before the samples that name them.
        self.write().registry.sync().map_err(|source| self.io(source))?;
        self.log().sync().map_err(|source| self.io(source))
    }

    /// Makes everything durable, and gives up what takes long.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn close(&self) -> Result<(), Error> {
        self.closing.store(true, Ordering::Relaxed);
        self.flush()
    }

    /// Bytes that a crash would lose now.
    pub fn waiting(&self) -> usize {
        self.log().waiting()
    }

    /// Moves finished stretches of time into blocks, and removes what is older than `now` allows (milliseconds since 1970)
    /// or takes too much room. To be called now and then; it may take a while, and queries go on meanwhile.
    ///
    /// # Errors
    /// When the disk refuses; nothing is lost, and it is tried again the next time.
    pub fn tidy(&self, now: i64) -> Result<(), Error> {
        let _alone = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        // Room first: a disk may be full of what is old.
        let made_room = self.expire(now);
        self.flush()?;
        while self.cut().map_err(|source| self.io(source))? {}
        while self.merge().map_err(|source| self.io(source))? {}
        made_room.and_then(|()| self.expire(now)).map_err(|source| self.io(source))
    }

    /// Moves the oldest stretch into a block, if it is finished.
    fn cut(&self) -> io::Result<bool> {
        let Some(until) = self.read().head.finished_until() else { return Ok(false) };
        let (content, number) = {
            let mut state = self.write();
            let newest = state.blocks.iter().map(|block| block.name.number).max();
            (state.head.finish(until), newest.unwrap_or(0) + 1)
        };
        // Samples may have come in before the stretch began that this block is named after.
        let first = content.values().flatten().map(|chunk| chunk.first).min().unwrap_or(until);
        let name = Name { from: first.min(until - self.span()), until, number, level: 0 };
        let packed = content.iter().map(|(series, chunks)| Ok((*series, chunk::packed_again(chunks))));
        let block = Block::write(&self.folder, name, packed)?;
        drop(content);
        let (free, from, rest) = {
            let mut state = self.write();
            state.blocks.push(Arc::new(block));
            folder::sort(&mut state.blocks);
            state.head.forget(until);
            // Never a sample on disk whose series is not: its number would be given to another.
            state.registry.sync()?;
            (self.log().turn()?, state.steps_into_blocks(), state.head.content())
        };
        let chunks = rest.iter().flat_map(|(series, chunks)| chunks.iter().map(|chunk| (*series, chunk)));
        log::checkpoint(&self.folder, free, from, chunks)?;
        Ok(true)
    }

    /// Makes one block of some, if there are such.
    fn merge(&self) -> io::Result<bool> {
        let longest = i64::try_from(self.config.longest.as_millis()).unwrap_or(i64::MAX);
        let parts = {
            let state = self.read();
            folder::mergeable(&state.blocks, self.span(), longest, state.head.from)
        };
        let Some(parts) = parts else { return Ok(false) };
        let Some(merged) = folder::merge(&self.folder, &parts, &self.closing)? else {
            // Those that turned out to be damaged are not among the next.
            return Ok(!self.closing.load(Ordering::Relaxed));
        };
        {
            let mut state = self.write();
            state.blocks.retain(|block| !merged.name.holds(&block.name));
            state.blocks.push(Arc::new(merged));
            folder::sort(&mut state.blocks);
        }
        for part in &parts {
            std::fs::remove_file(&part.path)?;
        }
        Ok(true)
    }

    fn span(&self) -> i64 {
        i64::try_from(self.config.span.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    fn expire(&self, now: i64) -> io::Result<()> {
        let keep = i64::try_from(self.config.retention.as_millis()).unwrap_or(i64::MAX);
        let mut gone = Vec::new();
        {
            let mut size = self.log().size();
            let mut state = self.write();
            size += state.blocks.iter().map(|block| block.size).sum::<u64>();
            while let Some((place, oldest)) =
                state.blocks.iter().enumerate().min_by_key(|(_, block)| block.name.until)
            {
                let old = oldest.name.until < now.saturating_sub(keep);
                if !old && size <= self.config.max_bytes {
                    break;
                }
                size -= oldest.size;
                gone.push(state.blocks.remove(place));
            }
        }
        for block in &gone {
            std::fs::remove_file(&block.path)?;
        }
        if gone.is_empty() {
            return Ok(());
        }
        let mut state = self.write();
        let State { registry, head, blocks, .. } = &mut *state;
        let mut used: std::collections::HashSet<u32> =
            blocks.iter().flat_map(|block| block.series()).collect();
        used.extend(head.series());
        if registry.len() > 2 * used.len() {
            registry.retain(|series| used.contains(&series))?;
        }
        Ok(())
    }

    /// How much there is.
    pub fn stats(&self) -> Stats {
        let log = self.log().size();
        let state = self.read();
        Stats {
            active: state.head.active(),
            series: state.registry.len(),
            blocks: state.blocks.len(),
            bytes: log + state.blocks.iter().map(|block| block.size).sum::<u64>(),
            refused: state.refused,
            damaged: state.blocks.iter().map(|block| block.damages()).sum(),
        }
    }

    /// The labels of the series that all of one of these sets of matchers match, and that have samples in
    /// `(after, until]`, as far as whole blocks tell.
    pub fn matching(&self, sets: &[Vec<Matcher>], (after, until): (i64, i64)) -> Vec<Labels> {
        let state = self.read();
        let blocks = state.blocks.iter().filter(|block| block.name.from <= until && block.name.until > after);
        let there: std::collections::HashSet<u32> = blocks.flat_map(|block| block.series()).collect();
        let mut series: Vec<(u32, &Labels)> =
            sets.iter().flat_map(|matchers| state.registry.select(matchers)).collect();
        series.sort_unstable_by_key(|(number, _)| *number);
        series.dedup_by_key(|(number, _)| *number);
        let alive = |number: u32| there.contains(&number) || state.head.reaches(number, after, until);
        series.into_iter().filter(|(number, _)| alive(*number)).map(|(_, labels)| labels.clone()).collect()
    }

    /// The names of all labels, sorted.
    pub fn label_names(&self) -> Vec<String> {
        self.read().registry.names().map(str::to_owned).collect()
    }

    /// All values of a label, sorted.
    pub fn label_values(&self, name: &str) -> Vec<String> {
        self.read().registry.values(name).map(str::to_owned).collect()
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { folder: self.folder.clone(), source }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
