//! OTLP/gRPC: one unary call over HTTP/2 (the protocol's own framing; no compression). Does not live here: what follows
//! from the answer (`answer`, `exporter`).

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use hyper::{Method, Request, Response};

use crate::answer::{self, Refusal, Taken};
use crate::destination::{Address, Destination};
use crate::http::{AGENT, LARGEST_ANSWER_BYTES};

/// A flag whether the message is compressed, and its length.
const PREFIX_BYTES: usize = 5;

pub(crate) fn request(
    destination: &Destination,
    address: &Address,
    method: &str,
    message: &[u8],
) -> Result<Request<Full<Bytes>>, String> {
    let length = u32::try_from(message.len()).map_err(|_| "the batch is too large".to_owned())?;
    let mut body = Vec::with_capacity(PREFIX_BYTES + message.len());
    body.push(0);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(message);
    let scheme = if address.is_secure { "https" } else { "http" };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{}{method}", address.authority))
        .header(USER_AGENT, AGENT)
        .header(TE, "trailers")
        .header(CONTENT_TYPE, "application/grpc")
        .header("grpc-timeout", timeout(destination.timeout))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| format!("it is no request: {error}"))?;
    destination.put_headers(request.headers_mut())?;
    Ok(request)
}

/// At most eight digits.
fn timeout(patience: std::time::Duration) -> String {
    format!("{}m", patience.as_millis().clamp(1, 99_999_999))
}

pub(crate) async fn read(response: Response<Incoming>) -> Result<Taken, Refusal> {
    let status = response.status().as_u16();
    if status != 200 {
        // Not a gRPC server, or a proxy before one: what may be sent again is the same as over HTTP.
        return answer::http(status, None, b"")
            .and_then(|_| Err(Refusal::Never(format!("answered {status}"))));
    }
    let (parts, mut body) = response.into_parts();
    let (mut message, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Later(format!("the answer broke off: {error}"), None))?;
        match frame.into_data() {
            Ok(data) if message.len() + data.len() > LARGEST_ANSWER_BYTES => {
                return Err(Refusal::Never("the answer is too large".to_owned()));
            }
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => {
                if let Ok(found) = frame.into_trailers() {
                    trailers = found;
                }
            }
        }
    }
    // An answer without a message has its status in its head.
    let status = status_in(&trailers).or_else(|| status_in(&parts.headers));
    let Some((code, said, details)) = status else {
        return Err(Refusal::Later("the answer has no gRPC status".to_owned(), None));
    };
    answer::grpc(code, &said, details.as_deref())?;
    Ok(answer::taken(message.get(PREFIX_BYTES..).unwrap_or_default()))
}

fn status_in(headers: &HeaderMap) -> Option<(u32, String, Option<String>)> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status")?.parse().unwrap_or(2);
    let details = text("grpc-status-details-bin").map(str::to_owned);
    Some((code, unescape(text("grpc-message").unwrap_or_default()), details))
}

/// Percent-encoding, as `grpc-message` has it.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let coded = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, coded.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_grpc_writes_it() {
        assert_eq!(unescape("not%20now%2c 100%"), "not now, 100%");
        assert_eq!(unescape("%e2%82%ac%zz"), "€%zz");
    }
}
