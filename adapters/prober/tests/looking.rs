//! Looks at servers that answer, break, lie and dawdle.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::sync::Arc;
use std::time::Duration;

use model::probe::{Ask, Dns, Expect, Http, Probe, Status, Target, Tcp, Tls, Trust};
use model::spec::{Authentication, HeaderValue, SecretSource};
use model::{Place, Timestamp};
use ports::probes::{Found, Look};
use ports::{Clock, Probes as _, Secret, Secrets};
use prober::{Prober, Wanted};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

const KEY: &str = "probe:shop/production/it";

struct Hush;

impl Secrets for Hush {
    fn resolve(&self, source: &SecretSource) -> Result<Secret, ports::secrets::Error> {
        match source {
            SecretSource::Environment(_) => Ok(Secret::new("hush-hush".to_owned())),
            SecretSource::File(path) => Err(ports::secrets::Error(format!("there is no {path}"))),
        }
    }
}

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

fn prober(ask: Ask, expect: Expect, timeout: Duration) -> Prober {
    let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
    let interval = Duration::from_secs(60);
    let probe = Probe { name: "it".to_owned(), ask, interval, timeout, expect };
    let prober = Prober::new(Arc::new(Hush), Arc::new(Wall));
    prober.watch(vec![Wanted { key: KEY.to_owned(), place, probe }], None);
    prober
}

async fn look(ask: Ask, expect: Expect) -> (Look, Result<String, String>) {
    let prober = prober(ask, expect, Duration::from_secs(20));
    let page = prober.look(KEY).await;
    (prober.reports().probes[0].last.clone().unwrap(), page)
}

fn http(url: &str) -> Http {
    Http {
        target: Target::Url(url.to_owned()),
        method: "GET".to_owned(),
        headers: [
            ("x-own".to_owned(), HeaderValue::Text("mine".to_owned())),
            ("x-key".to_owned(), HeaderValue::Secret(SecretSource::Environment("KEY".to_owned()))),
        ]
        .into(),
        authentication: Some(Authentication::BearerToken(SecretSource::Environment("TOKEN".to_owned()))),
        body: None,
        follow_redirects: true,
        trust: Trust::default(),
    }
}

/// Answers every connection with these bytes, after it was asked; gives what it was asked last.
async fn server(answer: Vec<u8>) -> (String, tokio::sync::watch::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, asked) = tokio::sync::watch::channel(String::new());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                request.push(byte);
            }
            heard.send_replace(String::from_utf8(request).unwrap());
            // The asker may have heard enough.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, asked)
}

