//! Where a journal is read: a file of this machine, or a control elsewhere. Does not live here: what is done with it.

use std::ops::ControlFlow;
use std::path::Path;

use api::Client;
use ports::journal::{self, Entry};
use sqlite::Reader;

use crate::failure::Failure;

/// A journal to read.
pub(super) enum Source<'a> {
    File(Reader),
    Control(&'a Client),
}

impl<'a> Source<'a> {
    pub(super) fn file(path: &Path) -> Result<Self, Failure> {
        let reader = Reader::open(path).map_err(|error| {
            let instead = match path.exists() {
                true => "`shipshape journal verify` says more",
                false => "`shipshape up` starts one; --home or --journal name another",
            };
            Failure::new(error.to_string()).instead(instead)
        })?;
        Ok(Self::File(reader))
    }

    /// The number of the last event.
    pub(super) async fn last_seq(&self) -> Result<u64, Failure> {
        match self {
            Self::File(reader) => reader.last_seq().map_err(|error| damaged(&error)),
            Self::Control(client) => Ok(client.last_event().await?),
        }
    }

    /// Gives the events above a number away, in order, until no more are wanted. Everything readable before damage is
    /// given, then the damage is told.
    pub(super) async fn each(
        &self,
        after: u64,
        mut take: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        match self {
            Self::File(reader) => {
                for entry in reader.entries(after) {
                    if take(entry.map_err(|error| damaged(&error))?).is_break() {
                        break;
                    }
                }
            }
            Self::Control(client) => {
                let mut events = client.events(after, false).await?;
                while let Some(event) = events.next().await? {
                    if take(Entry { seq: event.seq, bytes: event.line.into_bytes() }).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

fn damaged(error: &journal::Error) -> Failure {
    Failure::new(error.to_string()).instead("`shipshape journal verify` says what is whole and what is not")
}
