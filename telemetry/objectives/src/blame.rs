//! What a page says of the release that came last: its events from the rollout on are compared with those before. Does not live
//! here: the comparison (`watch::blame`), and what follows (`lifecycle::blame`).

use lifecycle::{Command, World};
use meter::{Error, Ledger};
use model::objective::{Method, Severity};
use model::{Objective, Place, Timestamp};
use watch::alert::To;
use watch::blame::{Course, blame};
use watch::burn::Rule;
use watch::minutes::minute_of;
use watch::{Range, State};

use crate::charges::Burning;
use crate::counted::key;
use crate::counts::history;

/// What was found.
pub(crate) struct Found {
    /// What is asked for.
    pub(crate) command: Option<Command>,
    /// The same, or why nothing is, in words.
    pub(crate) what: String,
}

/// Whether somebody is paged, once this is carried out.
pub(crate) fn pages(state: &State, asked: &[watch::Command]) -> bool {
    let page = Rule::Burn(Severity::P1);
    let last = asked.iter().rev().find_map(|command| match command {
        watch::Command::ChangeAlert { rule, to, .. } if *rule == page => Some(*to == To::Firing),
        watch::Command::ChangeAlert { .. }
        | watch::Command::ChangeLevel { .. }
        | watch::Command::Correct { .. }
        | watch::Command::Restore { .. }
        | watch::Command::Charge { .. } => None,
    });
    last.unwrap_or_else(|| lifecycle::blame::pages(state))
}

/// Looks whether the release that came last is to blame for a page; nothing where none came lately.
pub(crate) fn look(
    ledger: &mut Ledger,
    world: &World,
    (place, objective): (&Place, &Objective),
    state: &State,
    burning: &[Burning],
    at: Timestamp,
) -> Result<Option<Found>, Error> {
    let Some(suspect) = lifecycle::blame::suspect(world, place, at) else { return Ok(None) };
    if !lifecycle::blame::can_blame(objective) {
        return Ok(None);
    }
    let minutes = [suspect.started_at, suspect.shifted_at, at].map(minute_of);
    let [began, alone, now] = minutes;
    let course = Course { began, alone, now };
    let range = Range { from: Course::known(&course).from, to: now + 1 };
    // Events, whatever the method: slices are not independent of each other.
    let mut read = |key: &str| history(ledger, key, range, &Method::Occurrences, &state.exclusions);
    let all = read(&key(place, &objective.name))?;
    let counted =
        |it: &&Burning| it.is_counted() && it.place == *place && it.objective.name == objective.name;
    let own = burning.iter().find(counted).map(|it| read(&it.own.key)).transpose()?;
    let to = suspect.to;
    let found = match blame(&all, own.as_ref(), course, objective.target) {
        Err(why) => Found { command: None, what: format!("release {to} is not to blame: {why}") },
        Ok(blame) => match lifecycle::blame::spared(world, place, suspect, at) {
            Some(why) => {
                let what = format!("release {to} is to blame ({}), and stays: {why}", blame.in_words());
                Found { command: None, what }
            }
            None => {
                let what = format!("release {to} is to blame and is taken back: {}", blame.in_words());
                let (place, objective, rollout) = (place.clone(), objective.name.clone(), suspect.number);
                Found { command: Some(Command::TakeBack { place, objective, rollout, blame }), what }
            }
        },
    };
    Ok(Some(found))
}
