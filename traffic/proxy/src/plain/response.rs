//! A replica's head: read strictly, and written for the client; and the heads of the gateway's own answers. The rules on
//! what passes are those of `head`.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use httparse::{Header, ParserConfig, Status};

use crate::config::Limits;
use crate::error::Code;
use crate::plain::fields::{Field, Options, Room, line, number};

/// The length of a date in a head.
const DATE_BYTES: usize = 29;

thread_local! {
    /// The date of the second, which is the same for thousands of answers.
    static DATE: Cell<(u64, [u8; DATE_BYTES])> = const { Cell::new((0, [0; DATE_BYTES])) };
}

/// An answer's body, by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
    /// Up to the end of the connection.
    Close,
}

/// What a head says of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Body,
    /// Whether the connection may serve again after it.
    pub(super) reusable: bool,
    /// Whether it says when it was made.
    dated: bool,
    /// Whether it names a protocol to change to.
    pub(super) upgrade: bool,
    /// Whether that is WebSocket.
    pub(super) websocket: bool,
    /// How long the head was as it came.
    pub(super) size: usize,
}

/// What else a client is told of an answer.
pub(super) struct Manner<'a> {
    pub(super) id: &'a [u8],
    /// The body goes on chunked.
    pub(super) chunked: bool,
    /// What is said of the connection, if anything.
    pub(super) connection: Option<&'static str>,
    /// What makes a newcomer known.
    pub(super) cookie: Option<&'a HeaderValue>,
}

/// Why a head is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid;

/// Reads a head at the front of `bytes`, and writes to `out` what the client gets of it, without its end; `None` when it
/// is not all there. `head_only`: it answers a HEAD.
pub(super) fn read(
    bytes: &[u8],
    limits: &Limits,
    head_only: bool,
    out: &mut Vec<u8>,
) -> Result<Option<Answer>, Invalid> {
    out.clear();
    let mut room = Room::new();
    let mut response = httparse::Response::new(&mut []);
    match ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        room.lines(limits.headers),
    ) {
        Ok(Status::Complete(size)) if size <= limits.buffer() => {
            understand(&response, head_only, size, out).map(Some)
        }
        Ok(Status::Partial) if bytes.len() < limits.buffer() => Ok(None),
        Ok(Status::Complete(_) | Status::Partial) | Err(_) => Err(Invalid),
    }
}

