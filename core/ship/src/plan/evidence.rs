//! What is known about the new release, as the report shows it and the judge decides on it. Not here: what becomes of it.

use model::strategy::{Judge, Kind, Metric, Promotion};

use crate::bake;
use crate::book::Book;
use crate::checks;
use crate::judge;
use crate::latency;
use crate::observation::{Counts, Observation};
use crate::report::{Evidence, LatencyEvidence, Level, RuleEvidence};
use crate::rollout::Rollout;
use crate::rules::{Run, State};
use crate::users::{self, Users};

pub(super) fn evidence(
    rollout: &Rollout,
    seen: &Observation,
    book: &Book,
    states: &[State],
    run_states: &[State],
) -> Evidence {
    let (candidate, stable) = book.totals();
    let judge = rollout.strategy.analysis.judge.as_ref();
    // Slow requests are counted one by one, which says nothing where all of a user's follow one draw.
    let by_user = rollout.session_affinity().is_some();
    let latency = judge.filter(|_| !by_user).map_or_else(Vec::new, |judge| latencies(rollout, judge));
    let judged = users::judged(rollout, book);
    let errors = judge.map(|judge| judge::ln_evidence_against(&judged.stretches, judge.tolerance));
    let ln_latency: Vec<f64> = latency.iter().map(|it| it.e.ln()).collect();
    let together = |errors| with_bake(rollout, judge::ln_together(errors, &ln_latency));
    let against = judge
        .zip(errors)
        .map(|(judge, errors)| Level::new(together(errors), judge.alpha * judged.share_of_alpha));
    let errors = errors.map(judge::e);
    let after = rollout.bakes_until().map(|_| judge::e(rollout.bake.ln_evidence()));
    let after = after.filter(|_| rollout.bake.judges());
    let unjudged = judge.and_then(|judge| judge.latency.as_ref()).zip(rollout.baseline.as_ref());
    let for_it = judge.and_then(|judge| match judge.promotion {
        Promotion::Time => None,
        Promotion::Evidence { max_error_rate, beta } => {
            Some(Level::new(judge::ln_evidence_for(judged.in_favour, max_error_rate), beta))
        }
    });
    let rules = rules(rollout, seen, states, run_states);
    let latency_unjudged = unjudged.and_then(|(latency, baseline)| match by_user {
        true => Some("the latency is not judged: with sessionAffinity the judge counts users".to_owned()),
        false => baseline.missing(latency),
    });
    let (aimed, users) = (book.aimed(), by_user.then(|| book.users()));
    Evidence {
        candidate,
        stable,
        aimed,
        users,
        against,
        errors,
        after,
        latency,
        latency_unjudged,
        for_it,
        rules,
    }
}

fn rules(rollout: &Rollout, seen: &Observation, states: &[State], run_states: &[State]) -> Vec<RuleEvidence> {
    let told = |run: Run, step: Option<u32>| {
        move |(rule, (metric, state)): (u32, (&Metric, &State))| RuleEvidence {
            name: metric.name.clone(),
            last_value: state.last_value,
            detail: state.detail.clone(),
            taken: state.taken,
            failed: state.failed,
            inconclusive: state.inconclusive,
            errors: state.errors_in_a_row,
            running_since: checks::since(rollout, seen, run, rule, state),
            step,
            dry_run: metric.dry_run,
        }
    };
    let background = (0..).zip(rollout.strategy.analysis.metrics.iter().zip(states));
    let mut rules: Vec<RuleEvidence> = background.map(told(Run::Background, None)).collect();
    if let Some((run, metrics)) = rollout.run() {
        let step = rollout.current_step().map(|_| rollout.step);
        rules.extend((0..).zip(metrics.iter().zip(run_states)).map(told(run, step)));
    }
    rules
}

/// The evidence of before and after all requests were shifted, averaged. Where nothing was compared before, that after it
/// is all there is.
fn with_bake(rollout: &Rollout, before: f64) -> f64 {
    let judge = rollout.strategy.analysis.judge.as_ref();
    let judged = judge.zip(rollout.baseline.as_ref()).is_some_and(|(judge, baseline)| {
        !rollout.strategy.bake_time.is_zero() && bake::Bake::begin(baseline, judge).judges()
    });
    let share = match rollout.strategy.kind {
        _ if !judged => return before,
        Kind::BlueGreen { .. } => 1.0,
        Kind::Canary { .. } | Kind::Rolling { .. } => bake::SHARE,
    };
    judge::ln_mean_exp(&[(1.0 - share, before), (share, rollout.bake.ln_evidence())])
}

fn latencies(rollout: &Rollout, judge: &Judge) -> Vec<LatencyEvidence> {
    let thresholds = rollout.baseline.iter().flat_map(|baseline| &baseline.thresholds);
    let tolerance = judge.latency.as_ref().map_or(1.0, |latency| latency.tolerance);
    let told = thresholds.zip(&rollout.trials).map(|(threshold, trial)| LatencyEvidence {
        quantile: threshold.quantile,
        slower_than_ms: threshold.above_us as f64 / 1_000.0,
        candidate: trial.candidate,
        stable: trial.stable,
        e: judge::e(trial.ln_evidence(threshold.quantile, tolerance)),
    });
    told.collect()
}

/// The judge's verdict in words: errors, and the latency that speaks loudest when it says more than they do.
pub(super) fn judged(evidence: &Evidence, level: Level) -> String {
    let latency = evidence.latency.iter().max_by(|a, b| a.e.total_cmp(&b.e));
    let before = latency.map_or(0.0, |latency| latency.e).max(evidence.errors.unwrap_or_default());
    let found = match latency.filter(|latency| Some(latency.e) > evidence.errors) {
        Some(latency) => {
            let slow = |counts: Counts| share("of", counts);
            format!(
                "new release {} slower than {} ms, the old {} before; old release {}",
                slow(latency.candidate),
                latency.slower_than_ms,
                latency::name(latency.quantile),
                slow(latency.stable),
            )
        }
        None => {
            let failed = |counts: Counts, users: Option<Users>| {
                let by_user = users.map_or_else(String::new, |users| {
                    format!(", the first for {} of {} users", users.first_erred, users.seen)
                });
                share("errors in", counts) + &by_user
            };
            format!(
                "new release {}, old release {}",
                failed(evidence.candidate, evidence.users.map(|users| users.candidate)),
                failed(evidence.stable, evidence.users.map(|users| users.stable)),
            )
        }
    };
    let since = if evidence.after.is_some_and(|after| after > before) {
        "since it takes all requests it is worse than the old release was before; in all "
    } else {
        ""
    };
    format!("{since}{found}: evidence {:.0} against a threshold of {:.0}", level.e, level.threshold)
}

/// `3 errors in 44 requests (6.82%)`.
fn share(of: &str, counts: Counts) -> String {
    let percent = counts.error_rate().unwrap_or(0.0) * 100.0;
    format!("{} {of} {} requests ({percent:.2}%)", counts.errors, counts.requests)
}
