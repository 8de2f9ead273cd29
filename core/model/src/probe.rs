//! A look from outside at a service or at whatever it depends on, as declared: who is asked, how often, and what the
//! answer has to be. Does not live here: the looking (`adapters/prober`), and what follows from it.
//!
//! Not to be confused with the probes of `health` ([`crate::spec::Probe`]), which the agent asks of each replica.

use std::collections::BTreeMap;
use std::time::Duration;

use regex_automata::meta;
use regex_syntax::ParserBuilder;
use serde::{Deserialize, Serialize};

use crate::spec::{Authentication, HeaderValue};

/// The most bytes that a compiled pattern may take.
const PATTERN_BYTES: usize = 1024 * 1024;
/// How deep the brackets of a pattern may nest.
const PATTERN_NESTING: u32 = 50;

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Its name, the label `probe` of its metrics.
    pub name: String,
    /// Who is asked for what.
    pub ask: Ask,
    /// How often.
    #[serde(with = "crate::time::words")]
    pub interval: Duration,
    /// How long one look may take; shorter than the interval.
    #[serde(with = "crate::time::words")]
    pub timeout: Duration,
    /// What the answer has to be.
    #[serde(default, skip_serializing_if = "Expect::is_default")]
    pub expect: Expect,
}

/// Who is asked for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// A request, redirects included.
    Http(Box<Http>),
    /// A connection.
    Tcp(Tcp),
    /// A connection, a handshake, and the certificates that come with it.
    Tls(Tls),
    /// A question to a name server.
    Dns(Dns),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// Where it goes.
    pub target: Target,
    /// Its method, in capitals.
    pub method: String,
    /// Its headers, by their names in small letters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// How it is told who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether an answer that sends elsewhere is followed.
    pub follow_redirects: bool,
    /// Whom to trust, with https.
    #[serde(default, skip_serializing_if = "Trust::is_default")]
    pub trust: Trust,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The service itself, through the gateway.
    Gateway {
        /// The path, with its query.
        path: String,
        /// The `Host`; that of the gateway's address when the service answers any.
        host: Option<String>,
    },
    /// Whatever answers at this absolute address.
    Url(String),
}

/// Whose certificates are trusted, and for which name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// A file of control's machine with the certificates that are trusted, instead of the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The name that the certificate must be for; the address' own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tcp {
    /// `host:port`.
    pub address: String,
    /// What is said first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
}

/// A connection with a handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// `host:port`.
    pub address: String,
    /// Whom to trust.
    #[serde(default, skip_serializing_if = "Trust::is_default")]
    pub trust: Trust,
}

/// A question to a name server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dns {
    /// The name that is asked for.
    pub name: String,
    /// The type of the records, as in `AAAA`.
    pub record_type: String,
    /// `host` or `host:port`; the machine's own name server when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// What an answer has to be. What is absent or empty is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expect {
    /// One of these; any of 2xx when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Status>,
    /// This text somewhere in what was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
    /// Something in what was answered that this regular expression ([`pattern`]) matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_matches: Option<String>,
    /// The whole look takes no longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::time::optional_words")]
    pub latency: Option<Duration>,
    /// Every certificate that was shown is valid for so long from now on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::time::optional_words")]
    pub certificate_valid_for: Option<Duration>,
    /// The response code of a name server; `NOERROR` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rcode: Option<String>,
    /// Each of these is among a name server's answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<String>,
}

/// Which status an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Any of a hundred: 2 is 200 to 299.
    Class(u16),
    /// This one.
    Exactly(u16),
}

impl Probe {
    /// Who is asked, as the label `instance` says it.
    pub fn instance(&self) -> &str {
        match &self.ask {
            Ask::Http(http) => match &http.target {
                Target::Gateway { path, .. } => path,
                Target::Url(url) => url,
            },
            Ask::Tcp(tcp) => &tcp.address,
            Ask::Tls(tls) => &tls.address,
            Ask::Dns(dns) => dns.server.as_deref().unwrap_or(&dns.name),
        }
    }
}

impl Ask {
    /// Its kind in the manifest and in every report.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Dns(_) => "dns",
        }
    }
}

impl Http {
    /// Whether it carries anything secret.
    pub fn has_secrets(&self) -> bool {
        self.authentication.is_some()
            || self.headers.values().any(|value| matches!(value, HeaderValue::Secret(_)))
    }
}

impl Trust {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Expect {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an answer may have this status.
    pub fn allows(&self, status: u16) -> bool {
        match self.status.as_slice() {
            [] => Status::Class(2).is(status),
            some => some.iter().any(|one| one.is(status)),
        }
    }
}

impl Status {
    /// Whether it is this one.
    pub fn is(self, status: u16) -> bool {
        match self {
            Self::Class(class) => status / 100 == class,
            Self::Exactly(exactly) => status == exactly,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Class(class) => write!(f, "{class}xx"),
            Self::Exactly(exactly) => write!(f, "{exactly}"),
        }
    }
}

/// Makes a pattern ready. It may match anywhere, and any bytes.
///
/// # Errors
/// What is wrong with it, in words.
pub fn pattern(text: &str) -> Result<meta::Regex, String> {
    let parsed = crate::regex::parse(ParserBuilder::new().utf8(false).nest_limit(PATTERN_NESTING), text)?;
    let config = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(PATTERN_BYTES));
    crate::regex::build(&parsed, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_any_of_a_hundred() {
        let expect = |status| Expect { status, ..Expect::default() };
        assert!(expect(vec![]).allows(204) && !expect(vec![]).allows(301));
        let some = expect(vec![Status::Class(3), Status::Exactly(404)]);
        assert!(some.allows(302) && some.allows(404) && !some.allows(200) && !some.allows(400));
    }

    #[test]
    fn a_pattern_matches_anywhere_and_cannot_explode() {
        assert!(pattern("^SSH-2").unwrap().is_match(b"SSH-2.0-x"));
        assert!(pattern("é+").unwrap().is_match(b"caf\xc3\xa9 \xff"));
        assert!(!pattern("^b").unwrap().is_match(b"ab"));
        assert!(pattern("(([a-z]{50}){50}){50}").unwrap_err().contains("too large"));
        assert!(pattern("(").is_err());
    }
}
