//! The gateway's own small server, apart from the traffic: `/metrics` and `/healthz`. It also closes connections to
//! replicas that rested too long.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::config::Limits;
use crate::metrics;
use crate::registry::Registry;
use crate::worker::{Phase, Worker};

/// Connections at once.
const CONNECTIONS: usize = 64;
/// How often resting connections are looked at.
const SWEEP: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Admin {
    pub(crate) registry: Arc<Registry>,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) limits: Limits,
}

/// Serves until the gateway closes; while it drains too, so that the draining can be watched.
pub(crate) async fn run(admin: Arc<Admin>, listener: Option<TcpListener>, mut phase: watch::Receiver<Phase>) {
    let sweeping = async {
        loop {
            tokio::time::sleep(SWEEP).await;
            admin.registry.all_replicas().iter().for_each(|replica| replica.sweep(&admin.limits));
        }
    };
    let mut yielding = phase.clone();
    let serving = async {
        tokio::select! {
            () = serve(&admin, listener) => {}
            _ = yielding.wait_for(|phase| *phase == Phase::Yielding) => {}
        }
        // The successor answers now; the sweeping goes on.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sweeping => {}
        () = serving => {}
        _ = phase.wait_for(|phase| *phase == Phase::Closed) => {}
    }
}

async fn serve(admin: &Arc<Admin>, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    connection(admin, socket).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin address; trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(admin: Arc<Admin>, socket: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(answer(&admin, &request)) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // A scraper that goes away is no concern of ours.
    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
}

/// Whoever names it can read it.
const OPEN_METRICS: &str = "application/openmetrics-text";

fn answer(admin: &Admin, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let accepts = request.headers().get_all(header::ACCEPT).iter();
    let open = accepts.filter_map(|value| value.to_str().ok()).any(|value| value.contains(OPEN_METRICS));
    let mut kind = "text/plain; version=0.0.4; charset=utf-8";
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") if open => {
            kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, metrics::open_metrics(&admin.registry, &admin.workers))
        }
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, metrics::text(&admin.registry, &admin.workers))
        }
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
        (_, "/metrics" | "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "there is /metrics and /healthz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
