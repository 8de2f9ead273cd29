//! The machine itself: processor time, load, memory, disks, descriptors. Each figure that cannot be read is left out.

use std::fs;

use model::labels::escaped;

use crate::page::{Family, Page, counter, gauge};

/// Mounted file systems told of.
const MOST_DISKS: usize = 64;

const CPU: Family = counter("node_cpu_seconds_total", "Processor time by mode.");
const BOOT: Family = gauge("node_boot_time_seconds", "When the machine started, in seconds since 1970.");
const LOADS: [Family; 3] = [
    gauge("node_load1", "Load over a minute."),
    gauge("node_load5", "Load over five minutes."),
    gauge("node_load15", "Load over fifteen minutes."),
];
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
/// The word in `/proc/meminfo`, and what it is told as.
const MEMORY: [(&str, Family); 6] = [
    ("MemTotal", gauge("node_memory_MemTotal_bytes", "Memory.")),
    ("MemFree", gauge("node_memory_MemFree_bytes", "Memory that nothing uses.")),
    (
        "MemAvailable",
        gauge("node_memory_MemAvailable_bytes", "Memory that could be given to processes without swapping."),
    ),
    ("Cached", gauge("node_memory_Cached_bytes", "Memory that holds contents of files.")),
    ("SwapTotal", gauge("node_memory_SwapTotal_bytes", "Swap space.")),
    ("SwapFree", gauge("node_memory_SwapFree_bytes", "Swap space that nothing uses.")),
];
const SIZE: Family = gauge("node_filesystem_size_bytes", "The file system's size.");
const FREE: Family = gauge("node_filesystem_free_bytes", "The file system's free space.");
const AVAILABLE: Family =
    gauge("node_filesystem_avail_bytes", "The file system's free space for others than root.");
const FILES: Family = gauge("node_filesystem_files", "How many files the file system can have.");
const FILES_FREE: Family =
    gauge("node_filesystem_files_free", "How many more files the file system can have.");
const DESCRIPTORS: Family = gauge("node_filefd_allocated", "Open file descriptors of the machine.");
const MOST_DESCRIPTORS: Family = gauge("node_filefd_maximum", "The most file descriptors of the machine.");

pub(crate) fn tell(page: &mut Page) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    processors(page, &read("/proc/stat"));
    for (family, value) in LOADS.iter().zip(read("/proc/loadavg").split_ascii_whitespace()) {
        page.tell(family, "", value);
    }
    memory(page, &read("/proc/meminfo"));
    for disk in disks(&read("/proc/self/mountinfo")) {
        tell_disk(page, &disk);
    }
    let descriptors = read("/proc/sys/fs/file-nr");
    let mut descriptors = descriptors.split_ascii_whitespace();
    if let (Some(open), Some(most)) = (descriptors.next(), descriptors.nth(1)) {
        page.tell(&DESCRIPTORS, "", open);
        page.tell(&MOST_DESCRIPTORS, "", most);
    }
}

/// When the machine started, in seconds since 1970.
pub(crate) fn boot_time() -> Option<f64> {
    booted(&fs::read_to_string("/proc/stat").ok()?)
}

fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn processors(page: &mut Page, stat: &str) {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
        // The line without a number adds the others up.
        if cpu.is_empty() || cpu.parse::<u32>().is_err() {
            continue;
        }
        for (mode, spent) in MODES.iter().zip(words) {
            let Ok(spent) = spent.parse::<u64>() else { continue };
            page.tell(&CPU, &format!("cpu=\"{cpu}\",mode=\"{mode}\""), spent as f64 / ticks);
        }
    }
    if let Some(booted) = booted(stat) {
        page.tell(&BOOT, "", booted);
    }
}

fn memory(page: &mut Page, meminfo: &str) {
    for (word, family) in &MEMORY {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
        if let Some(kib) = kib {
            page.tell(family, "", kib * 1024);
        }
    }
}

/// A mounted file system that lies on a device.
#[derive(Debug, PartialEq, Eq)]
struct Disk {
    device: String,
    kind: String,
    at: String,
}

/// Those on devices, each device once: where it was mounted first.
fn disks(mountinfo: &str) -> Vec<Disk> {
    let mut disks: Vec<Disk> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut after = after.split(' ');
        let (Some(at), Some(kind), Some(device)) = (before.split(' ').nth(4), after.next(), after.next())
        else {
            continue;
        };
        let on_device = device.starts_with("/dev/") || matches!(kind, "overlay" | "zfs");
        if !on_device || kind == "squashfs" || disks.iter().any(|known| known.device == device) {
            continue;
        }
        disks.push(Disk { device: device.to_owned(), kind: kind.to_owned(), at: unescape(at) });
        if disks.len() == MOST_DISKS {
            break;
        }
    }
    disks
}

/// The kernel writes spaces and the like as `\040`.
fn unescape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn tell_disk(page: &mut Page, disk: &Disk) {
    let Ok(space) = rustix::fs::statvfs(disk.at.as_str()) else { return };
    let labels = format!(
        "device=\"{}\",fstype=\"{}\",mountpoint=\"{}\"",
        escaped(&disk.device),
        escaped(&disk.kind),
        escaped(&disk.at)
    );
    page.tell(&SIZE, &labels, space.f_blocks * space.f_frsize);
    page.tell(&FREE, &labels, space.f_bfree * space.f_frsize);
    page.tell(&AVAILABLE, &labels, space.f_bavail * space.f_frsize);
    page.tell(&FILES, &labels, space.f_files);
    page.tell(&FILES_FREE, &labels, space.f_ffree);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_and_memory_are_told_as_the_node_exporter_does() {
        let mut page = Page::default();
        processors(&mut page, "cpu  3 0 0 0\ncpu0 200 0 100 4 0 0 0 0 0 0\nintr 1 2\nbtime 1700000000\n");
        memory(&mut page, "MemTotal:       100 kB\nMemAvailable:    40 kB\nMemAvailableX: 3 kB\n");
        let text = page.text();
        let user = 200.0 / rustix::param::clock_ticks_per_second() as f64;
        assert!(
            text.contains(&format!("node_cpu_seconds_total{{cpu=\"0\",mode=\"user\"}} {user}\n")),
            "{text}"
        );
        assert!(!text.contains("cpu=\"\""), "{text}");
        assert!(text.contains("node_boot_time_seconds 1700000000\n"), "{text}");
        assert!(text.contains("node_memory_MemTotal_bytes 102400\n"), "{text}");
        assert!(text.contains("node_memory_MemAvailable_bytes 40960\n"), "{text}");
    }

    #[test]
    fn a_device_counts_once_and_what_lies_on_none_not_at_all() {
        let mounts = "\
22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 0:5 / /proc rw - proc proc rw
24 22 254:0 /sub /mnt/same rw - ext4 /dev/vda rw
25 22 8:1 / /data\\040one rw shared:1 - xfs /dev/sda1 rw
torn
";
        let disk = |device: &str, kind: &str, at: &str| Disk {
            device: device.to_owned(),
            kind: kind.to_owned(),
            at: at.to_owned(),
        };
        assert_eq!(disks(mounts), [disk("/dev/vda", "ext4", "/"), disk("/dev/sda1", "xfs", "/data one")]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_is_told_of() {
        let text = crate::page(&[]);
        for name in
            ["node_load1 ", "node_memory_MemTotal_bytes ", "node_cpu_seconds_total{", "node_filefd_maximum "]
        {
            assert!(text.contains(name), "{name}: {text}");
        }
    }
}
