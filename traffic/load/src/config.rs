//! What to send, where and how fast. Everything is checked before the first request: a bad setting never becomes a
//! lost request. Does not live here: the schedule itself, and anything that sends.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use crate::{Error, SEQUENCE_HEADER};

/// The highest rate in requests per second; one thread cannot keep a schedule above it.
const MAX_RATE: f64 = 100_000.0;
/// The most connections.
const MAX_CONNECTIONS: usize = 4_096;
/// The largest request body in bytes.
const MAX_BODY: usize = 1 << 20;

/// A load run. Make one with [`Config::new`] and change what should differ.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to: a loopback address.
    pub target: SocketAddr,
    /// The `Host` header; the target's address if `None`.
    pub host: Option<String>,
    /// How many requests are due in each second (above 0, up to 100,000).
    pub rate_per_second: f64,
    /// How long requests are due; [`crate::Running::stop`] ends it earlier.
    pub duration: Duration,
    /// The most connections, which is the most requests in flight (1 to 4096); further requests queue. Default 64.
    pub connections: usize,
    /// How long one request may take from leaving the queue to the last byte of its response. Default 30 s.
    pub timeout: Duration,
    /// How long what is queued or in flight may take after the last request was due. Default 30 s.
    pub drain: Duration,
    /// The most requests of the run, and so of the ledger (32 bytes each). Default 2,000,000.
    pub max_requests: u64,
    /// What is sent.
    pub mix: Mix,
}

impl Config {
    /// A run with the defaults.
    pub fn new(target: SocketAddr, rate_per_second: f64, duration: Duration) -> Self {
        Self {
            target,
            host: None,
            rate_per_second,
            duration,
            connections: 64,
            timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            max_requests: 2_000_000,
            mix: Mix::default(),
        }
    }
}

/// Which request each sequence number is.
#[derive(Debug, Clone)]
pub struct Mix {
    /// The usual request.
    pub usual: Shape,
    /// Every `n`th request (n at least 1, counted from 0) is another one; the first that fits wins.
    pub every: Vec<(u64, Shape)>,
}

impl Default for Mix {
    /// `GET /`, and every fifth request `POST /orders` with a small JSON body.
    fn default() -> Self {
        Self {
            usual: Shape::get("/"),
            every: vec![(5, Shape::post("/orders", r#"{"item":"anchor","quantity":1}"#))],
        }
    }
}

impl Mix {
    /// The same request each time.
    pub fn only(shape: Shape) -> Self {
        Self { usual: shape, every: Vec::new() }
    }

    fn pick(&self, number: u64) -> &Shape {
        self.every.iter().find(|(n, _)| number.is_multiple_of(*n)).map_or(&self.usual, |(_, shape)| shape)
    }
}

/// One kind of request.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The method.
    pub method: Method,
    /// Path and query; `{n}` stands for the request's number.
    pub path: String,
    /// The body (up to 1 MiB), sent as JSON if it is not empty.
    pub body: Bytes,
}

impl Shape {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: Bytes::new() }
    }

