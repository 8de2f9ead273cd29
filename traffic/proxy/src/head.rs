//! Heads of messages: what is taken out, what is put in, and what is refused. No bodies, no connections.
//!
//! Trust: the gateway is the edge. `X-Forwarded-Proto` and `X-Forwarded-Host` are replaced, because nothing before us
//! may speak for us; the client's address is appended to `X-Forwarded-For` and `Forwarded`, so that the last element is
//! ours and whoever wants the client's claim about earlier hops can still read it. A claim that is no plain list, or is
//! longer than 1 KiB, is dropped. Hop-by-hop headers go, both ways, those that `Connection` names included; `TE:
//! trailers` and `Trailer` stay. `Expect` goes: the gateway says `100 Continue` itself once a replica takes the body.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri, Version};

use crate::error::Code;
use crate::replica::lock;
use crate::trace::context::{self, Position};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The id of a request, taken from the client or made here, given to the replica and back to the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The code of an answer that the gateway gave itself.
pub(crate) const ERROR: HeaderName = HeaderName::from_static("shipshape-error");
/// What concerns one connection only, beside `Connection` and what that names.
static HOPS: [HeaderName; 8] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
];
/// The longest list of earlier hops that is passed on, in bytes.
const HOPS_BYTES: usize = 1024;

/// The host a request is for, checked: exactly one of HTTP/1.1 and above, none or one of HTTP/1.0.
fn host<B>(request: &Request<B>) -> Result<String, Code> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (named, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Code::BadRequest);
    }
    let scheme = request.uri().scheme_str();
    if request.uri().authority().is_some()
        && !scheme.is_some_and(|scheme| ["http", "https"].contains(&scheme))
    {
        return Err(Code::BadRequest);
    }
    let named = match named {
        Some(value) => Some(value.to_str().map_err(|_| Code::BadRequest)?),
        None => None,
    };
    let host = match (request.uri().authority(), named) {
        (Some(authority), Some(named)) if request.version() == Version::HTTP_2 => {
            if !authority.as_str().eq_ignore_ascii_case(named) {
                return Err(Code::BadRequest);
            }
            named
        }
        // Absolute-form: the target's authority overrules the Host header (RFC 9112, 3.2.2).
        (Some(authority), _) => authority.as_str(),
        (None, Some(named)) => named,
        (None, None) if request.version() == Version::HTTP_10 => return Ok(String::new()),
        (None, None) => return Err(Code::BadRequest),
    };
    check_host(host)?;
    Ok(host.to_owned())
}

/// Whether a text is a host, with a port or without; or empty.
pub(crate) fn check_host(host: &str) -> Result<(), Code> {
    if host.is_empty() || is_authority(host) { Ok(()) } else { Err(Code::BadRequest) }
}

/// A host, and perhaps a port, which `Authority` does not look at.
fn is_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let port = text.strip_prefix(authority.host());
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_number))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the body is in no other encoding than plain `chunked`, and then has no length. hyper looks only at the last
/// encoding named, and serves an answer with both.
pub(crate) fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(one), None) => {
            one.as_bytes().eq_ignore_ascii_case(b"chunked") && !headers.contains_key(header::CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    }
}

/// The target in origin-form (or `*`), as the replica will see it.
pub(crate) fn target(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Whether a body sent with this method may be sent twice without harm.
pub(crate) fn is_idempotent(method: &str) -> bool {
    ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&method)
}

/// Whether the body is a stream of gRPC messages.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    let text = value.to_str().unwrap_or("");
    text.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Takes out what concerns one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| !is_framing(name))
            .collect();
        named.iter().for_each(|name| _ = headers.remove(name));
        headers.remove(header::CONNECTION);
    }
    HOPS.iter().for_each(|name| _ = headers.remove(name));
}

/// Whether anything at all is to be taken out. Most heads hold nothing of the kind, and one pass over the names there are
/// is less than a look-up for each that might be.
fn is_plain(headers: &HeaderMap) -> bool {
    let taken =
        |name: &HeaderName| HOPS.contains(name) || [header::CONNECTION, header::EXPECT, ERROR].contains(name);
    !headers.keys().any(taken)
}

/// Headers that no `Connection` header may talk us out of.
fn is_framing(name: &HeaderName) -> bool {
    [header::CONTENT_LENGTH, header::HOST, REQUEST_ID].contains(name)
}

/// Makes a client's head fit for a replica.
pub(crate) fn for_replica(headers: &mut HeaderMap, words: &Words, id: &HeaderValue) -> Position {
    if !is_plain(headers) {
        let trailers = headers.get_all(header::TE).iter().any(|value| has_token(value, "trailers"));
        strip_hop_by_hop(headers);
        headers.remove(header::EXPECT);
        headers.remove(ERROR);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    headers.insert(REQUEST_ID, id.clone());
    forward(headers, words);
    trace(headers)
}

/// Makes one header of the crumbs that HTTP/2 may split cookies into (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice()))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Makes a replica's head fit for a client; `cookie` makes a newcomer known.
pub(crate) fn for_client(headers: &mut HeaderMap, cookie: Option<&HeaderValue>) {
    if !is_plain(headers) {
        strip_hop_by_hop(headers);
        headers.remove(ERROR);
    }
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
}

/// A request's headers, as the routing table asks for them.
pub(crate) struct Fields<'a>(pub(crate) &'a HeaderMap);

