//! Tells receivers of alerts: by Alertmanager's webhook, or to Alertmanagers themselves.
//!
//! Lives here: the forms ([`form`]), one telling ([`send`]), the log of what was told, kept in a file so that a restart neither
//! repeats nor forgets, and the loop that sends what is due and tries again what failed ([`Notifier`]). Does not live here:
//! what is due and to whom (`paging`), and which alerts fire.
//!
//! What was taken is noted afterwards: killed in between, the next life tells the same group with the same alerts once more,
//! and the receiver knows it by `groupKey` and the alerts' fingerprints.

mod book;
pub mod form;
mod notifier;
mod report;
pub mod send;

pub use notifier::{Notifier, Wanted};
pub use report::{Failing, Report, Standing};
