//! A journal in memory, with the faults that disks and power supplies have.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ports::journal::{Entry, Error};
use tokio::sync::watch;

use crate::locked;

/// The simulated journal. Clones share the entries: what a killed control wrote, the next one reads.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    store: Arc<Mutex<Store>>,
    crashed: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Store {
    entries: Vec<Entry>,
    /// The first number of each appended unit.
    units: Vec<u64>,
    failures: u32,
    attempts: u64,
    crash: Option<(usize, Crash)>,
    delay: Duration,
}

/// On which side of a durable write the power goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing of the unit is kept.
    BeforeWriting,
    /// The unit is kept, and nobody is told.
    AfterWriting,
}

impl Journal {
    /// A journal that holds these entries.
    pub fn holding(entries: Vec<Entry>) -> Self {
        let journal = Self::default();
        locked(&journal.store).entries = entries;
        journal
    }

    /// All entries.
    pub fn entries(&self) -> Vec<Entry> {
        locked(&self.store).entries.clone()
    }

    /// The entries that were appended in one unit with entry `seq`.
    pub fn unit_of(&self, seq: u64) -> Vec<Entry> {
        let store = locked(&self.store);
        let first = store.units.iter().rev().find(|first| **first <= seq).copied().unwrap_or_default();
        let end = store.units.iter().find(|next| **next > seq).copied().unwrap_or(u64::MAX);
        store.entries.iter().filter(|entry| (first..end).contains(&entry.seq)).cloned().collect()
    }

    /// How many units were appended.
    pub fn units(&self) -> usize {
        locked(&self.store).units.len()
    }

    /// How often somebody tried to append, successful or not.
    pub fn attempts(&self) -> u64 {
        locked(&self.store).attempts
    }

    /// Lets the next `times` appends fail; zero heals it.
    pub fn fail(&self, times: u32) {
        locked(&self.store).failures = times;
    }

    /// Lets every append take this long from now on.
    pub fn slow_down(&self, delay: Duration) {
        locked(&self.store).delay = delay;
    }

    /// Lets the append of unit number `unit` (from 1) never answer.
    pub fn crash_at(&self, unit: usize, crash: Crash) {
        locked(&self.store).crash = Some((unit, crash));
        self.crashed.send_replace(false);
    }

    /// Takes the crash back, when it has not come.
    pub fn stay_up(&self) {
        locked(&self.store).crash = None;
    }

    /// Returns when the crash that was asked for has come.
    pub async fn crashed(&self) {
        // The sender lives in `self`: waiting cannot fail before it succeeds.
        let _ = self.crashed.subscribe().wait_for(|crashed| *crashed).await;
    }

    /// Whether the one who appends is to be left without an answer.
    fn write(&self, entries: Vec<Entry>) -> Result<bool, Error> {
        let mut store = locked(&self.store);
        store.attempts += 1;
        if store.failures > 0 {
            store.failures -= 1;
            return Err(Error::Unavailable("no space left on the simulated disk".to_owned()));
        }
        let crash = store.crash.filter(|(unit, _)| *unit == store.units.len() + 1).map(|(_, crash)| crash);
        if crash.is_some() {
            store.crash = None;
        }
        if crash != Some(Crash::BeforeWriting) {
            store.take(entries)?;
        }
        Ok(crash.is_some())
    }
}

impl Store {
    fn take(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let last = self.entries.last().map_or(0, |entry| entry.seq);
        let follows = entries.iter().zip(last + 1..).all(|(entry, seq)| entry.seq == seq);
        if !follows {
            return Err(Error::Unavailable(format!("somebody else has written event {last}")));
        }
        self.units.push(last + 1);
        self.entries.extend(entries);
        Ok(())
    }
}

impl ports::Journal for Journal {
    async fn append(&self, entries: Vec<Entry>) -> Result<(), Error> {
        let delay = locked(&self.store).delay;
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
        if self.write(entries)? {
            self.crashed.send_replace(true);
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        let store = locked(&self.store);
        Ok(store.entries.iter().filter(|entry| entry.seq > after).take(limit).cloned().collect())
    }
}
