//! One look: what is noted on the way, and how it can end. Does not live here: the ways themselves, one module a kind.

use std::fmt;
use std::time::Duration;

/// Why a look failed, in one word: the label `reason` of `probe_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Resolve,
    Connect,
    Tls,
    Certificate,
    Timeout,
    Protocol,
    Redirect,
    Status,
    Body,
    Rcode,
    Answer,
    Expiry,
    Latency,
}

impl Reason {
    /// Those that a kind of probe can have. Each has its series from the start, so that `rate` sees the first failure.
    pub(crate) fn of(kind: &str) -> &'static [Self] {
        use Reason::{
            Answer, Body, Certificate, Connect, Expiry, Latency, Protocol, Rcode, Redirect, Resolve, Status,
            Timeout, Tls,
        };
        match kind {
            "tcp" => &[Resolve, Connect, Timeout, Body, Latency],
            "tls" => &[Resolve, Connect, Tls, Certificate, Timeout, Expiry, Latency],
            "dns" => &[Resolve, Connect, Timeout, Protocol, Rcode, Answer, Latency],
            _ => &[
                Resolve,
                Connect,
                Tls,
                Certificate,
                Timeout,
                Protocol,
                Redirect,
                Status,
                Body,
                Expiry,
                Latency,
            ],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Body => "body",
            Self::Rcode => "rcode",
            Self::Answer => "answer",
            Self::Expiry => "expiry",
            Self::Latency => "latency",
        }
    }
}

/// Why a look did not find what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Whoever was asked is to blame, or somebody on the way.
    Failed(Reason, String),
    /// It was not possible to look: a secret or a certificate of ours is missing, say.
    Unable(String),
}

impl Trouble {
    pub(crate) fn failed(reason: Reason, what: impl fmt::Display) -> Self {
        Self::Failed(reason, what.to_string())
    }
}

/// What is noted on the way. It outlives a look that is given up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// What is being done, for whoever gives up.
    pub(crate) doing: &'static str,
    pub(crate) phases: Phases,
    /// 4 or 6.
    pub(crate) ip: Option<u8>,
    /// When the first of the certificates expires, in seconds since 1970.
    pub(crate) expires: Option<i64>,
    pub(crate) tls_version: Option<&'static str>,
    pub(crate) http: Option<Answered>,
    pub(crate) redirects: u32,
    /// Whether the body was not what it should be.
    pub(crate) body_failed: bool,
    pub(crate) dns: Option<Records>,
}

/// How long each part took, summed over redirects.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Phases {
    pub(crate) resolve: Duration,
    pub(crate) connect: Duration,
    pub(crate) tls: Duration,
    /// From the request to the first byte of the answer.
    pub(crate) processing: Duration,
    pub(crate) transfer: Duration,
}

/// The last answer by HTTP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) is_tls: bool,
    /// 1.1 is 1.1.
    pub(crate) version: f64,
    pub(crate) body_bytes: usize,
}

/// How many records a name server answered, by section.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Records {
    pub(crate) answer: u16,
    pub(crate) authority: u16,
    pub(crate) additional: u16,
}

impl Notes {
    /// Notes that certificates were shown of which the first expires then.
    pub(crate) fn expires(&mut self, at: i64) {
        self.expires = Some(self.expires.map_or(at, |known| known.min(at)));
    }
}

/// Text from elsewhere on one line, and not too much of it.
pub(crate) fn plain(text: &str) -> String {
    const MOST: usize = 300;
    let text = text.split(" (os error").next().unwrap_or(text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect()
}
