//! The form of the page, and what is told of replicas. Metric names of replicas live here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::{Place, ReleaseNumber};

use crate::processes::Usage;

/// A replica that has a process, or had one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Where.
    pub place: Place,
    /// Which release.
    pub release: ReleaseNumber,
    /// Which of its replicas.
    pub ordinal: u32,
    /// The leader of its processes, while there is one.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How often the kernel killed it for its memory.
    pub out_of_memory: u32,
    /// Whether it takes requests.
    pub ready: bool,
}

/// Metrics in the order in which they were first told of, each family's samples together.
#[derive(Default)]
pub(crate) struct Page {
    families: Vec<(&'static str, String)>,
}

impl Page {
    /// One more sample; `labels` as `a="b",c="d"`, escaped by whoever writes them, or empty.
    pub(crate) fn tell(&mut self, family: &Family, labels: &str, value: impl std::fmt::Display) {
        let Family { name, kind, help } = *family;
        let at = self.families.iter().position(|(known, _)| *known == name);
        let at = at.unwrap_or_else(|| {
            self.families.push((name, format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")));
            self.families.len() - 1
        });
        let Some((_, text)) = self.families.get_mut(at) else { return };
        // Writing to a String does not fail.
        let _ = match labels {
            "" => writeln!(text, "{name} {value}"),
            labels => writeln!(text, "{name}{{{labels}}} {value}"),
        };
    }

    pub(crate) fn text(self) -> String {
        self.families.into_iter().map(|(_, text)| text).collect()
    }
}

/// A metric's name, type and meaning.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
}

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "gauge", help }
}

pub(crate) const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "counter", help }
}

const RESTARTS: Family = counter(
    "shipshape_replica_restarts_total",
    "Times that the replica was started again after its process ended.",
);
const OUT_OF_MEMORY: Family = counter(
    "shipshape_replica_out_of_memory_total",
    "Times that the kernel killed the replica because it used more memory than it may.",
);
const READY: Family = gauge("shipshape_replica_ready", "Whether the replica takes requests.");
const CPU: Family =
    counter("process_cpu_seconds_total", "Processor time of the replica's processes, user and system.");
const MEMORY: Family = gauge("process_resident_memory_bytes", "Resident memory of the replica's processes.");
const OPEN: Family = gauge("process_open_fds", "Open file descriptors of the replica's processes.");
const MOST_OPEN: Family =
    gauge("process_max_fds", "How many file descriptors the replica's first process may open.");
const THREADS: Family = gauge("process_threads", "Threads of the replica's processes.");
const COUNT: Family = gauge("shipshape_replica_processes", "Processes of the replica.");
const STARTED: Family =
    gauge("process_start_time_seconds", "When the replica's first process started, in seconds since 1970.");

/// Tells of each replica, with what its processes take where that is known.
pub(crate) fn replicas(page: &mut Page, replicas: &[Replica], usage: &BTreeMap<u32, Usage>) {
    for replica in replicas {
        let Replica { place, release, ordinal, .. } = replica;
        let labels = format!("{},version=\"{release}\",replica=\"{ordinal}\"", place.labels());
        page.tell(&RESTARTS, &labels, replica.restarts);
        page.tell(&OUT_OF_MEMORY, &labels, replica.out_of_memory);
        page.tell(&READY, &labels, u8::from(replica.ready));
        let Some(usage) = replica.pid.and_then(|pid| usage.get(&pid)) else { continue };
        page.tell(&CPU, &labels, usage.cpu_seconds);
        page.tell(&MEMORY, &labels, usage.resident_bytes);
        page.tell(&THREADS, &labels, usage.threads);
        page.tell(&COUNT, &labels, usage.processes);
        if let Some(open) = usage.open_files {
            page.tell(&OPEN, &labels, open);
        }
        if let Some(most) = usage.most_open_files {
            page.tell(&MOST_OPEN, &labels, most);
        }
        page.tell(&STARTED, &labels, usage.started);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(ordinal: u32, pid: Option<u32>) -> Replica {
        let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
        Replica {
            place,
            release: ReleaseNumber(3),
            ordinal,
            pid,
            restarts: 2,
            out_of_memory: 1,
            ready: pid.is_some(),
        }
    }

    #[test]
    fn samples_of_a_family_stand_together_under_one_head() {
        let mut page = Page::default();
        let usage =
            Usage { cpu_seconds: 1.5, resident_bytes: 4096, processes: 1, threads: 2, ..Usage::default() };
        replicas(&mut page, &[replica(1, Some(7)), replica(2, None)], &BTreeMap::from([(7, usage)]));
        let text = page.text();
        let labels =
            |ordinal| format!("app=\"shop\",environment=\"production\",version=\"3\",replica=\"{ordinal}\"");
        let expected = format!(
            "# TYPE shipshape_replica_restarts_total counter\nshipshape_replica_restarts_total{{{}}} 2\nshipshape_replica_restarts_total{{{}}} 2\n",
            labels(1),
            labels(2)
        );
        assert!(text.contains(&expected), "{text}");
        assert!(
            text.contains(&format!("shipshape_replica_out_of_memory_total{{{}}} 1\n", labels(1))),
            "{text}"
        );
        assert!(text.contains(&format!("process_cpu_seconds_total{{{}}} 1.5\n", labels(1))), "{text}");
        assert!(
            !text.contains(&format!("process_cpu_seconds_total{{{}}}", labels(2))),
            "what is not known is not told"
        );
        assert_eq!(text.matches("# TYPE shipshape_replica_ready gauge").count(), 1);
    }
}