    /// A POST with a body.
    pub fn post(path: &str, body: &str) -> Self {
        Self { method: Method::POST, path: path.to_owned(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn uri(&self, number: u64) -> Result<Uri, http::uri::InvalidUri> {
        if self.path.contains("{n}") {
            self.path.replace("{n}", &number.to_string()).parse()
        } else {
            self.path.parse()
        }
    }
}

/// A checked configuration, ready to make requests.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    /// Random hexadecimal digits that tell this run's sequence numbers from any other's.
    pub(crate) run: String,
    host: HeaderValue,
}

impl Plan {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        if !config.target.ip().is_loopback() {
            return Err(Error::NotLoopback { target: config.target });
        }
        check_rate(config.rate_per_second)?;
        let connections = config.connections;
        check(
            (1..=MAX_CONNECTIONS).contains(&connections),
            "connections",
            || connections.to_string(),
            "1 to 4096",
        )?;
        check(!config.timeout.is_zero(), "timeout", || "0".into(), "above zero")?;
        check(!config.duration.is_zero(), "duration", || "0".into(), "above zero")?;
        let wanted = (config.duration.as_secs_f64() * config.rate_per_second).ceil() as u64;
        if wanted > config.max_requests {
            return Err(Error::TooMany { wanted, limit: config.max_requests });
        }
        let shapes =
            std::iter::once(&config.mix.usual).chain(config.mix.every.iter().map(|(_, shape)| shape));
        for shape in shapes {
            let path = || format!("{:?}", shape.path);
            check(
                shape.path.starts_with('/') && shape.uri(u64::MAX).is_ok(),
                "path",
                path,
                "a path of URI characters from '/' on",
            )?;
            let size = shape.body.len();
            check(size <= MAX_BODY, "body", || format!("{size} bytes"), "at most 1 MiB")?;
        }
        let steps = &config.mix.every;
        check(steps.iter().all(|(n, _)| *n > 0), "every", || "0".into(), "at least 1")?;
        let host = config.host.clone().unwrap_or_else(|| config.target.to_string());
        let host = HeaderValue::from_str(&host).map_err(|_| Error::Setting {
            setting: "host",
            found: format!("{host:?}"),
            allowed: "a host name of visible characters",
        })?;
        Ok(Self { config, run: format!("{:016x}", fastrand::u64(..)), host })
    }

    /// The request with this number.
    pub(crate) fn request(&self, number: u64) -> Result<Request<Full<Bytes>>, http::Error> {
        let shape = self.config.mix.pick(number);
        let mut request = Request::builder()
            .method(shape.method.clone())
            .uri(shape.uri(number)?)
            .header(HOST, self.host.clone())
            .header(SEQUENCE_HEADER, format!("{}-{number}", self.run));
        if !shape.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(shape.body.clone()))
    }
}

pub(crate) fn check_rate(rate_per_second: f64) -> Result<(), Error> {
    check(
        rate_per_second > 0.0 && rate_per_second <= MAX_RATE,
        "rate",
        || format!("{rate_per_second} requests per second"),
        "above 0 and at most 100000 requests per second",
    )
}

fn check(
    good: bool,
    setting: &'static str,
    found: impl FnOnce() -> String,
    allowed: &'static str,
) -> Result<(), Error> {
    if good { Ok(()) } else { Err(Error::Setting { setting, found: found(), allowed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(([127, 0, 0, 1], 80).into(), 10.0, Duration::from_secs(1))
    }

    #[test]
    fn only_loopback_is_a_target() {
        for good in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"] {
            let target = good.parse().unwrap();
            assert!(Plan::new(Config { target, ..config() }).is_ok(), "{good}");
        }
        for bad in ["192.0.2.1:80", "0.0.0.0:80", "[::]:80", "[2001:db8::1]:80", "128.0.0.1:80"] {
            let target = bad.parse().unwrap();
            let error = Plan::new(Config { target, ..config() }).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("127.0.0.0/8"), "{error}");
        }
    }

    #[test]
    fn bad_settings_say_what_is_allowed() {
        let bad = [
            Config { rate_per_second: 0.0, ..config() },
            Config { rate_per_second: f64::NAN, ..config() },
            Config { connections: 0, ..config() },
            Config { timeout: Duration::ZERO, ..config() },
            Config { duration: Duration::ZERO, ..config() },
            Config { host: Some("a\nb".into()), ..config() },
            Config { mix: Mix::only(Shape::get("no slash")), ..config() },
            Config { mix: Mix::only(Shape::get("/a b")), ..config() },
            Config { mix: Mix { usual: Shape::get("/"), every: vec![(0, Shape::get("/"))] }, ..config() },
        ];
        for config in bad {
            let error = Plan::new(config).unwrap_err();
            assert!(matches!(error, Error::Setting { .. }), "{error}");
        }
        let error = Plan::new(Config { max_requests: 9, ..config() }).unwrap_err();
        assert!(matches!(error, Error::TooMany { wanted: 10, limit: 9 }), "{error}");
    }

    #[test]
    fn each_request_carries_its_number() {
        let mut config = config();
        config.host = Some("shop.staging.localhost".into());
        config.mix.usual = Shape::get("/orders/{n}");
        let plan = Plan::new(config).unwrap();
        let request = plan.request(7).unwrap();
        assert_eq!((request.method(), request.uri().path()), (&Method::GET, "/orders/7"));
        assert_eq!(request.headers()[SEQUENCE_HEADER], format!("{}-7", plan.run));
        assert_eq!(request.headers()[HOST], "shop.staging.localhost");
        assert_eq!(plan.request(10).unwrap().method(), Method::POST);
    }
}
