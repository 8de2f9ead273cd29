//! What the processes of each replica take. A replica's processes are those of its process group, which its first process
//! leads: a server's workers count with it.

use std::collections::BTreeMap;
use std::fs;

use crate::page::Replica;
use crate::stat::Stat;

/// What the processes of one replica take together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system, in seconds. It falls when a process of the group ends: what ended is not the system's to tell.
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) processes: u64,
    /// `None` where the system does not tell.
    pub(crate) open_files: Option<u64>,
    /// Of the first process.
    pub(crate) most_open_files: Option<u64>,
    /// Of the first process, in seconds since 1970.
    pub(crate) started: f64,
}

/// By the replica's first process.
pub(crate) fn usage(replicas: &[Replica]) -> BTreeMap<u32, Usage> {
    let mut usage: BTreeMap<u32, Usage> =
        replicas.iter().filter_map(|replica| Some((replica.pid?, Usage::default()))).collect();
    if usage.is_empty() {
        return usage;
    }
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page_bytes = rustix::param::page_size() as u64;
    let booted = crate::host::boot_time().unwrap_or(0.0);
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        // One that ended meanwhile takes nothing.
        let Ok(stat) = Stat::of(pid) else { continue };
        let Some(sum) = usage.get_mut(&stat.group) else { continue };
        sum.cpu_seconds += stat.cpu_ticks as f64 / ticks;
        sum.resident_bytes += stat.resident_pages * page_bytes;
        sum.threads += stat.threads;
        sum.processes += 1;
        if let Some(open) = open_files(pid) {
            *sum.open_files.get_or_insert(0) += open;
        }
        if pid == stat.group {
            sum.most_open_files = most_open_files(pid);
            sum.started = booted + stat.start_ticks as f64 / ticks;
        }
    }
    usage.retain(|_, usage| usage.processes > 0);
    usage
}

fn open_files(pid: u32) -> Option<u64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

fn most_open_files(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_group_is_counted_together() {
        use std::os::unix::process::CommandExt as _;
        use std::process::{Command, Stdio};

        let mut child = Command::new("sh");
        let _ =
            child.args(["-c", "sleep 60 & sleep 60 & echo up; wait"]).process_group(0).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut up = [0; 2];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
        let place = model::Place { service: "a".parse().unwrap(), environment: "b".parse().unwrap() };
        let pid = child.id();
        let replica = |pid| Replica {
            place: place.clone(),
            release: model::ReleaseNumber(1),
            ordinal: 1,
            pid,
            restarts: 0,
            out_of_memory: 0,
            ready: true,
        };
        let usage = usage(&[replica(Some(pid)), replica(Some(u32::MAX)), replica(None)]);
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        assert_eq!(usage.keys().copied().collect::<Vec<_>>(), [pid]);
        let usage = &usage[&pid];
        assert_eq!((usage.processes, usage.threads), (3, 3));
        assert!(usage.resident_bytes > 0 && usage.open_files.unwrap() > 3 && usage.most_open_files.is_some());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(usage.started > 0.0 && usage.started < now + 60.0, "{usage:?}");
    }
}
