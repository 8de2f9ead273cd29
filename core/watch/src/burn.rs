//! How fast a budget burns, and which rules of an objective hold: pairs of windows, the absolute rule for low traffic, no
//! data. Does not live here: how long a rule has to hold, and what becomes of an alert ([`crate::alert`]).

use std::time::Duration;

use model::objective::{Alerting, LowTraffic, Method, NoData, Objective, Pair, Ratio, Severity, Target};
use serde::{Deserialize, Serialize};

use crate::bound;
use crate::minutes::{Counts, Range, SECONDS, Sums};

const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;
/// The window that the field's table was made for, in minutes.
const TABLE_WINDOW: u64 = 30 * DAY;
/// Shorter windows than this have shorter alert windows, too.
const SHORTEST_UNSCALED: u64 = 28 * DAY;
/// The table: long and short windows in minutes, and the share of the budget that burns in the long one, in percent (Google's
/// SRE workbook, "Alerting on SLOs", and what generators of rules make of it).
const TABLE: [(u64, u64, u64, Severity); 4] = [
    (HOUR, 5, 2, Severity::P1),
    (6 * HOUR, 30, 5, Severity::P1),
    (DAY, 2 * HOUR, 10, Severity::P3),
    (3 * DAY, 6 * HOUR, 10, Severity::P3),
];
/// A factor that nobody declared stays so far below the highest burn there is, in percent: an outage has to alert.
const BELOW_HIGHEST: u64 = 90;
/// Nothing was measured for so many minutes: nothing is known now.
const BLIND: u64 = 5;

/// How fast a budget burns: 1 uses it up in just one window. `None` where nothing was counted.
pub fn burn(sums: Sums, target: Target) -> Option<f64> {
    (sums.total > 0).then(|| sums.bad() as f64 / sums.total as f64 / target.budget().fraction())
}

/// Whether a budget burns faster than a factor in thousandths; exact. Nothing counted burns nothing.
pub fn exceeds(sums: Sums, target: Target, factor: u32) -> bool {
    let bad = u128::from(sums.bad()) * 1_000 * u128::from(Ratio::ONE);
    bad > u128::from(sums.total) * u128::from(factor) * u128::from(target.budget().parts())
}

/// The pairs of an objective: those declared, or the field's table scaled to its window. From 28 days on, the factor is the
/// share of the budget times `W / long`; below, the windows shrink with `W / 30 d` and keep the factors of 30 days. No
/// factor of the table comes nearer than a tenth to the highest burn there is, so that an outage alerts at any target.
pub fn pairs(objective: &Objective) -> Vec<Pair> {
    let Alerting { pairs, .. } = &objective.alerting;
    pairs.clone().unwrap_or_else(|| table(objective.window.nominal(), objective.target))
}

fn table(window: Duration, target: Target) -> Vec<Pair> {
    let window = window.as_secs() / SECONDS;
    let highest = (target.highest_burn() * BELOW_HIGHEST / 100).max(1_000);
    let pair = |(long, short, percent, severity): (u64, u64, u64, Severity)| {
        let (scaled, of) = if window < SHORTEST_UNSCALED { (window, TABLE_WINDOW) } else { (1, 1) };
        // To the nearest whole minute, and never to none.
        let minutes = |each: u64| ((each * scaled * 2 + of) / (of * 2)).max(1);
        let length = if window < SHORTEST_UNSCALED { TABLE_WINDOW } else { window };
        let factor = (percent * 1_000 * length / (100 * long)).min(highest);
        let time = |each: u64| Duration::from_secs(minutes(each) * SECONDS);
        let factor = u32::try_from(factor).unwrap_or(u32::MAX);
        Pair { long: time(long), short: time(short), factor, severity }
    };
    TABLE.map(pair).into()
}

/// What alerts. However many pairs of the same severity hold, and the absolute rule with them, somebody is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// The budget burns too fast, by a pair of this severity or by the absolute rule.
    Burn(Severity),
    /// Nothing is measured.
    NoData,
}

impl Rule {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Burn(Severity::P1) => "burn-P1",
            Self::Burn(Severity::P2) => "burn-P2",
            Self::Burn(Severity::P3) => "burn-P3",
            Self::NoData => "no-data",
        }
    }
}

/// Why a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The window that it was seen over.
    #[serde(with = "model::time::words")]
    pub long: Duration,
    /// The window that says that it goes on.
    #[serde(with = "model::time::words")]
    pub short: Duration,
    /// The factor of the pair in thousandths; `None` by the absolute rule, and without data.
    pub factor: Option<u32>,
    /// The burn over the long window in thousandths; 0 without events.
    pub burn: u64,
    /// Bad events, or seconds, in the long window.
    pub bad: u64,
    /// All of them.
    pub total: u64,
}

/// What a rule says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds(Cause),
    /// It does not.
    Clear,
    /// Nothing was measured that could say so.
    Unknown,
}

