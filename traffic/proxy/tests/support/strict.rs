//! A strict reader of HTTP/1.1 messages, and a backend that notes what it was sent as this reader sees it. It knows one
//! way to read a message; whatever could be read another way is a violation. Shares no code with the gateway.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message, read whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The request line or status line.
    pub start: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

/// What a stretch of bytes is.
#[derive(Debug)]
pub enum Read {
    /// More is to come.
    Partial,
    /// A message, and how many bytes it took.
    Whole(Message, usize),
    /// No message, or one that can be read in two ways.
    Bad(String),
}

impl Message {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Method and target.
    pub fn asked(&self) -> String {
        self.start.rsplit_once(' ').map_or("", |(asked, _)| asked).to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn closes(&self) -> bool {
        let says = |what: &str| self.all("connection").iter().any(|value| value.eq_ignore_ascii_case(what));
        says("close") || self.start.starts_with("HTTP/1.0") && !says("keep-alive")
    }
}

/// Reads a request.
pub fn request(bytes: &[u8]) -> Read {
    let (mut message, at) = match head(bytes) {
        Ok(Some(read)) => read,
        Ok(None) => return Read::Partial,
        Err(bad) => return Read::Bad(bad),
    };
    let parts: Vec<&str> = message.start.split(' ').collect();
    let line = matches!(parts.as_slice(), [method, target, "HTTP/1.1"]
        if method.bytes().all(is_token) && (target.starts_with('/') || *target == "*"));
    if !line {
        return Read::Bad(format!("request line {:?}", message.start));
    }
    if message.all("host").len() != 1 {
        return Read::Bad(format!("{} hosts", message.all("host").len()));
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings", "expect"] {
        if !message.all(name).is_empty() {
            return Read::Bad(format!("{name} reached the backend"));
        }
    }
    let alone = |name: &&&str| !message.all(name).is_empty() && message.all("connection") != [**name];
    if let Some(bad) = ["te", "upgrade"].iter().find(alone) {
        return Read::Bad(format!("{bad} without a connection option"));
    }
    match framing(&message) {
        Ok(framing) => body(bytes, at, &mut message, framing.unwrap_or(Framing::Length(0))),
        Err(bad) => Read::Bad(bad),
    }
}

/// Reads an answer to a request of this method. `ended`: no more bytes will come.
pub fn response(bytes: &[u8], method: &str, ended: bool) -> Read {
    let (mut message, at) = match head(bytes) {
        Ok(Some(read)) => read,
        Ok(None) => return Read::Partial,
        Err(bad) => return Read::Bad(bad),
    };
    let status = message.status();
    if !message.start.starts_with("HTTP/1.") || !(100..600).contains(&status) {
        return Read::Bad(format!("status line {:?}", message.start));
    }
    if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        return Read::Whole(message, at);
    }
    match framing(&message) {
        Ok(Some(framing)) => body(bytes, at, &mut message, framing),
        Ok(None) if ended => {
            message.body = bytes[at..].to_vec();
            Read::Whole(message, bytes.len())
        }
        Ok(None) => Read::Partial,
        Err(bad) => Read::Bad(bad),
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn head(bytes: &[u8]) -> Result<Option<(Message, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = split(&bytes[..end])?.into_iter();
    let start = lines.next().unwrap_or_default();
    let headers = lines.map(|line| field(&line)).collect::<Result<_, _>>()?;
    Ok(Some((Message { start, headers, ..Message::default() }, end + 4)))
}

/// Lines that end with CR LF, and hold neither by itself.
fn split(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    match lines.iter().find(|line| line.contains(|c: char| c != '\t' && (c < ' ' || c == '\x7f'))) {
        Some(line) => Err(format!("a control character in {line:?}")),
        None => Ok(lines),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && name.bytes().all(is_token) => {
            Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
        }
        Some(_) | None => Err(format!("no header: {line:?}")),
    }
}

fn framing(message: &Message) -> Result<Option<Framing>, String> {
    match (message.all("transfer-encoding").as_slice(), message.all("content-length").as_slice()) {
        ([], []) => Ok(None),
        (["chunked"], []) => Ok(Some(Framing::Chunked)),
        ([], [length]) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(|length| Some(Framing::Length(length))).map_err(|_| format!("length {length}"))
        }
        (encodings, lengths) => Err(format!("framing: encodings {encodings:?}, lengths {lengths:?}")),
    }
}

fn body(bytes: &[u8], mut at: usize, message: &mut Message, framing: Framing) -> Read {
    match framing {
        Framing::Length(length) if bytes.len() - at < length => Read::Partial,
        Framing::Length(length) => {
            message.body = bytes[at..at + length].to_vec();
            Read::Whole(std::mem::take(message), at + length)
        }
        Framing::Chunked => loop {
            let Some(end) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
                return Read::Partial;
            };
            let line = &bytes[at..at + end];
            at += end + 2;
            let digits = !line.is_empty() && line.len() <= 8 && line.iter().all(u8::is_ascii_hexdigit);
            let size = std::str::from_utf8(line).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let Some(size) = size.filter(|_| digits) else {
                return Read::Bad(format!("chunk size {:?}", String::from_utf8_lossy(line)));
            };
            if size == 0 {
                return trailers(bytes, at, message);
            }
            let Some(chunk) = bytes.get(at..at + size + 2) else { return Read::Partial };
            if !chunk.ends_with(b"\r\n") {
                return Read::Bad("a chunk without its end".to_owned());
            }
            message.body.extend_from_slice(&chunk[..size]);
            at += size + 2;
        },
    }
}

