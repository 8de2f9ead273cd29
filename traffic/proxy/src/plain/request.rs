//! A client's head: read strictly, and written for a replica. What cannot be read in exactly one way is refused, and what
//! goes on is written by us from what was understood. The rules on what passes are those of `head`.

use std::ops::Range;

use httparse::{Header, ParserConfig, Status};

use crate::config::Limits;
use crate::counts;
use crate::error::Code;
use crate::head;
use crate::plain::edge::Edge;
use crate::plain::fields::{Field, Options, Room, has_token, length, line, number};
use crate::trace::context::{self, Position};

/// A connection keeps no more memory for its next head than this, in bytes.
const KEPT_BYTES: usize = 2048;

/// A request's body, by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Body {
    #[default]
    None,
    Length(u64),
    Chunked,
}

/// The head of the request at hand.
#[derive(Default)]
pub(super) struct Head {
    /// What the replica gets.
    pub(super) text: Vec<u8>,
    /// Where the request line ends in it.
    pub(super) line_end: usize,
    pub(super) path: Range<usize>,
    /// The client's id for the request, or a new one.
    pub(super) id: Vec<u8>,
    /// The position of the method in the metrics.
    pub(super) method: usize,
    /// Whether it is HEAD.
    pub(super) head_only: bool,
    pub(super) idempotent: bool,
    pub(super) body: Body,
    pub(super) http10: bool,
    /// Whether the client would keep the connection.
    pub(super) keep: bool,
    pub(super) expects: bool,
    pub(super) upgrade: bool,
    pub(super) trailers: bool,
    /// HTTP/1.0 without a host: the replica's address goes there.
    pub(super) hostless: bool,
    /// How long it was, once all of it was there, even when it was refused.
    pub(super) size: usize,
    /// Its place in a trace.
    pub(super) position: Position,
}

/// As the replica gets them, which is as the routing table shall see them.
impl routes::Headers for Head {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let lines = self.text[self.line_end..].split(|byte| *byte == b'\n');
        lines.filter_map(|line| line.strip_suffix(b"\r")).any(|line| {
            let value = line
                .split_at_checked(name.len())
                .filter(|(given, _)| given.eq_ignore_ascii_case(name.as_bytes()));
            value.and_then(|(_, rest)| rest.strip_prefix(b": ")).is_some_and(&mut *holds)
        })
    }
}

/// What the fields of a head say, seen together.
#[derive(Default)]
struct Seen<'a> {
    options: Options<'a>,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade: Option<&'a [u8]>,
    hops: Vec<&'a [u8]>,
    forwarded: Vec<&'a [u8]>,
    traces: usize,
    trace: Option<context::Parent>,
    states: Vec<&'a [u8]>,
    trailers: bool,
    expects: bool,
}

