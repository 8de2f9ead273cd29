//! A request to the release, and whether the answer is what is expected. Redirects are answers like any other: they are
//! not followed.

use std::net::SocketAddr;

use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use model::check::{Expect, Http, Outcome, Target, Verdict};
use ports::checks::Context;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How much of a body is looked at; the rest is left unread.
const LARGEST_BODY_BYTES: usize = 1024 * 1024;

/// Where one request goes.
struct Way {
    /// In words.
    name: String,
    address: String,
    host: String,
    path: String,
    /// Whether it leads straight to the release: then whatever goes wrong is the release's fault.
    direct: bool,
}

/// Why there is no answer to judge.
enum Trouble {
    /// The release is to blame.
    Release(String),
    /// Somebody between us and the release.
    Between(String),
}

pub(crate) async fn ask(http: &Http, context: &Context) -> Outcome {
    let ways = match ways(http, context) {
        Ok(ways) => ways,
        Err(why) => return Outcome::error(why),
    };
    let answers = join_all(ways.iter().map(|way| one(http, way))).await;
    let mut told = Vec::new();
    let mut verdict = Verdict::Passed;
    let mut slowest: Option<f64> = None;
    for (way, answer) in ways.iter().zip(answers) {
        let (found, seconds, what) = match answer {
            Ok((seconds, Ok(status))) => (Verdict::Passed, Some(seconds), format!("answered {status}")),
            Ok((seconds, Err(what))) => (Verdict::Failed, Some(seconds), what),
            Err(Trouble::Release(what)) => (Verdict::Failed, None, what),
            Err(Trouble::Between(what)) => (Verdict::Error, None, what),
        };
        slowest = seconds.map(|seconds| slowest.map_or(seconds, |slowest| slowest.max(seconds))).or(slowest);
        // One replica that fails is enough; one that could not be asked makes the rest no success.
        verdict = match (verdict, found) {
            (Verdict::Failed, _) | (_, Verdict::Failed) => Verdict::Failed,
            (Verdict::Error, _) | (_, Verdict::Error) => Verdict::Error,
            (Verdict::Inconclusive, _) | (_, Verdict::Inconclusive) => Verdict::Inconclusive,
            (Verdict::Passed, Verdict::Passed) => Verdict::Passed,
        };
        told.push((found, format!("{} {} at {}: {what}", http.method, way.path, way.name)));
    }
    let surplus = told.len().saturating_sub(1);
    let detail = told.into_iter().find(|(found, _)| *found == verdict).map(|(_, what)| what);
    let detail = match (detail, surplus, verdict) {
        (Some(what), 1.., Verdict::Passed) => format!("{what}, and {surplus} more as expected"),
        (Some(what), _, _) => what,
        (None, _, _) => "nobody was asked".to_owned(),
    };
    Outcome { verdict, value: slowest, detail }
}

fn ways(http: &Http, context: &Context) -> Result<Vec<Way>, String> {
    let path = match &http.target {
        Target::Url(url) => return elsewhere(url).map(|way| vec![way]),
        Target::Path(path) => path,
    };
    if let Some(host) = &context.preview_host {
        let gateway = context.gateway.as_deref().ok_or("the gateway does not listen")?;
        return Ok(vec![Way {
            name: host.clone(),
            address: reachable(gateway),
            host: host.clone(),
            path: path.clone(),
            direct: false,
        }]);
    }
    if context.replicas.is_empty() {
        return Err(format!("no replica of release {} is ready to be asked", context.release));
    }
    let to = |replica: &SocketAddr| Way {
        name: replica.to_string(),
        address: replica.to_string(),
        host: context.host.clone().unwrap_or_else(|| replica.to_string()),
        path: path.clone(),
        direct: true,
    };
    Ok(context.replicas.iter().map(to).collect())
}

fn elsewhere(url: &str) -> Result<Way, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let authority = uri.authority().ok_or_else(|| format!("{url} names no host"))?;
    let host = uri.host().unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Way {
        name: authority.host().to_owned(),
        address: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
        host: authority.as_str().to_owned(),
        path: path.to_owned(),
        direct: false,
    })
}

/// An address to connect to, of one to listen on.
pub(crate) fn reachable(listening: &str) -> String {
    match listening.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() && address.is_ipv4() => {
            format!("127.0.0.1:{}", address.port())
        }
        Ok(address) if address.ip().is_unspecified() => format!("[::1]:{}", address.port()),
        Ok(_) | Err(_) => listening.to_owned(),
    }
}

/// The seconds that an answer took, and its status or what is wrong with it.
async fn one(http: &Http, way: &Way) -> Result<(f64, Result<u16, String>), Trouble> {
    let begun = Instant::now();
    let deadline = begun + http.timeout;
    let late = || format!("no answer within {}", model::time::format_duration(http.timeout));
    let connecting = tokio::time::timeout_at(deadline, TcpStream::connect(&way.address)).await;
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(way.blame(format!("cannot connect: {}", plain(&error.to_string())))),
        Err(_) => return Err(way.blame(late())),
    };
    // Whoever took the connection had his time: what does not come then is the release's fault, whoever stands between.
    match tokio::time::timeout_at(deadline, exchange(http, way, stream)).await {
        Ok(answer) => answer.map(|found| (begun.elapsed().as_secs_f64(), found)),
        Err(_) => Err(Trouble::Release(late())),
    }
}

impl Way {
    fn blame(&self, what: String) -> Trouble {
        if self.direct { Trouble::Release(what) } else { Trouble::Between(what) }
    }
}

async fn exchange(http: &Http, way: &Way, stream: TcpStream) -> Result<Result<u16, String>, Trouble> {
    let broken = |error: hyper::Error| way.blame(format!("the connection broke: {error}"));
    let mut request = Request::builder().method(http.method.as_str()).uri(&way.path).header(HOST, &way.host);
    for (name, value) in &http.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| Trouble::Between(format!("it is no request: {error}")))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        judge(&http.expect, answer).await.map_err(broken)
    };
    tokio::pin!(connection, asking);
    // Polled beside the request, not on a task of its own: dropping the check drops the connection.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        // Over before the answer was read: the request has what came, or learns that nothing will.
        _ = &mut connection => asking.await,
    }
}

async fn judge(expect: &Expect, answer: Response<Incoming>) -> Result<Result<u16, String>, hyper::Error> {
    let status = answer.status().as_u16();
    let body = start_of(answer.into_body()).await?;
    let is_expected = expect.status.map_or((200..300).contains(&status), |expected| expected == status);
    if !is_expected {
        let expected = expect.status.map_or_else(|| "200 to 299".to_owned(), |status| status.to_string());
        return Ok(Err(format!("answered {status}, expected {expected}")));
    }
    if let Some(text) = &expect.body_contains
        && !contains(&body, text.as_bytes())
    {
        return Ok(Err(format!("answered {status} without {text:?} in its body")));
    }
    Ok(Ok(status))
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

async fn start_of(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() >= LARGEST_BODY_BYTES {
            break;
        }
    }
    Ok(bytes)
}

/// Without "(os error N)", which says nothing to people.
fn plain(error: &str) -> String {
    error.split(" (os error").next().unwrap_or(error).to_lowercase()
}
