//! Which process a number means: a pid alone may be reused, a pid with its start time and boot may not.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use machine::Stat;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// One process, told apart from every other that had or will have its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub(crate) start_ticks: u64,
    /// Which boot of the machine.
    pub(crate) boot: String,
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Identity {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: Stat::of(pid)?.start_ticks, boot: boot() })
    }

    /// Whether it still runs: it is there, it is the same, and it is no zombie.
    pub(crate) fn is_alive(&self) -> bool {
        let Ok(stat) = Stat::of(self.pid) else { return false };
        stat.start_ticks == self.start_ticks && !matches!(stat.state, b'Z' | b'X') && self.boot == boot()
    }

    /// Whether it still runs, and stands still because of a signal; a debugger's hold is its own affair.
    pub(crate) fn is_stopped(&self) -> bool {
        let Ok(stat) = Stat::of(self.pid) else { return false };
        stat.start_ticks == self.start_ticks && stat.state == b'T' && self.boot == boot()
    }

    /// A descriptor that becomes readable when it exits; `None` when it is gone already.
    pub(crate) fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The number was looked up before its identity was, so a reused one is found out here.
            Ok(fd) => Ok(self.is_alive().then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How long ago it started; zero when that cannot be told.
    pub(crate) fn age(&self) -> Duration {
        let uptime = std::fs::read_to_string("/proc/uptime").ok();
        let uptime = uptime.and_then(|text| text.split_ascii_whitespace().next()?.parse::<f64>().ok());
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        let age = uptime.unwrap_or(0.0) - self.start_ticks as f64 / ticks;
        Duration::try_from_secs_f64(age).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_number_is_another_process() {
        let me = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.is_alive());
        assert!(me.open().unwrap().is_some());
        let earlier = Identity { start_ticks: me.start_ticks - 1, ..me.clone() };
        assert!(!earlier.is_alive());
        assert!(earlier.open().unwrap().is_none());
        let before_reboot = Identity { boot: "another".to_owned(), ..me };
        assert!(!before_reboot.is_alive());
    }
}
