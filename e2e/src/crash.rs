//! Killing processes from outside, and telling which requests a crash may cost. Does not live here: the load itself.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use load::{Entry, Reconciliation, Report, Running};

use crate::Stage;
use crate::watch::eventually;

/// A stretch of time in which something was missing.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// Just before it went.
    pub from: Instant,
    /// When it was back.
    pub until: Instant,
}

impl Stage {
    /// SIGKILL for a process, and waits until it holds no socket, lock or file any more; tells the moment just before.
    ///
    /// # Panics
    /// When there is no such process, or when it does not go.
    pub fn kill(&self, pid: u32) -> Instant {
        let before = Instant::now();
        self.signal(pid, "KILL");
        // The signal is sent when `kill` returns, not yet obeyed; what is dead and not yet buried has no files.
        let files = format!("/proc/{pid}/fd/0");
        eventually("the killed process is gone", Duration::from_secs(20), || {
            fs::read_link(&files).is_err().then_some(())
        });
        before
    }

    /// Sends a signal by its name.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn signal(&self, pid: u32, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no process {pid}");
    }

    /// The processes of the shop's replicas in production, sorted.
    pub fn replica_pids(&self) -> Vec<u32> {
        let place = self.place("production");
        let releases = place["releases"].as_array().cloned().unwrap_or_default();
        let replicas = releases.iter().flat_map(|release| release["replicas"].as_array().cloned());
        let pids = replicas.flatten().filter_map(|replica| u32::try_from(replica["pid"].as_u64()?).ok());
        let mut pids: Vec<u32> = pids.collect();
        pids.sort_unstable();
        pids
    }

    /// The shim of each replica: `(shim, replica)`.
    ///
    /// # Panics
    /// When the run directory cannot be read.
    pub fn shims(&self) -> Vec<(u32, u32)> {
        let entries = fs::read_dir(self.home().join("run")).expect("the replicas' run directory");
        let started = entries.flatten().filter_map(|entry| {
            let text = fs::read_to_string(entry.path().join("started.json")).ok()?;
            let started: serde_json::Value = serde_json::from_str(&text).ok()?;
            let number = |value: &serde_json::Value| u32::try_from(value.as_u64()?).ok();
            Some((number(&started["shimPid"])?, number(&started["replica"]["pid"])?))
        });
        started.collect()
    }

    /// Stops the load.
    ///
    /// # Panics
    /// When it does not report.
    pub fn report(&self, load: Running) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(load.stop()).expect("the load reports")
    }

    /// Stops the load and checks that what was lost was in flight during the gap, or came in it; that nothing was
    /// handed to two replicas; and that whoever was answered was answered by one.
    ///
    /// # Panics
    /// When anything else was lost.
    pub fn lost_only_in(&self, load: Running, gap: Gap) -> (Report, Reconciliation) {
        let report = self.report(load);
        let checked = self.reconcile(&report);
        let (from, until) = (gap.from - report.start(), gap.until - report.start());
        let outside: Vec<Entry<'_>> = report
            .entries()
            .filter(|entry| entry.outcome.is_lost())
            .filter(|entry| !overlaps(entry, from, until))
            .collect();
        assert!(outside.is_empty(), "lost outside of {from:?} to {until:?}: {outside:?}");
        assert!(
            checked.duplicated.is_empty() && checked.answered_but_never_received.is_empty(),
            "{checked:?}"
        );
        let after = report.entries().filter(|entry| entry.intended > until).count();
        assert!(after > 0, "nothing was sent after the gap");
        (report, checked)
    }
}

/// Whether a request was under way at any time of a stretch.
fn overlaps(entry: &Entry<'_>, from: Duration, until: Duration) -> bool {
    let ended = entry.latency.map(|latency| entry.intended + latency);
    entry.sent.unwrap_or(entry.intended) <= until && ended.is_none_or(|ended| ended >= from)
}
