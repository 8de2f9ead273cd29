//! The stage: one home directory with its own control, agent and gateway.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use load::{Config, Load, ReceivedLine, Reconciliation, Report, Running};
use serde_json::Value;
use tempfile::TempDir;

use crate::watch::eventually;

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ran {
    /// The run, when it exited with 0.
    ///
    /// # Panics
    /// When it did not, with all it printed.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The run, when it exited with `status`.
    ///
    /// # Panics
    /// When it did not, with all it printed.
    #[must_use]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// One home directory with its own control, agent and gateway. Everything is stopped when it is dropped.
pub struct Stage {
    directory: TempDir,
    /// `name=value` pairs for every run of the binary.
    environment: Vec<(String, String)>,
}

impl Stage {
    /// An empty stage with the shop's manifest: `rollout` and anything else is appended as it is.
    ///
    /// # Panics
    /// When the binaries were not built or no directory can be made.
    pub fn with(more: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("e2e").tempdir().expect("a temporary directory");
        let stage = Self { directory, environment: Vec::new() };
        stage.manifest(more);
        stage
    }

    /// A stage that is up, with version 1 of the shop deployed.
    ///
    /// # Panics
    /// When it cannot be brought there.
    pub fn deployed(more: &str) -> Self {
        let stage = Self::with(more);
        stage.up();
        let first = stage.build("one", &serde_json::json!({"version": "1"}));
        let _ = stage.run(&["deploy", &first]).ok();
        stage
    }

    /// Sets an environment variable for every later run of the binary.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Writes the shop's manifest anew.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn manifest(&self, more: &str) {
        let ledger = self.ledger_path();
        let text = format!(
            "service: shop\nrun: ./shop\nhealth:\n  ready: {{http: /healthz/ready, period: 1s}}\n  \
             live: {{http: /healthz/live, period: 1s}}\nconfig:\n  SHOP_LEDGER: {}\n{more}",
            ledger.display()
        );
        fs::write(self.path("shipshape.yaml"), text).expect("the manifest can be written");
    }

    /// A path on the stage.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn ledger_path(&self) -> PathBuf {
        self.path("received.ledger")
    }

    /// Runs the binary to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the binary runs");
        Ran {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The binary with this stage's home and manifest, to be started by the caller.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("SHIPSHAPE_BIN", "shipshape"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("SHIPSHAPE_HOME", self.home())
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// `shipshape up` on free ports.
    pub fn up(&self) {
        let _ = self.run(&["up", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).ok();
    }

    /// An artifact: the shop with these settings.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn build(&self, name: &str, settings: &Value) -> String {
        let directory = self.path(name);
        fs::create_dir_all(&directory).expect("a directory for the artifact");
        let shop = directory.join("shop");
        if !shop.exists() {
            fs::copy(binary("SHOP_BIN", "shop"), shop).expect("the shop was built");
        }
        fs::write(directory.join("settings.json"), settings.to_string())
            .expect("its settings can be written");
        directory.display().to_string()
    }

    /// The status as JSON.
    ///
    /// # Panics
    /// When there is none.
    pub fn status(&self) -> Value {
        let ran = self.run(&["status", "--output", "json"]).ok();
        serde_json::from_str(&ran.stdout).expect("status is JSON")
    }

    /// The status of the shop in one environment.
    pub fn place(&self, environment: &str) -> Value {
        let status = self.status();
        let places = status["places"].as_array().cloned().unwrap_or_default();
        places.into_iter().find(|place| place["environment"] == environment).unwrap_or(Value::Null)
    }

    /// Waits until the latest rollout in an environment is in `phase`.
    pub fn wait_for_phase(&self, environment: &str, phase: &str) -> Value {
        eventually(&format!("{environment} is {phase}"), Duration::from_secs(60), || {
            let place = self.place(environment);
            (place["rollout"]["phase"] == phase).then_some(place)
        })
    }

    /// Where the gateway listens.
    ///
    /// # Panics
    /// When it does not.
    pub fn gateway(&self) -> SocketAddr {
        self.status()["gateway"].as_str().and_then(|text| text.parse().ok()).expect("the gateway's address")
    }

    /// Open-loop keep-alive load on the gateway until it is stopped.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn load(&self, rate_per_second: f64) -> Running {
        self.load_of(rate_per_second, Duration::from_secs(120))
    }

    /// The same for at most `duration`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn load_of(&self, rate_per_second: f64, duration: Duration) -> Running {
        Load::start(Config::new(self.gateway(), rate_per_second, duration)).expect("load starts")
    }

    /// What the shops wrote down, compared with what was sent.
    ///
    /// # Panics
    /// When their ledger cannot be read.
    pub fn reconcile(&self, report: &Report) -> Reconciliation {
        let text = fs::read_to_string(self.ledger_path()).expect("the shops kept a ledger");
        let lines = text.lines().map(|line| line.parse::<ReceivedLine>().expect("a ledger line"));
        load::reconcile(report, lines)
    }

    /// Stops the load and checks the promise: every request was answered by a shop, once, and arrived there once.
    ///
    /// # Panics
    /// When a request was lost.
    pub fn nothing_lost(&self, load: Running) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let report = runtime.block_on(load.stop()).expect("the load reports");
        let checked = self.reconcile(&report);
        assert_eq!(report.lost, 0, "lost: {:?}", report.lost_examples);
        assert_eq!(report.answered, report.sent);
        assert!(checked.answered_but_never_received.is_empty(), "{checked:?}");
        assert!(checked.never_received.is_empty() && checked.duplicated.is_empty(), "{checked:?}");
        report
    }

    /// The process id in a file of the home.
    pub fn pid_of(&self, process: &str) -> u32 {
        let pids = crate::watch::processes_with(&[&format!(" {process} --home {} ", self.home().display())]);
        assert_eq!(pids.len(), 1, "one {process} process, found {pids:?}");
        pids[0]
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let down = self.run(&["down"]);
        if std::thread::panicking() {
            let tail = |name: &str| last_lines(&self.home().join(name), 40);
            eprintln_logs(&[
                ("down", format!("{down:?}")),
                ("control.log", tail("control.log")),
                ("agent.log", tail("agent.log")),
            ]);
        }
        for pid in crate::watch::processes_with(&[&self.home().display().to_string()]) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

#[allow(clippy::print_stderr, reason = "a failing test shows what the processes said")]
fn eprintln_logs(logs: &[(&str, String)]) {
    for (name, text) in logs {
        eprintln!("--- {name}\n{text}");
    }
}

fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A built binary: where the environment says, or beside the test's own executable.
fn binary(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let own = std::env::current_exe().expect("the test's own path");
    let target = own.ancestors().find(|folder| folder.join(name).is_file());
    target.map(|folder| folder.join(name)).unwrap_or_else(|| {
        panic!("{name} is not built: `cargo build -p shipshape -p shop`, or `cargo xtask test` does it all")
    })
}
