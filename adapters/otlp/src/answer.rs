//! What an answer means by the protocol's rules: whether it was taken, whether to send again, and when. Does not live here:
//! getting the answer.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It may be sent again, after the wait that was asked for, if one was.
    Later(String, Option<Duration>),
    /// It will never be taken.
    Never(String),
}

/// A batch that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How much of it was not, which must not be sent again.
    pub(crate) rejected: u64,
    /// What the server has to say about it.
    pub(crate) message: String,
}

/// The body of a success. All signals' responses have the same form, so one stands for all; what cannot be read says
/// nothing, because a success is a success.
pub(crate) fn taken(body: &[u8]) -> Taken {
    let partial = ExportTraceServiceResponse::decode(body).ok().and_then(|answer| answer.partial_success);
    let partial = partial.unwrap_or_default();
    Taken { rejected: u64::try_from(partial.rejected_spans).unwrap_or(0), message: partial.error_message }
}

/// An HTTP answer (OTLP/HTTP: 429, 502, 503 and 504 may be sent again, nothing else).
pub(crate) fn http(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<Taken, Refusal> {
    match status {
        200..=299 => Ok(taken(body)),
        429 | 502 | 503 | 504 => Err(Refusal::Later(
            said(status, body),
            retry_after.and_then(|text| wait(text, SystemTime::now())),
        )),
        300..=399 => Err(Refusal::Never(format!("answered {status}, a redirect: name the server itself"))),
        _ => Err(Refusal::Never(said(status, body))),
    }
}

fn said(status: u16, body: &[u8]) -> String {
    let help = match status {
        401 | 403 => ", so check its `headers`",
        404 => ", so check the path of its `endpoint`",
        _ => "",
    };
    // An error is a `Status` in protobuf, or whatever a proxy on the way says.
    let text = match Status::decode(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        Ok(_) | Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    if text.is_empty() {
        format!("answered {status}{help}")
    } else {
        format!("answered {status}{help}: {text}")
    }
}

/// `Retry-After`: seconds, or a date.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// A gRPC answer. `details`: `grpc-status-details-bin`.
pub(crate) fn grpc(code: u32, message: &str, details: Option<&str>) -> Result<(), Refusal> {
    let wait = details.and_then(retry_info);
    let said = || {
        let help = match code {
            7 | 16 => ", so check its `headers`",
            12 => ", so it takes no such data: check `endpoint` and `protocol`",
            _ => "",
        };
        let name = NAMES.get(code as usize).copied().unwrap_or("an unknown status");
        if message.is_empty() {
            format!("answered {name}{help}")
        } else {
            format!("answered {name}{help}: {message}")
        }
    };
    match code {
        0 => Ok(()),
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
        1 | 4 | 10 | 11 | 14 | 15 => Err(Refusal::Later(said(), wait)),
        // RESOURCE_EXHAUSTED: only when the server says that it will recover.
        8 if wait.is_some() => Err(Refusal::Later(said(), wait)),
        _ => Err(Refusal::Never(said())),
    }
}

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<Span>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Span {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

fn retry_info(details: &str) -> Option<Duration> {
    let status = Status::decode(base64(details)?.as_slice()).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}

/// RFC 4648, with padding or without: gRPC's binary metadata comes in both forms.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().trim_end_matches('=').bytes().map(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let bits =
            chunk.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - chunk.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_protocol_names_is_sent_again_over_http() {
        for status in 100..600 {
            let again = matches!(http(status, None, b""), Err(Refusal::Later(..)));
            assert_eq!(again, [429, 502, 503, 504].contains(&status), "{status}");
            assert_eq!(http(status, None, b"").is_ok(), (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_server_says_when_to_come_back() {
        let of = |after| match http(503, Some(after), b"") {
            Err(Refusal::Later(_, wait)) => wait,
            Ok(_) | Err(Refusal::Never(_)) => panic!("a 503 may be sent again"),
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(of("soon"), None);
        let later = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        assert_eq!(wait(&later, SystemTime::UNIX_EPOCH), Some(Duration::from_secs(100)));
    }

    #[test]
    fn only_what_the_protocol_names_is_sent_again_by_grpc() {
        let info = RetryInfo { retry_delay: Some(Span { seconds: 2, nanos: 500_000_000 }) };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let status = Status { code: 8, message: String::new(), details: vec![any] };
        let details = encode(&status.encode_to_vec());
        for code in 1..20 {
            let again = |details| matches!(grpc(code, "", details), Err(Refusal::Later(..)));
            assert_eq!(again(None), [1, 4, 10, 11, 14, 15].contains(&code), "{code}");
            assert_eq!(again(Some(details.as_str())), [1, 4, 8, 10, 11, 14, 15].contains(&code), "{code}");
        }
        let wait = Some(Duration::from_millis(2500));
        assert_eq!(
            grpc(8, "full", Some(&details)),
            Err(Refusal::Later("answered RESOURCE_EXHAUSTED: full".to_owned(), wait))
        );
        assert!(matches!(grpc(14, "", Some("?")), Err(Refusal::Later(_, None))));
    }

    fn encode(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: Vec<u8> =
            bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
        let digit = |six: &[u8]| (0..6).fold(0, |sum, bit| sum << 1 | six.get(bit).copied().unwrap_or(0));
        bits.chunks(6).map(|six| char::from(DIGITS[usize::from(digit(six))])).collect()
    }

    #[test]
    fn binary_metadata_is_read_with_padding_and_without() {
        // The examples of RFC 4648, section 10.
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zg", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE", "fooba")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64("Z g"), None);
    }
}
