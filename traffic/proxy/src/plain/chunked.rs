//! The chunked coding (RFC 9112, 7.1), read strictly and written anew: what goes on is our own framing around the data,
//! never the framing that came. Chunk extensions end here. Trailers pass as far as they are no threat.

use crate::plain::buffer::Buffer;

/// The longest line of a chunk's size with its extensions, in bytes.
const LINE_BYTES: usize = 1024;
/// What no trailer may say: framing, routing, trust, and what has to be known before the body (RFC 9110, 6.5.1).
const NO_TRAILERS: [&str; 37] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "shipshape-error",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Why a chunked body is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is not what the standard says.
    Malformed,
    /// It holds more data than is allowed.
    TooLarge,
}

/// How many trailers are taken, and how large together.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrailerLimits {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

/// A reader of one chunked body, fed piece by piece.
pub(super) struct Chunks {
    at: At,
    /// Bytes of the line being read.
    line: usize,
    /// Data that may still come.
    room: u64,
    limits: TrailerLimits,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The size so far, and whether it had a digit.
    Size(u64, bool),
    /// Blanks behind the size's digits; nothing follows them but an extension or the end. The size.
    Blanks(u64),
    /// Behind a semicolon. The size.
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// How data goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Chunked {
        /// Whether the other side takes trailers.
        trailers: bool,
    },
    /// The end of the connection is the end of the data.
    Bare,
}

impl Coding {
    /// Writes one piece of data.
    pub(super) fn data(self, data: &[u8], out: &mut Buffer) {
        if data.is_empty() {
            return;
        }
        match self {
            Self::Bare => out.push(data),
            Self::Chunked { .. } => {
                let mut line = [0; 18];
                out.push(size_line(data.len(), &mut line));
                out.push(data);
                out.push(b"\r\n");
            }
        }
    }

    /// Writes the end. `trailers`: whole lines.
    pub(super) fn end(self, trailers: &[u8], out: &mut Buffer) {
        match self {
            Self::Bare => {}
            Self::Chunked { trailers: taken } => {
                out.push(b"0\r\n");
                if taken {
                    out.push(trailers);
                }
                out.push(b"\r\n");
            }
        }
    }
}

fn size_line(mut size: usize, line: &mut [u8; 18]) -> &[u8] {
    let mut at = line.len() - 2;
    line[at..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        line[at] = b"0123456789abcdef"[size & 15];
        size >>= 4;
        if size == 0 {
            return &line[at..];
        }
    }
}

impl Chunks {
    /// A body of at most `room` bytes of data.
    pub(super) fn new(room: u64, limits: TrailerLimits) -> Self {
        Self { at: At::Size(0, false), line: 0, room, limits, trailers: Vec::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Reads what it can of `input`, writes it anew, and returns how much it has read: all, unless the body ends in it.
    pub(super) fn read(&mut self, input: &[u8], coding: Coding, out: &mut Buffer) -> Result<usize, Bad> {
        let mut used = 0;
        while used < input.len() && self.at != At::Done {
            match self.at {
                At::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - used);
                    coding.data(&input[used..used + here], out);
                    used += here;
                    let left = left - here as u64;
                    self.at = if left == 0 { At::DataCr } else { At::Data(left) };
                }
                At::Trailers => used += self.trailer(&input[used..], coding, out)?,
                At::Size(..)
                | At::Blanks(_)
                | At::Extension(_)
                | At::SizeEnd(_)
                | At::DataCr
                | At::DataLf
                | At::Done => {
                    self.at = self.byte(input[used])?;
                    used += 1;
                }
            }
        }
        Ok(used)
    }

    fn byte(&mut self, byte: u8) -> Result<At, Bad> {
        self.line += 1;
        if self.line > LINE_BYTES {
            return Err(Bad::Malformed);
        }
        match (self.at, byte) {
            (At::Size(size, had), _) => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) => {
                    let size = size.checked_mul(16).ok_or(Bad::Malformed)? + u64::from(digit);
                    Ok(At::Size(size, true))
                }
                (None, b'\r') if had => Ok(At::SizeEnd(size)),
                (None, b';') if had => Ok(At::Extension(size)),
                (None, b' ' | b'\t') if had => Ok(At::Blanks(size)),
                (None, _) => Err(Bad::Malformed),
            },
            (At::Blanks(size), b' ' | b'\t') => Ok(At::Blanks(size)),
            (At::Blanks(size), b';') => Ok(At::Extension(size)),
            (At::Blanks(size) | At::Extension(size), b'\r') => Ok(At::SizeEnd(size)),
            (At::Extension(size), b'\t' | 0x20..=0x7e | 0x80..) => Ok(At::Extension(size)),
            (At::SizeEnd(size), b'\n') => {
                self.line = 0;
                self.room = self.room.checked_sub(size).ok_or(Bad::TooLarge)?;
                Ok(if size == 0 { At::Trailers } else { At::Data(size) })
            }
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => {
                self.line = 0;
                Ok(At::Size(0, false))
            }
            (
                At::Blanks(_)
                | At::Extension(_)
                | At::SizeEnd(_)
                | At::Data(_)
                | At::DataCr
                | At::DataLf
                | At::Trailers
                | At::Done,
                _,
            ) => Err(Bad::Malformed),
        }
    }

    /// Takes bytes up to the end of a line; the empty line ends the body.
    fn trailer(&mut self, input: &[u8], coding: Coding, out: &mut Buffer) -> Result<usize, Bad> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(input.len(), |end| end + 1);
        self.trailers.extend_from_slice(&input[..used]);
        if self.trailers.len() > self.limits.bytes {
            return Err(Bad::Malformed);
        }
        if end.is_some() && (self.trailers == b"\r\n" || self.trailers.ends_with(b"\n\r\n")) {
            coding.end(&checked(&self.trailers, self.limits.count)?, out);
            self.trailers = Vec::new();
            self.at = At::Done;
        }
        Ok(used)
    }
}

