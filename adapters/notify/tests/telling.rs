//! Telling receivers that take, refuse, fail and die, a file that remembers, and a real Alertmanager.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use exchange::{Ask, exchange};
use model::alert::{Alert, Labels};
use model::notify::{Grouping, Notify, Receiver, To};
use model::spec::{HeaderValue, SecretSource};
use model::{Place, Timestamp};
use notify::{Notifier, Wanted};
use ports::{Clock, Secret, Secrets};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(30);

struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

/// Knows one secret.
struct One;

impl Secrets for One {
    fn resolve(&self, source: &SecretSource) -> Result<Secret, ports::secrets::Error> {
        match source {
            SecretSource::Environment(name) if name == "PAGER" => Ok(Secret::new("swordfish".to_owned())),
            SecretSource::Environment(name) | SecretSource::File(name) => {
                Err(ports::secrets::Error(format!("there is no {name}")))
            }
        }
    }
}

/// A server that remembers what it took.
#[derive(Clone)]
struct Server {
    url: String,
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<(String, Value)>>>,
    asked: Arc<tokio::sync::Semaphore>,
}

impl Server {
    async fn start() -> Self {
        Self::behind(None).await
    }

    /// The same, behind TLS if there is any.
    async fn behind(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            status: Arc::new(AtomicU16::new(200)),
            got: Arc::default(),
            asked: Arc::new(tokio::sync::Semaphore::new(0)),
        };
        let taker = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (taker, tls) = (taker.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => taker.serve(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => taker.serve(stream).await,
                            // Whoever does not trust it goes away again.
                            Err(_) => taker.asked.add_permits(1),
                        },
                    }
                });
            }
        });
        server
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            bytes.extend_from_slice(&chunk[..read]);
            let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let length: usize = length.parse().unwrap();
            bytes.drain(..end + 4);
            break (head, length);
        };
        while bytes.len() < length {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            bytes.extend_from_slice(&chunk[..read]);
        }
        let status = self.status.load(Ordering::SeqCst);
        if status == 200 {
            self.got.lock().unwrap().push((head, serde_json::from_slice(&bytes).unwrap()));
        }
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 13\r\n\r\nnot swordfish");
        let _ = stream.write_all(answer.as_bytes()).await;
        self.asked.add_permits(1);
    }

    /// Waits until it was asked so often more.
    async fn asked(&self, times: u32) {
        let asked = tokio::time::timeout(PATIENCE, self.asked.acquire_many(times)).await;
        asked.expect("it is asked").unwrap().forget();
    }

    fn got(&self) -> Vec<(String, Value)> {
        self.got.lock().unwrap().clone()
    }
}

fn place() -> Place {
    Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() }
}

fn alert(name: &str, number: usize) -> Alert {
    let labels =
        [("alertname", name.to_owned()), ("number", number.to_string()), ("severity", "P2".to_owned())];
    let labels: Labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let annotations = Labels::from([("summary".to_owned(), "it is slow".to_owned())]);
    Alert { labels, annotations, starts_at: Now.now(), ends_at: None, generator_url: None }
}

fn receiver(to: To) -> Receiver {
    let timeout = Duration::from_secs(5);
    Receiver { to, headers: BTreeMap::new(), ca_file: None, timeout, send_resolved: true }
}

fn hook(url: &str) -> Receiver {
    receiver(To::Webhook(HeaderValue::Text(url.to_owned())))
}

fn wanted(receiver: Receiver, alerts: Vec<Alert>) -> Wanted {
    let (wait, interval) = (Duration::from_millis(10), Duration::from_millis(50));
    let grouping = Grouping { wait, interval, ..Grouping::default() };
    let receivers = BTreeMap::from([("pager".to_owned(), receiver)]);
    let notify = Notify { receivers, routes: vec![], grouping, inhibit: None, self_test: false };
    Wanted {
        alerts,
        known: BTreeSet::from([place()]),
        declared: BTreeMap::from([(place(), notify)]),
        silences: BTreeMap::new(),
        passed: BTreeMap::new(),
        external_url: "http://127.0.0.1:9465".to_owned(),
    }
}

/// A notifier at work on a log in this folder; dropping the task is its death.
fn at_work(home: &Path) -> (Arc<Notifier>, tokio::task::JoinHandle<()>) {
    let notifier = Notifier::open(&home.join("told.json"), Arc::new(One), Arc::new(Now)).unwrap();
    let notifier = Arc::new(notifier);
    let running = Arc::clone(&notifier);
    (notifier, tokio::spawn(async move { match running.run().await {} }))
}

/// Waits for a report of which this holds.
async fn reported(notifier: &Notifier, holds: impl Fn(&notify::Standing) -> bool) -> notify::Standing {
    let mut reports = notifier.reports();
    let found = reports.wait_for(|report| report.ways.values().any(&holds));
    let report = tokio::time::timeout(PATIENCE, found).await.expect("it is reported").unwrap();
    report.ways.values().next().unwrap().clone()
}

