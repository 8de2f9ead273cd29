//! The gateway, whole, over a socket: whatever a client sends, what it gets back are answers, a replica sees only requests
//! that can be read one way, and the next client is served.

use std::sync::LazyLock;
use std::time::Duration;

use proxy::Gateway;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::gateway::support::strict::{Next, Recorder, Wire};
use crate::gateway::support::{Shop, gateway_with};

#[path = "../../traffic/proxy/tests/support/mod.rs"]
mod support;

/// Words of the language.
pub(crate) const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    ";",
    "GET ",
    "POST ",
    "HEAD ",
    "CONNECT ",
    "PRI ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/2.0\r\n",
    "host: s\r\n",
    "host: ",
    "content-length: ",
    "content-length: 3\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: ",
    "chunked",
    "identity",
    "connection: close\r\n",
    "connection: content-length\r\n",
    "upgrade: websocket\r\n",
    "expect: 100-continue\r\n",
    "te: trailers\r\n",
    "trailer: x\r\n",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "ffffffffffffffff\r\n",
    ";x=y",
    "http://s/",
    "/../",
    "%2e%2e",
    "*",
    "\u{ff}",
];

/// How long all of an input may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    runtime: Runtime,
    gateway: Gateway,
    backend: Recorder,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    let gateway = gateway_with(|config| config.workers = 1);
    let backend = runtime.block_on(async {
        let backend = Recorder::start().await;
        Shop::only(backend.addr).route(|route| route.limits.body_bytes = 100_000).on(&gateway);
        backend
    });
    World { runtime, gateway, backend }
});

/// # Panics
/// When a promise is broken.
pub fn target(bytes: &[u8]) {
    // The preface of HTTP/2 is for the frames of `downgrade.rs`: its answers are no HTTP/1.1.
    if !bytes.starts_with(b"PRI") {
        let world = &*WORLD;
        let ended =
            world.runtime.block_on(async { tokio::time::timeout(PATIENCE, feed(world, bytes)).await });
        assert!(ended.is_ok(), "answered without end");
    }
}

async fn feed(world: &World, bytes: &[u8]) {
    let mut client = connect(world).await;
    // The first byte says how the rest is cut into writes.
    let piece = bytes.first().map_or(1, |byte| 1 + usize::from(*byte) * 7);
    for bytes in bytes.chunks(piece) {
        client.send(bytes).await;
    }
    let _ = client.socket.shutdown().await;
    // HEAD may be the method of any of them, and its answers look cut.
    let method = if bytes.windows(4).any(|four| four.eq_ignore_ascii_case(b"HEAD")) { "HEAD" } else { "GET" };
    loop {
        match client.next(method).await {
            // Behind an upgrade or a HEAD among others, what comes is not ours to read.
            Ok(Next::Answer(answer)) if answer.status() == 101 || method == "HEAD" => break,
            Ok(Next::Answer(_)) => {}
            Ok(Next::End | Next::Cut) => break,
            Err(wrong) => panic!("{wrong}"),
        }
    }
    drop(client);
    let mut after = connect(world).await;
    after.send(b"GET /after HTTP/1.1\r\nhost: s\r\n\r\n").await;
    match after.next("GET").await {
        Ok(Next::Answer(answer)) if answer.text() == "GET /after" => {}
        other => panic!("the next client got {other:?}"),
    }
    for seen in world.backend.take() {
        if let Err(bad) = seen {
            panic!("the backend saw {bad}");
        }
    }
}

async fn connect(world: &World) -> Wire {
    let socket = TcpStream::connect(world.gateway.listen_address()).await;
    Wire::new(socket.unwrap_or_else(|error| panic!("the gateway is gone: {error}")))
}