impl Head {
    /// Reads a head at the front of `bytes`, and says how long it is there; `None` when it is not all there.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        edge: &mut Edge,
    ) -> Result<Option<usize>, Code> {
        self.reset();
        let mut room = Room::new();
        let mut request = httparse::Request::new(&mut []);
        let parsed = ParserConfig::default().parse_request_with_uninit_headers(
            &mut request,
            bytes,
            room.lines(limits.headers),
        );
        match parsed {
            Ok(Status::Complete(size)) if size <= limits.header_bytes => {
                self.size = size;
                self.understand(&request, edge)?;
                Ok(Some(size))
            }
            Ok(Status::Partial) if bytes.len() < limits.header_bytes => Ok(None),
            Ok(Status::Complete(_) | Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                Err(Code::HeadTooLarge)
            }
            Err(_) => Err(Code::BadRequest),
        }
    }

    pub(super) fn path(&self) -> &str {
        std::str::from_utf8(&self.text[self.path.clone()]).unwrap_or("/")
    }

    fn reset(&mut self) {
        let (mut text, mut id) = (std::mem::take(&mut self.text), std::mem::take(&mut self.id));
        text.clear();
        id.clear();
        text.shrink_to(KEPT_BYTES);
        *self = Self { text, id, ..Self::default() };
    }

    fn understand<'a>(&mut self, request: &httparse::Request<'_, 'a>, edge: &mut Edge) -> Result<(), Code> {
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(Code::BadRequest);
        };
        let headers: &[Header<'a>] = request.headers;
        self.http10 = version == 0;
        self.name(headers);
        let seen = Seen::of(headers, self.http10)?;
        self.keep = !seen.options.close && (!self.http10 || seen.options.keep_alive);
        self.body = match (seen.chunked, seen.length) {
            (true, _) => Body::Chunked,
            (false, Some(length)) if length > 0 => Body::Length(length),
            (false, Some(_) | None) => Body::None,
        };
        if method == "CONNECT" || method == "TRACE" {
            return Err(Code::Method);
        }
        self.method = counts::method_index(method);
        self.head_only = method == "HEAD";
        self.idempotent = head::is_idempotent(method);
        self.expects = seen.expects && !self.http10 && self.body != Body::None;
        self.trailers = seen.trailers;
        let overruled = self.target(method, target, seen.host, edge)?;
        if routes::path::climbs(self.path()) {
            return Err(Code::DotSegments);
        }
        self.pass(headers, &seen, overruled);
        self.add(&seen, edge);
        Ok(())
    }

    /// The request's id: the client's if it is sane, else a new one.
    fn name(&mut self, headers: &[Header<'_>]) {
        let given = headers.iter().find(|header| Field::of(header.name) == Field::RequestId);
        match given {
            Some(given) if head::is_sane_id(given.value) => self.id.extend_from_slice(given.value),
            Some(_) | None => self.make_id(),
        }
    }

    pub(super) fn make_id(&mut self) {
        self.id.clear();
        self.id.extend_from_slice(&head::new_id());
    }

    /// Writes the request line, and finds host and path. Whether the target's host overrules the `Host` line.
    fn target(
        &mut self,
        method: &str,
        target: &str,
        named: Option<&[u8]>,
        edge: &mut Edge,
    ) -> Result<bool, Code> {
        // A fragment is the client's own affair (RFC 9110, 7.1).
        let target = target.split('#').next().unwrap_or("");
        let path = target.split('?').next().unwrap_or("");
        if target.contains(['<', '>']) || path.contains('`') {
            return Err(Code::BadRequest);
        }
        let (host, origin) = if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
            (None, target)
        } else {
            let (authority, origin) = absolute(target).ok_or(Code::BadRequest)?;
            (Some(authority), origin)
        };
        match (host, named) {
            // Absolute-form: the target's authority overrules the Host header (RFC 9112, 3.2.2).
            (Some(authority), _) => edge.turn_to(authority.as_bytes())?,
            (None, Some(named)) => edge.turn_to(named)?,
            (None, None) if self.http10 => edge.turn_to(b"")?,
            (None, None) => return Err(Code::BadRequest),
        }
        self.hostless = host.is_none() && named.is_none();
        self.text.extend_from_slice(method.as_bytes());
        self.text.push(b' ');
        let start = self.text.len();
        if !origin.starts_with(['/', '*']) {
            self.text.push(b'/');
        }
        self.text.extend_from_slice(origin.as_bytes());
        let path = self.text[start..].split(|byte| *byte == b'?').next().unwrap_or_default();
        self.path = start..start + path.len();
        self.text.extend_from_slice(b" HTTP/1.1\r\n");
        self.line_end = self.text.len();
        if let Some(authority) = host {
            line(&mut self.text, "host", authority.as_bytes());
        }
        Ok(host.is_some())
    }

    /// Writes the lines that pass.
    fn pass(&mut self, headers: &[Header<'_>], seen: &Seen<'_>, overruled: bool) {
        for header in headers {
            let passes = match Field::of(header.name) {
                Field::Other | Field::Date => !seen.options.names(header.name),
                Field::Host => !overruled,
                Field::TraceState => !seen.states.is_empty(),
                Field::Length
                | Field::TransferEncoding
                | Field::Connection
                | Field::Te
                | Field::Upgrade
                | Field::Expect
                | Field::RequestId
                | Field::Hop
                | Field::ForwardedFor
                | Field::Forwarded
                | Field::Claim
                | Field::Trace => false,
            };
            if passes {
                line(&mut self.text, header.name, header.value);
            }
        }
    }

    /// Writes the lines that are ours to say.
    fn add(&mut self, seen: &Seen<'_>, edge: &Edge) {
        let text = &mut self.text;
        match (self.body, seen.length) {
            (Body::Chunked, _) => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            (Body::None | Body::Length(_), Some(length)) => {
                text.extend_from_slice(b"content-length: ");
                number(text, length);
                text.extend_from_slice(b"\r\n");
            }
            (Body::None | Body::Length(_), None) => {}
        }
        let upgrade = seen.upgrade.filter(|protocol| {
            seen.options.upgrade && !self.http10 && !protocol.is_empty() && !has_token(protocol, "h2c")
        });
        self.upgrade = upgrade.is_some();
        if let Some(protocol) = upgrade {
            line(text, "upgrade", protocol);
            text.extend_from_slice(b"connection: upgrade\r\n");
        } else if seen.trailers {
            text.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
        }
        line(text, "x-request-id", &self.id);
        edge.write(&seen.hops, &seen.forwarded, text);
        self.position = Position::after(seen.trace);
        line(text, "traceparent", &self.position.write());
        text.extend_from_slice(b"\r\n");
    }

    /// Tells the replica another position in the trace: it stands last.
    pub(super) fn retrace(&mut self, position: &[u8; context::LENGTH]) {
        let end = self.text.len().saturating_sub(b"\r\n\r\n".len());
        if let Some(told) = self.text.get_mut(end.saturating_sub(context::LENGTH)..end) {
            told.copy_from_slice(position);
        }
    }
}

