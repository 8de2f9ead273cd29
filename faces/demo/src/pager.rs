//! Whoever is told of alerts: a webhook as any team has one, on loopback. It takes what comes and notes it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;

/// A notification is at most so long.
const LARGEST_BYTES: usize = 4 * 1024 * 1024;

/// The webhook.
pub(crate) struct Pager {
    listener: std::net::TcpListener,
    address: SocketAddr,
    noted: Noted,
}

type Noted = Arc<Mutex<BTreeMap<String, Told>>>;

/// What it was told of alerts of one name.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    /// How urgent they are.
    pub(crate) severity: String,
    /// How often it was told that they fire.
    pub(crate) fires: u64,
    /// How often it was told that they are over.
    pub(crate) over: u64,
    /// When it was told of them first.
    #[serde(skip)]
    pub(crate) since: Instant,
}

impl Pager {
    /// Has an address, and takes nothing yet.
    pub(crate) fn bind() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port on loopback")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, noted: Arc::default() })
    }

    /// Where it is told.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Takes what comes from now on, beside everything else.
    pub(crate) fn listen(&self) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let noted = Arc::clone(&self.noted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                let service = service_fn(move |request| answer(request, Arc::clone(&noted)));
                tokio::spawn(async move {
                    // Who breaks off was not told that it was taken, and comes again.
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(())
    }

    /// What it was told so far, by the alerts' names.
    pub(crate) fn told(&self) -> BTreeMap<String, Told> {
        lock(&self.noted).clone()
    }
}

async fn answer(request: Request<Incoming>, noted: Noted) -> Result<Response<Empty<Bytes>>, Infallible> {
    let body = Limited::new(request.into_body(), LARGEST_BYTES).collect().await;
    let read = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body.to_bytes()).ok());
    let mut response = Response::new(Empty::new());
    match read {
        Some(notification) => note(&notification, &noted),
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

/// Notes a notification: the alerts of one name, as they are grouped where nobody says otherwise.
fn note(notification: &Value, noted: &Noted) {
    let label = |name: &str| notification["commonLabels"][name].as_str().unwrap_or_default().to_owned();
    let fresh = || Told { severity: label("severity"), fires: 0, over: 0, since: Instant::now() };
    let mut noted = lock(noted);
    let told = noted.entry(label("alertname")).or_insert_with(fresh);
    match notification["status"].as_str() {
        Some("firing") => told.fires += 1,
        _ => told.over += 1,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
