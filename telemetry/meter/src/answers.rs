//! Counting by questions: what happened in a minute is what was answered at its end. Does not live here: counters, whose
//! samples are counted one by one.

use std::collections::BTreeMap;

use crate::count::{Part, Question, settle};
use crate::day::Sums;
use crate::ledger::Ledger;
use crate::meter::Failed;
use crate::provider::Provider;
use crate::{MINUTE, minute_of};

/// Minutes that are asked for in one round: more would keep the others waiting.
const MOST_AT_ONCE: i64 = 15;
/// How far back (milliseconds) is asked after a time without control; what is older was not measured.
const FARTHEST: i64 = 24 * 3_600_000;

/// Parts of events that no whole one was counted for yet.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    part: f64,
    whole: f64,
}

/// Asks for every minute that is over, from `counted` on.
pub(crate) fn round(
    name: &str,
    (part, whole): (&Part<Question>, &Question),
    (rests, owed): (&mut Rests, &mut u64),
    ledger: &mut Ledger,
    provider: &dyn Provider,
    (counted, until): (i64, i64),
) -> Result<(), Failed> {
    let next = minute_of(counted.max(until - FARTHEST) + MINUTE - 1);
    let end = minute_of(until).min(next + MOST_AT_ONCE);
    // The minute that counting begins in is not whole.
    ledger.count_until(name, next * MINUTE)?;
    for minute in next..end {
        let at = (minute + 1) * MINUTE;
        if let Some(all) = one(provider, whole, at)? {
            let some = one(provider, part.counting(), at)?.unwrap_or(0.0);
            let counts = |events: u64| BTreeMap::from([(minute, events)]);
            let (all, some) = (dealt(&mut rests.whole, all), dealt(&mut rests.part, some));
            for (minute, sums) in settle(&counts(some), &counts(all), owed, part.is_good()) {
                ledger.add(name, minute, Sums { measured: 60, ..sums })?;
            }
        }
        ledger.count_until(name, at)?;
    }
    Ok(())
}

/// The events of the minute that ends now; `None` when nobody measured them.
fn one(provider: &dyn Provider, question: &Question, at: i64) -> Result<Option<f64>, String> {
    let answered = provider.ask(&question.query, at)?;
    match answered.as_slice() {
        [] => Ok(None),
        [events] if events.is_nan() => Ok(None),
        [events] if events.is_finite() && *events >= 0.0 => Ok(Some(events * question.times)),
        [events] => Err(format!("{} gives {events}, which is no number of events", question.query)),
        several => {
            let many = several.len();
            Err(format!("{} gives {many} series: add them up with `sum`", question.query))
        }
    }
}

/// Whole events; the rest waits for the next minute.
fn dealt(rest: &mut f64, events: f64) -> u64 {
    let sum = *rest + events;
    *rest = sum.fract();
    sum as u64
}