/// A receiver whose certificate is for this name and valid for so many days from now; and the file to trust it by.
async fn secure(name: &str, days: i64, folder: &Path) -> (Server, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} for {days} days"));
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    let since_then = Now.now().as_micros() / 1_000_000 - 946_684_800 + days * 86_400;
    params.not_after = params.not_before + Duration::from_secs(u64::try_from(since_then).unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let path = folder.join(format!("{name}.{days}.pem"));
    std::fs::write(&path, certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let server = Server::behind(Some(TlsAcceptor::from(Arc::new(config)))).await;
    (server, path.display().to_string())
}

#[tokio::test]
async fn a_receiver_with_a_certificate_of_its_own_is_told_and_an_impostor_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, ca) = secure("localhost", 1, folder.path()).await;
    let (expired, old) = secure("localhost", -1, folder.path()).await;
    let (anothers, its) = secure("pager.example.org", 1, folder.path()).await;
    let trusting = |server: &Server, ca: Option<&str>| {
        let url = server.url.replace("http://127.0.0.1", "https://localhost");
        Receiver { ca_file: ca.map(str::to_owned), ..hook(&url) }
    };
    let home = tempfile::tempdir().unwrap();
    let (notifier, _running) = at_work(home.path());
    notifier.follow(wanted(trusting(&sound, Some(&ca)), vec![alert("Slow", 1)]));
    sound.asked(1).await;
    assert_eq!(sound.got()[0].1["commonLabels"]["alertname"], "Slow");

    let nowhere = folder.path().join("nowhere.pem").display().to_string();
    for (server, ca, words) in [
        (&sound, None, "`caFile`"),
        (&sound, Some(its.as_str()), "of nobody whom this machine trusts"),
        (&expired, Some(old.as_str()), "the certificate has expired"),
        (&anothers, Some(its.as_str()), "the certificate is not for localhost"),
        (&sound, Some(nowhere.as_str()), "nowhere.pem cannot be read"),
    ] {
        let before = server.got().len();
        let home = tempfile::tempdir().unwrap();
        let (notifier, running) = at_work(home.path());
        notifier.follow(wanted(trusting(server, ca), vec![alert("Slow", 1)]));
        let standing = reported(&notifier, |it| it.failing.is_some()).await;
        let failing = standing.failing.unwrap();
        assert!(failing.why.contains(words) && !failing.refused, "{words}: {failing:?}");
        assert_eq!(server.got().len(), before, "{words}: nothing is said to it");
        running.abort();
    }
}

#[tokio::test]
async fn a_receiver_in_trouble_is_tried_again_until_it_takes_how_it_is_then() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start().await);
    server.status.store(500, Ordering::SeqCst);
    let (notifier, _running) = at_work(home.path());
    notifier.follow(wanted(hook(&server.url), vec![alert("Slow", 1)]));
    server.asked(2).await;
    let standing = reported(&notifier, |it| it.failing.as_ref().is_some_and(|it| it.attempts == 2)).await;
    let failing = standing.failing.unwrap();
    assert!(!failing.refused && failing.why.contains("answered 500"), "{failing:?}");
    // Another one fires meanwhile: both are told at once.
    notifier.follow(wanted(hook(&server.url), vec![alert("Slow", 1), alert("Slow", 2)]));
    server.status.store(200, Ordering::SeqCst);
    let standing = reported(&notifier, |it| it.told == 1).await;
    assert!(standing.failing.is_none());
    let got = server.got();
    assert_eq!((got.len(), got[0].1["alerts"].as_array().unwrap().len()), (1, 2));
    assert_eq!(got[0].1["externalURL"], "http://127.0.0.1:9465");
    assert_eq!(got[0].1["commonAnnotations"]["summary"], "it is slow");
}

#[tokio::test]
async fn a_receiver_that_refuses_is_told_of_loudly_and_no_secret_is() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start().await);
    server.status.store(404, Ordering::SeqCst);
    let secret = HeaderValue::Secret(SecretSource::Environment("PAGER".to_owned()));
    let headers = BTreeMap::from([("authorization".to_owned(), secret)]);
    let refusing = Receiver { headers, ..hook(&server.url) };
    let (notifier, _running) = at_work(home.path());
    notifier.follow(wanted(refusing, vec![alert("Slow", 1)]));
    server.asked(1).await;
    let failing = reported(&notifier, |it| it.failing.is_some()).await.failing.unwrap();
    assert!(failing.refused && failing.why.ends_with("answered 404: not (secret)"), "{failing:?}");
    assert!(failing.again_at.since(Now.now()) > Duration::from_secs(60), "it is not asked again at once");
    let page = notifier.reports().borrow().page();
    assert!(
        page.contains(
            "shipshape_notifications_up{app=\"shop\",environment=\"production\",receiver=\"pager\"} 0"
        ),
        "{page}"
    );
    // Somebody mends the declaration: it is tried at once.
    server.status.store(200, Ordering::SeqCst);
    notifier.follow(wanted(hook(&format!("{}/right", server.url)), vec![alert("Slow", 1)]));
    let _ = reported(&notifier, |it| it.told == 1).await;
    let missing = HeaderValue::Secret(SecretSource::File("/nowhere".to_owned()));
    notifier.follow(wanted(receiver(To::Webhook(missing)), vec![alert("Other", 1)]));
    let failing = reported(&notifier, |it| it.failing.is_some()).await.failing.unwrap();
    assert_eq!(failing.why, "there is no /nowhere");
}