/// The lines that pass, of trailers with their empty line.
fn checked(trailers: &[u8], count: usize) -> Result<Vec<u8>, Bad> {
    let mut passed = Vec::new();
    if trailers == b"\r\n" {
        return Ok(passed);
    }
    // A line end of its own is the parser's to tolerate, not ours to pass on as an end of the section.
    let bare = |at: usize| trailers[at] == b'\n' && (at == 0 || trailers[at - 1] != b'\r');
    if (0..trailers.len()).any(bare) {
        return Err(Bad::Malformed);
    }
    let mut headers = vec![httparse::EMPTY_HEADER; count];
    let Ok(httparse::Status::Complete((used, headers))) = httparse::parse_headers(trailers, &mut headers)
    else {
        return Err(Bad::Malformed);
    };
    if used != trailers.len() {
        return Err(Bad::Malformed);
    }
    for header in headers {
        if !NO_TRAILERS.iter().any(|no| no.eq_ignore_ascii_case(header.name)) {
            passed.extend_from_slice(header.name.as_bytes());
            passed.extend_from_slice(b": ");
            passed.extend_from_slice(header.value);
            passed.extend_from_slice(b"\r\n");
        }
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TrailerLimits = TrailerLimits { count: 4, bytes: 200 };

    fn read(stream: &[u8], piece: usize, coding: Coding) -> Result<(String, usize), Bad> {
        let (mut chunks, mut out, mut used) = (Chunks::new(1_000, LIMITS), Buffer::default(), 0);
        for bytes in stream.chunks(piece) {
            used += chunks.read(bytes, coding, &mut out)?;
        }
        assert!(chunks.is_done() || used == stream.len());
        let whole = if chunks.is_done() { "" } else { "..." };
        Ok((format!("{}{whole}", String::from_utf8_lossy(out.bytes())), used))
    }

    #[test]
    fn data_is_framed_anew_and_what_follows_is_left() {
        let stream = b"3;x=y\r\nabc\r\n00A \r\n0123456789\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET";
        let (text, used) = read(stream, 4096, Coding::Chunked { trailers: true }).unwrap();
        assert_eq!(text, "3\r\nabc\r\na\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n");
        assert_eq!(&stream[used..], b"GET");
        for piece in 1..stream.len() {
            assert_eq!(read(stream, piece, Coding::Bare).unwrap(), ("abc0123456789".to_owned(), used));
        }
        assert!(read(stream, 1, Coding::Chunked { trailers: false }).unwrap().0.ends_with("9\r\n0\r\n\r\n"));
    }

    #[test]
    fn what_is_not_exactly_chunked_is_refused_however_it_arrives() {
        let long = format!("1;{}\r\n", "x".repeat(LINE_BYTES));
        let bad: [&[u8]; 21] = [
            b"x\r\n",
            b"\r\n",
            b" 1\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1_0\r\n",
            b"1\nabc",
            b"1 2\r\n",
            b"0 b\r\n\r\n",
            b"1\r\r\n",
            b"1;a\n",
            b"1;a\x00\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"10000000000000000\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\na: b\nc: d\r\n\r\n",
            b"0\r\na: b\r\n c\r\n\r\n",
            b"0\r\na: b\rc\r\n\r\n",
            long.as_bytes(),
        ];
        for stream in bad {
            for piece in [1, 2, 4096] {
                let read = read(stream, piece, Coding::Bare);
                assert_eq!(read, Err(Bad::Malformed), "{}", String::from_utf8_lossy(stream));
            }
        }
        assert_eq!(read(b"3e9\r\n", 1, Coding::Bare), Err(Bad::TooLarge));
        assert_eq!(read(b"fffffffffffffff0\r\n", 1, Coding::Bare), Err(Bad::TooLarge));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(5));
        assert_eq!(read(many.as_bytes(), 4096, Coding::Bare), Err(Bad::Malformed));
    }
}
