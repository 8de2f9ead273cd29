//! The one thread that writes: takes every append that waits, commits them together, then answers each.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use model::Digest;
use ports::journal::Entry;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::crowd::Crowd;
use crate::fault::{self, Fault};
use crate::files::Lock;
use crate::head::{Head, Keeper};
use crate::schema;

/// Appends that share one commit at most: bounds how long the first of them waits.
const MAX_GROUP: usize = 256;

/// The largest entry, in bytes.
const MAX_ENTRY_BYTES: usize = 16 << 20;

/// What an entry costs beyond its bytes, about, in bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 16;

/// One append.
#[derive(Debug)]
pub(crate) struct Request {
    /// What to append, as one unit.
    pub(crate) entries: Vec<Entry>,
    /// Whom to answer.
    pub(crate) reply: oneshot::Sender<Result<(), Fault>>,
}

/// What the writer lets others see.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The number of the last committed entry.
    pub(crate) last_seq: AtomicU64,
    /// Commits since the journal was opened.
    pub(crate) commits: AtomicU64,
    /// Lets a test fill the disk: the file may not grow beyond so many pages.
    #[cfg(test)]
    pub(crate) max_pages: std::sync::atomic::AtomicU32,
}

impl Shared {
    pub(crate) fn new(last_seq: u64) -> Self {
        Self {
            last_seq: AtomicU64::new(last_seq),
            commits: AtomicU64::new(0),
            #[cfg(test)]
            max_pages: std::sync::atomic::AtomicU32::new(u32::MAX),
        }
    }
}

/// The writer. It owns the lock, so that the lock is free only when the last commit is done.
pub(crate) struct Writer {
    path: PathBuf,
    conn: Connection,
    max_bytes: u64,
    last_seq: u64,
    head: Keeper,
    shared: Arc<Shared>,
    _lock: Lock,
}

impl Writer {
    pub(crate) fn new(
        path: PathBuf,
        conn: Connection,
        max_bytes: u64,
        head: Keeper,
        shared: Arc<Shared>,
        lock: Lock,
    ) -> Self {
        let last_seq = shared.last_seq.load(Ordering::Acquire);
        Self { path, conn, max_bytes, last_seq, head, shared, _lock: lock }
    }

