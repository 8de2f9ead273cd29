//! What is asked of silences and self-tests becomes events, or is refused with the way out.

use std::time::Duration;

use model::Timestamp;
use model::matcher::Matcher;

use crate::event::{Event, Way};
use crate::silence::{MOST_MATCHERS, Silence, SilenceId};
use crate::state::{MOST_SILENCES, State};

/// The longest silence: whoever wants longer mends the rule.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The longest reason and the longest name.
const LONGEST_BYTES: usize = 4 * 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Do not tell of these.
    Silence {
        /// The alerts of which all of these hold.
        matchers: Vec<Matcher>,
        /// From when on; now when absent or over.
        from: Option<Timestamp>,
        /// Until when.
        until: Timestamp,
        /// Who asks.
        by: String,
        /// Why, in their words.
        reason: String,
        /// The silence that this one replaces.
        replaces: Option<SilenceId>,
    },
    /// Tell again.
    EndSilence {
        /// Of what this one silences.
        id: SilenceId,
        /// Who asks.
        by: String,
    },
    /// Prove a way now.
    Test(Way),
    /// A way was proved.
    Pass(Way),
    /// A way is not proved for too long.
    Overdue(Way),
    /// A way is not tested any more.
    EndTests(Way),
}

/// Why nothing was done, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// In words.
    pub what: String,
    /// The way out.
    pub way_out: String,
}

fn refused<T>(what: impl Into<String>, way_out: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { what: what.into(), way_out: way_out.into() })
}

/// Turns a command into the events that carry it out.
///
/// # Errors
/// When the command makes no sense now.
pub fn decide(state: &State, command: Command, at: Timestamp) -> Result<Vec<Event>, Refused> {
    match command {
        Command::Silence { matchers, from, until, by, reason, replaces } => {
            let from = from.filter(|from| *from > at).unwrap_or(at);
            let silence = Silence { matchers, from, until, by, reason, made: at };
            silenced(state, silence, replaces, at)
        }
        Command::EndSilence { id, by } => match state.silences.get(&id).filter(|it| it.is_open(at)) {
            Some(_) => Ok(vec![Event::SilenceEnded { id, by }]),
            None => refused(
                format!("there is no silence {id}, or it is over"),
                "`shipshape silence list` shows those that are not over",
            ),
        },
        Command::Test(way) => match state.tests.get(&way).is_some_and(|test| test.open) {
            // It is under way: whoever asks waits for the same answer.
            true => Ok(vec![]),
            false => Ok(vec![Event::TestBegun { way }]),
        },
        Command::Pass(way) => match state.tests.get(&way).filter(|test| test.open) {
            Some(test) => Ok(vec![Event::TestPassed { begun: test.begun, way }]),
            None => Ok(vec![]),
        },
        Command::Overdue(way) => match state.tests.get(&way).is_some_and(|test| !test.overdue) {
            true => Ok(vec![Event::TestOverdue { way }]),
            false => Ok(vec![]),
        },
        Command::EndTests(way) => match state.tests.contains_key(&way) {
            true => Ok(vec![Event::TestsEnded { way }]),
            false => Ok(vec![]),
        },
    }
}

fn silenced(
    state: &State,
    silence: Silence,
    replaces: Option<SilenceId>,
    at: Timestamp,
) -> Result<Vec<Event>, Refused> {
    check(&silence)?;
    let mut events = Vec::new();
    if let Some(id) = replaces {
        if !state.silences.get(&id).is_some_and(|it| it.is_open(at)) {
            return refused(
                format!("there is no silence {id} to replace, or it is over"),
                "leave the id out: then it is a new one",
            );
        }
        events.push(Event::SilenceEnded { id, by: silence.by.clone() });
    }
    let open = state.silences.values().filter(|silence| silence.is_open(at)).count();
    if open >= MOST_SILENCES && replaces.is_none() {
        return refused(
            format!("there are {open} silences that are not over, and no room for more"),
            "end some (`shipshape silence expire ID`), or silence more with one",
        );
    }
    events.push(Event::Silenced { id: state.last_silence.next(), silence });
    Ok(events)
}

