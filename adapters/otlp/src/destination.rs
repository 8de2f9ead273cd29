//! Where things are sent, and the form of its address. Does not live here: sending.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use model::otlp::Protocol;
use ports::Secret;

/// Whoever takes what is sent, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its address; over HTTP, up to where the signal's path begins.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Headers that it asks for. They may hold secrets, so none is ever shown.
    pub headers: BTreeMap<String, Secret>,
    /// A file with the certificates that are trusted, instead of the machine's own.
    pub ca_file: Option<String>,
    /// How long it may take to answer one request.
    pub timeout: Duration,
}

/// An address taken apart.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
    /// As `Host` and `:authority` say it.
    pub(crate) authority: String,
    /// Without a slash at its end.
    pub(crate) path: String,
}

impl Destination {
    pub(crate) fn address(&self) -> Result<Address, String> {
        let uri: Uri = self.endpoint.parse().map_err(|error| format!("it is no address: {error}"))?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err("the address starts with neither http:// nor https://".to_owned()),
        };
        let host = uri.host().ok_or("the address names no host")?;
        Ok(Address {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            is_secure,
            authority: uri.authority().map_or("", |authority| authority.as_str()).to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Puts the declared headers to those of a request.
    pub(crate) fn put_headers(&self, headers: &mut HeaderMap) -> Result<(), String> {
        for (name, value) in &self.headers {
            let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value.reveal()).ok());
            let (name, mut value) = pair.ok_or_else(|| format!("the header `{name}` cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(())
    }

    /// What may be shown of a text that came from outside: no secret that was sent, on one line, and not too much of it.
    pub(crate) fn clean(&self, text: &str) -> String {
        const MOST_CHARACTERS: usize = 300;
        let secrets = self.headers.values().map(Secret::reveal).flat_map(|value| {
            // Of `Bearer x` the server may repeat the `x` alone.
            [Some(value), value.split_once(' ').map(|(_, rest)| rest)].into_iter().flatten()
        });
        let hidden = secrets
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"));
        let plain = hidden.chars().map(|c| if c.is_control() { ' ' } else { c });
        plain.take(MOST_CHARACTERS).collect::<String>().trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(endpoint: &str) -> Destination {
        Destination {
            endpoint: endpoint.to_owned(),
            protocol: Protocol::Http,
            headers: BTreeMap::from([("authorization".to_owned(), Secret::new("Bearer hush".to_owned()))]),
            ca_file: None,
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn an_address_is_taken_apart() {
        let of = |endpoint| {
            let address = destination(endpoint).address().unwrap();
            (address.host, address.port, address.is_secure, address.path)
        };
        assert_eq!(of("http://a:4318"), ("a".to_owned(), 4318, false, String::new()));
        assert_eq!(of("https://a/x/"), ("a".to_owned(), 443, true, "/x".to_owned()));
        assert_eq!(of("http://[::1]:1/"), ("::1".to_owned(), 1, false, String::new()));
        for bad in ["a:4317", "ftp://a", "", "http://"] {
            assert!(destination(bad).address().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_server_repeats_of_a_secret_is_not_shown() {
        let cleaned = destination("http://a").clean("no\nBearer hush, and not hush");
        assert_eq!(cleaned, "no (secret), and not (secret)");
    }
}