fn answer(status: &str, more: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn reason(look: &Look) -> &str {
    look.reason.as_deref().unwrap_or("none")
}

#[tokio::test]
async fn an_answer_as_expected_is_good_and_anything_else_has_its_reason() {
    let (address, asked) = server(answer("200 OK", "", "all is well")).await;
    let url = format!("http://{address}/health?x=1");
    let ask = || Ask::Http(Box::new(http(&url)));
    let (good, page) =
        look(ask(), Expect { body_contains: Some("is well".to_owned()), ..Expect::default() }).await;
    assert_eq!((good.result, good.status), (Found::Good, Some(200)), "{good:?}");
    let page = page.unwrap();
    for line in [
        "probe_success 1\n",
        "probe_http_status_code 200\n",
        "probe_attempts_total 1\n",
        "probe_failures_total{reason=\"status\"} 0\n",
        "probe_http_duration_seconds{phase=\"connect\"}",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let asked = asked.borrow().clone();
    for part in
        ["GET /health?x=1 HTTP/1.1\r\n", "authorization: Bearer hush-hush", "x-key: hush-hush", "x-own: mine"]
    {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let wrong = [
        (Expect { status: vec![Status::Class(4)], ..Expect::default() }, "status"),
        (Expect { body_matches: Some("^well".to_owned()), ..Expect::default() }, "body"),
        (Expect { latency: Some(Duration::from_nanos(1)), ..Expect::default() }, "latency"),
    ];
    for (expect, expected) in wrong {
        let (bad, page) = look(ask(), expect).await;
        assert_eq!((bad.result, reason(&bad)), (Found::Bad, expected), "{bad:?}");
        assert!(page.unwrap().contains(&format!("probe_failures_total{{reason=\"{expected}\"}} 1\n")));
    }
}

#[tokio::test]
async fn a_redirect_to_another_place_carries_no_secret() {
    let (elsewhere, asked) = server(answer("200 OK", "", "")).await;
    let to = format!("location: http://{elsewhere}/next\r\n");
    let (address, _) = server(answer("302 Found", &to, "")).await;
    let url = format!("http://{address}/");
    let (good, page) = look(Ask::Http(Box::new(http(&url))), Expect::default()).await;
    assert_eq!(good.result, Found::Good, "{good:?}");
    assert!(page.unwrap().contains("probe_http_redirects 1\n"));
    let asked = asked.borrow().clone();
    assert!(
        asked.starts_with("GET /next ") && !asked.contains("hush") && !asked.contains("x-own"),
        "{asked}"
    );

    let body = Http { method: "PUT".to_owned(), body: Some("x".to_owned()), ..http(&url) };
    let (bad, _) = look(Ask::Http(Box::new(body)), Expect::default()).await;
    assert_eq!(reason(&bad), "redirect", "{bad:?}");
    let (endless, _) = server(answer("301 Moved", "location: /again\r\n", "")).await;
    let (bad, _) = look(Ask::Http(Box::new(http(&format!("http://{endless}/")))), Expect::default()).await;
    assert!(reason(&bad) == "redirect" && bad.detail.contains("more than 10"), "{bad:?}");
}

#[tokio::test]
async fn hostile_servers_cost_no_more_than_the_timeout_and_a_little_memory() {
    let head = format!("HTTP/1.1 200 OK\r\n{}", "x-long: y\r\n".repeat(1_000_000)).into_bytes();
    for bytes in [
        head,
        b"\x16\x03\x01garbage\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na".to_vec(),
    ] {
        let (address, _) = server(bytes).await;
        let (bad, _) =
            look(Ask::Http(Box::new(http(&format!("http://{address}/")))), Expect::default()).await;
        assert_eq!(reason(&bad), "protocol", "{bad:?}");
    }
    let (address, _) = server(answer("200 OK", "", &"x".repeat(3 << 20))).await;
    let (_, page) = look(Ask::Http(Box::new(http(&format!("http://{address}/")))), Expect::default()).await;
    assert!(page.unwrap().contains("probe_http_uncompressed_body_length 1048576\n"));
    // Takes the connection, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let prober = prober(Ask::Http(Box::new(http(&url))), Expect::default(), Duration::from_millis(200));
    let _ = prober.look(KEY).await.unwrap();
    let bad = prober.reports().probes[0].last.clone().unwrap();
    assert!(reason(&bad) == "timeout" && bad.detail.contains("waiting for the answer"), "{bad:?}");
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_no_failure() {
    let mut http = http("http://127.0.0.1:1/");
    http.headers.insert("x-key".to_owned(), HeaderValue::Secret(SecretSource::File("/nowhere".to_owned())));
    let (unknown, page) = look(Ask::Http(Box::new(http)), Expect::default()).await;
    assert_eq!((unknown.result, reason(&unknown)), (Found::Unknown, "none"));
    assert!(page.unwrap_err().contains("/nowhere"));
}

#[tokio::test]
async fn a_port_is_open_or_says_what_it_should() {
    let (address, _) = server(b"+PONG\r\n".to_vec()).await;
    let tcp = |send: Option<&str>| Tcp { address: address.clone(), send: send.map(str::to_owned) };
    let expect = |text: &str| Expect { body_contains: Some(text.to_owned()), ..Expect::default() };
    let (good, _) = look(Ask::Tcp(tcp(None)), Expect::default()).await;
    assert_eq!(good.result, Found::Good, "{good:?}");
    let (good, _) = look(Ask::Tcp(tcp(Some("PING\r\n\r\n"))), expect("+PONG")).await;
    assert_eq!(good.result, Found::Good, "{good:?}");
    let (bad, _) = look(Ask::Tcp(tcp(Some("PING\r\n\r\n"))), expect("+OK")).await;
    assert_eq!(reason(&bad), "body", "{bad:?}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let (bad, _) = look(Ask::Tcp(Tcp { address: closed, send: None }), Expect::default()).await;
    assert_eq!(reason(&bad), "connect", "{bad:?}");
}

/// A TLS server whose certificate is for these names and valid for so many days from now; and the file to trust it by.
async fn secure(name: &str, days: i64, folder: &std::path::Path) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let now = Wall.now().as_micros() / 1_000_000;
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} for {days} days"));
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    // Some hours more, so that whole days stay whole.
    params.not_after = params.not_before
        + Duration::from_secs(u64::try_from(now - 946_684_800 + days * 86_400 + 3600).unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let path = folder.join(format!("{name}-{days}.pem"));
    std::fs::write(&path, certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read_u8().await;
            }
        }
    });
    (address, path.display().to_string())
}

#[tokio::test]
async fn certificates_are_checked_and_their_end_is_told_even_when_they_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, ca) = secure("shop.example.org", 20, folder.path()).await;
    let (expired, old) = secure("shop.example.org", -1, folder.path()).await;
    let ask = |address: &str, name: &str, ca: Option<&String>| {
        let trust = Trust { ca_file: ca.cloned(), server_name: Some(name.to_owned()) };
        Ask::Tls(Tls { address: address.to_owned(), trust })
    };
    let (good, page) = look(ask(&sound, "shop.example.org", Some(&ca)), Expect::default()).await;
    assert_eq!(good.result, Found::Good, "{good:?}");
    let page = page.unwrap();
    assert!(page.contains("probe_tls_version_info{version=\"TLS 1.3\"} 1\n"), "{page}");
    assert!(page.contains("probe_ssl_earliest_cert_expiry "), "{page}");
    let days = |days: u64| Expect {
        certificate_valid_for: Some(Duration::from_secs(days * 86_400)),
        ..Expect::default()
    };
    let (good, _) = look(ask(&sound, "shop.example.org", Some(&ca)), days(20)).await;
    assert_eq!(good.result, Found::Good, "{good:?}");
    for (ask, expect, expected, words) in [
        (ask(&sound, "shop.example.org", Some(&ca)), days(21), "expiry", "expected 504h"),
        (ask(&sound, "other.example.org", Some(&ca)), days(1), "certificate", "not for other.example.org"),
        (ask(&sound, "shop.example.org", Some(&old)), days(1), "certificate", "nobody"),
        (ask(&expired, "shop.example.org", Some(&old)), days(1), "certificate", "has expired"),
    ] {
        let (bad, _) = look(ask, expect).await;
        assert!(reason(&bad) == expected && bad.detail.contains(words), "{bad:?}");
        assert!(bad.certificate_expires.is_some(), "{bad:?}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"220 speaks first\r\n").await;
        let _ = stream.read(&mut [0; 512]).await;
    });
    let (bad, _) = look(ask(&plain, "shop.example.org", Some(&ca)), Expect::default()).await;
    assert_eq!(reason(&bad), "tls", "{bad:?}");
}

