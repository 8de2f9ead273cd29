//! How telling stands: for each receiver what it took last and what is wrong, for each alert who takes it and what mutes it;
//! and the same as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use model::alert::Fingerprint;
use model::{Place, Timestamp};
use paging::{Muted, Way};

/// How telling stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How each receiver stands.
    pub ways: BTreeMap<Way, Standing>,
    /// What fires and is not told, and why.
    pub muted: BTreeMap<Fingerprint, Muted>,
    /// Who takes each alert that fires; nobody when the set is empty.
    pub taken: BTreeMap<Fingerprint, BTreeSet<String>>,
    /// The self-tests that were taken, by when they began, and did not end yet.
    pub passed: BTreeSet<(Way, String)>,
}

/// How one receiver stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it took something last, in this life of control.
    pub told_at: Option<Timestamp>,
    /// Notifications that it took.
    pub told: u64,
    /// Attempts that it did not take.
    pub failed: u64,
    /// Since when it takes nothing, and why.
    pub failing: Option<Failing>,
    /// Notifications that are due and were not taken yet.
    pub waiting: usize,
    /// When it passed a self-test last, in any life.
    pub passed_at: Option<Timestamp>,
}

/// Why a receiver takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// What went wrong last.
    pub why: String,
    /// Whether it refused; otherwise there was trouble on the way.
    pub refused: bool,
    /// When it is tried again.
    pub again_at: Timestamp,
    /// How often in a row.
    pub attempts: u32,
}

impl Report {
    /// As a page of metrics.
    pub fn page(&self) -> String {
        let mut page = String::new();
        let mut family = |name: &str,
                          kind: &str,
                          about: &str,
                          value: &dyn Fn(&Standing) -> Vec<(&str, f64)>| {
            let _ = writeln!(page, "# HELP {name} {about}\n# TYPE {name} {kind}");
            for (Way { place, receiver }, standing) in &self.ways {
                for (extra, value) in value(standing) {
                    let Place { service, environment } = place;
                    let _ = writeln!(
                        page,
                        "{name}{{app=\"{service}\",environment=\"{environment}\",receiver=\"{receiver}\"{extra}}} {value}"
                    );
                }
            }
        };
        family(
            "shipshape_notifications_total",
            "counter",
            "Notifications to a receiver, by what came of them.",
            &|it| vec![(",outcome=\"told\"", it.told as f64), (",outcome=\"failed\"", it.failed as f64)],
        );
        family(
            "shipshape_notifications_waiting",
            "gauge",
            "Notifications that are due and were not taken yet.",
            &|it| vec![("", it.waiting as f64)],
        );
        family(
            "shipshape_notifications_up",
            "gauge",
            "Whether the receiver took what it was told last.",
            &|it| vec![("", f64::from(u8::from(it.failing.is_none())))],
        );
        family(
            "shipshape_notifications_test_passed_timestamp_seconds",
            "gauge",
            "When the receiver last took the alert that is made up once a day.",
            &|it| it.passed_at.map(|at| ("", at.as_micros() as f64 / 1e6)).into_iter().collect(),
        );
        page
    }
}
