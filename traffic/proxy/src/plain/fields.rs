//! The header fields that a gateway has to know, told apart by name; and small questions about their values. What follows
//! from a field is not decided here.

use std::mem::MaybeUninit;

use httparse::Header;

/// So many header lines are read without asking for memory.
const FEW: usize = 100;

/// Room for the header lines of one head.
pub(super) struct Room<'a> {
    few: [MaybeUninit<Header<'a>>; FEW],
    many: Vec<MaybeUninit<Header<'a>>>,
}

impl<'a> Room<'a> {
    pub(super) const fn new() -> Self {
        Self { few: [const { MaybeUninit::uninit() }; FEW], many: Vec::new() }
    }

    /// For so many lines.
    pub(super) fn lines(&mut self, count: usize) -> &mut [MaybeUninit<Header<'a>>] {
        if count > FEW {
            self.many.resize_with(count, MaybeUninit::uninit);
            return &mut self.many;
        }
        &mut self.few[..count]
    }
}

/// What a field is to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Nothing: it passes.
    Other,
    Host,
    Length,
    TransferEncoding,
    Connection,
    Te,
    Upgrade,
    Expect,
    RequestId,
    /// Concerns one connection, or is the gateway's own word: it does not pass.
    Hop,
    ForwardedFor,
    Forwarded,
    /// `X-Forwarded-Proto` and `X-Forwarded-Host`, which nobody may say for us.
    Claim,
    Trace,
    TraceState,
    Date,
}

impl Field {
    pub(super) fn of(name: &str) -> Self {
        let is = |text: &str| name.eq_ignore_ascii_case(text);
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            9 if is("forwarded") => Self::Forwarded,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::Hop,
            10 if is("tracestate") => Self::TraceState,
            11 if is("traceparent") => Self::Trace,
            12 if is("x-request-id") => Self::RequestId,
            14 if is("content-length") => Self::Length,
            14 if is("http2-settings") => Self::Hop,
            15 if is("x-forwarded-for") => Self::ForwardedFor,
            15 if is("shipshape-error") => Self::Hop,
            16 if is("x-forwarded-host") => Self::Claim,
            16 if is("proxy-connection") => Self::Hop,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("x-forwarded-proto") => Self::Claim,
            18 if is("proxy-authenticate") => Self::Hop,
            19 if is("proxy-authorization") => Self::Hop,
            _ => Self::Other,
        }
    }
}

/// What the `Connection` fields of a head say.
#[derive(Default)]
pub(super) struct Options<'a> {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Fields that concern this connection only. Those that no option may talk us out of are told apart elsewhere.
    named: Vec<&'a str>,
}

impl<'a> Options<'a> {
    pub(super) fn read(&mut self, value: &'a [u8]) {
        for option in tokens(value) {
            let is = |text: &str| option.eq_ignore_ascii_case(text);
            match option.len() {
                5 if is("close") => self.close = true,
                10 if is("keep-alive") => self.keep_alive = true,
                7 if is("upgrade") => self.upgrade = true,
                0 => {}
                _ => self.named.push(option),
            }
        }
    }

    pub(super) fn names(&self, field: &str) -> bool {
        self.named.iter().any(|name| name.eq_ignore_ascii_case(field))
    }
}

/// The elements of a list of tokens. One that is no text is empty.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &str> {
    value.split(|byte| *byte == b',').map(|part| std::str::from_utf8(part).unwrap_or("").trim())
}

pub(super) fn has_token(value: &[u8], token: &str) -> bool {
    tokens(value).any(|given| given.eq_ignore_ascii_case(token))
}

/// A `Content-Length`: digits and nothing else.
pub(super) fn length(value: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |sum: u64, byte: &u8| sum.checked_mul(10)?.checked_add(digit(byte)?);
    if value.is_empty() { None } else { value.iter().try_fold(0, add) }
}

/// One line of a head.
pub(super) fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A number in digits.
pub(super) fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_that_fit() {
        assert_eq!(length(b"0"), Some(0));
        assert_eq!(length(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "+1", "-1", "1,1", "1 1", "0x1", "1_0", "18446744073709551616", "\u{661}"] {
            assert_eq!(length(bad.as_bytes()), None, "{bad}");
        }
        let mut out = Vec::new();
        number(&mut out, 1_020);
        number(&mut out, 0);
        assert_eq!(out, b"10200");
    }
}
