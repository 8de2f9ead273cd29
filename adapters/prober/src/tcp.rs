//! A connection: that it can be opened, what is said on it, and the certificates that come with TLS.

use model::probe::{Expect, Tcp, Tls};
use regex_automata::meta;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::connect::{Resolver, connect, split};
use crate::look::{Notes, Reason, Trouble, plain};
use crate::{handshake, http};

/// How much is read of what is said.
const MOST_BYTES: usize = 16 * 1024;

pub(crate) async fn greet(
    tcp: &Tcp,
    expect: &Expect,
    pattern: Option<&meta::Regex>,
    (resolver, deadline): (&Resolver, Instant),
    notes: &mut Notes,
) -> Result<(), Trouble> {
    let (host, port) = address(&tcp.address)?;
    let mut stream = connect(resolver, host, port, deadline, notes).await?;
    let broken = |error: std::io::Error| {
        Trouble::Failed(Reason::Connect, format!("the connection broke: {}", plain(&error.to_string())))
    };
    if let Some(text) = &tcp.send {
        notes.doing = "saying something";
        stream.write_all(text.as_bytes()).await.map_err(broken)?;
    }
    if expect.body_contains.is_none() && expect.body_matches.is_none() {
        return Ok(());
    }
    notes.doing = "waiting for what it says";
    let mut heard = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let count = stream.read(&mut buffer).await.map_err(broken)?;
        heard.extend_from_slice(buffer.get(..count).unwrap_or_default());
        match http::said(expect, pattern, &heard) {
            Ok(()) => return Ok(()),
            Err(what) if count == 0 || heard.len() >= MOST_BYTES => {
                notes.body_failed = true;
                return Err(Trouble::Failed(Reason::Body, what));
            }
            Err(_) => notes.body_failed = true,
        }
    }
}

pub(crate) async fn shake(
    tls: &Tls,
    (resolver, deadline): (&Resolver, Instant),
    notes: &mut Notes,
) -> Result<(), Trouble> {
    let (host, port) = address(&tls.address)?;
    let stream = connect(resolver, host, port, deadline, notes).await?;
    let mut stream = handshake::wrap(stream, host, &tls.trust, &[], notes).await?;
    // A farewell is polite, and what comes of it is no concern of ours.
    let _ = stream.shutdown().await;
    Ok(())
}

fn address(address: &str) -> Result<(&str, u16), Trouble> {
    split(address).ok_or_else(|| Trouble::Unable(format!("`{address}` names no port")))
}