fn understand(
    response: &httparse::Response<'_, '_>,
    head_only: bool,
    size: usize,
    out: &mut Vec<u8>,
) -> Result<Answer, Invalid> {
    let (Some(status @ 100..=999), Some(version)) = (response.code, response.version) else {
        return Err(Invalid);
    };
    let headers: &[Header<'_>] = response.headers;
    let mut options = Options::default();
    let (mut length, mut codings, mut dated, mut upgrade) = (None, 0_u32, false, None);
    for header in headers {
        match Field::of(header.name) {
            Field::Length => {
                let given = crate::plain::fields::length(header.value).ok_or(Invalid)?;
                if length.is_some_and(|other| other != given) {
                    return Err(Invalid);
                }
                length = Some(given);
            }
            Field::TransferEncoding if header.value.eq_ignore_ascii_case(b"chunked") => codings += 1,
            // What we cannot undo we cannot pass on: the client would take it for something else.
            Field::TransferEncoding => return Err(Invalid),
            Field::Connection => options.read(header.value),
            Field::Date => dated = true,
            Field::Upgrade => upgrade = upgrade.or(Some(header.value)),
            Field::Other
            | Field::Host
            | Field::Te
            | Field::Expect
            | Field::RequestId
            | Field::Hop
            | Field::ForwardedFor
            | Field::Forwarded
            | Field::Claim
            | Field::Trace
            | Field::TraceState => {}
        }
    }
    if codings > 1 || (codings == 1 && (length.is_some() || version == 0)) {
        return Err(Invalid);
    }
    let bodiless = status < 200 || status == 204 || status == 304;
    let body = match (codings, length) {
        _ if bodiless || head_only => Body::None,
        (1.., _) => Body::Chunked,
        (0, Some(0)) => Body::None,
        (0, Some(length)) => Body::Length(length),
        (0, None) => Body::Close,
    };
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(response.reason.unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
    pass(headers, &options, out);
    if let Some(length) = length.filter(|_| status >= 200 && status != 204) {
        out.extend_from_slice(b"content-length: ");
        number(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if status == 101
        && let Some(protocol) = upgrade
    {
        line(out, "upgrade", protocol);
    }
    Ok(Answer {
        status,
        body,
        reusable: body != Body::Close && !options.close && (version == 1 || options.keep_alive),
        dated,
        upgrade: upgrade.is_some() && options.upgrade,
        websocket: upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")),
        size,
    })
}

fn pass(headers: &[Header<'_>], options: &Options<'_>, out: &mut Vec<u8>) {
    for header in headers {
        let passes = match Field::of(header.name) {
            Field::Length
            | Field::TransferEncoding
            | Field::Connection
            | Field::Te
            | Field::Upgrade
            | Field::RequestId
            | Field::Hop => false,
            Field::Other
            | Field::Host
            | Field::Expect
            | Field::ForwardedFor
            | Field::Forwarded
            | Field::Claim
            | Field::Trace
            | Field::TraceState
            | Field::Date => !options.names(header.name),
        };
        if passes {
            line(out, header.name, header.value);
        }
    }
}

impl Answer {
    /// More answers follow this one.
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Completes the head that [`read`] began.
    pub(super) fn finish(&self, manner: &Manner<'_>, out: &mut Vec<u8>) {
        if let Some(cookie) = manner.cookie {
            line(out, "set-cookie", cookie.as_bytes());
        }
        if manner.chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if let Some(connection) = manner.connection {
            line(out, "connection", connection.as_bytes());
        }
        if !self.is_interim() {
            line(out, "x-request-id", manner.id);
        }
        if !self.dated && self.status >= 200 {
            line(out, "date", &date());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The gateway's own answer, whole. `body`: whether its text goes with it.
pub(super) fn refusal(code: Code, id: &[u8], close: bool, body: bool, out: &mut Vec<u8>) {
    let text = code.body(&String::from_utf8_lossy(id));
    let status = code.status();
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status.as_u16()));
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\ncontent-type: application/json\r\ncontent-length: ");
    number(out, text.len() as u64);
    out.extend_from_slice(b"\r\n");
    line(out, "shipshape-error", code.text().as_bytes());
    if status == http::StatusCode::SERVICE_UNAVAILABLE {
        line(out, "retry-after", b"1");
    }
    if close {
        line(out, "connection", b"close");
    }
    line(out, "date", &date());
    line(out, "x-request-id", id);
    out.extend_from_slice(b"\r\n");
    if body {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Now, as heads say it.
fn date() -> [u8; DATE_BYTES] {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec.unsigned_abs();
    DATE.with(|date| {
        if date.get().0 != now {
            let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
            if let Ok(bytes) = text.as_bytes().try_into() {
                date.set((now, bytes));
            }
        }
        date.get().1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, head_only: bool) -> Result<Option<Answer>, Invalid> {
        read(text.as_bytes(), &Limits::default(), head_only, &mut Vec::new())
    }

    #[test]
    fn an_answer_that_can_be_read_two_ways_is_none() {
        for bad in [
            "content-length: 1\r\ncontent-length: 2\r\n",
            "content-length: x\r\n",
            "content-length: 1\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "a: b\r\n c: d\r\n",
            "a : b\r\n",
            "a: b\rc\r\n",
        ] {
            assert_eq!(parse(&format!("HTTP/1.1 200 OK\r\n{bad}\r\n"), false), Err(Invalid), "{bad}");
        }
        for line in ["HTTP/1.1 099 x", "HTTP/2.0 200 OK", "HTTP/1.1 20 OK", "ICY 200 OK"] {
            assert_eq!(parse(&format!("{line}\r\n\r\n"), false), Err(Invalid), "{line}");
        }
        assert_eq!(parse("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", false), Err(Invalid));
    }

    #[test]
    fn bodies_end_as_the_standard_says() {
        let of = |head: &str, head_only| {
            let answer = parse(&format!("HTTP/1.{head}\r\n\r\n"), head_only).unwrap().unwrap();
            (answer.body, answer.reusable)
        };
        assert_eq!(of("1 200 OK\r\ncontent-length: 3", false), (Body::Length(3), true));
        assert_eq!(of("1 200 OK\r\ncontent-length: 3", true), (Body::None, true));
        assert_eq!(of("1 204 \r\ncontent-length: 3", false), (Body::None, true));
        assert_eq!(of("1 304\r\ncontent-length: 3", false), (Body::None, true));
        assert_eq!(of("1 200 OK\r\nTransfer-Encoding: Chunked", false), (Body::Chunked, true));
        assert_eq!(of("1 200 OK\r\ncontent-length: 0\r\nconnection: x, Close", false), (Body::None, false));
        assert_eq!(of("1 200 OK", false), (Body::Close, false));
        assert_eq!(of("0 200 OK\r\ncontent-length: 3", false), (Body::Length(3), false));
        let old = "0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive";
        assert_eq!(of(old, false), (Body::Length(3), true));
    }

    #[test]
    fn a_date_is_added_to_an_answer_without() {
        for (given, dates) in [("", 1), ("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 1)] {
            let mut out = Vec::new();
            let text = format!("HTTP/1.1 200 OK\r\n{given}\r\n");
            let answer = read(text.as_bytes(), &Limits::default(), false, &mut out).unwrap().unwrap();
            answer.finish(&Manner { id: b"i", chunked: false, connection: None, cookie: None }, &mut out);
            let text = String::from_utf8(out).unwrap().to_lowercase();
            assert_eq!(text.matches("\r\ndate: ").count(), dates, "{text}");
        }
    }
}
