//! REST on control's Unix socket and, when asked for, on a loopback address; and the client for both.
//!
//! Lives here: the routes, their limits, the form of an error, the socket itself, and [`Client`], which the command
//! line uses. Does not live here: any decision (that is `runtime`), and how an answer is shown (`cli`).
//!
//! Whoever can open the socket may do everything that control can; its file mode, 0600 in a directory of 0700, is the
//! guard. Over TCP it is a bearer token, made when the door is first opened and kept in the home with mode 0600.
//!
//! A `POST` takes an `Idempotency-Key`: the same key with the same request is done once, and answered alike.
//!
//! | route | body or query | answer |
//! |---|---|---|
//! | `GET /v1/health` | | [`Health`] |
//! | `GET /v1/status` | `service`, `environment` | [`views::Status`] |
//! | `GET /v1/probes` | `service`, `environment` | [`ports::probes::Reports`] |
//! | `GET /v1/logs` | [`logs::Ask`] | lines of JSON ([`logs::Line`]), or text |
//! | `GET /v1/logs/search` | [`records::Ask`] | [`records::Answer`], or with `follow` lines of JSON ([`records::Line`]) |
//! | `GET /v1/errors` | [`errors::Ask`] | [`errors::Errors`] |
//! | `GET /v1/events` | `after`, `follow`, `format`, `limit`, `Last-Event-ID` | server-sent events, or a page of JSON |
//! | `GET /v1/alerts` | [`objectives::Which`] | [`alerts::Alerts`] |
//! | `GET /v1/alerts/rules` | [`objectives::Which`] | [`alerts::RuleList`] |
//! | `GET /v1/objectives` | [`objectives::Which`] | [`objectives::ObjectiveStatus`], a list |
//! | `GET /v1/objectives/backtest` | [`objectives::AskBacktest`] | [`objectives::BacktestReport`] |
//! | `GET /v1/objectives/report` | [`objectives::AskReport`] | [`objectives::MonthReport`], a list |
//! | `GET /v1/silences` | | [`paging::SilenceStatus`], a list |
//! | `GET /v1/receivers` | [`objectives::Which`] | [`paging::ReceiverStatus`], a list |
//! | `GET /v1/openapi.json` | | [`OPENAPI`] |
//! | `POST /v1/deploy` | [`runtime::Deploy`] | [`runtime::Answer`] |
//! | `POST /v1/deploy-group` | [`runtime::DeployGroup`] | [`runtime::Answer`] |
//! | `POST /v1/ship` | [`runtime::Ship`] | [`runtime::Answer`] |
//! | `POST /v1/rollback` | [`runtime::Rollback`] | [`runtime::Answer`] |
//! | `POST /v1/retry` | [`runtime::Retry`] | [`runtime::Answer`] |
//! | `POST /v1/operate` | [`runtime::Operate`] | [`runtime::Answer`] |
//! | `POST /v1/lock` | [`runtime::SetLock`] | nothing |
//! | `POST /v1/unlock` | [`runtime::LiftLock`] | nothing |
//! | `POST /v1/objectives/correct` | [`runtime::Correct`] | nothing |
//! | `POST /v1/errors/decide` | [`errors::Decide`] | nothing |
//! | `POST /v1/silences` | [`runtime::SetSilence`] | [`paging::Silenced`] |
//! | `POST /v1/silences/expire` | [`runtime::EndSilence`] | nothing |
//! | `POST /v1/receivers/test` | [`runtime::TestReceivers`] | [`::paging::Way`], a list |
//! | `POST /v1/stop` | [`Stop`] | nothing |
//!
//! Every error is a [`Problem`].

pub mod alerts;
pub mod client;
pub mod errors;
pub mod events;
pub mod logs;
pub mod objectives;
pub mod paging;
pub mod records;

mod caller;
mod connection;
mod door;
mod problem;
mod routes;
mod server;
mod socket;
mod token;
mod told;

use serde::{Deserialize, Serialize};

pub use client::Client;
pub use door::Door;
pub use problem::Problem;
pub use server::{Config, serve};
pub use socket::{SOCKET, Socket, socket};
pub use token::{TOKEN, Token};

/// The OpenAPI document of the routes, as JSON.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Why the socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The home directory lies too deep for a Unix socket.
    #[error(
        "the socket path {} has {length} bytes, the system allows {most}: choose a shorter home directory with --home",
        path.display()
    )]
    TooLong {
        /// The path.
        path: std::path::PathBuf,
        /// Its length.
        length: usize,
        /// The longest that works.
        most: usize,
    },
    /// Somebody answers there already.
    #[error("another control answers on {}: `shipshape down` stops it", path.display())]
    Busy {
        /// The path.
        path: std::path::PathBuf,
    },
    /// The address is not one of this machine alone.
    #[error(
        "{address} can be reached from other machines; the API listens on loopback addresses only: 127.0.0.1:PORT"
    )]
    NotLoopback {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("the API cannot listen on {address}: {source}; name another with --api, or `--api off`")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token's file holds no token that can be trusted.
    #[error("the token in {} is not used: {what}; remove the file, and `shipshape up` makes a new one", path.display())]
    Token {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        what: String,
    },
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in "listen on".
        action: &'static str,
        /// On which path.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Who control is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Whether the agent answers it.
    pub agent_reachable: bool,
    /// Where the API listens beside the socket, as `127.0.0.1:9465`.
    #[serde(default)]
    pub api: Option<String>,
}

/// Drain and stop everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stop {
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}
