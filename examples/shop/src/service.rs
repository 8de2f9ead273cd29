//! What the shop answers. Does not live here: connections, signals and stopping.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::body::Reply;
use crate::chat::chat;
use crate::ledger::Ledger;
use crate::server::{InFlight, Stop};
use crate::{Error, Settings, log};

/// The largest order in bytes. An upload is only counted, so it may be any size.
const MAX_ORDER: usize = 1 << 20;
/// The longest `ms` and the most `chunks` that a query may ask for.
const MAX_QUERY_MS: u64 = 600_000;
const MAX_CHUNKS: u64 = 10_000;

pub(crate) struct Shop {
    settings: Settings,
    started: Instant,
    ledger: Option<Ledger>,
    chance: Mutex<fastrand::Rng>,
    /// Pages served, by status.
    served: Mutex<BTreeMap<u16, u64>>,
    stop: Stop,
    release: HeaderValue,
    replica: HeaderValue,
}

impl Shop {
    pub(crate) fn new(settings: Settings, stop: Stop) -> Result<Self, Error> {
        let ledger = settings.ledger.as_ref().map(|path| Ledger::open(path, &settings)).transpose()?;
        // Replicas with one seed must not fail in step, so each mixes its name in.
        let seed = settings.seed.map(|seed| {
            settings.replica.bytes().fold(seed, |mix, b| mix.wrapping_mul(0x100_0000_01b3) ^ u64::from(b))
        });
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| Error::Range {
                setting: "release and replica",
                found: format!("{text:?}"),
                want: "visible characters",
            })
        };
        Ok(Self {
            release: header(&settings.release)?,
            replica: header(&settings.replica)?,
            started: Instant::now(),
            ledger,
            chance: Mutex::new(seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
            served: Mutex::default(),
            stop,
            settings,
        })
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        let in_flight = self.stop.begin();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut response = match self.note(&request) {
            Ok(()) => self.route(request).await,
            Err(error) => {
                log::error("ledger", &error.to_string());
                problem(StatusCode::INTERNAL_SERVER_ERROR, "the ledger cannot be written")
            }
        };
        if self.settings.log_requests {
            let status = response.status().as_u16();
            log::info("request", &json!({ "method": method.as_str(), "path": path, "status": status }));
        }
        let headers = response.headers_mut();
        headers.insert("x-release", self.release.clone());
        headers.insert("x-replica", self.replica.clone());
        if self.stop.is_stopping() && !headers.contains_key(UPGRADE) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|reply| reply.holding(in_flight))
    }

    fn note(&self, request: &Request<Incoming>) -> std::io::Result<()> {
        match &self.ledger {
            Some(ledger) => ledger.note(request.headers(), request.method(), request.uri().path()),
            None => Ok(()),
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Reply> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/healthz/live") => json_reply(StatusCode::OK, &json!({ "live": true })),
            (&Method::GET, "/healthz/ready") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::GET, "/echo") => self.echo(request),
            (&Method::GET, "/chat") => self.chat(request),
            _ => {
                let response = self.page(request, &path).await;
                let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
                *served.entry(response.status().as_u16()).or_default() += 1;
                response
            }
        }
    }

    /// In Prometheus' text format.
    fn metrics(&self) -> Response<Reply> {
        let mut text =
            "# HELP shop_requests_total Pages served.\n# TYPE shop_requests_total counter\n".to_owned();
        for (code, count) in &*self.served.lock().unwrap_or_else(PoisonError::into_inner) {
            // Writing to a String does not fail.
            let _ = writeln!(text, "shop_requests_total{{code=\"{code}\"}} {count}");
        }
        let mut response = Response::new(Reply::whole(text));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn ready(&self) -> Response<Reply> {
        let why = if self.stop.is_stopping() {
            "stopping"
        } else if self.settings.never_ready {
            "it was told never to become ready"
        } else if self.started.elapsed() < self.settings.start_delay {
            "starting"
        } else {
            return json_reply(StatusCode::OK, &json!({ "ready": true }));
        };
        json_reply(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "reason": why }))
    }

    /// The pages proper: these take the latency, and these fail.
    async fn page(&self, request: Request<Incoming>, path: &str) -> Response<Reply> {
        let fails = self.fails() || self.settings.fail_while.as_ref().is_some_and(|file| file.exists());
        if !self.settings.latency.is_zero() {
            tokio::time::sleep(self.settings.latency).await;
        }
        if fails {
            // The body is taken off the wire, so that the connection can be used again.
            let _ = count(request.into_body()).await;
            return problem(StatusCode::INTERNAL_SERVER_ERROR, "this release fails some of its requests");
        }
        let query = Query(request.uri().query().unwrap_or_default().to_owned());
        match (request.method().clone(), path) {
            (Method::GET, "/") => json_reply(StatusCode::OK, &self.about()),
            (Method::GET, "/slow") => match query.number("ms", 1_000, MAX_QUERY_MS) {
                Ok(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    json_reply(StatusCode::OK, &json!({ "waitedMs": ms }))
                }
                Err(message) => problem(StatusCode::BAD_REQUEST, &message),
            },
            (Method::GET, "/stream") => stream(&query),
            (Method::POST, "/orders") => order(request.into_body()).await,
            (Method::POST, "/upload") => match count(request.into_body()).await {
                Ok(bytes) => json_reply(StatusCode::OK, &json!({ "bytes": bytes })),
                Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            (Method::GET, _) if path.strip_prefix("/orders/").is_some_and(is_segment) => {
                json_reply(StatusCode::OK, &json!({ "id": path.trim_start_matches("/orders/") }))
            }
            (_, "/" | "/slow" | "/stream" | "/orders" | "/upload") => {
                problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
            }
            _ => problem(StatusCode::NOT_FOUND, "there is no such page"),
        }
    }

    fn fails(&self) -> bool {
        let rate = self.settings.failure_rate;
        rate > 0.0 && self.chance.lock().unwrap_or_else(PoisonError::into_inner).f64() < rate
    }

    fn about(&self) -> Value {
        json!({
            "service": "shop",
            "version": self.settings.version,
            "release": self.settings.release,
            "replica": self.settings.replica,
            "pid": std::process::id(),
        })
    }

    /// Switches to WebSocket: every message comes back until the client goes or the shop stops.
    fn chat(&self, request: Request<Incoming>) -> Response<Reply> {
        let is = |name, wanted: &str| {
            let value = request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            value.is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        let key = request.headers().get(SEC_WEBSOCKET_KEY).cloned();
        let key = key.filter(|_| is(UPGRADE, "websocket") && is(SEC_WEBSOCKET_VERSION, "13"));
        let accept = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
        let Some(accept) = accept else {
            let mut response = problem(StatusCode::UPGRADE_REQUIRED, "ask with a WebSocket of version 13");
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return response;
        };
        let (stop, in_flight) = (self.stop.clone(), self.stop.begin());
        tokio::spawn(async move {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => chat(TokioIo::new(upgraded), stop, in_flight).await,
                Err(error) => log::error("upgrade", &error.to_string()),
            }
        });
        let mut response = switching("websocket");
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
        response
    }

    /// Switches to the protocol `echo`: every byte comes back until the client closes or the shop stops.
    fn echo(&self, request: Request<Incoming>) -> Response<Reply> {
        let wanted = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
        if !wanted.is_some_and(|protocol| protocol.eq_ignore_ascii_case("echo")) {
            let mut response = problem(StatusCode::UPGRADE_REQUIRED, "ask with `Upgrade: echo`");
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
            return response;
        }
        let (stop, tunnel) = (self.stop.clone(), self.stop.begin());
        tokio::spawn(async move {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => echo(TokioIo::new(upgraded), stop, tunnel).await,
                Err(error) => log::error("upgrade", &error.to_string()),
            }
        });
        switching("echo")
    }
}

