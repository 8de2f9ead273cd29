//! The journal in SQLite: one file, one writer thread, group commit.
//!
//! Lives here: the file and everything that keeps it honest (its lock, its head, its verification). Does not live
//! here: what an entry means (`record`), and which entries are appended.
//!
//! Beside the journal's file `J` lie SQLite's own `J-wal` and `J-shm`, and
//! - `J.lock`, held by the one control that may write;
//! - `J.head`, the number and digest of the last committed entry. It is never ahead of the journal, so a journal
//!   that ends before it has lost acknowledged events.

mod crowd;
mod fault;
mod files;
mod head;
mod reader;
mod schema;
mod store;
mod verify;
mod writer;

pub use reader::{Entries, Reader};
pub use store::{Config, Stats, Store};
pub use verify::{Problem, Report, verify};
