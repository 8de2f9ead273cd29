//! Rules of alerts as plain data: those of a team, in PromQL, and the ready-made ones with what may be changed of them. Does
//! not live here: what a ready-made one asks (`telemetry/alerting`), and when an alert begins and ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Labels;
use crate::objective::{Ratio, Severity};

/// The most rules that a service declares in one environment.
pub const MOST_RULES: usize = 100;

/// A rule: while what it asks gives something, somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Its name, one of its kind in a service: the label `alertname` of its alerts.
    pub name: String,
    /// What it asks.
    pub condition: Condition,
    /// How long it has to hold before somebody is told.
    #[serde(rename = "for", with = "crate::time::words")]
    pub hold: Duration,
    /// How long an alert goes on after the rule held last.
    #[serde(with = "crate::time::words")]
    pub keep_firing: Duration,
    /// How urgent.
    pub severity: Severity,
    /// The name of what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Further labels of its alerts; templates, of labels alone.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What to know of its alerts; templates.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

/// What a rule asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// PromQL: each series of its answer is an alert.
    Expr(String),
    /// What the product knows to ask.
    ReadyMade {
        /// Which.
        which: ReadyMade,
        /// How much is too much, where that can be said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        threshold: Option<Threshold>,
    },
}

/// How much is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Threshold {
    /// More than this share.
    Share(Ratio),
    /// More than so many times what is promised, in thousandths.
    Times(u32),
    /// Less than this time.
    Time(#[serde(with = "crate::time::words")] Duration),
}

/// The rules that hold where nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReadyMade {
    /// Too many requests fail.
    ErrorRate,
    /// Requests take longer than is promised.
    Latency,
    /// A look from outside finds something wrong: a dependency, a database, the service itself.
    Probe,
    /// The kernel killed a replica for its memory.
    OutOfMemory,
    /// A certificate ends soon.
    Certificate,
    /// A disk of the machine is nearly full.
    Disk,
    /// A rollout went back, or stands still because it failed.
    Deployment,
    /// Too many requests are turned away.
    TooManyRequests,
    /// Replicas die again and again.
    CrashLoop,
    /// Whoever should tell metrics tells none.
    NoData,
}

impl ReadyMade {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ErrorRate,
        Self::Latency,
        Self::Probe,
        Self::OutOfMemory,
        Self::Certificate,
        Self::Disk,
        Self::Deployment,
        Self::TooManyRequests,
        Self::CrashLoop,
        Self::NoData,
    ];

    /// Its name in the manifest, and of its alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ErrorRate => "HighErrorRate",
            Self::Latency => "HighLatency",
            Self::Probe => "ProbeFailing",
            Self::OutOfMemory => "OutOfMemory",
            Self::Certificate => "CertificateExpiring",
            Self::Disk => "DiskFull",
            Self::Deployment => "DeploymentFailed",
            Self::TooManyRequests => "TooManyRequests",
            Self::CrashLoop => "CrashLoop",
            Self::NoData => "NoData",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// How much is too much where nobody says otherwise; `None` where that cannot be said.
    pub fn threshold(self) -> Option<Threshold> {
        match self {
            Self::ErrorRate => Some(Threshold::Share(Ratio::percent(1))),
            Self::Latency => Some(Threshold::Times(2_000)),
            Self::Certificate => Some(Threshold::Time(Duration::from_secs(7 * 86_400))),
            Self::Disk => Some(Threshold::Share(Ratio::percent(80))),
            Self::TooManyRequests => Some(Threshold::Share(Ratio::percent(5))),
            Self::Probe | Self::OutOfMemory | Self::Deployment | Self::CrashLoop | Self::NoData => None,
        }
    }

    /// The rule as it holds where nobody says otherwise.
    pub fn rule(self) -> Rule {
        const MINUTE: u64 = 60;
        // For how many seconds it has to hold and goes on, how urgent it is, and the name of its runbook.
        let (hold, keep, severity, runbook) = match self {
            Self::ErrorRate => (MINUTE, 5 * MINUTE, Severity::P1, "high-error-rate"),
            Self::Latency => (5 * MINUTE, 5 * MINUTE, Severity::P2, "high-latency"),
            Self::Probe => (MINUTE, MINUTE, Severity::P2, "probe-failing"),
            Self::OutOfMemory => (0, 0, Severity::P2, "out-of-memory"),
            Self::Certificate => (MINUTE, 0, Severity::P2, "certificate-expiring"),
            Self::Disk => (5 * MINUTE, 5 * MINUTE, Severity::P2, "disk-full"),
            Self::Deployment => (0, 0, Severity::P2, "deployment-failed"),
            Self::TooManyRequests => (5 * MINUTE, 5 * MINUTE, Severity::P3, "too-many-requests"),
            Self::CrashLoop => (0, MINUTE, Severity::P1, "crash-loop"),
            Self::NoData => (2 * MINUTE, MINUTE, Severity::P2, "no-data"),
        };
        let (summary, description) = self.words();
        Rule {
            name: self.name().to_owned(),
            condition: Condition::ReadyMade { which: self, threshold: self.threshold() },
            hold: Duration::from_secs(hold),
            keep_firing: Duration::from_secs(keep),
            severity,
            runbook: Some(runbook.to_owned()),
            labels: Labels::new(),
            annotations: [("summary", summary), ("description", description)]
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
        }
    }

    /// Its summary and its description, as templates.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ErrorRate => (
                "{{ $labels.app }}/{{ $labels.environment }} fails {{ $value | humanizePercentage }} of its requests",
                "Over 5 minutes, so many requests were answered 5xx, or not at all by the service's fault. `shipshape status` \
                 says what changed last; `shipshape rollback` goes back.",
            ),
            Self::Latency => (
                "{{ $labels.app }}/{{ $labels.environment }} is slow: one request of a hundred takes {{ $value | humanizeDuration }} or more",
                "That is the 99th percentile over 5 minutes, far above what the objective {{ $labels.objective }} promises.",
            ),
            Self::Probe => (
                "the probe {{ $labels.probe }} of {{ $labels.app }}/{{ $labels.environment }} fails",
                "Looking at {{ $labels.instance }} from outside finds something wrong; `shipshape probes` says what.",
            ),
            Self::OutOfMemory => (
                "{{ $labels.app }}/{{ $labels.environment }} was killed for its memory",
                "The kernel killed replica {{ $labels.replica }} of release {{ $labels.version }}, {{ $value | printf \"%.0f\" }} times within 10 \
                 minutes: it used more than `resources.memory` allows.",
            ),
            Self::Certificate => (
                "the certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
                "The probe {{ $labels.probe }} of {{ $labels.app }}/{{ $labels.environment }} saw it.",
            ),
            Self::Disk => (
                "the disk at {{ $labels.mountpoint }} is {{ $value | humanizePercentage }} full",
                "On {{ $labels.device }} little room is left: make some, or add some.",
            ),
            Self::Deployment => (
                "release {{ $labels.version }} of {{ $labels.app }}/{{ $labels.environment }} could not be deployed",
                "Its rollout failed; `shipshape status` says why, and `shipshape journal` how.",
            ),
            Self::TooManyRequests => (
                "{{ $labels.app }}/{{ $labels.environment }} turns {{ $value | humanizePercentage }} of its requests away",
                "Over 5 minutes, so many were answered 429: a client asks too much, or a limit is too low.",
            ),
            Self::CrashLoop => (
                "release {{ $labels.version }} of {{ $labels.app }}/{{ $labels.environment }} crashes again and again",
                "Its replicas die soon after they start; `shipshape logs` shows their last words.",
            ),
            Self::NoData => (
                "{{ $labels.job }} {{ $labels.instance }} tells no metrics",
                "Asking for them fails, so what depends on them is not known: rules that ask for them change nothing meanwhile.",
            ),
        }
    }
}

