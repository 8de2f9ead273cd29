//! The binary, run as a user would run it.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The binary with the demo's home.
#[derive(Clone)]
pub(crate) struct Shipshape {
    binary: PathBuf,
    directory: PathBuf,
    quiet: bool,
}

impl Shipshape {
    pub(crate) fn new(binary: PathBuf, directory: PathBuf, quiet: bool) -> Self {
        Self { binary, directory, quiet }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env("SHIPSHAPE_HOME", self.home())
            .env_remove("SHIPSHAPE_FILE")
            .stdin(Stdio::null());
        command
    }

    fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// Starts a verb whose output the user sees; with JSON as the demo's output, it goes to stderr.
    pub(crate) fn start(&self, arguments: &[&str]) -> anyhow::Result<tokio::process::Child> {
        let mut command = self.command(arguments);
        if self.quiet {
            command.stdout(std::io::stderr());
        }
        let mut command = tokio::process::Command::from(command);
        command.spawn().with_context(|| format!("shipshape {} cannot be started", arguments.join(" ")))
    }

    /// Runs a verb whose output the user sees.
    pub(crate) async fn show(&self, arguments: &[&str]) -> anyhow::Result<ExitStatus> {
        Ok(self.start(arguments)?.wait().await?)
    }

    /// Runs a verb for its effect alone.
    pub(crate) fn quietly(&self, arguments: &[&str]) {
        let _ = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Runs a verb and returns what it printed.
    pub(crate) fn read(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments).stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            bail!(
                "shipshape {} failed ({}): {}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The status as JSON.
    pub(crate) fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.read(&["status", "--output", "json"])?)?)
    }

    /// What is known of the objective, as JSON.
    pub(crate) fn objective(&self) -> anyhow::Result<Value> {
        let all: Value = serde_json::from_str(&self.read(&["slo", "--output", "json"])?)?;
        Ok(all[0].clone())
    }

    /// The journal, an event each.
    pub(crate) fn journal(&self) -> anyhow::Result<Vec<Value>> {
        let lines = self.read(&["journal", "export"])?;
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Sends SIGKILL to control, which nobody can catch.
    pub(crate) fn kill_control(&self) -> anyhow::Result<()> {
        let up: Value = serde_json::from_str(&self.read(&["up", "--output", "json"])?)?;
        let pid = up["controlPid"].as_u64().context("`shipshape up` names no control")?;
        let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
        if !killed.success() {
            bail!("control (process {pid}) could not be killed");
        }
        Ok(())
    }
}
