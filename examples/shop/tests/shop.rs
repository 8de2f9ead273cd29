//! The real program over real connections: what it answers, what it writes down, and how it stops.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(15);

struct Shop {
    process: Child,
    port: u16,
    log: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Shop {
    fn start(settings: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if !settings.is_empty() {
            std::fs::write(directory.path().join("settings.json"), settings).unwrap();
        }
        let mut process = Command::new(env!("CARGO_BIN_EXE_shop"))
            .current_dir(directory.path())
            .env("PORT", "0")
            .env("SHIPSHAPE_RELEASE", "7")
            .env("SHIPSHAPE_REPLICA", "a")
            .env("SHOP_LEDGER", directory.path().join("ledger"))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stdout.take().unwrap());
        let mut shop = Self { process, port: 0, log, directory };
        let start = shop.line();
        assert_eq!(start["event"], "start", "{start}");
        shop.port = u16::try_from(start["port"].as_u64().unwrap()).unwrap();
        shop
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Sends SIGTERM and waits until the shop says that it stops.
    fn terminate(&mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.line()["event"], "stopping");
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.process.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(Instant::now() < deadline, "it does not end"),
            }
            std::thread::yield_now();
        }
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Connection(BufReader::new(stream))
    }

    fn get(&self, path: &str) -> Answer {
        self.connect().ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    fn ledger(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("ledger")).unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Connection(BufReader<TcpStream>);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{:?}: {error}", self.body))
    }
}

impl Connection {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn ask(&mut self, text: &str) -> Answer {
        self.send(text);
        self.answer()
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "closed after {head:?}");
        }
        head
    }

    fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head[9..12].parse().unwrap();
        let lower = head.to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = String::new();
        if let Some(length) = length {
            let mut bytes = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut bytes).unwrap();
            body = String::from_utf8(bytes).unwrap();
        } else if lower.contains("transfer-encoding: chunked") {
            while !body.ends_with("0\r\n\r\n") {
                assert!(self.0.read_line(&mut body).unwrap() > 0, "closed after {body:?}");
            }
        }
        Answer { status, head: lower, body }
    }

    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is a close too.
        self.0.read_to_end(&mut rest).map_or(true, |n| n == 0)
    }
}

