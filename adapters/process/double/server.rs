//! A replica for tests: an HTTP server on `$PORT` that does as its requests say. Shared by the tests of several crates.
//!
//! `GET /` tells its pid; `/env/NAME` a variable; `/print/TEXT` prints; `/slow/MS` answers late; `/exit/N` exits;
//! `/break/PATH` makes `/PATH` answer 500 from then on, `/mend/PATH` ends that.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Broken = Arc<Mutex<BTreeSet<String>>>;

/// Serves until it is ended.
pub(crate) fn serve() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_default();
    let port = port.parse().map_err(|_| std::io::Error::other(format!("PORT={port:?} is no port")))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    say(&format!("listening on {port}"));
    let broken = Broken::default();
    for stream in listener.incoming() {
        let (stream, broken) = (stream?, Arc::clone(&broken));
        std::thread::spawn(move || answer_all(&stream, &broken));
    }
    Ok(())
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn answer_all(stream: &TcpStream, broken: &Broken) {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let Some(Ok(request)) = lines.next() else { return };
        let mut close = false;
        for line in lines.by_ref() {
            match line {
                Ok(line) if line.is_empty() => break,
                Ok(line) => close |= line.eq_ignore_ascii_case("connection: close"),
                Err(_) => return,
            }
        }
        let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let (status, body) = answer(&path, broken);
        let length = body.len();
        let response = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut out = stream;
        if out.write_all(response.as_bytes()).is_err() || close {
            return;
        }
    }
}

#[expect(clippy::exit, reason = "a replica that ends when it is told to")]
fn answer(path: &str, broken: &Broken) -> (u16, String) {
    let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
    if broken.contains(path) {
        return (500, "broken".to_owned());
    }
    let (verb, rest) = path.split_once('/').unwrap_or((path, ""));
    match verb {
        "env" => return (200, std::env::var(rest).unwrap_or_else(|_| "(absent)".to_owned())),
        "print" => say(rest),
        "break" => drop(broken.insert(rest.to_owned())),
        "mend" => drop(broken.remove(rest)),
        "exit" => std::process::exit(rest.parse().unwrap_or(1)),
        "slow" => {
            drop(broken);
            std::thread::park_timeout(Duration::from_millis(rest.parse().unwrap_or(0)));
        }
        _ => {}
    }
    (200, std::process::id().to_string())
}