/// A name server that answers with these flags and, for an A question, this address; after something that is no answer.
async fn names(rcode: u8, records: u8) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
            let mut answer = buffer[..count].to_vec();
            answer[2] |= 0x80;
            answer[3] = rcode;
            answer[7] = records;
            for last in 1..=records {
                // The name is where the question has it; A, IN, 60 seconds, four bytes.
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
            }
            let mut forged = answer.clone();
            forged[0] ^= 0xff;
            let _ = socket.send_to(&forged, from).await;
            let _ = socket.send_to(b"garbage", from).await;
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

#[tokio::test]
async fn a_name_server_answers_as_expected_or_not() {
    let ask = |server: &str| {
        let (name, record_type) = ("shop.example.org".to_owned(), "A".to_owned());
        Ask::Dns(Dns { name, record_type, server: Some(server.to_owned()) })
    };
    let two = names(0, 2).await;
    let with = |answer: &str| Expect { answers: vec![answer.to_owned()], ..Expect::default() };
    let (good, page) = look(ask(&two), with("192.0.2.2")).await;
    assert_eq!(good.result, Found::Good, "{good:?}");
    assert!(page.unwrap().contains("probe_dns_answer_rrs 2\n"));
    let missing = names(3, 0).await;
    let rcode = |rcode: &str| Expect { rcode: Some(rcode.to_owned()), ..Expect::default() };
    assert_eq!(look(ask(&missing), rcode("NXDOMAIN")).await.0.result, Found::Good);
    let none = names(0, 0).await;
    for (server, expect, expected) in [
        (&two, with("192.0.2.3"), "answer"),
        (&missing, Expect::default(), "rcode"),
        (&none, Expect::default(), "answer"),
    ] {
        let (bad, _) = look(ask(server), expect).await;
        assert_eq!(reason(&bad), expected, "{bad:?}");
    }
}