/// One rule with its urgency and what it says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// How urgent.
    pub severity: Severity,
    /// What it says.
    pub verdict: Verdict,
}

/// The rules of an objective, ready to be asked often.
#[derive(Debug, Clone)]
pub struct Rules {
    target: Target,
    /// A bound on chance needs events that know nothing of each other; slices of time do.
    of_events: bool,
    minimum_events: u64,
    pairs: Vec<Pair>,
    low_traffic: Option<LowTraffic>,
    no_data: Option<NoData>,
}

impl Rules {
    /// Those of an objective.
    pub fn of(objective: &Objective) -> Self {
        let alerting = &objective.alerting;
        Self {
            target: objective.target,
            of_events: matches!(objective.method, Method::Occurrences),
            minimum_events: alerting.minimum_events,
            pairs: pairs(objective),
            low_traffic: alerting.low_traffic,
            no_data: alerting.no_data,
        }
    }

    /// What each rule says at a minute, which is the last one that counts. `wanted` says whether the service should run.
    pub fn look(&self, counts: &impl Counts, minute: u64, wanted: bool) -> Vec<Finding> {
        let over = |length: Duration| counts.sums(Range::last(length.as_secs() / SECONDS, minute + 1));
        let blind = over(Duration::from_secs(BLIND * SECONDS)).measured == 0;
        let mut findings = Vec::with_capacity(4);
        for severity in Severity::ALL {
            let mut of_it = self.pairs.iter().filter(|pair| pair.severity == severity).peekable();
            let absolute = self.low_traffic.as_ref().filter(|rule| rule.severity == severity);
            if of_it.peek().is_none() && absolute.is_none() {
                continue;
            }
            let by_pair = of_it.find_map(|pair| self.holds(pair, over(pair.short), || over(pair.long)));
            let mostly_bad = |rule: &LowTraffic| self.mostly_bad(rule, over(rule.over), over(rule.over / 12));
            let holds = by_pair.or_else(|| absolute.and_then(mostly_bad));
            findings.push(Finding { rule: Rule::Burn(severity), severity, verdict: verdict(holds, blind) });
        }
        if let Some(rule) = &self.no_data {
            let cause =
                Cause { long: rule.after, short: rule.after, factor: None, burn: 0, bad: 0, total: 0 };
            let sums = over(rule.after);
            // A service that was first measured a minute ago has no past to miss, nor has excluded time.
            let minutes = rule.after.as_secs() / SECONDS;
            let is_known = counts.since().saturating_add(minutes) <= minute + 1 && sums.excluded == 0;
            let verdict = match wanted && is_known && sums.measured == 0 {
                true => Verdict::Holds(cause),
                false => Verdict::Clear,
            };
            findings.push(Finding { rule: Rule::NoData, severity: rule.severity, verdict });
        }
        findings
    }

    fn cause(&self, long: Duration, short: Duration, factor: Option<u32>, sums: Sums) -> Cause {
        let burn = burn(sums, self.target).map_or(0, |burn| (burn * 1_000.0) as u64);
        Cause { long, short, factor, burn, bad: sums.bad(), total: sums.total }
    }

    /// The short window first: it is what is clear most of the time.
    fn holds(&self, pair: &Pair, short: Sums, long: impl Fn() -> Sums) -> Option<Cause> {
        if !exceeds(short, self.target, pair.factor) {
            return None;
        }
        let long = long();
        let share = f64::from(pair.factor) / 1_000.0 * self.target.budget().fraction();
        let is_over = exceeds(long, self.target, pair.factor) && long.failed >= self.minimum_events;
        let is_sure = || !self.of_events || bound::surely_above(long.bad(), long.total, share);
        (is_over && is_sure()).then(|| self.cause(pair.long, pair.short, Some(pair.factor), long))
    }

    /// Over the long time more than the share is bad, and the short one does not speak of recovery.
    fn mostly_bad(&self, rule: &LowTraffic, long: Sums, short: Sums) -> Option<Cause> {
        let one = u128::from(Ratio::ONE);
        let is_above = |sums: Sums| {
            u128::from(sums.bad()) * one > u128::from(sums.total) * u128::from(rule.errors.parts())
        };
        let goes_on = short.total == 0 || is_above(short);
        let is_over = goes_on && is_above(long) && long.failed >= self.minimum_events;
        let is_sure =
            || !self.of_events || bound::surely_above(long.bad(), long.total, rule.errors.fraction());
        (is_over && is_sure()).then(|| self.cause(rule.over, rule.over / 12, None, long))
    }
}

fn verdict(holds: Option<Cause>, blind: bool) -> Verdict {
    match holds {
        _ if blind => Verdict::Unknown,
        Some(cause) => Verdict::Holds(cause),
        None => Verdict::Clear,
    }
}