#[tokio::test]
async fn the_next_life_neither_repeats_nor_forgets() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start().await);
    let slow = alert("Slow", 1);
    let (notifier, running) = at_work(home.path());
    notifier.follow(wanted(hook(&server.url), vec![slow.clone()]));
    let _ = reported(&notifier, |it| it.told == 1).await;
    running.abort();
    let _ = running.await;
    let (notifier, _running) = at_work(home.path());
    notifier.follow(wanted(hook(&server.url), vec![slow, alert("Other", 1)]));
    let _ = reported(&notifier, |it| it.told == 1 && it.waiting == 0).await;
    let names: Vec<String> =
        server.got().iter().map(|it| it.1["groupLabels"]["alertname"].to_string()).collect();
    assert_eq!(names, ["\"Slow\"", "\"Other\""]);
    notifier.follow(wanted(hook(&server.url), vec![]));
    let _ = reported(&notifier, |it| it.told == 3).await;
    let ended: Vec<Value> = server.got()[2..].iter().map(|it| it.1["status"].clone()).collect();
    assert_eq!(ended, ["resolved", "resolved"]);
}

#[tokio::test]
async fn one_alertmanager_of_a_cluster_is_enough_and_gets_batches() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start().await);
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let to = To::Alertmanager(vec![format!("http://{dead}"), format!("{}/am/", server.url)]);
    let (notifier, _running) = at_work(home.path());
    let all: Vec<Alert> = (0..300).map(|number| alert("Slow", number)).collect();
    notifier.follow(wanted(receiver(to), all));
    let _ = reported(&notifier, |it| it.told == 1).await;
    let got = server.got();
    let sizes: Vec<usize> = got.iter().map(|(_, body)| body.as_array().unwrap().len()).collect();
    assert_eq!(sizes, [256, 44]);
    assert!(got[0].0.starts_with("POST /am/api/v2/alerts HTTP/1.1"), "{}", got[0].0);
    let ends: Timestamp = got[0].1[0]["endsAt"].as_str().unwrap().parse().unwrap();
    assert!(ends > Now.now(), "an Alertmanager that hears no more takes it as over");
}

/// A real Alertmanager, when there is one to start.
struct Real {
    url: String,
    process: tokio::process::Child,
    _folder: tempfile::TempDir,
}

async fn real() -> Option<Real> {
    let program = std::env::var("ALERTMANAGER").ok()?;
    let folder = tempfile::tempdir().unwrap();
    let config = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";
    std::fs::write(folder.path().join("am.yml"), config).unwrap();
    // It cannot be told to choose a port: one that was free a moment ago is.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let process = tokio::process::Command::new(program)
        .arg(format!("--config.file={}", folder.path().join("am.yml").display()))
        .arg(format!("--storage.path={}", folder.path().display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    Some(Real { url: format!("http://127.0.0.1:{port}"), process, _folder: folder })
}

async fn get(url: &str) -> Option<Value> {
    let asked = exchange(Ask {
        method: hyper::Method::GET,
        url,
        headers: vec![],
        body: vec![],
        ca_file: None,
        timeout: Duration::from_secs(5),
        largest_answer_bytes: 1 << 20,
    });
    serde_json::from_slice(&asked.await.ok()?.body).ok()
}

#[tokio::test]
async fn a_real_alertmanager_takes_what_fires_and_hears_of_its_end() {
    let Some(mut real) = real().await else {
        println!("skipped: ALERTMANAGER names no Alertmanager to start");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (notifier, _running) = at_work(home.path());
    let to = || receiver(To::Alertmanager(vec![real.url.clone()]));
    let slow = alert("Slow", 1);
    notifier.follow(wanted(to(), vec![slow.clone()]));
    let url = format!("{}/api/v2/alerts", real.url);
    let known = async |names: &[&str]| {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let all = get(&url).await.and_then(|all| all.as_array().cloned()).unwrap_or_default();
            let found: Vec<&str> = all.iter().filter_map(|it| it["labels"]["alertname"].as_str()).collect();
            if found == names && !(names.is_empty() && all.is_empty() && get(&url).await.is_none()) {
                return all;
            }
            assert!(tokio::time::Instant::now() < deadline, "{all:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let all = known(&["Slow"]).await;
    assert_eq!(all[0]["fingerprint"], slow.fingerprint().to_string(), "both know it by the same fingerprint");
    assert_eq!(all[0]["annotations"]["summary"], "it is slow");
    notifier.follow(wanted(to(), vec![]));
    let _ = known(&[]).await;
    real.process.kill().await.unwrap();
}
