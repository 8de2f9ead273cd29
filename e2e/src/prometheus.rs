//! A real Prometheus beside the stage, where one is installed. Does not live here: what it is asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use crate::Stage;

/// Says on stderr why a part of a test is not run.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A real Prometheus that scrapes one page every second; dropped, it is killed.
pub struct Prometheus {
    process: Child,
    /// Where it answers: host and port.
    pub address: String,
}

impl Prometheus {
    /// One that scrapes `target`, at a port of its own choice or at that of the one before; `None`, said on stderr, where the
    /// variable PROMETHEUS names no program.
    ///
    /// # Panics
    /// When it does not start.
    pub fn scraping(stage: &Stage, target: &str, at: Option<&str>) -> Option<Self> {
        let Ok(program) = std::env::var("PROMETHEUS") else {
            skipped("PROMETHEUS names no program");
            return None;
        };
        let config = stage.path("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: page\n    \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(&config, text).expect("its configuration can be written");
        let mut process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", stage.path("prometheus").display()))
            .arg(format!("--web.listen-address={}", at.unwrap_or("127.0.0.1:0")))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stderr = process.stderr.take().expect("its talk");
        let mut told = BufReader::new(stderr).lines().map_while(Result::ok);
        let line = told.find(|line| line.contains("Listening on"));
        let address = line.as_deref().and_then(|line| line.split("address=").nth(1)?.split(' ').next());
        let address = address.expect("it says where it listens").to_owned();
        // It must not stand still because nobody reads.
        std::thread::spawn(move || told.for_each(drop));
        Some(Self { process, address })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
