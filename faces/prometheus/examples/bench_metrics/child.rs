//! Our side as a process of its own, so that its memory and processor time are its alone: scraping, and serving what a
//! folder holds.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use exposition::{Family, Format};
use prometheus::{Backend, Catalogue, Limits, router};
use promql::Labels;
use scrape::{Fetch, Fetched, Target, Told};
use store::{Config, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rival::Ended;
use crate::{Outcome, now, restart};

/// Starts this program once more, with other work to do.
pub(crate) fn start(arguments: &[&str]) -> Outcome<Ended> {
    let program = std::env::current_exe()?;
    Ok(Ended(Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
}

pub(crate) fn main(verb: &str, rest: &[String]) -> Outcome<()> {
    let text = |at: usize| rest.get(at).map(String::as_str).ok_or("an argument is missing");
    let folder = PathBuf::from(text(0)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match verb {
        "scrape" => {
            let every = Duration::from_millis(text(2)?.parse()?);
            runtime.block_on(scraping(&folder, text(1)?.parse()?, every, rest.get(3..).unwrap_or_default()))
        }
        "serve" => runtime.block_on(async {
            let store = Arc::new(Store::open(&folder, Config::default())?);
            let listener = tokio::net::TcpListener::bind(text(1)?).await?;
            serve(listener, store).await
        }),
        "fill" => restart::fill(&folder, text(1)?.parse()?, text(2)?.parse()?),
        other => Err(format!("{other:?} is nothing that it does").into()),
    }
}

struct Nothing;

impl Catalogue for Nothing {
    fn families(&self) -> BTreeMap<String, Family> {
        BTreeMap::new()
    }

    fn targets(&self) -> BTreeMap<String, scrape::Health> {
        BTreeMap::new()
    }
}

/// Answers questions, for ever.
pub(crate) async fn serve(listener: tokio::net::TcpListener, store: Arc<Store>) -> Outcome<()> {
    let (catalogue, limits) = (Arc::new(Nothing), Limits::default());
    let backend = Backend { store, catalogue, now, limits, version: "bench" };
    Ok(axum::serve(listener, router(backend)).await?)
}

/// Scrapes as the agent does, for ever, once a line has come in. Time runs faster here, so it is durable every second
/// instead of every five.
async fn scraping(folder: &Path, server: SocketAddr, every: Duration, paths: &[String]) -> Outcome<()> {
    let store = Arc::new(Store::open(folder, Config::default())?);
    let target = |path: &String| Target {
        address: path.clone(),
        labels: Labels::new([("job", path.as_str()), ("instance", &server.to_string())]),
        interval: every,
        timeout: every,
        samples: 1 << 20,
    };
    let targets = paths.iter().map(target).collect();
    println!("ready");
    tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new())).await??;
    let (sender, receiver) = tokio::sync::watch::channel(targets);
    let fetch = Arc::new(Client(server));
    tokio::spawn(scrape::run(receiver, fetch, Arc::clone(&store), Arc::new(Told::default()), now));
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let store = Arc::clone(&store);
        tokio::task::spawn_blocking(move || store.flush()).await??;
        if sender.is_closed() {
            return Err("nobody asks".into());
        }
    }
}

struct Client(SocketAddr);

impl Fetch for Client {
    async fn fetch(&self, path: &str) -> Result<Fetched, String> {
        let fetched = async {
            let mut stream = tokio::net::TcpStream::connect(self.0).await?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
            stream.shutdown().await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<String, std::io::Error>(text)
        };
        let mut text = fetched.await.map_err(|error| error.to_string())?;
        let end = text.find("\r\n\r\n").ok_or("no head")?;
        text.drain(..end + 4);
        Ok(Fetched { text, format: Format::Prometheus })
    }
}
