//! A real Prometheus, with rules or without, and the page that it scrapes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::counters::Counters;
use crate::{EVERY, Outcome};

/// The program that the environment names.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::var_os("PROMETHEUS").map(PathBuf::from)
}

/// A running Prometheus; it ends with its owner.
pub(crate) struct Rival {
    process: Child,
    address: SocketAddr,
}

impl Drop for Rival {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Rival {
    pub(crate) fn start(program: &Path, home: &Path, page: SocketAddr, rules: &str) -> Outcome<Self> {
        std::fs::create_dir(home)?;
        let (config, file) = (home.join("prometheus.yml"), home.join("rules.yml"));
        let every = EVERY.as_secs();
        let mut text = format!(
            "global: {{scrape_interval: {every}s, evaluation_interval: {every}s}}\nscrape_configs:\n- job_name: gateway\n  \
             static_configs: [{{targets: [\"{page}\"]}}]\n"
        );
        if !rules.is_empty() {
            std::fs::write(&file, rules)?;
            text.push_str(&format!("rule_files: [{:?}]\n", file.display().to_string()));
        }
        std::fs::write(&config, text)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { process, address })
    }

    /// Processor seconds since it began.
    pub(crate) fn spent(&self) -> std::io::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let after = stat.rsplit(')').next().unwrap_or_default();
        // Fields 14 and 15 of the whole line, in hundredths of a second.
        let ticks = after.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / 100.0)
    }

    /// Whether its rules are evaluated, and none failed or was left out because there was no time.
    pub(crate) fn evaluates_all(&self) -> Outcome<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).as_bytes())?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let sum = |name: &str| -> f64 {
            let lines = page.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let failed = sum("prometheus_rule_evaluation_failures_total");
        let missed = sum("prometheus_rule_group_iterations_missed_total");
        println!(
            "prometheus: {:.0} evaluations of rules, {failed:.0} failed, {missed:.0} iterations missed",
            sum("prometheus_rule_evaluations_total")
        );
        if failed > 0.0 { Err("rules failed".into()) } else { Ok(()) }
    }
}

/// Serves the page of what was counted so far.
pub(crate) fn serve(counters: Arc<Mutex<Counters>>) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = counters.lock().unwrap_or_else(PoisonError::into_inner).page();
            // A scrape that fails is one that the rival misses.
            let _ = answer(stream, &page);
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: ";
    stream.write_all(format!("{head}{}\r\n\r\n{page}", page.len()).as_bytes())
}
