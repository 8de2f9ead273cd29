//! Checks in memory: each takes its time and finds what it was told to find. A command goes by its whole line, a request by
//! its path or address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::check::{Check, Outcome, Target, Verdict};
use ports::checks::{Context, Running};

use crate::locked;

/// The simulated checks; clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    finds: BTreeMap<String, (Duration, Verdict)>,
    begun: Vec<(String, Context)>,
    under_way: BTreeMap<String, u32>,
    most_at_once: u32,
}

impl Checks {
    /// Says how long a check takes and what it then finds; without, it passes after 100 ms.
    pub fn find(&self, name: &str, takes: Duration, verdict: Verdict) {
        locked(&self.inner).finds.insert(name.to_owned(), (takes, verdict));
    }

    /// What a check of this name will find, or has; nothing when nobody said.
    pub fn finding(&self, name: &str) -> Option<(Duration, Verdict)> {
        locked(&self.inner).finds.get(name).copied()
    }

    /// What each check of this name was told when it began, in order.
    pub fn begun(&self, name: &str) -> Vec<Context> {
        let inner = locked(&self.inner);
        let begun = inner.begun.iter().filter(|(begun, _)| begun == name);
        begun.map(|(_, context)| context.clone()).collect()
    }

    /// How many checks of this name are under way.
    pub fn under_way(&self, name: &str) -> u32 {
        locked(&self.inner).under_way.get(name).copied().unwrap_or_default()
    }

    /// How many checks were ever under way at once.
    pub fn most_at_once(&self) -> u32 {
        locked(&self.inner).most_at_once
    }
}

/// What a check is called here.
pub fn name(check: &Check) -> String {
    match check {
        Check::Http(http) => match &http.target {
            Target::Path(text) | Target::Url(text) => text.clone(),
        },
        Check::Command(command) => command.run.join(" "),
        Check::Promql(promql) => promql.query.clone(),
    }
}

/// Under way until it is dropped.
struct UnderWay(Checks, String);

impl UnderWay {
    fn begin(checks: &Checks, name: String, context: Context) -> Self {
        let mut inner = locked(&checks.inner);
        *inner.under_way.entry(name.clone()).or_default() += 1;
        inner.most_at_once = inner.most_at_once.max(inner.under_way.values().sum());
        inner.begun.push((name.clone(), context));
        Self(checks.clone(), name)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(count) = locked(&self.0.inner).under_way.get_mut(&self.1) {
            *count -= 1;
        }
    }
}

impl ports::Checks for Checks {
    fn run(&self, check: Check, context: Context) -> Running {
        let (checks, name, timeout) = (self.clone(), name(&check), check.timeout());
        Box::pin(async move {
            let _under_way = UnderWay::begin(&checks, name.clone(), context);
            let told = locked(&checks.inner).finds.get(&name).copied();
            let (takes, verdict) = told.unwrap_or((Duration::from_millis(100), Verdict::Passed));
            tokio::time::sleep(takes.min(timeout)).await;
            if takes > timeout {
                let detail = format!("{name} took too long");
                return Outcome { verdict: Verdict::Failed, value: None, detail };
            }
            let value = match verdict {
                Verdict::Passed => Some(0.0),
                Verdict::Failed => Some(1.0),
                Verdict::Inconclusive | Verdict::Error => None,
            };
            Outcome { verdict, value, detail: format!("{name} was {verdict:?}").to_lowercase() }
        })
    }
}
