//! The journal as control has it: appends go to the writer thread, reads have their own connection.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ports::Journal;
use ports::journal::{Entry, Error};
use tokio::sync::{mpsc, oneshot};

use crate::fault::{self, Fault};
use crate::files::{Found, Lock};
use crate::head::{self, Keeper, Known};
use crate::reader::Reader;
use crate::writer::{Request, Shared, Writer};
use crate::{files, schema};

/// The limits of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The size that the journal's file may reach, in bytes; default 4 GiB. Appends beyond it are refused. The last
    /// append may overshoot it by a few pages of 4 KiB.
    pub max_bytes: u64,
    /// How many appends may wait for the disk; default 1024. One more is refused.
    pub max_waiting: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: 4 << 30, max_waiting: 1024 }
    }
}

/// What the journal has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Entries in the journal.
    pub entries: u64,
    /// Transactions committed since it was opened. Fewer than the appends: those that wait together share one.
    pub commits: u64,
}

/// The journal, open for writing. One per file: a lock keeps every other one out until this is dropped.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    config: Config,
    shared: Arc<Shared>,
    // Dropped before the writer: the last connection to close folds the log into the file, and this one could not.
    reader: Mutex<Reader>,
    writer: Handle,
}

/// The writer thread. Dropping it waits for the last commit and for the lock to be free.
#[derive(Debug)]
struct Handle {
    queue: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the journal at a path, or makes a new one; its directory must exist.
    ///
    /// # Errors
    /// When another control has it open, it is not a journal of ours, a newer version wrote it, it has lost
    /// acknowledged events, or the file system refuses.
    pub fn open(path: &Path, config: Config) -> Result<Self, Error> {
        let path = files::resolve(path)?;
        let lock = Lock::take(&path)?;
        let known = head::read(&path)?;
        let (found, wal) = files::look(&path)?;
        refuse_loss(&path, found, wal, known)?;
        files::create(&path, found)?;
        let conn = schema::open_writer(&path)?;
        let last = schema::last(&conn).map_err(|error| fault::sqlite(&path, "read", &error))?;
        if let Some(head) = known.head() {
            let there = schema::at(&conn, head.seq).map_err(|error| fault::sqlite(&path, "read", &error))?;
            if let Some(what) = head::lost(head, last.map_or(0, |last| last.seq), there) {
                return Err(Fault::damaged(
                    format!("the journal {}: {what}", path.display()),
                    head::next(&path),
                )
                .into());
            }
        }
        if known == Known::Unreadable {
            tracing::warn!(journal = %path.display(), "the head beside the journal is unreadable, writing a new one");
        }
        let mut keeper = Keeper::open(&path, known)?;
        if let Some(last) = last
            && known.head() != Some(last)
        {
            keeper.note(last).map_err(|error| fault::io(&files::beside(&path, ".head"), "write", &error))?;
        }
        let reader = Mutex::new(Reader::open(&path)?);
        let shared = Arc::new(Shared::new(last.map_or(0, |last| last.seq)));
        let (queue, requests) = mpsc::channel(config.max_waiting.max(1));
        let writer = Writer::new(path.clone(), conn, config.max_bytes, keeper, Arc::clone(&shared), lock);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|error| fault::io(&path, "start the writer of", &error))?;
        let writer = Handle { queue: Some(queue), thread: Some(thread) };
        Ok(Self { path, config, shared, reader, writer })
    }

    /// Where the journal is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.shared.last_seq.load(Ordering::Acquire),
            commits: self.shared.commits.load(Ordering::Acquire),
        }
    }

    /// The number of the last committed entry; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        self.stats().entries
    }

    fn enqueue(&self, entries: Vec<Entry>) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        let stopped = || stopped(&self.path, "nothing was written");
        let (reply, answer) = oneshot::channel();
        let queue = self.writer.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(Request { entries, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Fault::unavailable(
                format!(
                    "{} appends wait for the disk of the journal {}; nothing was written",
                    self.config.max_waiting.max(1),
                    self.path.display()
                ),
                "try again, and check why the disk is slow",
            ),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        Ok(answer)
    }

    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) {
        self.shared.max_pages.store(pages, Ordering::Release);
    }
}

fn stopped(path: &Path, outcome: &str) -> Fault {
    Fault::unavailable(
        format!("the writer of the journal {} has stopped; {outcome}", path.display()),
        "restart control",
    )
}

/// Before SQLite touches anything: it would take a missing or empty file for a new journal, and remove the log.
fn refuse_loss(path: &Path, found: Found, wal: bool, known: Known) -> Result<(), Fault> {
    let what = match (found, known.head()) {
        (Found::Content, _) => return Ok(()),
        (Found::Nothing, Some(head)) => format!("the file is gone, but it had {} events", head.seq),
        (Found::Empty, Some(head)) => format!("the file is empty, but it had {} events", head.seq),
        (Found::Nothing | Found::Empty, None) if wal => {
            "the file is gone, but its -wal file has content".to_owned()
        }
        (Found::Nothing | Found::Empty, None) => return Ok(()),
    };
    Err(Fault::damaged(format!("the journal {}: {what}", path.display()), head::next(path)))
}

impl Journal for Store {
    /// Entries are queued when this is called, in the order of the calls, not when the future is first polled: number
    /// and call under one lock, wait outside of it, and appends share commits. Dropping the future does not take the
    /// entries back.
    fn append(&self, entries: Vec<Entry>) -> impl Future<Output = Result<(), Error>> + Send {
        let queued = self.enqueue(entries);
        let path = self.path.clone();
        async move {
            let lost = |_| stopped(&path, "what was asked for last may or may not have been written");
            Ok(queued?.await.map_err(lost)??)
        }
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).read(after, limit)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_refuses_and_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let store = Store::open(&path, Config::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let entry = |seq| vec![Entry { seq, bytes: vec![b'x'; 3000] }];
        let append = |seq| runtime.block_on(store.append(entry(seq)));
        store.limit_pages(12);
        let written = (1..100).take_while(|seq| append(*seq).is_ok()).count() as u64;
        assert!((3..12).contains(&written), "{written}");
        for _ in 0..3 {
            let error = append(written + 1).unwrap_err();
            let says = matches!(&error, Error::Unavailable(text) if text.contains("the disk is full"));
            assert!(says, "{error}");
        }
        assert_eq!(store.last_seq(), written);
        assert_eq!(store.read(0, 100).unwrap().len() as u64, written);
        store.limit_pages(1000);
        append(written + 1).unwrap();
        append(written + 2).unwrap();
        drop(store);
        let store = Store::open(&path, Config::default()).unwrap();
        assert_eq!(store.last_seq(), written + 2);
    }

    #[test]
    fn a_group_that_fails_acknowledges_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("j"), Config::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        store.limit_pages(5);
        let appends: Vec<_> =
            (1..=50).map(|seq| store.append(vec![Entry { seq, bytes: vec![b'x'; 3000] }])).collect();
        let acknowledged =
            appends.into_iter().filter_map(|append| runtime.block_on(append).ok()).count() as u64;
        assert_eq!(store.read(0, 100).unwrap().len() as u64, acknowledged);
        assert!(acknowledged < 50);
    }
}
