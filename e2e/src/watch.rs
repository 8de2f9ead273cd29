//! Waiting for conditions, and looking at processes from outside.

use std::fs;
use std::time::{Duration, Instant};

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none before the deadline; `what` says what was waited for.
pub fn eventually<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain until {what}");
        // Between two looks; the condition decides, not the time.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Waits until so many more requests have been answered.
///
/// # Panics
/// When they are not within half a minute.
pub fn answered(load: &load::Running, more: u64) {
    let goal = load.snapshot().answered + more;
    let there = || (load.snapshot().answered >= goal).then_some(());
    eventually("more requests are answered", Duration::from_secs(30), there);
}

/// The processes whose command line or environment-independent arguments hold every one of these words.
pub fn processes_with(words: &[&str]) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id() && holds(*pid, words)).collect()
}

fn holds(pid: u32, words: &[&str]) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    words.iter().all(|word| line.contains(word))
}
