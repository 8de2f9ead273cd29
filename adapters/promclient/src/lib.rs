//! Asks a Prometheus server, or whatever answers as one, by its HTTP API.
//!
//! Lives here: one question, asked once and within limits; whatever goes wrong is told in words, without anything secret.
//! Does not live here: when a question is asked, and what its answer means.

mod answer;

use std::time::Duration;

use answer::Data;
pub use answer::{Samples, Valued};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use model::check::Measured;
use model::time::format_duration;
use ports::metrics::Server;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How large an answer may be: a condition wants numbers, not a copy of the store.
pub const LARGEST_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Asks a server once, as of a time in milliseconds since 1970, or of now.
///
/// # Errors
/// In words, when there is no answer within the timeout, or none that can be used.
pub async fn ask(
    server: &Server,
    query: &str,
    at: Option<i64>,
    timeout: Duration,
) -> Result<Measured, String> {
    told(server, query, at, timeout, |data| answer::numbers(&data)).await
}

/// The series that a server gives for a query as of now, with their values and without their names; a scalar is one without
/// labels.
///
/// # Errors
/// As [`ask`].
pub async fn series(server: &Server, query: &str, timeout: Duration) -> Result<Vec<Valued>, String> {
    told(server, query, None, timeout, |data| answer::series(&data)).await
}

/// The samples, as they were measured, of the series of a selector in the range (in milliseconds) before a time.
///
/// # Errors
/// As [`ask`].
pub async fn samples(
    server: &Server,
    selector: &str,
    range: u64,
    at: i64,
    timeout: Duration,
) -> Result<Vec<Samples>, String> {
    told(server, &format!("{selector}[{range}ms]"), Some(at), timeout, answer::samples).await
}

async fn told<T>(
    server: &Server,
    query: &str,
    at: Option<i64>,
    timeout: Duration,
    read: impl FnOnce(Data) -> Result<T, String>,
) -> Result<T, String> {
    let asked = tokio::time::timeout(timeout, exchange(server, query, at, timeout)).await;
    let late = |_| Err(format!("no answer within {}", format_duration(timeout)));
    let answer = asked.unwrap_or_else(late).and_then(read);
    // A server may say in its error what it was sent.
    answer.map_err(|what| {
        let what = server.authorization.as_ref().map_or(what.clone(), |it| it.hide(&what));
        format!("{}: {what}", server.address)
    })
}

async fn exchange(server: &Server, query: &str, at: Option<i64>, timeout: Duration) -> Result<Data, String> {
    let uri: Uri = format!("{}/api/v1/query", server.address.trim_end_matches('/'))
        .parse()
        .map_err(|error| format!("it is no address: {error}"))?;
    let host = uri.host().ok_or("it names no host")?;
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let request = request(server, &uri, query, at, timeout)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port))
        .await
        .map_err(|error| format!("cannot connect: {}", plain(&error.to_string())))?;
    let response = if is_secure {
        send(tls::wrap(stream, bare, server.ca_file.as_deref(), &[]).await?, request).await?
    } else {
        send(stream, request).await?
    };
    answer::read(response.0, response.1.as_deref(), &response.2)
}

fn request(
    server: &Server,
    uri: &Uri,
    query: &str,
    at: Option<i64>,
    timeout: Duration,
) -> Result<Request<Full<Bytes>>, String> {
    // The server gives up when nobody waits any more.
    let timeout = format!("{}ms", timeout.as_millis().max(1));
    let mut form = vec![("query", query.to_owned()), ("timeout", timeout)];
    form.extend(at.map(|at| ("time", format!("{}.{:03}", at.div_euclid(1_000), at.rem_euclid(1_000)))));
    let form = serde_urlencoded::to_string(form)
        .map_err(|error| format!("the question cannot be written: {error}"))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("shipshape/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    for (name, value) in &server.headers {
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let (name, value) = pair.ok_or_else(|| format!("the header `{name}` cannot be sent"))?;
        request = request.header(name, value);
    }
    if let Some(authorization) = &server.authorization {
        let mut value = HeaderValue::try_from(authorization.header().reveal())
            .map_err(|_| "the token or password holds a character that no header may hold".to_owned())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.body(Full::new(Bytes::from(form))).map_err(|error| format!("it is no request: {error}"))
}

type Whole = (u16, Option<String>, Vec<u8>);

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Whole, String> {
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        whole(response).await
    };
    tokio::pin!(connection, asking);
    // Polled beside the request, not on a task of its own: dropping the question drops the connection.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        _ = &mut connection => asking.await,
    }
}

async fn whole(response: Response<Incoming>) -> Result<Whole, String> {
    let status = response.status().as_u16();
    let location = response.headers().get(hyper::header::LOCATION);
    let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > LARGEST_ANSWER_BYTES {
                return Err(format!(
                    "the answer is larger than {LARGEST_ANSWER_BYTES} bytes: aggregate more in the query"
                ));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok((status, location, bytes))
}

/// Without "(os error N)", which says nothing to people.
fn plain(error: &str) -> String {
    error.split(" (os error").next().unwrap_or(error).to_lowercase()
}
