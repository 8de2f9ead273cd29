//! Lines of output as records: understood, freed of secrets ([`Redactor`]), kept compressed with limits
//! ([`Store`]), searched ([`Query`]), counted, and their exceptions gathered ([`inbox`]). A store holds one place's lines; [`Keep`] has all.
//!
//! Does not live here: reading the files that replicas write to, and who may ask.

mod bloom;
mod columns;
mod credentials;
mod fields;
mod fingerprint;
pub mod inbox;
pub mod intake;
mod join;
mod keep;
mod level;
mod parse;
mod query;
mod redact;
mod search;
mod segment;
mod sieve;
mod store;
mod told;
mod unescape;
mod wal;
mod wire;

pub use columns::{Record, Source};
pub use keep::Keep;
pub use level::Level;
pub use query::{Condition, Counted, Found, Limits, Query};
pub use redact::{MARK, Redactor, pattern};
pub use sieve::Sieve;
pub use store::{Error, LONGEST_RECORD, Line, Retention, Store};
pub use told::{Told, Value, told};

/// The beginning of a text, at most so many bytes of it.
fn shorter(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
