//! The shared nouns: what every room may say, and nothing that any one room decides.
//!
//! Lives here: identifiers, time, digests, weights, and the plain data of a service's effective configuration
//! ([`Spec`]), of a rollout's strategy ([`strategy`], [`assignment`]) and of what is good enough ([`objective`]). Does not live here: rules, defaults that
//! need a manifest, parsing of user input beyond a single value, anything that reads a clock, a file or a network.

pub mod alert;
pub mod assignment;
pub mod change;
pub mod check;
pub mod digest;
pub mod drift;
pub mod hook;
pub mod ids;
pub mod labels;
pub mod latency;
pub mod matcher;
pub mod notify;
pub mod objective;
pub mod otlp;
pub mod placeholder;
pub mod probe;
pub mod records;
mod regex;
pub mod release;
pub mod route;
pub mod spec;
pub mod strategy;
pub mod time;
pub mod weight;

pub use digest::Digest;
pub use ids::{
    EnvironmentName, Epoch, Generation, ObjectiveName, Place, ReleaseNumber, RolloutNumber, ServiceName,
};
pub use objective::Objective;
pub use release::Release;
pub use spec::Spec;
pub use time::Timestamp;
pub use weight::Weight;
