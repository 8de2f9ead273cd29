//! What a replica is told of a request's way here: the same words for all requests of a connection to one host, so they
//! are made once. Whether a host is one is decided in `head`.

use std::net::IpAddr;

use crate::error::Code;
use crate::head::{self, Words};
use crate::plain::fields::line;

/// A client's address, and the host it asked for last.
pub(super) struct Edge {
    client: IpAddr,
    words: Option<Words>,
    /// The lines of a request that says nothing of its way itself.
    lines: Vec<u8>,
}

impl Edge {
    pub(super) fn new(client: IpAddr) -> Self {
        Self { client, words: None, lines: Vec::new() }
    }

    /// The host of the request at hand.
    pub(super) fn host(&self) -> &str {
        self.words.as_ref().map_or("", |words| &words.host)
    }

    /// Turns to a request's host.
    pub(super) fn turn_to(&mut self, host: &[u8]) -> Result<(), Code> {
        if self.words.as_ref().is_some_and(|words| words.host.as_bytes() == host) {
            return Ok(());
        }
        self.words = None;
        let host = std::str::from_utf8(host).map_err(|_| Code::BadRequest)?;
        head::check_host(host)?;
        let words = Words::new(self.client, host.to_owned(), None);
        self.lines.clear();
        line(&mut self.lines, "x-forwarded-for", words.forwarded_for.as_bytes());
        line(&mut self.lines, "forwarded", words.forwarded.as_bytes());
        claims(&words, &mut self.lines);
        self.words = Some(words);
        Ok(())
    }

    /// Writes the lines. `hops`, `forwarded`: what the request says of its way, a list each.
    pub(super) fn write(&self, hops: &[&[u8]], forwarded: &[&[u8]], out: &mut Vec<u8>) {
        if hops.is_empty() && forwarded.is_empty() {
            out.extend_from_slice(&self.lines);
            return;
        }
        if let Some(words) = &self.words {
            line(out, "x-forwarded-for", head::appended(hops, &words.forwarded_for).as_bytes());
            line(out, "forwarded", head::appended(forwarded, &words.forwarded).as_bytes());
            claims(words, out);
        }
    }
}

fn claims(words: &Words, out: &mut Vec<u8>) {
    line(out, "x-forwarded-proto", b"http");
    if !words.host.is_empty() {
        line(out, "x-forwarded-host", words.host.as_bytes());
    }
}
