//! One question to a replica: does it answer? Does not live here: how often it is asked and what follows ([`crate::health`]).

use std::net::Ipv4Addr;
use std::time::Duration;

use model::spec::Check;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any status line that means something.
const STATUS_LINE_BYTES: usize = 1024;
/// Before a question that could not be asked is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// How a probe says that nobody listens.
pub(crate) const REFUSED: &str = "connection refused";

/// Why there is no good answer.
enum Failure {
    /// The question could not be asked, which says nothing about the replica.
    Unasked(std::io::Error),
    /// In words.
    No(String),
}

/// Asks once; the error says in words why the answer is no. Without a file descriptor to ask with it waits for one: want
/// of our own is no reason to start a replica again.
pub(crate) async fn ask(port: u16, check: &Check, timeout: Duration) -> Result<(), String> {
    loop {
        let asked = async {
            match check {
                Check::Tcp => connect(port).await.map(drop),
                Check::Http(path) => get(port, path).await,
            }
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Failure::No(why))) => return Err(why),
            Ok(Err(Failure::Unasked(error))) => {
                tracing::warn!(port, %error, "a probe cannot be sent; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => return Err(format!("no answer within {}", model::time::format_duration(timeout))),
        }
    }
}

async fn connect(port: u16) -> Result<TcpStream, Failure> {
    use rustix::io::Errno;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    stream.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => Failure::Unasked(error),
        Some(_) | None => Failure::No(format!("cannot connect to port {port}: {}", plain(&error))),
    })
}

async fn get(port: u16, path: &str) -> Result<(), Failure> {
    if path.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(Failure::No(format!("the path {path:?} holds a character that no request may hold")));
    }
    let mut stream = connect(port).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: shipshape-probe\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    let broken = |error: std::io::Error| Failure::No(format!("GET {path}: {}", plain(&error)));
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while !line.contains(&b'\n') && line.len() < STATUS_LINE_BYTES {
        match stream.read(&mut buffer).await.map_err(broken)? {
            0 => break,
            read => line.extend_from_slice(&buffer[..read]),
        }
    }
    match status(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(Failure::No(format!("GET {path} answered {status}"))),
        None => Err(Failure::No(format!("GET {path} was not answered in HTTP"))),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let (version, rest) = text.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    rest.get(..3)?.parse().ok()
}

/// Without "(os error N)", which says nothing to people.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_is_an_answer() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nx: y"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503\r\n"), Some(503));
        assert_eq!(status(b"SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(status(b"HTTP/1.1 "), None);
        assert_eq!(status(b""), None);
    }
}
