//! A real Prometheus, and how a client of either side asks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A process that ends with its owner.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running Prometheus.
pub(crate) struct Prometheus {
    pub(crate) process: Ended,
    pub(crate) address: SocketAddr,
    home: PathBuf,
}

/// The program that the environment names.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::var_os("PROMETHEUS").map(PathBuf::from)
}

/// A port that was free just now.
pub(crate) fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Prometheus {
    /// Starts it on what the folder holds; it scrapes nobody yet.
    pub(crate) fn start(program: &Path, home: &Path) -> Outcome<Self> {
        let address = free()?;
        let config = home.join("prometheus.yml");
        if !config.exists() {
            std::fs::write(&config, "global: {}\n")?;
        }
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-remote-write-receiver", "--web.enable-lifecycle", "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { process: Ended(child), address, home: home.to_owned() })
    }

    pub(crate) fn wait(&self) -> Outcome<()> {
        until(|| Ok(matches!(get(self.address, "/-/ready"), Ok((200, _)))))
    }

    /// Lets it scrape these addresses and paths from now on.
    pub(crate) fn scrape(&self, address: SocketAddr, paths: &[String], every: Duration) -> Outcome<()> {
        let every = every.as_millis();
        let mut config =
            format!("global: {{scrape_interval: {every}ms, scrape_timeout: {every}ms}}\nscrape_configs:\n");
        for path in paths {
            config.push_str(&format!(
                "- {{job_name: {path:?}, metrics_path: {path:?}, static_configs: [{{targets: [\"{address}\"]}}]}}\n"
            ));
        }
        std::fs::write(self.home.join("prometheus.yml"), config)?;
        match ask(self.address, "POST", "/-/reload", b"")? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("reload: {status} {}", String::from_utf8_lossy(&body)).into()),
        }
    }
}

/// Tries until it holds.
pub(crate) fn until(mut holds: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > deadline {
            return Err("it took too long".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Outcome<(u16, Vec<u8>)> {
    ask(address, "GET", path, b"")
}

/// One request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Outcome<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Encoding: snappy\r\nContent-Type: \
         application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").ok_or("an answer without a head")?;
    let status = std::str::from_utf8(answer.get(9..12).ok_or("an answer without a status")?)?.parse()?;
    Ok((status, answer.split_off(end + 4)))
}

/// The address of a query at a time in milliseconds.
pub(crate) fn query(text: &str, at: i64) -> String {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/api/v1/query?query={encoded}&time={}.{:03}", at / 1000, at % 1000)
}

/// Processor seconds of a process since it began, and bytes of memory that it holds.
pub(crate) fn spent(pid: u32) -> Outcome<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).ok_or("no such process");
    // Fields 14 and 15 of the whole line, in hundredths of a second.
    let processor = (ticks(11)? + ticks(12)?) / 100.0;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no memory is told")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok((processor, kibibytes * 1024.0))
}

/// Bytes of the files under a folder whose path `counts`.
pub(crate) fn size(folder: &Path, counts: &dyn Fn(&Path) -> bool) -> Outcome<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            total += size(&path, counts)?;
        } else if counts(&path) {
            total += entry.metadata()?.len();
        }
    }
    Ok(total)
}
