//! Requests that two readers could read two ways, and what has to become of each. Only data.

/// What has to become of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// One answer with one of these statuses, then the end; no whole request reaches the backend. The code is the one
    /// that the answer names, when it names any.
    Refused(&'static [u16], &'static str),
    /// The backend sees exactly these: method and target, host, body. Each is answered 200.
    Served(&'static [(&'static str, &'static str, &'static str)]),
    /// One or the other: the standard leaves it open, and both are safe.
    Either(&'static [(&'static str, &'static str, &'static str)]),
    /// These are served, and what follows is refused.
    ServedThenRefused(&'static [(&'static str, &'static str, &'static str)]),
    /// These are served, and what follows ends the connection, with a word or without.
    ServedThenEnded(&'static [(&'static str, &'static str, &'static str)]),
    /// The body breaks: an answer of the 400s or just the end, and no whole request reaches the backend.
    Broken,
    /// The client leaves in the middle; no whole request reaches the backend.
    Left,
}

use Expect::{Broken, Either, Left, Refused, Served, ServedThenEnded, ServedThenRefused};

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) bytes: &'static str,
    pub(crate) expect: Expect,
}

const BAD: &[u16] = &[400];
const MALFORMED: &str = "SHP-GW-BAD-REQUEST";
const AMBIGUOUS: &str = "SHP-GW-AMBIGUOUS-LENGTH";

/// A head that starts like any other; the row says how it goes on.
macro_rules! post {
    ($rest:literal) => {
        concat!("POST /p HTTP/1.1\r\nhost: s\r\n", $rest)
    };
}

macro_rules! rows {
    ($($name:literal: $bytes:expr => $expect:expr;)*) => {
        &[$(Row { name: $name, bytes: $bytes, expect: $expect }),*]
    };
}

const ABC: &[(&str, &str, &str)] = &[("POST /p", "s", "abc")];
const NO_BODY: &[(&str, &str, &str)] = &[("POST /p", "s", "")];
const GET: &[(&str, &str, &str)] = &[("GET /", "s", "")];

/// Two framings at once.
pub(crate) const BOTH: &[Row] = rows! {
    "CL.TE": post!("content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG") => Refused(BAD, AMBIGUOUS);
    "TE.CL": post!("transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n5c\r\nGPOST /admin HTTP/1.1\r\n\r\n0\r\n\r\n") => Refused(BAD, AMBIGUOUS);
    "CL.TE with a request inside": post!("Content-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: s\r\nx: y\r\n\r\n") => Refused(BAD, AMBIGUOUS);
    "CL.TE in other letters": post!("CONTENT-LENGTH: 6\r\ntRANSFER-eNCODING: cHUNKED\r\n\r\n0\r\n\r\nG") => Refused(BAD, AMBIGUOUS);
    "CL 0 with TE": post!("content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") => Refused(BAD, AMBIGUOUS);
    "TE in the middle of two CL": post!("content-length: 3\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n") => Refused(BAD, AMBIGUOUS);
    "TE identity with CL": post!("content-length: 3\r\ntransfer-encoding: identity\r\n\r\nabc") => Refused(&[400, 501], AMBIGUOUS);
    "TE unknown with CL": post!("content-length: 3\r\ntransfer-encoding: xchunked\r\n\r\nabc") => Refused(&[400, 501], AMBIGUOUS);
    "TE empty with CL": post!("content-length: 3\r\ntransfer-encoding:\r\n\r\nabc") => Refused(&[400, 501], AMBIGUOUS);
    "HTTP/1.0 with TE": "POST /p HTTP/1.0\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" => Refused(BAD, MALFORMED);
    "HTTP/1.0 with TE and CL": "POST /p HTTP/1.0\r\nhost: s\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" => Refused(BAD, AMBIGUOUS);
    "Connection names the length": post!("connection: content-length\r\ncontent-length: 3\r\n\r\nabc") => Served(ABC);
    "Connection names the encoding": post!("connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") => Served(ABC);
    "Connection names both framings": post!("connection: content-length, transfer-encoding\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n") => Refused(BAD, AMBIGUOUS);
    "Connection names the host": post!("connection: host, close\r\ncontent-length: 3\r\n\r\nabc") => Served(ABC);
};

