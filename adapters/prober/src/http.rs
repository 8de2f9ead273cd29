//! A request, the redirects after it, and whether the last answer is what it should be.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use model::probe::{Expect, Http, Target};
use model::spec::HeaderValue as Said;
use ports::Secret;
use regex_automata::meta;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::connect::{Resolver, connect};
use crate::handshake;
use crate::look::{Answered, Notes, Reason, Trouble, plain};
use crate::way::Way;

/// How much of a body is read.
const LARGEST_BODY_BYTES: usize = 1024 * 1024;
/// How much the head of an answer may take, and how many headers it may have.
const LARGEST_HEAD_BYTES: usize = 64 * 1024;
const MOST_HEADERS: usize = 200;
/// How many redirects are followed, as browsers and other probers do or nearly so.
const MOST_REDIRECTS: u32 = 10;

/// A request, ready to be sent.
pub(crate) struct Asking<'a> {
    pub(crate) http: &'a Http,
    pub(crate) expect: &'a Expect,
    pub(crate) pattern: Option<&'a meta::Regex>,
    /// Headers that only who is asked first may see.
    pub(crate) secrets: Vec<(String, Secret)>,
    pub(crate) gateway: Option<&'a str>,
    pub(crate) resolver: &'a Resolver,
    pub(crate) deadline: Instant,
}

/// What is sent along; less of it after a redirect.
struct Luggage {
    method: String,
    /// Whether the declared headers and the secret ones go along.
    own: bool,
    body: Option<String>,
}

