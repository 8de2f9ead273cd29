//! Checks in memory: each takes its time and finds what it was told to find. A command goes by its whole line, a request by
//! its path or address. Questions to the metrics get the answer that somebody gave, which their conditions judge, unless
//! nobody answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use condition::{Condition, judge};
use model::check::{Check, Measured, Outcome, Promql, Target, Verdict};
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
    answers: BTreeMap<String, (Duration, Measured)>,
    answered: BTreeMap<String, u32>,
    /// Whether the server of the metrics is away.
    silent: bool,
    begun: Vec<(String, Context)>,
    under_way: BTreeMap<String, u32>,
    most_at_once: u32,
}

impl Checks {
    /// Says how long a check takes and what it then finds; without, it passes after 100 ms.
    pub fn find(&self, name: &str, takes: Duration, verdict: Verdict) {
        locked(&self.inner).finds.insert(name.to_owned(), (takes, verdict));
    }

    /// Says what the metrics answer to a query, and after which time.
    pub fn answer(&self, query: &str, takes: Duration, measured: Measured) {
        locked(&self.inner).answers.insert(query.to_owned(), (takes, measured));
    }

    /// What the metrics answer to a query, when they do, and how often they did.
    pub fn answers(&self, query: &str) -> Option<(Duration, Measured, u32)> {
        let inner = locked(&self.inner);
        let (takes, measured) = inner.answers.get(query).cloned()?;
        Some((takes, measured, inner.answered.get(query).copied().unwrap_or_default()))
    }

    /// Whether the server of the metrics is away from now on.
    pub fn silence(&self, silent: bool) {
        locked(&self.inner).silent = silent;
    }

    /// What a question finds. Whoever has no answer says nothing about the release.
    async fn ask(&self, promql: &Promql, takes: Duration, measured: Measured) -> Outcome {
        let is_silent = || locked(&self.inner).silent;
        // A server that goes away while it thinks has not answered.
        if is_silent() {
            return Outcome::error("the server of the metrics is away");
        }
        tokio::time::sleep(takes.min(promql.timeout)).await;
        if takes > promql.timeout || is_silent() {
            return Outcome::error("the server of the metrics did not answer in time");
        }
        let read = |text: &Option<String>| text.as_deref().map(Condition::read).transpose();
        let (Ok(success), Ok(failure)) = (read(&promql.success_condition), read(&promql.failure_condition))
        else {
            return Outcome::error("a condition that is none");
        };
        let judged = judge(success.as_ref(), failure.as_ref(), &measured);
        if judged.verdict != Verdict::Error {
            *locked(&self.inner).answered.entry(promql.query.clone()).or_default() += 1;
        }
        Outcome { verdict: judged.verdict, value: judged.value, detail: judged.detail }
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
            if let (Check::Promql(promql), Some((takes, measured, _))) = (&check, checks.answers(&name)) {
                return checks.ask(promql, takes, measured).await;
            }
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
