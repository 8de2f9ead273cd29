//! Memory and CPU limits by cgroup v2, where this machine lets us. Does not live here: entering a cgroup, which the shim
//! does, because a replica must be born inside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::spec::Resources;

use crate::ReplicaId;
use crate::shim::Membership;

/// The part of the cgroup tree that is ours.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    /// Replicas' cgroups are made in here.
    replicas: PathBuf,
    /// The agent and the shims live in here.
    own: PathBuf,
}

impl Cgroups {
    /// Takes the cgroup that this process was born into, if it can be divided.
    ///
    /// # Errors
    /// Why limits cannot be enforced, in words.
    pub(crate) fn detect() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let member = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::divide(&current(&mounts, &member)?, std::process::id())
    }

    /// A cgroup that hands controllers down may hold no process itself, so this process moves into a leaf first.
    fn divide(base: &Path, pid: u32) -> Result<Self, String> {
        let available = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
        for controller in ["memory", "cpu"] {
            if !available.split_ascii_whitespace().any(|name| name == controller) {
                return Err(format!(
                    "the cgroup v2 controller `{controller}` is not delegated to {}",
                    base.display()
                ));
            }
        }
        let made = Self { replicas: base.join("replicas"), own: base.join("agent") };
        let cannot = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("cannot {what} in {}: {error}", base.display())
        };
        let enable = |directory: &Path| fs::write(directory.join("cgroup.subtree_control"), "+memory +cpu");
        fs::create_dir_all(&made.own).map_err(cannot("make a cgroup"))?;
        fs::create_dir_all(&made.replicas).map_err(cannot("make a cgroup"))?;
        fs::write(made.own.join("cgroup.procs"), pid.to_string()).map_err(cannot("move this process"))?;
        enable(base).map_err(cannot("enable the memory and cpu controllers"))?;
        enable(&made.replicas).map_err(cannot("enable the memory and cpu controllers"))?;
        Ok(made)
    }

    /// Makes the cgroup of one replica.
    pub(crate) fn create(&self, id: &ReplicaId, resources: &Resources) -> io::Result<Membership> {
        let place = &id.group.place;
        let name = format!("{}.{}.{}.{}", place.service, place.environment, id.group.release, id.ordinal);
        let enter = self.replicas.join(name);
        // Counters such as those of memory.events must begin at zero.
        remove(&enter);
        fs::create_dir_all(&enter)?;
        if let Some(bytes) = resources.memory_bytes {
            fs::write(enter.join("memory.max"), bytes.to_string())?;
            // Not every kernel has these two; the limit holds without them.
            let _ = fs::write(enter.join("memory.swap.max"), "0");
            let _ = fs::write(enter.join("memory.oom.group"), "1");
        }
        if let Some(millis) = resources.cpu_millis {
            fs::write(enter.join("cpu.max"), cpu_max(millis))?;
        }
        Ok(Membership { enter, back: self.own.clone(), memory_bytes: resources.memory_bytes })
    }
}

/// Removes a replica's cgroup; one that still holds a process stays, and is removed with the next replica of its name.
pub(crate) fn remove(cgroup: &Path) {
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    let _ = fs::remove_dir(cgroup);
}

/// How often the kernel killed a process of a cgroup for its memory, by its `memory.events`.
pub(crate) fn oom_kills(events: &str) -> u64 {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn cpu_max(millis: u32) -> String {
    // The kernel takes no quota below one millisecond.
    format!("{} 100000", (u64::from(millis) * 100).max(1_000))
}

/// Where this process stands in the unified hierarchy.
fn current(mounts: &str, member: &str) -> Result<PathBuf, String> {
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4).map(PathBuf::from))?
    });
    let mount = mount.ok_or("cgroup v2 is not mounted on this machine")?;
    let path = member.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = path.ok_or("this process is in no cgroup of the unified hierarchy")?;
    Ok(mount.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Place, ReleaseNumber};
    use ports::fleet::GroupId;

    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn it_finds_its_own_cgroup() {
        let found = current(V1, "1:cpu:/a\n0::/user.slice/x.scope\n").unwrap();
        assert_eq!(found, Path::new("/sys/fs/cgroup/unified/user.slice/x.scope"));
        assert!(current("", "0::/\n").unwrap_err().contains("not mounted"));
    }

    #[test]
    fn a_tree_without_the_controllers_is_refused_in_words() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "hugetlb memory\n").unwrap();
        let why = Cgroups::divide(tree.path(), 1).unwrap_err();
        assert!(why.starts_with("the cgroup v2 controller `cpu` is not delegated to "), "{why}");
        assert!(!tree.path().join("agent").exists());
    }

    #[test]
    fn limits_are_written_in_the_kernels_units() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "cpu io memory\n").unwrap();
        let cgroups = Cgroups::divide(tree.path(), 42).unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&tree.path().join("agent/cgroup.procs")), "42");
        assert_eq!(read(&tree.path().join("cgroup.subtree_control")), "+memory +cpu");
        let place = Place { service: "shop".parse().unwrap(), environment: "dev".parse().unwrap() };
        let id = ReplicaId { group: GroupId { place, release: ReleaseNumber(7) }, ordinal: 2 };
        let resources = Resources { memory_bytes: Some(64 << 20), cpu_millis: Some(250) };
        let membership = cgroups.create(&id, &resources).unwrap();
        assert!(membership.enter.ends_with("replicas/shop.dev.7.2"));
        assert_eq!(read(&membership.enter.join("memory.max")), "67108864");
        assert_eq!(read(&membership.enter.join("cpu.max")), "25000 100000");
    }

    #[test]
    fn oom_kills_are_read_from_the_kernels_words() {
        assert_eq!(oom_kills("low 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n"), 3);
        assert_eq!(oom_kills(""), 0);
    }
}