struct Whole {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

pub(crate) async fn ask(asking: &Asking<'_>, notes: &mut Notes) -> Result<(), Trouble> {
    let mut way = first(asking)?;
    let http = asking.http;
    let mut luggage = Luggage { method: http.method.clone(), own: true, body: http.body.clone() };
    loop {
        let whole = exchange(asking, &way, &luggage, notes).await?;
        let leads = whole.location.as_deref().filter(|_| http.follow_redirects && is_redirect(whole.status));
        let Some(location) = leads else {
            return judge(asking, &whole, notes);
        };
        let failed = |what: String| Trouble::Failed(Reason::Redirect, what);
        notes.redirects += 1;
        if notes.redirects > MOST_REDIRECTS {
            return Err(failed(format!("more than {MOST_REDIRECTS} redirects")));
        }
        let next = way.next(location).map_err(|why| {
            failed(format!("{} redirects to what cannot be followed: {}", way.origin(), plain(&why)))
        })?;
        // As browsers do: after these, the answer is fetched from the other place.
        let fetched = whole.status == 303 || (matches!(whole.status, 301 | 302) && luggage.method == "POST");
        if fetched && luggage.method != "HEAD" {
            (luggage.method, luggage.body) = ("GET".to_owned(), None);
        }
        if !way.is_of(&next) {
            if luggage.body.is_some() {
                let what =
                    format!("{} sends the body on to {}, which is refused", way.origin(), next.origin());
                return Err(failed(what));
            }
            luggage.own = false;
        }
        way = next;
    }
}

fn first(asking: &Asking<'_>) -> Result<Way, Trouble> {
    match &asking.http.target {
        Target::Url(url) => Way::to(url).map_err(Trouble::Unable),
        Target::Gateway { path, host } => {
            let nowhere = || Trouble::Unable("the gateway does not listen".to_owned());
            let gateway = asking.gateway.ok_or_else(nowhere)?;
            Way::through(gateway, host.as_deref(), path).ok_or_else(nowhere)
        }
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

async fn exchange(
    asking: &Asking<'_>,
    way: &Way,
    luggage: &Luggage,
    notes: &mut Notes,
) -> Result<Whole, Trouble> {
    let request = request(asking, way, luggage)?;
    let stream = connect(asking.resolver, &way.host, way.port, asking.deadline, notes).await?;
    if !way.is_tls {
        return send(stream, request, way, asking, notes).await;
    }
    let trust = &asking.http.trust;
    let stream = handshake::wrap(stream, &way.host, trust, &[b"http/1.1"], notes).await?;
    send(stream, request, way, asking, notes).await
}

fn request(asking: &Asking<'_>, way: &Way, luggage: &Luggage) -> Result<Request<Full<Bytes>>, Trouble> {
    let unable = |what: String| Trouble::Unable(what);
    let mut request = Request::builder()
        .method(luggage.method.as_str())
        .uri(&way.path)
        .header(HOST, &way.named)
        .body(Full::new(Bytes::from(luggage.body.clone().unwrap_or_default())))
        .map_err(|error| unable(format!("it is no request: {error}")))?;
    let headers = request.headers_mut();
    headers
        .insert(USER_AGENT, HeaderValue::from_static(concat!("shipshape-probe/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if !luggage.own {
        return Ok(request);
    }
    let plain = asking.http.headers.iter().filter_map(|(name, value)| match value {
        Said::Text(text) => Some((name, text.as_str(), false)),
        Said::Secret(_) => None,
    });
    let secret = asking.secrets.iter().map(|(name, value)| (name, value.reveal(), true));
    for (name, value, is_secret) in plain.chain(secret) {
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let (key, mut value) =
            pair.ok_or_else(|| unable(format!("the header `{name}` holds what no header may hold")))?;
        value.set_sensitive(is_secret || key == AUTHORIZATION);
        headers.insert(key, value);
    }
    Ok(request)
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    request: Request<Full<Bytes>>,
    way: &Way,
    asking: &Asking<'_>,
    notes: &mut Notes,
) -> Result<Whole, Trouble> {
    notes.doing = "waiting for the answer";
    let broken = |error: hyper::Error| {
        let why = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        Trouble::Failed(Reason::Protocol, plain(&format!("no answer that is HTTP: {error}{why}")))
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(LARGEST_HEAD_BYTES)
        .max_headers(MOST_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let begun = Instant::now();
    let exchanging = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        notes.phases.processing += begun.elapsed();
        notes.doing = "reading the answer";
        let status = response.status().as_u16();
        let is_last = !(asking.http.follow_redirects && is_redirect(status));
        let location =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let version = version(&response);
        notes.http = Some(Answered { status, is_tls: way.is_tls, version, body_bytes: 0 });
        let begun = Instant::now();
        // The body of a redirect says nothing that the next answer does not.
        let body = if is_last { start_of(response.into_body()).await } else { Ok(vec![]) };
        notes.phases.transfer += begun.elapsed();
        let body = body.map_err(|error| {
            Trouble::Failed(Reason::Protocol, plain(&format!("answered {status} and broke off: {error}")))
        })?;
        notes.http = Some(Answered { status, is_tls: way.is_tls, version, body_bytes: body.len() });
        Ok(Whole { status, location, body })
    };
    tokio::pin!(connection, exchanging);
    // Polled beside the request, not on a task of its own: giving up drops the connection.
    tokio::select! {
        biased;
        answer = &mut exchanging => answer,
        _ = &mut connection => exchanging.await,
    }
}

fn version(response: &Response<Incoming>) -> f64 {
    if response.version() == Version::HTTP_10 { 1.0 } else { 1.1 }
}

async fn start_of(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = LARGEST_BODY_BYTES.saturating_sub(bytes.len());
            bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        }
        if bytes.len() >= LARGEST_BODY_BYTES {
            break;
        }
    }
    Ok(bytes)
}

fn judge(asking: &Asking<'_>, whole: &Whole, notes: &mut Notes) -> Result<(), Trouble> {
    let Expect { status: expected, .. } = asking.expect;
    let status = whole.status;
    if !asking.expect.allows(status) {
        let words: Vec<String> = expected.iter().map(ToString::to_string).collect();
        let words = if words.is_empty() { "2xx".to_owned() } else { words.join(", ") };
        return Err(Trouble::Failed(Reason::Status, format!("answered {status}, expected {words}")));
    }
    said(asking.expect, asking.pattern, &whole.body).map_err(|what| {
        notes.body_failed = true;
        Trouble::Failed(Reason::Body, format!("answered {status}, but {what}"))
    })
}

/// Whether something says what it should, or else what is missing.
pub(crate) fn said(expect: &Expect, pattern: Option<&meta::Regex>, body: &[u8]) -> Result<(), String> {
    if let Some(text) = expect.body_contains.as_deref()
        && !text.is_empty()
        && !body.windows(text.len()).any(|window| window == text.as_bytes())
    {
        return Err(plain(&format!("{text:?} is not in what it said")));
    }
    match (pattern, &expect.body_matches) {
        (Some(pattern), Some(text)) if !pattern.is_match(body) => {
            Err(plain(&format!("nothing that it said matches {text:?}")))
        }
        (Some(_) | None, _) => Ok(()),
    }
}