/// What a service says of its alerts. What it does not say is ready-made, and not stored: so a manifest that says nothing
/// has the digest that it always had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Declared {
    /// Whether the ready-made rules hold at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub none: bool,
    /// The ready-made rules that do not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub off: Vec<ReadyMade>,
    /// The team's own rules, and ready-made ones that it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Declared {
    /// The rules that hold: the ready-made ones first, each as it was changed.
    pub fn rules(&self) -> Vec<Rule> {
        let changed = |which: ReadyMade| self.rules.iter().find(|rule| rule.name == which.name());
        let ready_made = ReadyMade::ALL.into_iter().filter_map(|which| match changed(which) {
            Some(rule) => Some(rule.clone()),
            None => (!self.none && !self.off.contains(&which)).then(|| which.rule()),
        });
        let own = self.rules.iter().filter(|rule| matches!(rule.condition, Condition::Expr(_)));
        ready_made.chain(own.cloned()).collect()
    }

    /// Whether this says what would hold anyway.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Template;

    #[test]
    fn ready_made_rules_have_names_of_their_own_and_words_that_can_be_written() {
        for which in ReadyMade::ALL {
            let rule = which.rule();
            assert_eq!(ReadyMade::named(&rule.name), Some(which));
            for text in rule.annotations.values() {
                assert!(Template::read(text).is_ok(), "{text}");
            }
            assert!(rule.runbook.is_some());
        }
    }

    #[test]
    fn a_service_switches_rules_off_changes_them_and_adds_its_own() {
        let own = Rule {
            name: "QueueTooLong".into(),
            condition: Condition::Expr("a > 1".into()),
            ..ReadyMade::Disk.rule()
        };
        let changed = Rule { severity: Severity::P1, ..ReadyMade::Latency.rule() };
        let declared =
            Declared { none: false, off: vec![ReadyMade::Disk], rules: vec![own.clone(), changed.clone()] };
        let rules = declared.rules();
        assert_eq!(rules.len(), ReadyMade::ALL.len());
        assert!(rules.contains(&own) && rules.contains(&changed));
        assert!(!rules.iter().any(|rule| rule.name == "DiskFull"));
        assert_eq!(Declared { none: true, ..declared }.rules(), [changed, own]);
        assert_eq!(Declared::default().rules().len(), ReadyMade::ALL.len());
    }

    #[test]
    fn what_is_declared_reads_back() {
        let declared = Declared {
            none: true,
            off: vec![ReadyMade::Disk],
            rules: ReadyMade::ALL.map(ReadyMade::rule).to_vec(),
        };
        let json = serde_json::to_string(&declared).unwrap();
        assert_eq!(serde_json::from_str::<Declared>(&json).unwrap(), declared, "{json}");
        assert_eq!(serde_json::to_string(&Declared::default()).unwrap(), "{}");
    }
}
