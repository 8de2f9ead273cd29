//! How a page is fetched: the agent's by whoever knows the agent, the store's from the store, a probe's by whoever looks, a
//! replica's by HTTP on loopback.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use exposition::Format;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use scrape::{Fetch, Fetched};
use store::Store;
use tokio::net::TcpStream;

use crate::page;
use crate::probes::PROBE;

/// The address of the agent's page.
pub(crate) const AGENT: &str = "agent";
/// The address of the store's page.
pub(crate) const STORE: &str = "store";
/// The address of the page that tells how many records replicas print.
pub(crate) const RECORDS: &str = "records";
/// The largest page in bytes.
const LARGEST_PAGE_BYTES: usize = 16 << 20;
/// What is understood, best first.
const UNDERSTOOD: &str =
    "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The agent's page, or why there is none.
pub type AgentPage = Arc<dyn Fn() -> Asked + Send + Sync + 'static>;

/// What one look of the probe of this key finds, or why it was not possible to look.
pub type ProbePage = Arc<dyn Fn(String) -> Asked + Send + Sync + 'static>;

/// The page that tells how many records replicas print.
pub type RecordsPage = Arc<dyn Fn() -> String + Send + Sync + 'static>;

type Asked = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Fetches pages.
pub struct Fetcher {
    agent: AgentPage,
    probes: ProbePage,
    records: RecordsPage,
    store: Option<Arc<Store>>,
}

impl Fetcher {
    /// With these ways to the agent's page, to those of probes, and to that of records.
    pub fn new(agent: AgentPage, probes: ProbePage, records: RecordsPage) -> Self {
        Self { agent, probes, records, store: None }
    }

    /// And this store, which has a page too.
    pub(crate) fn with(self, store: Arc<Store>) -> Self {
        Self { store: Some(store), ..self }
    }
}

impl Fetch for Fetcher {
    async fn fetch(&self, address: &str) -> Result<Fetched, String> {
        if address == AGENT {
            let text = (self.agent)().await?;
            // An agent of before answers in the old format. The end of a page tells which it is, as it must in OpenMetrics.
            let is_open = text.ends_with("# EOF\n");
            return Ok(Fetched {
                text,
                format: if is_open { Format::OpenMetrics } else { Format::Prometheus },
            });
        }
        if let Some(store) = self.store.as_ref().filter(|_| address == STORE) {
            return Ok(Fetched { text: page::page(&store.stats()), format: Format::Prometheus });
        }
        if address == RECORDS {
            return Ok(Fetched { text: (self.records)(), format: Format::Prometheus });
        }
        if address.starts_with(PROBE) {
            let text = (self.probes)(address.to_owned()).await?;
            return Ok(Fetched { text, format: Format::Prometheus });
        }
        let slash = address.find('/').unwrap_or(address.len());
        let (authority, path) = address.split_at(slash);
        asked(authority, path).await
    }
}

async fn asked(authority: &str, path: &str) -> Result<Fetched, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| format!("cannot connect: {error}"))?;
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = hyper::Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, UNDERSTOOD)
        .header(USER_AGENT, concat!("shipshape/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("it is no request: {error}"))?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        if !answer.status().is_success() {
            return Err(format!("it answered {}", answer.status().as_u16()));
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let format = Format::of(kind);
        let body = Limited::new(answer.into_body(), LARGEST_PAGE_BYTES).collect().await;
        let body = body.map_err(|error| format!("its page was not read to the end: {error}"))?.to_bytes();
        let text = String::from_utf8(body.into()).map_err(|_| "its page is not UTF-8".to_owned())?;
        Ok(Fetched { text, format })
    };
    tokio::pin!(connection, asking);
    // Polled beside the request, not on a task of its own: giving up drops the connection.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        _ = &mut connection => asking.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn fetcher() -> Fetcher {
        let agent: AgentPage = Arc::new(|| Box::pin(async { Ok("up 1\n".to_owned()) }));
        let probes: ProbePage = Arc::new(|key| {
            Box::pin(async move {
                match key.as_str() {
                    "probe:a" => Ok("probe_success 1\n".to_owned()),
                    _ => Err("there is no such probe".to_owned()),
                }
            })
        });
        Fetcher::new(agent, probes, Arc::new(|| "log_messages_total 1\n".to_owned()))
    }

    /// What is made of this answer, and what was asked.
    async fn fetched(answer: &'static str) -> (Result<Fetched, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("{}/metrics?all=1", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (fetcher().fetch(&address).await, serving.await.unwrap())
    }

    #[tokio::test]
    async fn a_page_comes_in_the_format_that_it_names() {
        let (page, asked) = fetched(
            "HTTP/1.1 200 OK\r\ncontent-type: application/openmetrics-text; version=1.0.0\r\ncontent-length: 10\r\n\r\na 1\n# EOF\n",
        )
        .await;
        let page = page.unwrap();
        assert_eq!((page.text.as_str(), page.format), ("a 1\n# EOF\n", Format::OpenMetrics));
        assert!(asked.starts_with("GET /metrics?all=1 HTTP/1.1\r\n"), "{asked}");
        let (page, _) = fetched("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\na 1\n").await;
        assert_eq!(page.unwrap().format, Format::Prometheus);
        assert_eq!(fetcher().fetch(AGENT).await.unwrap().text, "up 1\n");
        assert_eq!(fetcher().fetch(RECORDS).await.unwrap().text, "log_messages_total 1\n");
        assert_eq!(fetcher().fetch("probe:a").await.unwrap().text, "probe_success 1\n");
        assert_eq!(fetcher().fetch("probe:b").await.err().unwrap(), "there is no such probe");
    }

    #[tokio::test]
    async fn what_is_no_page_is_said() {
        let (page, _) = fetched("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(page.err().unwrap(), "it answered 404");
        let (page, _) = fetched("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na 1\n").await;
        assert!(page.err().unwrap().contains("not read to the end"));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = fetcher().fetch(&format!("{closed}/metrics")).await.err().unwrap();
        assert!(refused.contains("cannot connect"), "{refused}");
    }
}
