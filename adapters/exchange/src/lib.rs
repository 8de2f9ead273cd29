//! One HTTP request to a server, on a connection of its own, and its answer: within a time and a size, over TLS when the
//! address says so. Whatever goes wrong is told in words without anything that was sent.
//!
//! Does not live here: what is asked, what an answer means, whether it is tried again. Redirects are answers like any other.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use model::time::format_duration;
use ports::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What is sent, and to whom.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// How.
    pub method: Method,
    /// The whole address, with `http://` or `https://`.
    pub url: &'a str,
    /// Headers beside `host` and `user-agent`.
    pub headers: Vec<(String, Secret)>,
    /// The body.
    pub body: Vec<u8>,
    /// A file with the certificates that are trusted, instead of the machine's own.
    pub ca_file: Option<&'a str>,
    /// How long all of it may take.
    pub timeout: Duration,
    /// How many bytes of an answer are taken; a longer one is refused.
    pub largest_answer_bytes: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Where it sends.
    pub location: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Sends a request and waits for its whole answer.
///
/// # Errors
/// In words, when there is none within the limits.
pub async fn exchange(ask: Ask<'_>) -> Result<Answer, String> {
    let timeout = ask.timeout;
    let answer = tokio::time::timeout(timeout, exchanged(ask)).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {}", format_duration(timeout))))
}

async fn exchanged(ask: Ask<'_>) -> Result<Answer, String> {
    let uri: Uri = ask.url.parse().map_err(|error| format!("it is no address: {error}"))?;
    let host = uri.host().ok_or("it names no host")?;
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let (ca_file, most) = (ask.ca_file, ask.largest_answer_bytes);
    let request = request(&uri, ask)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port))
        .await
        .map_err(|error| format!("cannot connect: {}", plain(&error.to_string())))?;
    if is_secure {
        send(tls::wrap(stream, bare, ca_file, &[]).await?, request, most).await
    } else {
        send(stream, request, most).await
    }
}

fn request(uri: &Uri, ask: Ask<'_>) -> Result<Request<Full<Bytes>>, String> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(ask.method)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("shipshape/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &ask.headers {
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value.reveal()).ok());
        let Some((name, mut value)) = pair else {
            return Err(format!("the header `{name}` holds a character that no header may hold"));
        };
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(ask.body))).map_err(|error| format!("it is no request: {error}"))
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Answer, String> {
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        whole(response, most).await
    };
    tokio::pin!(connection, asking);
    // Polled beside the request, not on a task of its own: dropping the question drops the connection.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        _ = &mut connection => asking.await,
    }
}

async fn whole(response: Response<Incoming>, most: usize) -> Result<Answer, String> {
    let status = response.status().as_u16();
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut frames = response.into_body();
    let mut body = Vec::new();
    while let Some(frame) = frames.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        if let Ok(data) = frame.into_data() {
            if body.len() + data.len() > most {
                return Err(format!("the answer is larger than {most} bytes"));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(Answer { status, location, body })
}

/// Without "(os error N)", which says nothing to people.
fn plain(error: &str) -> String {
    error.split(" (os error").next().unwrap_or(error).to_lowercase()
}
