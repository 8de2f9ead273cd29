//! How often drift is said.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use lifecycle::{Command, DRIFT_QUIET, Event, World, decide};
use model::drift::{Drift, DriftKind};
use model::{Place, Timestamp};

fn drift(times: u64) -> Drift {
    let place = Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() };
    let (found, done) = ("replica 1 ended".to_owned(), "it is started again".to_owned());
    Drift { place: Some(place), kind: DriftKind::Replica, times, found, done }
}

/// What is said when the agent has put it right so often, at these seconds.
fn said(world: &mut World, instance: &str, times: u64, second: i64) -> Option<u64> {
    let at = Timestamp::from_micros(1_700_000_000_000_000 + second * 1_000_000);
    let command = Command::Notice { instance: instance.to_owned(), drifts: vec![drift(times)] };
    let events = decide(world, command, at).unwrap();
    for event in &events {
        world.apply(event, 1, at).unwrap();
    }
    match events.as_slice() {
        [] => None,
        [Event::DriftCorrected { new, .. }] => Some(*new),
        other => panic!("{other:?}"),
    }
}

#[test]
fn drift_is_said_at_once_then_once_a_minute_with_how_often() {
    let mut world = World::default();
    let quiet = DRIFT_QUIET.as_secs() as i64;
    assert_eq!(said(&mut world, "a", 1, 0), Some(1));
    assert_eq!(said(&mut world, "a", 1, quiet * 2), None, "nothing new");
    assert_eq!(said(&mut world, "a", 3, quiet * 2), Some(2));
    // A replica that dies every second for an hour is sixty events.
    let events = (0..3_600).filter_map(|it| said(&mut world, "a", 4 + it as u64, quiet * 2 + it)).count();
    assert!(events <= 60, "{events}");
}

#[test]
fn another_life_of_the_agent_counts_from_zero_and_a_clock_set_back_does_not_silence_it() {
    let mut world = World::default();
    assert_eq!(said(&mut world, "a", 5, 0), Some(5));
    assert_eq!(said(&mut world, "b", 1, 100), Some(1));
    assert_eq!(said(&mut world, "b", 2, -5_000), Some(1));
}