#[test]
fn pages_answer_and_say_who_answered() {
    let shop = Shop::start(r#"{"version": "2"}"#, &[]);
    let home = shop.get("/");
    assert_eq!(
        (home.status, &home.json()["version"], &home.json()["release"]),
        (200, &"2".into(), &"7".into())
    );
    assert_eq!(home.json()["pid"], shop.process.id());
    assert!(
        home.head.contains("x-release: 7\r\n") && home.head.contains("x-replica: a\r\n"),
        "{}",
        home.head
    );

    assert_eq!(shop.get("/orders/42").json()["id"], "42");
    assert_eq!((shop.get("/orders/").status, shop.get("/orders/4/2").status), (404, 404));
    assert_eq!((shop.get("/upload").status, shop.get("/nowhere").status), (405, 404));
    assert_eq!((shop.get("/slow?ms=1").status, shop.get("/slow?ms=x").status), (200, 400));
    assert_eq!((shop.get("/healthz/live").status, shop.get("/healthz/ready").status), (200, 200));

    let stream = shop.get("/stream?chunks=3&ms=1");
    assert!(stream.body.contains("chunk 1\n") && stream.body.contains("chunk 3\n"), "{}", stream.body);
    assert!(!stream.body.contains("chunk 4"));
}

#[test]
fn bodies_are_read_and_connections_used_again() {
    let shop = Shop::start("", &[]);
    let mut connection = shop.connect();
    let order = connection.ask("POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nanchor");
    assert_eq!((order.status, &order.json()["length"]), (201, &6.into()));
    let body = "x".repeat(3 << 20);
    let upload = format!("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(connection.ask(&upload).json()["bytes"], body.len());
    let large = format!("POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 2 << 20);
    connection.send(&large);
    connection.send(&body[..(1 << 20) + 1]);
    assert_eq!(connection.answer().status, 413);
}

#[test]
fn an_upgrade_echoes_raw_bytes() {
    let shop = Shop::start("", &[]);
    assert_eq!((shop.get("/echo").status, shop.get("/chat").status), (426, 426));
    let mut connection = shop.connect();
    connection.send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly ");
    let head = connection.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    connection.send("late");
    let mut echoed = [0; 10];
    connection.0.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"early late");
}

#[test]
fn each_numbered_request_is_written_down_before_its_answer() {
    let shop = Shop::start(r#"{"failureRate": 1}"#, &[]);
    let mut connection = shop.connect();
    let numbered = |n: u32| format!("GET /?q HTTP/1.1\r\nHost: x\r\nX-Sequence: ab-{n}\r\n\r\n");
    assert_eq!(connection.ask(&numbered(1)).status, 500);
    assert_eq!(shop.ledger(), "ab-1 7 a GET /\n");
    connection.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.ask(&numbered(2));
    assert_eq!(shop.ledger(), "ab-1 7 a GET /\nab-2 7 a GET /\n");
}

#[test]
fn failures_come_at_the_rate_and_follow_the_seed() {
    let outcomes = |seed: &str| {
        let shop = Shop::start(r#"{"failureRate": 0.3}"#, &[("SHOP_SEED", seed)]);
        let mut connection = shop.connect();
        let outcomes: Vec<bool> =
            (0..300).map(|_| connection.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 500).collect();
        assert_eq!(shop.get("/healthz/ready").status, 200, "health does not fail");
        outcomes
    };
    let first = outcomes("1");
    assert_eq!(first, outcomes("1"));
    assert_ne!(first, outcomes("2"));
    let failed = first.iter().filter(|failed| **failed).count();
    assert!((60..=120).contains(&failed), "{failed} of 300");
}

#[test]
fn all_pages_fail_while_a_file_of_the_replica_exists() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("{replica}-is-ill");
    let shop = Shop::start(&serde_json::json!({ "failWhile": file }).to_string(), &[]);
    assert_eq!(shop.get("/").status, 200);
    std::fs::write(dir.path().join("a-is-ill"), "").unwrap();
    assert_eq!((shop.get("/").status, shop.get("/healthz/ready").status), (500, 200));
    std::fs::remove_file(dir.path().join("a-is-ill")).unwrap();
    assert_eq!(shop.get("/").status, 200);
}

#[test]
fn readiness_waits_for_the_start_delay() {
    let shop = Shop::start(r#"{"startDelayMs": 1500}"#, &[]);
    let first = shop.get("/healthz/ready");
    assert_eq!((first.status, &first.json()["reason"]), (503, &"starting".into()));
    assert_eq!(shop.get("/healthz/live").status, 200);
    let deadline = Instant::now() + DEADLINE;
    while shop.get("/healthz/ready").status != 200 {
        assert!(Instant::now() < deadline, "never ready");
    }
    assert_eq!(Shop::start(r#"{"neverReady": true}"#, &[]).get("/healthz/ready").status, 503);
}

#[test]
fn sigterm_finishes_what_was_begun_and_closes_the_rest() {
    let mut shop = Shop::start("", &[]);
    let (mut idle, mut slow, mut tunnel) = (shop.connect(), shop.connect(), shop.connect());
    idle.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    tunnel.send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    tunnel.head();
    slow.send("POST /upload HTTP/1.1\r\nHost: x\r\nX-Sequence: ab-1\r\nContent-Length: 8\r\n\r\nhalf");
    let deadline = Instant::now() + DEADLINE;
    while shop.ledger().is_empty() {
        assert!(Instant::now() < deadline, "the request does not begin");
    }
    shop.terminate();
    let ready = shop.get("/healthz/ready");
    assert_eq!((ready.status, &ready.json()["reason"]), (503, &"stopping".into()));
    assert!(ready.head.contains("connection: close"), "{}", ready.head);

    slow.send("half");
    let slow = slow.answer();
    assert_eq!((slow.status, &slow.json()["bytes"]), (200, &8.into()));
    assert!(slow.head.contains("connection: close"), "{}", slow.head);
    assert!(idle.is_closed() && tunnel.is_closed());
    let stop = shop.line();
    assert_eq!((&stop["event"], &stop["finished"]), (&"stop".into(), &true.into()));
    assert_eq!(shop.wait().code(), Some(0));
    assert!(TcpStream::connect(("127.0.0.1", shop.port)).is_err());
}

#[test]
fn a_request_that_never_ends_does_not_hold_the_stop_for_ever() {
    let mut shop = Shop::start(r#"{"stopLimitMs": 50}"#, &[]);
    let mut slow = shop.connect();
    slow.send("GET /stream?chunks=9999&ms=1000 HTTP/1.1\r\nHost: x\r\n\r\n");
    slow.head();
    shop.terminate();
    assert_eq!(shop.line()["finished"], false);
    assert_eq!(shop.wait().code(), Some(1));
}

#[test]
fn sigterm_can_be_ignored_and_sigkill_cannot() {
    let mut shop = Shop::start(r#"{"ignoreSigterm": true}"#, &[]);
    shop.signal(Signal::TERM);
    assert_eq!(shop.line()["ignored"], true);
    assert_eq!(shop.get("/").status, 200);
    shop.signal(Signal::KILL);
    assert_eq!(shop.wait().code(), None);
}

#[test]
fn a_crash_is_a_crash() {
    let mut shop = Shop::start(r#"{"exitAfterMs": 1}"#, &[]);
    assert_eq!(shop.line()["event"], "crash");
    assert_eq!(shop.wait().code(), Some(1));
}

#[test]
fn wrong_settings_end_it_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (value, code, want) in
        [("many", 2, "must be a port number"), (&port, 1, "cannot listen on 127.0.0.1:")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_shop"))
            .current_dir(directory.path())
            .env("PORT", value)
            .output()
            .unwrap();
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(log.contains(want), "{log}");
        assert_eq!(output.status.code(), Some(code));
    }
}

#[test]
fn requests_are_logged_when_asked() {
    let mut shop = Shop::start("", &[("SHOP_LOG_REQUESTS", "1")]);
    shop.get("/orders/1");
    let line = shop.line();
    assert_eq!(
        (&line["event"], &line["path"], &line["status"]),
        (&"request".into(), &"/orders/1".into(), &200.into())
    );
}