/// Encodings that are not plainly `chunked`.
pub(crate) const ENCODINGS: &[Row] = rows! {
    "chunked": post!("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") => Served(ABC);
    "Chunked": post!("transfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") => Served(ABC);
    "chunked in white space": post!("transfer-encoding:  \tchunked \t\r\n\r\n3\r\nabc\r\n0\r\n\r\n") => Served(ABC);
    "xchunked": post!("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "chunked, identity": post!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "identity, chunked": post!("transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "chunked twice": post!("transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "gzip, chunked": post!("transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "chunked, gzip": post!("transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "identity": post!("transfer-encoding: identity\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "a trailing comma": post!("transfer-encoding: chunked,\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "a leading comma": post!("transfer-encoding: ,chunked\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "a parameter": post!("transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "quoted": post!("transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "empty": post!("transfer-encoding: \r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "vertical tab": post!("transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "form feed": post!("transfer-encoding: chunked\x0c\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "NUL behind": post!("transfer-encoding: chunked\0\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "two lines, chunked first": post!("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "two lines, chunked last": post!("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "two lines, both chunked": post!("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n") => Refused(&[400, 501], MALFORMED);
    "space before the colon": post!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "tab before the colon": post!("transfer-encoding\t: chunked\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "NUL in the name": post!("transfer-encoding\0: chunked\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "folded": post!("transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "folded by a bare LF": post!("transfer-encoding:\n chunked\r\n\r\n0\r\n\r\n") => Refused(BAD, MALFORMED);
    "hidden in a folded line": post!("x: y\r\n transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "behind a bare CR": post!("x: y\rtransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "behind a bare LF, with CL": post!("x: y\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc") => Refused(BAD, AMBIGUOUS);
    "an underscore is another name": post!("transfer_encoding: chunked\r\ncontent-length: 3\r\n\r\nabc") => Either(ABC);
};

/// Lengths that are not plainly a number.
pub(crate) const LENGTHS: &[Row] = rows! {
    "3": post!("content-length: 3\r\n\r\nabc") => Served(ABC);
    "3 in white space": post!("content-length:\t 3 \t\r\n\r\nabc") => Served(ABC);
    "leading zeros": post!("content-length: 0003\r\n\r\nabc") => Either(ABC);
    "twice the same": post!("content-length: 3\r\ncontent-length: 3\r\n\r\nabc") => Either(ABC);
    "twice the same in a list": post!("content-length: 3, 3\r\n\r\nabc") => Either(ABC);
    "two lengths": post!("content-length: 3\r\ncontent-length: 4\r\n\r\nabcd") => Refused(BAD, MALFORMED);
    "two lengths, the longer first": post!("content-length: 44\r\ncontent-length: 3\r\n\r\nabcGET /admin HTTP/1.1\r\nhost: s\r\n\r\n") => Refused(BAD, MALFORMED);
    "two lengths in a list": post!("content-length: 3, 4\r\n\r\nabcd") => Refused(BAD, MALFORMED);
    "negative": post!("content-length: -3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "plus": post!("content-length: +3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "hexadecimal": post!("content-length: 0x3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "letters": post!("content-length: c\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "two numbers": post!("content-length: 3 3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "decimal": post!("content-length: 3.0\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "exponent": post!("content-length: 3e0\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "empty": post!("content-length:\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "a comma": post!("content-length: 3,\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "NUL behind": post!("content-length: 3\0\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "digits of another script": post!("content-length: \u{0663}\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "above 64 bits": post!("content-length: 18446744073709551619\r\n\r\nabc") => Refused(&[400, 413, 431], MALFORMED);
    "the largest of 64 bits": post!("content-length: 18446744073709551615\r\n\r\nabc") => Refused(&[400, 413, 431], "SHP-GW-BODY-TOO-LARGE");
    "a hundred digits": post!("content-length: 0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000003\r\n\r\nabc") => Either(ABC);
    "more than the route allows": post!("content-length: 1048577\r\n\r\nabc") => Refused(&[413], "SHP-GW-BODY-TOO-LARGE");
    "space before the colon": post!("content-length : 3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "folded": post!("content-length:\r\n 3\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "folded, a second digit": post!("content-length: 3\r\n 4\r\n\r\nabc") => Refused(BAD, MALFORMED);
    "GET with a body": "GET /p HTTP/1.1\r\nhost: s\r\ncontent-length: 3\r\n\r\nabc" => Served(&[("GET /p", "s", "abc")]);
    "GET with a request for a body": "GET /p HTTP/1.1\r\nhost: s\r\ncontent-length: 36\r\n\r\nGET /admin HTTP/1.1\r\nhost: admin\r\n\r\n" => Served(&[("GET /p", "s", "GET /admin HTTP/1.1\r\nhost: admin\r\n\r\n")]);
    "POST without any": post!("\r\n") => Served(NO_BODY);
    "the client leaves early": post!("content-length: 10\r\n\r\nabc") => Left;
};

/// Heads that are no heads.
pub(crate) const HEADS: &[Row] = rows! {
    "folded line": "GET / HTTP/1.1\r\nhost: s\r\nx: y\r\n z\r\n\r\n" => Refused(BAD, MALFORMED);
    "folded by a tab": "GET / HTTP/1.1\r\nhost: s\r\nx: y\r\n\tz\r\n\r\n" => Refused(BAD, MALFORMED);
    "folded first line": "GET / HTTP/1.1\r\n host: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "folded nothing": "GET / HTTP/1.1\r\nhost: s\r\nx: y\r\n \r\n\r\n" => Refused(BAD, MALFORMED);
    "space before the colon": "GET / HTTP/1.1\r\nhost: s\r\nx : y\r\n\r\n" => Refused(BAD, MALFORMED);
    "space before the host's colon": "GET / HTTP/1.1\r\nhost : s\r\n\r\n" => Refused(BAD, MALFORMED);
    "no colon": "GET / HTTP/1.1\r\nhost: s\r\nx\r\n\r\n" => Refused(BAD, MALFORMED);
    "no name": "GET / HTTP/1.1\r\nhost: s\r\n: y\r\n\r\n" => Refused(BAD, MALFORMED);
    "space in the name": "GET / HTTP/1.1\r\nhost: s\r\nx y: z\r\n\r\n" => Refused(BAD, MALFORMED);
    "delimiters in the name": "GET / HTTP/1.1\r\nhost: s\r\nx(y): z\r\n\r\n" => Refused(BAD, MALFORMED);
    "letters beyond ASCII in the name": "GET / HTTP/1.1\r\nhost: s\r\nx\u{e4}: z\r\n\r\n" => Refused(BAD, MALFORMED);
    "NUL in a value": "GET / HTTP/1.1\r\nhost: s\r\nx: y\0z\r\n\r\n" => Refused(BAD, MALFORMED);
    "bare CR in a value": "GET / HTTP/1.1\r\nhost: s\r\nx: y\rz\r\n\r\n" => Refused(BAD, MALFORMED);
    "escape in a value": "GET / HTTP/1.1\r\nhost: s\r\nx: y\x1bz\r\n\r\n" => Refused(BAD, MALFORMED);
    "delete in a value": "GET / HTTP/1.1\r\nhost: s\r\nx: y\x7fz\r\n\r\n" => Refused(BAD, MALFORMED);
    "letters beyond ASCII in a value": "GET / HTTP/1.1\r\nhost: s\r\nx: \u{e4}\r\n\r\n" => Either(GET);
    "bare CR ends a line": "GET / HTTP/1.1\rhost: s\r\r" => Left;
    "bare LF ends a line": "GET / HTTP/1.1\r\nhost: s\nx: y\r\n\r\n" => Either(GET);
    "bare LF ends all lines": "GET / HTTP/1.1\nhost: s\n\n" => Either(GET);
    "CR CR LF ends a line": "GET / HTTP/1.1\r\nhost: s\r\r\n\r\n" => Refused(BAD, MALFORMED);
    "a request behind a bare LF": "GET / HTTP/1.1\r\nhost: s\r\nx: y\nGET /admin HTTP/1.1\r\n\r\n" => Refused(BAD, MALFORMED);
    "an empty line before": "\r\nGET / HTTP/1.1\r\nhost: s\r\n\r\n" => Either(GET);
    "HTTP/0.9": "GET /\r\n\r\n" => Refused(&[400, 505], MALFORMED);
    "HTTP/0.9 with a space": "GET / \r\n\r\n" => Refused(&[400, 505], MALFORMED);
    "HTTP/2.0": "GET / HTTP/2.0\r\nhost: s\r\n\r\n" => Refused(&[400, 505], MALFORMED);
    "HTTP/1.2": "GET / HTTP/1.2\r\nhost: s\r\n\r\n" => Refused(&[400, 505], MALFORMED);
    "HTTP/1.10": "GET / HTTP/1.10\r\nhost: s\r\n\r\n" => Refused(&[400, 505], MALFORMED);
    "http/1.1": "GET / http/1.1\r\nhost: s\r\n\r\n" => Refused(&[400, 505], MALFORMED);
    "another protocol": "GET / ICY/1.1\r\nhost: s\r\n\r\n" => Refused(&[400, 505], MALFORMED);
    "two spaces": "GET  / HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "tab for a space": "GET\t/\tHTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "a space behind": "GET / HTTP/1.1 \r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "a space before": " GET / HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "a space in the target": "GET /a b HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "two request lines": "GET / HTTP/1.1 HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "NUL in the target": "GET /\0 HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "CR in the target": "GET /\rx HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "no target": "GET HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "no slash": "GET x HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "authority as target": "GET s:80 HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "asterisk for GET": "GET * HTTP/1.1\r\nhost: s\r\n\r\n" => Either(&[("GET *", "s", "")]);
    "asterisk for OPTIONS": "OPTIONS * HTTP/1.1\r\nhost: s\r\n\r\n" => Either(&[("OPTIONS *", "s", "")]);
    "no method": "/ HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "a colon in the method": "GET: / HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "method in small letters": "get / HTTP/1.1\r\nhost: s\r\n\r\n" => Either(&[("get /", "s", "")]);
    "CONNECT": "CONNECT s:80 HTTP/1.1\r\nhost: s:80\r\n\r\n" => Refused(&[501], "SHP-GW-METHOD");
    "CONNECT to a path": "CONNECT / HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(&[400, 501], "SHP-GW-METHOD");
    "CONNECT with a request behind": "CONNECT s:80 HTTP/1.1\r\nhost: s:80\r\n\r\nGET /admin HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(&[501], "SHP-GW-METHOD");
    "TRACE": "TRACE / HTTP/1.1\r\nhost: s\r\ncookie: secret\r\n\r\n" => Refused(&[405, 501], "SHP-GW-METHOD");
    "TLS": "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n" => Refused(BAD, MALFORMED);
    "the client leaves in the head": "GET / HTTP/1.1\r\nhost: s\r\n" => Left;
};

/// Who the request is for.
pub(crate) const HOSTS: &[Row] = rows! {
    "none": "GET / HTTP/1.1\r\n\r\n" => Refused(BAD, MALFORMED);
    "none in HTTP/1.0": "GET / HTTP/1.0\r\nx: y\r\n\r\n" => Served(&[("GET /", "", "")]);
    "two": "GET / HTTP/1.1\r\nhost: s\r\nhost: t\r\n\r\n" => Refused(BAD, MALFORMED);
    "two in HTTP/1.0": "GET / HTTP/1.0\r\nhost: s\r\nhost: t\r\n\r\n" => Refused(BAD, MALFORMED);
    "twice the same": "GET / HTTP/1.1\r\nhost: s\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "a list": "GET / HTTP/1.1\r\nhost: s, t\r\n\r\n" => Refused(BAD, MALFORMED);
    "a path": "GET / HTTP/1.1\r\nhost: s/t\r\n\r\n" => Refused(BAD, MALFORMED);
    "a user": "GET / HTTP/1.1\r\nhost: u@s\r\n\r\n" => Refused(BAD, MALFORMED);
    "two ports": "GET / HTTP/1.1\r\nhost: s:80:90\r\n\r\n" => Refused(BAD, MALFORMED);
    "no number for a port": "GET / HTTP/1.1\r\nhost: s:80x\r\n\r\n" => Refused(BAD, MALFORMED);
    "a query": "GET / HTTP/1.1\r\nhost: s?x\r\n\r\n" => Refused(BAD, MALFORMED);
    "a fragment": "GET / HTTP/1.1\r\nhost: s#x\r\n\r\n" => Refused(BAD, MALFORMED);
    "a space": "GET / HTTP/1.1\r\nhost: s t\r\n\r\n" => Refused(BAD, MALFORMED);
    "with a port": "GET / HTTP/1.1\r\nhost: s:8080\r\n\r\n" => Served(&[("GET /", "s:8080", "")]);
    "an address": "GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n" => Served(&[("GET /", "[::1]:80", "")]);
    "an open address": "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n" => Refused(BAD, MALFORMED);
    "absolute target overrules": "GET http://real/x?y HTTP/1.1\r\nhost: other\r\n\r\n" => Served(&[("GET /x?y", "real", "")]);
    "absolute target without path": "GET http://real HTTP/1.1\r\nhost: real\r\n\r\n" => Served(&[("GET /", "real", "")]);
    "absolute target without path, with query": "GET http://real?x HTTP/1.1\r\nhost: real\r\n\r\n" => Either(&[("GET /?x", "real", "")]);
    "absolute target with a user": "GET http://u@real/ HTTP/1.1\r\nhost: real\r\n\r\n" => Refused(BAD, MALFORMED);
    "absolute target without host": "GET http:///x HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "absolute target of another scheme": "GET ftp://s/x HTTP/1.1\r\nhost: s\r\n\r\n" => Refused(BAD, MALFORMED);
    "absolute target, two hosts": "GET http://real/ HTTP/1.1\r\nhost: s\r\nhost: t\r\n\r\n" => Refused(BAD, MALFORMED);
    "a claim about us": "GET / HTTP/1.1\r\nhost: s\r\nx-forwarded-host: admin\r\nforwarded: host=admin\r\n\r\n" => Served(GET);
};

/// Chunks.
pub(crate) const CHUNKS: &[Row] = rows! {
    "in pieces": post!("transfer-encoding: chunked\r\n\r\n1\r\na\r\n02\r\nbc\r\n000\r\n\r\n") => Served(ABC);
    "an extension": post!("transfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0;last\r\n\r\n") => Served(ABC);
    "a quoted extension": post!("transfer-encoding: chunked\r\n\r\n3;x=\"y;z\"\r\nabc\r\n0\r\n\r\n") => Either(ABC);
    "LF in an extension": post!("transfer-encoding: chunked\r\n\r\n3;x\nabc\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: s\r\n\r\n") => Broken;
    "CR in an extension": post!("transfer-encoding: chunked\r\n\r\n3;x\ry\r\nabc\r\n0\r\n\r\n") => Broken;
    "LF behind a size": post!("transfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n") => Broken;
    "LF behind a chunk": post!("transfer-encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n") => Broken;
    "nothing behind a chunk": post!("transfer-encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n") => Broken;
    "a chunk longer than its size": post!("transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n") => Broken;
    "no size": post!("transfer-encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n") => Broken;
    "only an extension": post!("transfer-encoding: chunked\r\n\r\n;x\r\nabc\r\n0\r\n\r\n") => Broken;
    "negative size": post!("transfer-encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n") => Broken;
    "plus size": post!("transfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n") => Broken;
    "0x size": post!("transfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n") => Broken;
    "no digit": post!("transfer-encoding: chunked\r\n\r\ng\r\nabc\r\n0\r\n\r\n") => Broken;
    "a space before the size": post!("transfer-encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n") => Broken;
    "a space within the size": post!("transfer-encoding: chunked\r\n\r\n0 3\r\nabc\r\n0\r\n\r\n") => Broken;
    "a size of 64 bits and one": post!("transfer-encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n") => Broken;
    "a size of 32 bits and three": post!("transfer-encoding: chunked\r\n\r\n100000003\r\nabc\r\n0\r\n\r\n") => Left;
    "the largest size": post!("transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n0\r\n\r\n") => Left;
    "no last chunk": post!("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n") => Left;
    "LF behind the last chunk": post!("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\n") => Left;
    "the end for a trailer": post!("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGET /admin HTTP/1.1\r\nhost: s\r\n\r\n") => Broken;
    "trailers": post!("te: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n") => Served(ABC);
    "a length among the trailers": post!("trailer: content-length\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ncontent-length: 9\r\n\r\n") => Either(ABC);
    "an encoding among the trailers": post!("trailer: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ntransfer-encoding: chunked\r\n\r\n") => Either(ABC);
    "a host among the trailers": post!("trailer: host\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nhost: t\r\n\r\n") => Either(ABC);
    "a folded trailer": post!("trailer: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n z\r\n\r\n") => Broken;
    "NUL in a trailer": post!("trailer: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: \0\r\n\r\n") => Broken;
    "GET in chunks": "GET /p HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" => Served(&[("GET /p", "s", "abc")]);
    "a request in a chunk": post!("transfer-encoding: chunked\r\n\r\n24\r\nGET /admin HTTP/1.1\r\nhost: admin\r\n\r\n\r\n0\r\n\r\n") => Served(&[("POST /p", "s", "GET /admin HTTP/1.1\r\nhost: admin\r\n\r\n")]);
};

/// Several requests at once, and changes of protocol.
pub(crate) const SEQUENCES: &[Row] = rows! {
    "three": "GET /1 HTTP/1.1\r\nhost: s\r\n\r\nPOST /2 HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nhost: t\r\n\r\n" => Served(&[("GET /1", "s", ""), ("POST /2", "s", "a"), ("GET /3", "t", "")]);
    "a bad one behind a good one": "POST /1 HTTP/1.1\r\nhost: s\r\ncontent-length: 1\r\n\r\naGET /2 HTTP/1.1\r\nhost : s\r\n\r\nGET /3 HTTP/1.1\r\nhost: s\r\n\r\n" => ServedThenRefused(&[("POST /1", "s", "a")]);
    "two framings behind a good one": "GET /1 HTTP/1.1\r\nhost: s\r\n\r\nPOST /2 HTTP/1.1\r\nhost: s\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGGET /3 HTTP/1.1\r\nhost: s\r\n\r\n" => ServedThenRefused(&[("GET /1", "s", "")]);
    "the HTTP/2 preface behind a good one": "GET /1 HTTP/1.1\r\nhost: s\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" => ServedThenEnded(&[("GET /1", "s", "")]);
    "a request behind the last": "GET /1 HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: s\r\n\r\n" => Served(&[("GET /1", "s", "")]);
    "h2c": "GET / HTTP/1.1\r\nhost: s\r\nupgrade: h2c\r\nconnection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n" => Served(GET);
    "h2c beside another": "GET / HTTP/1.1\r\nhost: s\r\nupgrade: websocket, h2c\r\nconnection: upgrade\r\n\r\n" => Either(GET);
    "h2c not named by Connection": "GET / HTTP/1.1\r\nhost: s\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n" => Served(GET);
    "an upgrade refused, a request behind": "GET /1 HTTP/1.1\r\nhost: s\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nGET /2 HTTP/1.1\r\nhost: s\r\n\r\n" => Served(&[("GET /1", "s", ""), ("GET /2", "s", "")]);
    "an upgrade with a body": "POST /p HTTP/1.1\r\nhost: s\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 3\r\n\r\nabc" => Either(ABC);
    "an expectation": post!("expect: 100-continue\r\ncontent-length: 3\r\n\r\nabc") => Served(ABC);
    "an expectation and no body": post!("expect: 100-continue\r\n\r\n") => Served(NO_BODY);
    "hop-by-hop claims": "GET / HTTP/1.1\r\nhost: s\r\nconnection: close, x-forwarded-for, x-request-id\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: gzip\r\nx-forwarded-for: 1.2.3.4\r\n\r\n" => Served(GET);
    "HTTP/1.0 kept alive": "POST /p HTTP/1.0\r\nhost: s\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nabc" => Served(ABC);
};
