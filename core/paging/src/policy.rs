//! What a team declared, ready to be asked: which alert goes to whom, and in which group.

use std::collections::BTreeMap;
use std::time::Duration;

use model::alert::{Alert, Labels, NAME, SEVERITY};
use model::matcher::{Matcher, Ready};
use model::notify::{APP, ENVIRONMENT, Grouping, Notify, RECEIVER, Receiver, To};
use model::objective::Severity;

use crate::inhibit::Rule;
use crate::selftest::is_test;

/// All labels, as a name in [`Grouping::by`].
const ALL: &str = "...";

/// Who is told of one service's alerts, ready to be asked.
#[derive(Debug, Clone)]
pub struct Policy {
    receivers: BTreeMap<String, Receiver>,
    routes: Vec<Way>,
    grouping: Grouping,
    /// Nobody waits for others to be made up.
    of_tests: Grouping,
    pub(crate) inhibit: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Way {
    receiver: String,
    severity: Vec<Severity>,
    matchers: Vec<Ready>,
    go_on: bool,
    grouping: Grouping,
}

/// How a receiver takes alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Group by group, when there is news.
    Groups,
    /// All that fire, again and again: it groups by itself.
    Stream,
}

/// A receiver that takes an alert, and the group in which it is told.
pub(crate) struct Taking<'a> {
    pub(crate) receiver: &'a str,
    pub(crate) grouping: &'a Grouping,
    pub(crate) labels: Labels,
}

impl Policy {
    /// Makes a declaration ready.
    ///
    /// # Errors
    /// When a matcher in it cannot be understood, in words.
    pub fn of(notify: &Notify) -> Result<Self, String> {
        let way = |route: &model::notify::Route| {
            let matchers = route.matchers.iter().map(Matcher::compile).collect::<Result<_, _>>()?;
            Ok(Way {
                receiver: route.receiver.clone(),
                severity: route.severity.clone(),
                matchers,
                go_on: route.go_on,
                grouping: route.grouping.clone().unwrap_or_else(|| notify.grouping.clone()),
            })
        };
        Ok(Self {
            receivers: notify.receivers.clone(),
            routes: notify.routes.iter().map(way).collect::<Result<_, String>>()?,
            grouping: notify.grouping.clone(),
            of_tests: Grouping {
                by: [NAME, APP, ENVIRONMENT, RECEIVER].map(str::to_owned).to_vec(),
                wait: Duration::ZERO,
                ..notify.grouping.clone()
            },
            inhibit: notify.inhibit_rules().iter().map(Rule::of).collect::<Result<_, _>>()?,
        })
    }

    /// A receiver.
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.get(name)
    }

    /// How a receiver takes alerts.
    pub fn kind(&self, receiver: &str) -> Option<Kind> {
        self.receivers.get(receiver).map(|receiver| match receiver.to {
            To::Webhook(_) => Kind::Groups,
            To::Alertmanager(_) => Kind::Stream,
        })
    }

    /// How alerts are told together where no route says otherwise.
    pub(crate) fn grouping(&self) -> &Grouping {
        &self.grouping
    }

    /// The receivers that take an alert, each once.
    pub(crate) fn take(&self, alert: &Alert) -> Vec<Taking<'_>> {
        let mut taking: Vec<Taking<'_>> = Vec::new();
        if is_test(alert) {
            // It proves one way, and goes no other.
            let receiver = alert.labels.get(RECEIVER).and_then(|name| self.receivers.get_key_value(name));
            taking.extend(receiver.map(|(name, _)| self.taking(name, &self.of_tests, alert)));
            return taking;
        }
        if self.routes.is_empty() {
            return self.receivers.keys().map(|name| self.taking(name, &self.grouping, alert)).collect();
        }
        for way in self.routes.iter().filter(|way| way.takes(alert)) {
            let is_known = self.receivers.contains_key(&way.receiver);
            if is_known && !taking.iter().any(|known| known.receiver == way.receiver) {
                taking.push(self.taking(&way.receiver, &way.grouping, alert));
            }
            if !way.go_on {
                break;
            }
        }
        taking
    }

    fn taking<'a>(&self, receiver: &'a str, grouping: &'a Grouping, alert: &Alert) -> Taking<'a> {
        let labels = match self.kind(receiver) {
            Some(Kind::Stream) | None => Labels::new(),
            Some(Kind::Groups) if grouping.by.iter().any(|name| name == ALL) => alert.labels.clone(),
            Some(Kind::Groups) => {
                let of = |name: &String| Some((name.clone(), alert.labels.get(name)?.clone()));
                grouping.by.iter().filter_map(of).collect()
            }
        };
        Taking { receiver, grouping, labels }
    }
}

impl Way {
    fn takes(&self, alert: &Alert) -> bool {
        let severity = alert.labels.get(SEVERITY).map_or("", String::as_str);
        let is_urgent = self.severity.is_empty() || self.severity.iter().any(|each| each.name() == severity);
        is_urgent && self.matchers.iter().all(|matcher| matcher.holds(&alert.labels))
    }
}
