//! Looks at services from outside: by HTTP, TCP, TLS and DNS, each look within its timeout and a bounded memory, whatever
//! is at the other end.
//!
//! Lives here: the looking, what it found last, and its metrics as a page of Prometheus' text format. Does not live here:
//! who is looked at and when (`collector`, which asks for the page of a probe as it asks any target), and keeping.

mod connect;
mod dns;
mod handshake;
mod http;
mod look;
mod page;
mod prober;
mod tcp;
mod way;

pub use prober::{Prober, Wanted};
