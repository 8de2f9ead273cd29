//! The world and its journal: replay on start, append before apply.

use std::sync::{Arc, Weak};
use std::time::Duration;

use lifecycle::World;
use model::Timestamp;
use ports::journal::{self, Entry, Journal};
use record::{Chain, Record, event};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::draft::Draft;
use crate::history::History;
use crate::once::Answers;

/// An append that takes longer is told of.
const SLOW: Duration = Duration::from_secs(1);
/// How many events are read at once during replay.
const PAGE: usize = 1_000;

/// The world, and the journal that it follows from.
pub(crate) struct Engine<J> {
    journal: Arc<J>,
    chain: Chain,
    world: Arc<World>,
    answers: Answers,
    last_seq: watch::Sender<u64>,
}

/// Why control cannot act on this journal, or an append failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error("the journal is damaged: {0}; `shipshape journal verify` says more")]
    Broken(#[from] record::Broken),
    #[error(transparent)]
    Unreadable(#[from] event::Unreadable),
    #[error(
        "the journal's events contradict each other: event {seq}: {what}; `shipshape journal show {seq}`"
    )]
    Contradiction { seq: u64, what: String },
    #[error(transparent)]
    Unstorable(#[from] record::Error),
}

impl<J: Journal> Engine<J> {
    /// Replays a journal.
    pub(crate) fn load(journal: J) -> Result<Self, Error> {
        let mut chain = Chain::new();
        let mut world = World::default();
        let answers = Answers::default();
        loop {
            let page = journal.read(chain.last_seq, PAGE)?;
            let done = page.len() < PAGE;
            for entry in page {
                let record = chain.read(&entry.bytes)?;
                replay(&mut world, &answers, &record)?;
            }
            if done {
                let last_seq = watch::Sender::new(chain.last_seq);
                return Ok(Self {
                    journal: Arc::new(journal),
                    chain,
                    world: Arc::new(world),
                    answers,
                    last_seq,
                });
            }
        }
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// What was answered to whom.
    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The journal for readers, for as long as this engine lives.
    pub(crate) fn history(&self) -> Weak<dyn History> {
        let journal: Weak<J> = Arc::downgrade(&self.journal);
        journal
    }

    /// The number of the last event.
    pub(crate) fn last_seq(&self) -> watch::Receiver<u64> {
        self.last_seq.subscribe()
    }

    pub(crate) fn draft(&self, at: Timestamp) -> Draft {
        Draft::new(&self.world, self.chain.last_seq, at)
    }

    /// Appends a draft's events as one unit and makes its world the world. On an error nothing has changed.
    pub(crate) async fn commit(&mut self, draft: Draft, at: Timestamp) -> Result<(), Error> {
        if draft.events.is_empty() {
            return Ok(());
        }
        let mut chain = self.chain;
        let mut entries = Vec::with_capacity(draft.events.len());
        let mut records = Vec::with_capacity(draft.events.len());
        for decided in &draft.events {
            let record =
                chain.next(event::draft(&decided.event, at, &decided.actor, decided.reason.as_deref()))?;
            entries.push(Entry { seq: record.seq, bytes: record.to_bytes() });
            records.push(record);
        }
        let begun = Instant::now();
        self.journal.append(entries).await?;
        let took = begun.elapsed();
        if took >= SLOW {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(event = "journal.slow", ms, events = records.len(), "the journal took its time");
        }
        for (decided, record) in draft.events.iter().zip(records) {
            self.answers.follow(&decided.event, record.seq);
            let Record { seq, actor, kind, subject, reason, .. } = record;
            tracing::info!(event = "change.recorded", seq, actor, kind, subject, reason, "recorded");
        }
        self.chain = chain;
        self.world = Arc::new(draft.world);
        self.last_seq.send_replace(chain.last_seq);
        Ok(())
    }
}

fn replay(world: &mut World, answers: &Answers, record: &Record) -> Result<(), Error> {
    let event = event::event(record)?;
    answers.follow(&event, record.seq);
    world
        .apply(&event, record.seq, record.at)
        .map_err(|illegal| Error::Contradiction { seq: record.seq, what: illegal.to_string() })
}
