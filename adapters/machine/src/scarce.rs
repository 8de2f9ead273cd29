//! What this process may run out of: room on the disk of its files, memory, file descriptors. Each figure that cannot be read is left
//! out. Does not live here: how little is too little, and who is told.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are; the second version of them alone.
const GROUPS: &str = "/sys/fs/cgroup";

/// How much of something is used, and how much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Of what: `disk` and `disk files` of the file system, `memory` of the machine, `memory limit` of the process's control group,
    /// `descriptors` of the process.
    pub of: &'static str,
    /// How much is used; bytes, or a number of files.
    pub used: u64,
    /// How much there is, as `used`.
    pub limit: u64,
}

impl Use {
    /// The part that is used, in whole percents.
    pub fn percent(&self) -> u64 {
        let percent = u128::from(self.used) * 100 / u128::from(self.limit.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// What a process whose files are there uses, and what it may use at most.
pub fn uses(home: &Path) -> Vec<Use> {
    let memory = machine(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    [disk(home), files(home), memory, group(), descriptors()].into_iter().flatten().collect()
}

/// What is kept for root is as good as used: this process cannot have it.
fn disk(home: &Path) -> Option<Use> {
    let space = rustix::fs::statvfs(home).ok()?;
    let used = space.f_blocks.saturating_sub(space.f_bfree);
    let limit = used.saturating_add(space.f_bavail);
    let [used, limit] = [used, limit].map(|blocks| blocks.saturating_mul(space.f_frsize));
    (limit > 0).then_some(Use { of: "disk", used, limit })
}

fn files(home: &Path) -> Option<Use> {
    let space = rustix::fs::statvfs(home).ok()?;
    let used = space.f_files.saturating_sub(space.f_favail);
    (space.f_files > 0).then_some(Use { of: "disk files", used, limit: space.f_files })
}

fn machine(meminfo: &str) -> Option<Use> {
    let bytes = |word: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let (limit, available) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    Some(Use { of: "memory", used: limit.saturating_sub(available), limit })
}

/// Of the control groups that the process is in, the one that is nearest to its limit.
fn group() -> Option<Use> {
    let of = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = of.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = PathBuf::from(GROUPS).join(path.trim_end());
    let groups = path.ancestors().take_while(|group| group.starts_with(GROUPS));
    groups.filter_map(group_at).max_by_key(Use::percent)
}

fn group_at(group: &Path) -> Option<Use> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let limit = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    // What is only remembered of files is given back before anybody is killed.
    let given_back = read("memory.stat").and_then(|stat| {
        stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok())
    });
    Some(Use { of: "memory limit", used: used.saturating_sub(given_back.unwrap_or(0)), limit })
}

fn descriptors() -> Option<Use> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let used = match fs::read_dir("/proc/self/fd") {
        // One of them is this look's own.
        Ok(open) => open.count().saturating_sub(1) as u64,
        // None is left, not even for this look.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => limit,
        Err(_) => return None,
    };
    Some(Use { of: "descriptors", used, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_counts_what_it_could_not_give_back_and_one_without_a_limit_not_at_all() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "950\n");
        assert_eq!(group_at(group.path()).unwrap().percent(), 95);
        write("memory.stat", "anon 7\ninactive_file 450\n");
        assert_eq!(group_at(group.path()), Some(Use { of: "memory limit", used: 500, limit: 1000 }));
        write("memory.max", "max\n");
        assert_eq!(group_at(group.path()), None);
    }

    #[test]
    fn memory_that_could_be_had_is_not_used() {
        let used = machine("MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   40 kB\n").unwrap();
        assert_eq!((used.percent(), used.limit), (60, 102_400));
        assert_eq!(machine("MemTotal: 100 kB\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_disk_and_the_descriptors_of_this_process_are_known() {
        let home = tempfile::tempdir().unwrap();
        let known: Vec<&str> = uses(home.path()).iter().map(|it| it.of).collect();
        for of in ["disk", "memory", "descriptors"] {
            assert!(known.contains(&of), "{of}: {known:?}");
        }
        let open = |uses: Vec<Use>| uses.iter().find(|it| it.of == "descriptors").unwrap().used;
        let before = open(uses(home.path()));
        let files: Vec<_> = (0..64).map(|_| fs::File::open(home.path()).unwrap()).collect();
        assert!(open(uses(home.path())) >= before + 32, "of {} opened", files.len());
    }
}
