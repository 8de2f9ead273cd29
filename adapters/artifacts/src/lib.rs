//! The content-addressed store of artifacts, in a directory of its own.
//!
//! Lives here: copying a file or a directory in, whole and durably; what its digest is; finding, verifying and
//! removing it. Does not live here: which artifacts are still needed, and running them.
//!
//! The layout of a store:
//!
//! ```text
//! lock                              held while something is put in place or taken out
//! objects/<digest>/file/<name>/<name>   a file; the same bytes under two names lie here twice
//! objects/<digest>/directory/tree/...   a directory, and beside `tree` the text of its `listing`
//! incoming/<n>/...                  what a process is copying in; <n>.lock is held while it lives
//! trash/<n>/...                     what is being removed
//! ```
//!
//! The digest of a file is the SHA-256 of its bytes, as `sha256sum` prints it; for a directory see [`Listing`].
//! Stored files are read-only, and executable or not as they were; owner, times and other permissions are not kept.

mod copy;
mod listing;
mod store;

pub use listing::{Entry, Listing};
pub use store::{Limits, Store};