fn trailers(bytes: &[u8], at: usize, message: &mut Message) -> Read {
    if bytes[at..].starts_with(b"\r\n") {
        return Read::Whole(std::mem::take(message), at + 2);
    }
    let Some(end) = bytes[at..].windows(4).position(|four| four == b"\r\n\r\n") else { return Read::Partial };
    let fields = split(&bytes[at..at + end])
        .and_then(|lines| lines.iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>());
    match fields {
        Ok(fields) => {
            let framing = ["content-length", "transfer-encoding", "host", "connection", "trailer"];
            if let Some((name, _)) = fields.iter().find(|(name, _)| framing.contains(&name.as_str())) {
                return Read::Bad(format!("{name} among the trailers"));
            }
            message.trailers = fields;
            Read::Whole(std::mem::take(message), at + end + 4)
        }
        Err(bad) => Read::Bad(bad),
    }
}

/// A backend that notes each request and answers it with its method and target.
pub struct Recorder {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Result<Message, String>>>>,
}

impl Recorder {
    pub async fn start() -> Self {
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let notes = seen.clone();
        let (addr, _) = super::raw(move |_, socket| record(socket, notes.clone())).await;
        Self { addr, seen }
    }

    /// What came since the last call: whole requests, and violations.
    pub fn take(&self) -> Vec<Result<Message, String>> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn record(mut socket: TcpStream, seen: Arc<Mutex<Vec<Result<Message, String>>>>) {
    let mut bytes = Vec::new();
    loop {
        match request(&bytes) {
            Read::Partial => match socket.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            Read::Whole(message, used) => {
                bytes.drain(..used);
                let asked = message.asked();
                let bodiless = asked.starts_with("HEAD ");
                seen.lock().unwrap().push(Ok(message));
                let body = if bodiless { "" } else { asked.as_str() };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", asked.len());
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Read::Bad(bad) => {
                seen.lock().unwrap().push(Err(format!("{bad} in {:?}", String::from_utf8_lossy(&bytes))));
                return;
            }
        }
    }
}

/// A client's view of its connection: answers in order, then its end.
pub struct Wire {
    pub socket: TcpStream,
    bytes: Vec<u8>,
}

/// What came next on a connection.
#[derive(Debug)]
pub enum Next {
    Answer(Message),
    /// The connection ended between messages.
    End,
    /// It ended within one.
    Cut,
}

impl Wire {
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, bytes: Vec::new() }
    }

    /// The next final answer.
    pub async fn next(&mut self, method: &str) -> Result<Next, String> {
        tokio::time::timeout(super::PATIENCE, self.read(method))
            .await
            .map_err(|_| format!("nothing more after {:?}", String::from_utf8_lossy(&self.bytes)))?
    }

    async fn read(&mut self, method: &str) -> Result<Next, String> {
        let mut ended = false;
        loop {
            match response(&self.bytes, method, ended) {
                Read::Whole(message, used) => {
                    self.bytes.drain(..used);
                    if !(100..200).contains(&message.status()) || message.status() == 101 {
                        return Ok(Next::Answer(message));
                    }
                }
                Read::Bad(bad) => return Err(format!("an answer is malformed: {bad}")),
                Read::Partial if ended && self.bytes.is_empty() => return Ok(Next::End),
                Read::Partial if ended => return Ok(Next::Cut),
                Read::Partial => match self.socket.read_buf(&mut self.bytes).await {
                    Ok(0) | Err(_) => ended = true,
                    Ok(_) => {}
                },
            }
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // A gateway that has closed already is what some of these tests want.
        let _ = self.socket.write_all(bytes).await;
    }
}