impl routes::Headers for Fields<'_> {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.get_all(name).iter().any(|value| holds(value.as_bytes()))
    }
}

/// What a request's replica is told of where it came from: the same for all requests of a connection to one host.
pub(crate) struct Words {
    /// What [`host`] returned.
    pub(crate) host: String,
    /// The `Host` header it was read from, when nothing else had a say.
    named: Option<HeaderValue>,
    /// The host as a header, unless it is empty.
    value: Option<HeaderValue>,
    pub(crate) forwarded_for: String,
    pub(crate) forwarded: String,
    forwarded_for_value: Option<HeaderValue>,
    forwarded_value: Option<HeaderValue>,
}

/// A client's connection, and what was last said of it.
pub(crate) struct Edge {
    client: IpAddr,
    last: Mutex<Option<Arc<Words>>>,
}

impl Edge {
    pub(crate) fn new(client: IpAddr) -> Self {
        Self { client, last: Mutex::default() }
    }

    /// The words for a request, made anew only when its host is another than that of the request before.
    pub(crate) fn words<B>(&self, request: &Request<B>) -> Result<Arc<Words>, Code> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let named = match (request.uri().authority(), hosts.next(), hosts.next()) {
            (None, Some(named), None) => Some(named),
            (Some(_) | None, _, _) => None,
        };
        let mut last = lock(&self.last);
        match &*last {
            Some(words) if named.is_some() && words.named.as_ref() == named => Ok(words.clone()),
            Some(_) | None => {
                let words = Arc::new(Words::new(self.client, host(request)?, named.cloned()));
                *last = Some(words.clone());
                Ok(words)
            }
        }
    }
}

impl Words {
    pub(crate) fn new(client: IpAddr, host: String, named: Option<HeaderValue>) -> Self {
        let node = match client {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        let forwarded = if host.is_empty() {
            format!("for={node};proto=http")
        } else {
            format!("for={node};host=\"{host}\";proto=http")
        };
        let forwarded_for = client.to_string();
        let value = |text: &str| HeaderValue::from_str(text).ok();
        Self {
            named,
            value: value(&host).filter(|_| !host.is_empty()),
            forwarded_for_value: value(&forwarded_for),
            forwarded_value: value(&forwarded),
            host,
            forwarded_for,
            forwarded,
        }
    }
}

fn forward(headers: &mut HeaderMap, words: &Words) {
    append(headers, FORWARDED_FOR, &words.forwarded_for, words.forwarded_for_value.as_ref());
    append(headers, header::FORWARDED, &words.forwarded, words.forwarded_value.as_ref());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    match &words.value {
        Some(value) => {
            headers.insert(FORWARDED_HOST, value.clone());
            if words.named.is_none() {
                headers.insert(header::HOST, value.clone());
            }
        }
        None => _ = headers.remove(FORWARDED_HOST),
    }
}

/// Appends to a list; `alone` is the element as a list of its own.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &str, alone: Option<&HeaderValue>) {
    if let Some(alone) = alone
        && !headers.contains_key(&name)
    {
        headers.insert(name, alone.clone());
        return;
    }
    let given: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    let list = appended(&given, element);
    match HeaderValue::from_str(&list) {
        Ok(value) => _ = headers.insert(name, value),
        Err(_) => _ = headers.remove(name),
    }
}

/// A list with one element more; without what is no plain list, or too long a one.
pub(crate) fn appended(given: &[&[u8]], element: &str) -> String {
    let mut list = String::new();
    let is_plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    for value in given {
        match std::str::from_utf8(value).map(str::trim) {
            Ok(text) if !text.is_empty() && text.bytes().all(is_plain) => {
                list.push_str(text);
                list.push_str(", ");
            }
            Ok(_) | Err(_) => {}
        }
    }
    if list.len() > HOPS_BYTES {
        list.clear();
    }
    list.push_str(element);
    list
}

/// Continues the client's trace with a span of our own, or starts one.
fn trace(headers: &mut HeaderMap) -> Position {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let parent = match (given.next(), given.next()) {
        (Some(text), None) => context::read(text.as_bytes()),
        (Some(_) | None, _) => None,
    };
    let states = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes);
    if parent.is_none() || !context::is_state(states) {
        headers.remove(TRACESTATE);
    }
    let position = Position::after(parent);
    retrace(headers, &position.write());
    position
}

/// Tells a replica this position.
pub(crate) fn retrace(headers: &mut HeaderMap, text: &[u8; context::LENGTH]) {
    if let Ok(value) = HeaderValue::from_bytes(text) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The client's request id if it is sane, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers.get(REQUEST_ID).filter(|id| is_sane_id(id.as_bytes())).cloned().unwrap_or_else(|| {
        HeaderValue::from_bytes(&new_id()).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// 1 to 128 of letters, digits and `-_.:/+=@`.
pub(crate) fn is_sane_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b))
}

pub(crate) fn new_id() -> [u8; 32] {
    let mut made = [0; 32];
    context::hex(fastrand::u128(..), &mut made);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_header_cannot_remove_the_framing() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("content-length, x-private, close"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("3"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key(header::CONTENT_LENGTH));
    }
}