fn switching(protocol: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    response
}

/// A tunnel is ended by the shop's stop, after the bytes it has read are back: a client that never closes must not
/// keep a replica alive.
async fn echo(mut tunnel: impl AsyncRead + AsyncWrite + Unpin, stop: Stop, _in_flight: InFlight) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            read = tunnel.read(&mut buffer) => read,
            () = stop.stopping() => break,
        };
        match read {
            Ok(n) if n > 0 => {
                if tunnel.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
            Ok(_) | Err(_) => break,
        }
    }
    // The client may be gone already.
    let _ = tunnel.shutdown().await;
}

async fn order(body: Incoming) -> Response<Reply> {
    let bytes = match Limited::new(body, MAX_ORDER).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "an order is at most 1 MiB");
        }
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    // The same order gets the same id, whoever takes it: two replicas share no state.
    let id = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    json_reply(StatusCode::CREATED, &json!({ "id": format!("{id:016x}"), "length": bytes.len() }))
}

/// Counts a body without keeping it.
async fn count(mut body: Incoming) -> Result<u64, hyper::Error> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

fn stream(query: &Query) -> Response<Reply> {
    let wanted =
        query.number("chunks", 10, MAX_CHUNKS).and_then(|n| Ok((n, query.number("ms", 100, MAX_QUERY_MS)?)));
    match wanted {
        Ok((chunks, ms)) => {
            let count = u32::try_from(chunks).unwrap_or(u32::MAX);
            let mut response = Response::new(Reply::timed(count, Duration::from_millis(ms)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            response
        }
        Err(message) => problem(StatusCode::BAD_REQUEST, &message),
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

struct Query(String);

impl Query {
    fn number(&self, name: &str, default: u64, max: u64) -> Result<u64, String> {
        let found = self.0.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
        let Some((_, text)) = found else { return Ok(default) };
        match text.parse() {
            Ok(n) if n <= max => Ok(n),
            Ok(_) | Err(_) => Err(format!("{name} must be a whole number up to {max}")),
        }
    }
}

fn problem(status: StatusCode, message: &str) -> Response<Reply> {
    json_reply(status, &json!({ "error": message }))
}

fn json_reply(status: StatusCode, value: &Value) -> Response<Reply> {
    let mut response = Response::new(Reply::whole(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
