//! The gateway: takes HTTP/1.1 and HTTP/2 (without TLS), and gives each request to a ready replica over HTTP/1.1.
//!
//! Lives here: listeners, connections, forwarding, retries where safe, counters, and the atomic swap of the routing
//! table. Does not live here: which release gets which share (the table says), who is ready (the table lists nobody
//! else), and the table's own decisions (`routes`).
//!
//! A request's way: `worker` accepts its connection. HTTP/1.1 is then served by `plain`, from the first byte to the last;
//! for HTTP/2, `sniff` watches the socket, hyper reads it, `forward` admits the request, `upstream` sends it, `body` carries
//! what follows. Both ask `tries` who is to serve it, `live` claims a replica, `record` books how it ended.

mod admin;
mod body;
mod config;
mod counts;
mod ejection;
mod error;
mod forward;
mod gateway;
mod head;
mod listen;
mod live;
mod metrics;
mod notice;
mod pace;
mod plain;
mod pool;
mod record;
mod registry;
mod replica;
mod sniff;
mod socket;
mod trace;
mod tries;
mod tunnel;
mod upstream;
mod users;
mod websocket;
mod worker;

pub use config::{Config, Limits};
pub use ejection::{Ejected, Ejection};
pub use error::Error;
pub use gateway::Gateway;
pub use listen::Listeners;
pub use live::{Backend, PlaceRouting, Routing};
pub use registry::{Aimed, Page, Tally, UserTally};
pub use routes::{Affinity, Aim, Preview};
pub use trace::{Attempt, Kept, Served, Sink, Trace, Tracing};
