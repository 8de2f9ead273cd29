//! The world and its journal: replay on start, append before apply.

use std::sync::Arc;

use lifecycle::World;
use model::Timestamp;
use ports::journal::{self, Entry, Journal};
use record::{Chain, Record, event};

use crate::draft::Draft;

/// How many events are read at once during replay.
const PAGE: usize = 1_000;

/// The world, and the journal that it follows from.
pub(crate) struct Engine<J> {
    journal: J,
    chain: Chain,
    world: Arc<World>,
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
        loop {
            let page = journal.read(chain.last_seq, PAGE)?;
            let done = page.len() < PAGE;
            for entry in page {
                let record = chain.read(&entry.bytes)?;
                replay(&mut world, &record)?;
            }
            if done {
                return Ok(Self { journal, chain, world: Arc::new(world) });
            }
        }
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
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
        for decided in &draft.events {
            let record =
                chain.next(event::draft(&decided.event, at, &decided.actor, decided.reason.as_deref()))?;
            entries.push(Entry { seq: record.seq, bytes: record.to_bytes() });
        }
        self.journal.append(entries).await?;
        for decided in &draft.events {
            tracing::info!(actor = decided.actor, event = ?decided.event, "recorded");
        }
        self.chain = chain;
        self.world = Arc::new(draft.world);
        Ok(())
    }
}

fn replay(world: &mut World, record: &Record) -> Result<(), Error> {
    let event = event::event(record)?;
    world
        .apply(&event, record.seq, record.at)
        .map_err(|illegal| Error::Contradiction { seq: record.seq, what: illegal.to_string() })
}