fn check(silence: &Silence) -> Result<(), Refused> {
    const EXAMPLE: &str = "say what is silenced, as in `alertname=\"DiskFull\"` `app=\"shop\"`";
    let Silence { matchers, from, until, by, reason, .. } = silence;
    if matchers.len() > MOST_MATCHERS {
        return refused(format!("{} matchers are more than {MOST_MATCHERS}", matchers.len()), EXAMPLE);
    }
    let mut ready = Vec::new();
    for matcher in matchers {
        match matcher.compile() {
            Ok(compiled) => ready.push(compiled),
            Err(what) => return refused(format!("{matcher} is no matcher: {what}"), EXAMPLE),
        }
    }
    if ready.iter().all(|matcher| matcher.holds(&model::alert::Labels::new())) {
        return refused("this would silence every alert there is", EXAMPLE);
    }
    if reason.trim().is_empty() || by.trim().is_empty() {
        return refused(
            "a silence without a name and a reason tells nobody why they hear nothing",
            "say why with --reason TEXT",
        );
    }
    if reason.len() > LONGEST_BYTES || by.len() > LONGEST_BYTES {
        return refused(
            format!("a name or a reason is longer than {LONGEST_BYTES} bytes"),
            "say it in fewer words",
        );
    }
    if until <= from {
        return refused("it would be over before it begins", "say for how long, as in --for 2h");
    }
    if until.since(*from) > LONGEST_SILENCE {
        let days = LONGEST_SILENCE.as_secs() / 86_400;
        return refused(
            format!("it would last longer than {days} days"),
            "what nobody wants to hear for so long is no alert: change its rule",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).after(Duration::from_secs(seconds))
    }

    fn silence(matchers: &[&str], until: u64) -> Command {
        let matchers = matchers.iter().map(|it| it.parse().unwrap()).collect();
        let (by, reason) = ("ada".to_owned(), "a test".to_owned());
        Command::Silence { matchers, from: None, until: at(until), by, reason, replaces: None }
    }

    fn done(state: &mut State, command: Command, now: u64) -> Vec<Event> {
        let events = decide(state, command, at(now)).unwrap();
        events.iter().for_each(|event| state.apply(event, at(now)).unwrap());
        events
    }

    #[test]
    fn a_silence_holds_until_it_ends_and_makes_room_for_the_next() {
        let mut state = State::default();
        let _ = done(&mut state, silence(&["alertname=A"], 100), 0);
        assert!(state.silences[&SilenceId(1)].holds(at(99)) && !state.silences[&SilenceId(1)].holds(at(100)));
        let _ = done(&mut state, silence(&["alertname=B"], 300), 200);
        assert_eq!(state.silences.keys().copied().collect::<Vec<_>>(), [SilenceId(2)]);
        let end = |id| Command::EndSilence { id: SilenceId(id), by: "bob".to_owned() };
        assert!(decide(&state, end(1), at(200)).is_err(), "it is over");
        let _ = done(&mut state, end(2), 201);
        assert!(state.silences.is_empty() && state.last_silence == SilenceId(2));
    }

    #[test]
    fn one_that_replaces_another_ends_it_in_the_same_breath() {
        let mut state = State::default();
        let _ = done(&mut state, silence(&["alertname=A"], 100), 0);
        let Command::Silence { matchers, from, until, by, reason, .. } = silence(&["alertname=A"], 900)
        else {
            unreachable!("it is one")
        };
        let again = Command::Silence { matchers, from, until, by, reason, replaces: Some(SilenceId(1)) };
        let events = done(&mut state, again.clone(), 50);
        assert_eq!(events.iter().map(Event::name).collect::<Vec<_>>(), ["silence-ended", "silenced"]);
        assert!(decide(&state, again, at(60)).is_err(), "it cannot be replaced twice");
    }

    #[test]
    fn a_silence_that_makes_no_sense_is_refused_with_a_way_out() {
        let state = State::default();
        let refused = |command| decide(&state, command, at(0)).unwrap_err().what;
        assert!(refused(silence(&[], 100)).contains("every alert"));
        assert!(refused(silence(&["a=~\".*\""], 100)).contains("every alert"));
        assert!(refused(silence(&["a=b"], 0)).contains("over before"));
        assert!(refused(silence(&["a=b"], 100 * 86_400)).contains("longer than 90 days"));
        assert!(refused(silence(&["a=b"; MOST_MATCHERS + 1], 100)).contains("more than"));
        let Command::Silence { matchers, from, until, by, replaces, .. } = silence(&["a=b"], 100) else {
            unreachable!("it is one")
        };
        let reason = " ".to_owned();
        assert!(refused(Command::Silence { matchers, from, until, by, reason, replaces }).contains("why"));
    }

    #[test]
    fn there_is_a_limit_to_silences() {
        let mut state = State::default();
        for _ in 0..MOST_SILENCES {
            let _ = done(&mut state, silence(&["alertname=A"], 100), 0);
        }
        assert!(decide(&state, silence(&["alertname=A"], 100), at(0)).unwrap_err().what.contains("no room"));
        assert!(decide(&state, silence(&["alertname=A"], 300), at(100)).is_ok(), "those are over");
    }
}