impl<'a> Seen<'a> {
    fn of(headers: &[Header<'a>], http10: bool) -> Result<Self, Code> {
        let mut seen = Self::default();
        let (mut codings, mut lengths) = (0, 0);
        for header in headers {
            let value = header.value;
            match Field::of(header.name) {
                Field::Host if seen.host.is_some() => return Err(Code::BadRequest),
                Field::Host => seen.host = Some(value),
                Field::Length => {
                    lengths += 1;
                    let length = length(value).ok_or(Code::BadRequest)?;
                    if seen.length.is_some_and(|other| other != length) {
                        return Err(Code::BadRequest);
                    }
                    seen.length = Some(length);
                }
                Field::TransferEncoding => {
                    codings += 1;
                    seen.chunked = value.eq_ignore_ascii_case(b"chunked");
                }
                Field::Connection => seen.options.read(value),
                Field::Te => seen.trailers |= has_token(value, "trailers"),
                Field::Upgrade => seen.upgrade = seen.upgrade.or(Some(value)),
                Field::Expect => seen.expects |= value.eq_ignore_ascii_case(b"100-continue"),
                Field::ForwardedFor => seen.hops.push(value),
                Field::Forwarded => seen.forwarded.push(value),
                Field::Trace => {
                    seen.traces += 1;
                    seen.trace = context::read(value);
                }
                Field::TraceState => seen.states.push(value),
                Field::RequestId | Field::Hop | Field::Claim | Field::Date | Field::Other => {}
            }
        }
        if codings > 0 && lengths > 0 {
            return Err(Code::AmbiguousLength);
        }
        // One coding, and that chunked: whatever else there may be, we could neither undo nor pass on.
        if codings > 1 || (codings == 1 && (!seen.chunked || http10)) {
            return Err(Code::BadRequest);
        }
        seen.forget_named();
        Ok(seen)
    }

    /// A field that the client meant for this connection only says nothing to a replica.
    fn forget_named(&mut self) {
        if self.options.names("x-forwarded-for") {
            self.hops.clear();
        }
        if self.options.names("forwarded") {
            self.forwarded.clear();
        }
        if self.traces > 1 || self.options.names("traceparent") {
            self.trace = None;
        }
        let states = &self.states;
        if self.trace.is_none()
            || self.options.names("tracestate")
            || !context::is_state(states.iter().copied())
        {
            self.states.clear();
        }
    }
}

/// Authority and the rest of a target in absolute-form.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, origin) = rest.split_at(end);
    (!authority.is_empty()).then_some((authority, origin))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Code> {
        let (mut head, mut edge) = (Head::default(), Edge::new(Ipv4Addr::LOCALHOST.into()));
        let limits = Limits::default();
        let size = head.read(text.as_bytes(), &limits, &mut edge)?;
        assert!(size.is_none_or(|size| size == text.len()));
        Ok(size.map(|_| head))
    }

    #[test]
    fn what_can_be_read_two_ways_is_refused() {
        for bad in [
            "content-length: 1\r\ncontent-length: 2\r\n",
            "content-length: 1, 1\r\n",
            "content-length: +1\r\n",
            "content-length:\r\n",
            "content-length: 18446744073709551616\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding:\r\n",
            "transfer-encoding : chunked\r\n",
            "a: b\r\n c\r\n",
            "a: b\rc: d\r\n",
            " a: b\r\n",
            "a\r\n",
            ": b\r\n",
            "a b: c\r\n",
            "a: \0\r\n",
            "host: y\r\n",
        ] {
            let read = read(&format!("POST / HTTP/1.1\r\nhost: x\r\n{bad}\r\n"));
            assert_eq!(read.map(|_| ()), Err(Code::BadRequest), "{bad}");
        }
        for target in ["x", "*", "ftp://x/", "http:///x", "/a b", "", "http://u@x/", "/<", "/`", "//x y/"] {
            let read = read(&format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
            assert_eq!(read.map(|_| ()), Err(Code::BadRequest), "{target}");
        }
        for line in ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET /  HTTP/1.1", "GET /", "G\tT / HTTP/1.1"] {
            let read = read(&format!("{line}\r\nhost: x\r\n\r\n"));
            assert_eq!(read.map(|_| ()), Err(Code::BadRequest), "{line}");
        }
        let both = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(read(both).map(|_| ()), Err(Code::AmbiguousLength));
        let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(read(old).map(|_| ()), Err(Code::BadRequest));
    }

    #[test]
    fn a_head_in_pieces_is_waited_for_and_then_read_the_same() {
        let text = "GET http://Real.example?x#y HTTP/1.1\r\nhost: other\r\nconnection: close, x-a, host\r\nX-A: 1\r\nx-b: \t2 \r\n\r\n";
        for upto in 0..text.len() {
            assert!(read(&text[..upto]).unwrap().is_none(), "{upto}");
        }
        let head = read(text).unwrap().unwrap();
        let passed = String::from_utf8(head.text.clone()).unwrap();
        assert!(passed.starts_with("GET /?x HTTP/1.1\r\nhost: Real.example\r\nx-b: 2\r\nx-request-id: "));
        assert!(passed.ends_with("-01\r\n\r\n") && !passed.contains("X-A"), "{passed}");
        assert_eq!((head.path(), head.keep, head.body), ("/", false, Body::None));
    }
}