    /// Serves appends until nobody can send any.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::new();
        let mut crowd = Crowd::default();
        while requests.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
            gather(&mut requests, &mut group, crowd);
            let (answered, begun) = (group.len(), Instant::now());
            let answers = self.serve(std::mem::take(&mut group));
            // Counted before anybody has an answer: who comes again is counted once.
            crowd = Crowd::after(answered, requests.len(), begun.elapsed());
            answers.into_iter().for_each(Answer::send);
        }
    }

    /// Writes what can be written; the answers are for later.
    fn serve(&mut self, group: Vec<Request>) -> Vec<Answer> {
        let mut size_bytes = match self.size_bytes() {
            Ok(size) => size,
            Err(error) => return answers(group, &Err(fault::sqlite(&self.path, "read", &error))),
        };
        let mut refused = Vec::new();
        let mut last_seq = self.last_seq;
        let mut admitted = Vec::with_capacity(group.len());
        for request in group {
            match self.admit(&request.entries, last_seq, size_bytes) {
                Ok((seq, size)) => {
                    (last_seq, size_bytes) = (seq, size);
                    admitted.push(request);
                }
                Err(error) => refused.push(Answer { reply: request.reply, result: Err(error) }),
            }
        }
        let result = if last_seq == self.last_seq { Ok(()) } else { self.write(&admitted, last_seq) };
        refused.extend(answers(admitted, &result));
        refused
    }

    fn write(&mut self, admitted: &[Request], last_seq: u64) -> Result<(), Fault> {
        let result = self.commit(admitted);
        match &result {
            Ok(()) => {
                self.last_seq = last_seq;
                self.shared.last_seq.store(last_seq, Ordering::Release);
                self.shared.commits.fetch_add(1, Ordering::AcqRel);
                self.note_head(admitted);
            }
            Err(error) => tracing::error!(%error, "nothing was appended to the journal"),
        }
        result
    }

    /// Whether entries may follow; the last number and the size after them.
    fn admit(&self, entries: &[Entry], last_seq: u64, size_bytes: u64) -> Result<(u64, u64), Fault> {
        let (mut seq, mut size) = (last_seq, size_bytes);
        let refuse = |what: String, next: &str| {
            let path = self.path.display();
            Err(Fault::unavailable(format!("the journal {path}: {what}; nothing was written"), next))
        };
        for entry in entries {
            if Some(entry.seq) != seq.checked_add(1) || i64::try_from(entry.seq).is_err() {
                return refuse(
                    format!("event {} does not follow the last event {seq}", entry.seq),
                    "restart control, which reads what is there",
                );
            }
            if entry.bytes.len() > MAX_ENTRY_BYTES {
                let found = entry.bytes.len();
                return refuse(
                    format!("event {} is {found} bytes, at most {MAX_ENTRY_BYTES} are allowed", entry.seq),
                    "ask for less at once",
                );
            }
            seq = entry.seq;
            size = size.saturating_add(entry.bytes.len() as u64).saturating_add(ENTRY_OVERHEAD_BYTES);
        }
        if size > self.max_bytes && !entries.is_empty() {
            return refuse(
                format!("it has reached its limit of {} bytes", self.max_bytes),
                "raise the limit of the journal's size",
            );
        }
        Ok((seq, size))
    }

    fn commit(&mut self, admitted: &[Request]) -> Result<(), Fault> {
        let explain = |error| fault::sqlite(&self.path, "write", &error);
        #[cfg(test)]
        {
            let pages = self.shared.max_pages.load(Ordering::Acquire);
            self.conn.pragma_update(None, "max_page_count", pages).map_err(explain)?;
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
        {
            let mut insert =
                tx.prepare_cached("INSERT INTO journal (seq, bytes) VALUES (?1, ?2)").map_err(explain)?;
            for entry in admitted.iter().flat_map(|request| &request.entries) {
                // `admit` has checked that the number fits.
                let seq = i64::try_from(entry.seq).unwrap_or(i64::MAX);
                insert.execute((seq, &entry.bytes)).map_err(explain)?;
            }
        }
        tx.commit().map_err(explain)
    }

    /// A head that lags is no fault: it only notices less.
    fn note_head(&mut self, admitted: &[Request]) {
        let Some(last) = admitted.iter().rev().find_map(|request| request.entries.last()) else { return };
        let head = Head { seq: last.seq, digest: Digest::of(&last.bytes) };
        if let Err(error) = self.head.note(head) {
            tracing::warn!(%error, journal = %self.path.display(), "cannot write the head beside the journal");
        }
    }

    fn size_bytes(&self) -> rusqlite::Result<u64> {
        schema::size_bytes(&self.conn)
    }
}

/// Takes what else comes as long as it is worth it.
fn gather(requests: &mut mpsc::Receiver<Request>, group: &mut Vec<Request>, crowd: Crowd) {
    let begun = Instant::now();
    while group.len() < MAX_GROUP && begun.elapsed() < crowd.patience(group.len()) {
        match requests.try_recv() {
            Ok(request) => group.push(request),
            Err(mpsc::error::TryRecvError::Empty) => std::thread::yield_now(),
            Err(mpsc::error::TryRecvError::Disconnected) => return,
        }
    }
}

/// The same result for every request.
fn answers(group: Vec<Request>, result: &Result<(), Fault>) -> Vec<Answer> {
    group.into_iter().map(|request| Answer { reply: request.reply, result: result.clone() }).collect()
}

/// What somebody waits for.
struct Answer {
    reply: oneshot::Sender<Result<(), Fault>>,
    result: Result<(), Fault>,
}

impl Answer {
    /// Nobody listening is no fault.
    fn send(self) {
        let _ = self.reply.send(self.result);
    }
}
