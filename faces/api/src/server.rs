//! Serving the routes until somebody says that it is over. Does not live here: what the routes do.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::ConnectInfo;
use axum::serve::Listener;
use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use runtime::Handle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::alerts::Rules;
use crate::caller::Caller;
use crate::door::{self, Door};
use crate::logs::Logs;
use crate::objectives::Objectives;
use crate::paging::Receivers;
use crate::routes::{self, Faces};
use crate::socket::Socket;
use crate::told;

/// How long answers under way may take once it is over.
const GRACE: Duration = Duration::from_secs(2);

/// How long a request's head may take, and how long a connection may rest between requests: whoever sends nothing must not
/// keep the place of somebody who does.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head in bytes.
const LARGEST_HEAD_BYTES: usize = 32 * 1024;

/// What the routes need.
#[derive(Clone)]
pub struct Config {
    /// Who decides.
    pub control: Handle,
    /// Where the output of replicas is.
    pub logs: Arc<dyn Logs>,
    /// Where the records made of it are.
    pub records: Arc<::logs::Keep>,
    /// How objectives stand.
    pub objectives: Arc<dyn Objectives>,
    /// How the rules of alerts stand.
    pub rules: Arc<dyn Rules>,
    /// Who knows how receivers of alerts stand.
    pub receivers: Arc<dyn Receivers>,
    /// The version of control.
    pub version: String,
    /// What the probes from outside found.
    pub probes: Arc<dyn ports::Probes>,
    /// Further routes beside these, behind the same guards; none of their paths begins with `/v1/`.
    pub beside: Router,
}

/// Serves on the socket, and on the TCP door if there is one, until `over` is done and the answers under way are
/// given, but not for more than two seconds longer.
pub async fn serve(socket: Socket, door: Option<Door>, config: Config, over: impl Future<Output = ()>) {
    let (close, closing) = watch::channel(false);
    let Config { control, logs, records, objectives, rules, receivers, version, probes, beside } = config;
    let address = door.as_ref().map(Door::address);
    let faces = Faces {
        control,
        logs,
        records,
        objectives,
        rules,
        receivers,
        version,
        probes,
        address,
        closing: closing.clone(),
    };
    let router = routes::router(faces).merge(beside);
    let behind_door = door.map(|door| {
        let guard = middleware::from_fn_with_state(door.guard.clone(), door::guard);
        listen(door, router.clone().layer(guard), |_| Caller::Token, closing.clone())
    });
    let on_socket = listen(socket, router, |stream| Caller::Peer { uid: stream.uid() }, closing);
    let mut serving = tokio::spawn(async move {
        match behind_door {
            Some(behind_door) => _ = tokio::join!(on_socket, behind_door),
            None => on_socket.await,
        }
    });
    tokio::select! {
        () = over => {}
        ended = &mut serving => {
            tracing::error!(?ended, "control's socket is closed");
            return;
        }
    }
    close.send_replace(true);
    if tokio::time::timeout(GRACE, &mut serving).await.is_err() {
        serving.abort();
    }
}

/// Serves who comes until it is closing, and then what is under way.
async fn listen<L: Listener>(
    mut listener: L,
    router: Router,
    caller: impl Fn(&L::Io) -> Caller,
    mut closing: watch::Receiver<bool>,
) {
    let ending = GracefulShutdown::new();
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                let router = router
                    .clone()
                    .layer(middleware::from_fn(told::refusals))
                    .layer(Extension(ConnectInfo(caller(&stream))));
                tokio::spawn(converse(stream, router, ending.watcher()));
            }
            _ = closing.wait_for(|closing| *closing) => break,
        }
    }
    drop(listener);
    ending.shutdown().await;
}

/// Serves one connection.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    ending: Watcher,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(LARGEST_HEAD_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = ending.watch(served).await {
        tracing::debug!(%error, "a connection to the API ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::caller::whole;

    fn client() -> DuplexStream {
        let (client, server) = tokio::io::duplex(1 << 16);
        let router = Router::new().route("/", get(|| async { "hello" }).post(whole));
        let ending = GracefulShutdown::new();
        let watcher = ending.watcher();
        tokio::spawn(async move {
            converse(server, router, watcher).await;
            drop(ending);
        });
        client
    }

    async fn dribble(client: &mut DuplexStream, piece: &[u8]) {
        while client.write_all(piece).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_not_waited_for() {
        let mut silent = client();
        assert_eq!(silent.read(&mut [0; 9]).await.unwrap(), 0);
        let mut slow = client();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        dribble(&mut slow, b"x").await;
        let mut large = client();
        large.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        let _ = large.write_all(&vec![b'x'; 1 << 20]).await;
        let mut said = String::new();
        let _ = large.read_to_string(&mut said).await;
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rests_gives_its_place_up() {
        let mut client = client();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("hello"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_not_waited_for() {
        let mut client = client();
        client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        dribble(&mut client, b"x").await;
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 408") && said.contains("SHP-API-REQUEST"), "{said}");
    }
}
