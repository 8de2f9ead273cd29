//! What this machine and the replicas' processes take, in Prometheus' text format 0.0.4: the names are those of the
//! Prometheus client libraries (`process_...`) and of its node exporter (`node_...`), because dashboards know them.
//!
//! Linux only: everything is read from `/proc`. Elsewhere the page is empty but for what the caller knows. Does not live
//! here: requests (`proxy`), and who asks.

mod host;
mod page;
mod processes;
mod scarce;
mod stat;

pub use page::Replica;
pub use scarce::{Use, uses};
pub use stat::Stat;

/// The page. Reads some hundred small files; a few milliseconds.
pub fn page(replicas: &[Replica]) -> String {
    let mut page = page::Page::default();
    page::replicas(&mut page, replicas, &processes::usage(replicas));
    host::tell(&mut page);
    page.text()
}
