//! The API, whole, over its socket and its TCP door: whatever is sent, what comes back is HTTP, nobody without the token
//! changes anything, and control goes on.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;

use crate::api::support::Stage;

#[path = "../../faces/api/tests/support/mod.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "the stage of the API's own tests")]
mod support;

/// Words of the language.
pub(crate) const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "GET ",
    "POST ",
    " HTTP/1.1\r\n",
    "Host: c\r\n",
    "/v1/health",
    "/v1/status",
    "/v1/events",
    "/v1/logs",
    "/v1/logs/search",
    "/v1/deploy",
    "/v1/ship",
    "/v1/rollback",
    "/v1/operate",
    "?after=",
    "?format=json",
    "&follow=false",
    "&limit=",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "Idempotency-Key: ",
    "Last-Event-ID: ",
    "Authorization: Bearer ",
    "Origin: http://",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "1e999",
    "\\ud800",
    "\"actor\":\"ada\"",
    "\"reason\":null",
    "\"service\":\"shop\"",
    "\"environment\":\"production\"",
    "\"operation\":",
    "\"artifact\":\"/x\"",
    "\"manifest\":\"service: shop\\nrun: x\"",
];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    runtime: Runtime,
    stage: Stage,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    let stage = runtime.block_on(Stage::set());
    World { runtime, stage }
});

/// # Panics
/// When a promise is broken.
pub fn target(bytes: &[u8]) {
    let world = &*WORLD;
    // What asks control to stop does what it says.
    if find(bytes, b"stop") {
        return;
    }
    world.runtime.block_on(async {
        let path = ::api::socket(world.stage.directory.path());
        let socket = UnixStream::connect(path).await;
        exchange(socket.unwrap_or_else(|error| panic!("control is gone: {error}")), bytes).await;
        let door = TcpStream::connect(world.stage.door).await;
        let door = door.unwrap_or_else(|error| panic!("the door is gone: {error}"));
        let said = exchange(door, bytes).await;
        assert!(
            !said.starts_with(b"HTTP/1.1 2"),
            "let in without the token: {}",
            String::from_utf8_lossy(&said)
        );
        let health = world.stage.client.health().await;
        assert!(health.is_ok(), "{health:?}");
    });
}

/// What came back until the other side closed.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    let talk = async {
        // Whoever refuses may hang up early.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut said).await;
    };
    let ended = tokio::time::timeout(PATIENCE, talk).await.is_ok();
    // A stream of events goes on by itself; everything else ends.
    assert!(ended || find(bytes, b"/v1/events") || find(bytes, b"/v1/logs"), "no end");
    assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&said));
    said
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
