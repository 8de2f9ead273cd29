//! What may rest on the answers of the metrics: only what they said. Nobody goes back because they are silent, have no data
//! or say neither, and no step that waits for them is left before they said yes.

use model::Place;
use model::check::{Measured, Promql, Verdict};
use model::strategy::{Metric, Source};
use ship::Rollout;
use ship::rules::Run;

use super::Referee;

/// What the rule that asks them is called.
const RULE: &str = "asked";
/// Below this an answer is good.
const GOOD: f64 = 0.2;
/// Above this it is bad; between the two it is neither, where both are declared.
const BAD: f64 = 0.5;

/// Whether this is the verdict of the rule that asks them.
pub(super) fn asks(why: &str) -> bool {
    why.starts_with(RULE)
}

impl Referee {
    /// Whether the metrics said no to a question of this rollout.
    pub(super) fn said_no(&self, rollout: &Rollout) -> bool {
        let of_run = rollout.run().map_or(&[][..], |(_, metrics)| metrics);
        let mut all = rollout.strategy.analysis.metrics.iter().chain(of_run);
        all.any(|metric| self.said(metric).is_some_and(|said| said.0 == Verdict::Failed))
    }

    /// A step that waits for the metrics is left when they said yes often enough, or when somebody overruled them.
    pub(super) fn is_answered(&mut self, place: &Place, rollout: &Rollout) {
        let Some((Run::Step(step), metrics)) = rollout.run().filter(|_| !rollout.overruled) else { return };
        let wanting = metrics.iter().find_map(|metric| {
            let (verdict, times) = self.said(metric)?;
            (verdict != Verdict::Passed || times < metric.count.unwrap_or_default())
                .then_some((verdict, times))
        });
        if let Some((verdict, times)) = wanting {
            self.breaks(format!(
                "{place} leaves step {step} though the metrics said {verdict:?} {times} times"
            ));
        }
    }

    /// What a rule's question was answered with, by a reading of the referee's own, and how often.
    fn said(&self, metric: &Metric) -> Option<(Verdict, u32)> {
        let Source::Promql(Promql { query, failure_condition, .. }) = &metric.source else { return None };
        let (_, answer, times) = self.checks.answers(query)?;
        let value = match answer {
            Measured::Vector(values) => values.first().copied().unwrap_or(f64::NAN),
            Measured::Scalar(value) => value,
        };
        let verdict = match value {
            _ if times == 0 => Verdict::Error,
            value if value.is_nan() => Verdict::Inconclusive,
            value if value < GOOD => Verdict::Passed,
            value if value > BAD || failure_condition.is_none() => Verdict::Failed,
            _ => Verdict::Inconclusive,
        };
        Some((verdict, times))
    }
}
