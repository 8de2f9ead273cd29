//! Counting: epochs, lives of the counter, and what is written down when.

use model::{Epoch, Weight};
use ship::book::Book;
use ship::{Command, Counts, EpochTally, Event};

use super::support::{Scene, canary, given, hold, hold_for, seen, to};

fn at_ten_percent() -> Scene {
    given(canary([to(10), hold_for(6_000)]).promptly()).when(seen())
}

fn measured(scene: &Scene) -> usize {
    scene.fresh().iter().filter(|event| matches!(event, Event::Measured { .. })).count()
}

#[test]
fn counts_of_two_lives_of_the_agent_add_up() {
    let scene = at_ten_percent()
        .when(seen().after(1).candidate(100, 2).stable(900, 0))
        .when(seen().after(1).agent_restarted())
        .when(seen().after(1).candidate(50, 1).stable(450, 3));
    let evidence = &scene.report.evidence;
    assert_eq!(evidence.candidate, Counts { requests: 150, errors: 3 });
    assert_eq!(evidence.stable, Counts { requests: 1_350, errors: 3 });
    assert_eq!(scene.rollout.book.totals(), (evidence.candidate, evidence.stable));
    assert_eq!(scene.rollout.book.candidate_in(scene.rollout.epoch), evidence.candidate);
    let stretches = scene.rollout.book.stretches();
    assert_eq!(stretches.len(), 1);
    assert_eq!((stretches[0].weight, stretches[0].candidate), (0.1, evidence.candidate));
}

#[test]
fn many_lives_of_the_agent_take_no_more_room_than_two() {
    let mut scene = at_ten_percent();
    for life in 1..=50 {
        scene = scene.when(seen().after(1).agent_restarted().candidate(10, 0).stable(90, 1));
        assert_eq!(scene.report.evidence.candidate, Counts { requests: 10 * life, errors: 0 });
        assert_eq!(scene.report.evidence.stable, Counts { requests: 90 * life, errors: life });
        assert_eq!(scene.rollout.book.candidate_by(&scene.seen.instance), Counts { requests: 10, errors: 0 });
    }
    assert_eq!(scene.rollout.book.pages(), 2);
}

#[test]
fn errors_of_two_lives_of_the_agent_convict_together() {
    at_ten_percent()
        .when(seen().after(1).candidate(100, 2).stable(900, 0))
        .then([])
        .when(seen().after(1).agent_restarted().candidate(100, 2).stable(900, 0))
        .then(["back: judge", "0%", "rolledBack"]);
}

#[test]
fn the_same_tally_twice_counts_once() {
    let scene = at_ten_percent().when(seen().after(1).candidate(100, 2).stable(900, 5));
    assert_eq!(measured(&scene), 1);
    let scene = scene.when(seen().after(5));
    assert_eq!(measured(&scene), 0, "nothing new is nothing to write down");
    assert_eq!(scene.report.evidence.candidate, Counts { requests: 100, errors: 2 });
    let again =
        Command::Measure { instance: scene.seen.instance.clone(), tallies: scene.seen.tallies.clone() };
    assert_eq!(ship::decide(&scene.rollout, again, scene.now), Ok(vec![]));
}

#[test]
fn growing_counts_are_written_down_once_a_second_and_seldom_while_paused() {
    let scene = at_ten_percent().when(seen().after(1).candidate(1, 0));
    assert_eq!(measured(&scene), 1);
    let scene = scene.when(seen().candidate(1, 0));
    assert_eq!((measured(&scene), scene.report.evidence.candidate.requests), (0, 2));
    let scene = scene.when(seen().after(1));
    assert_eq!(measured(&scene), 1);
    let scene = scene.operator(Command::Pause).when(seen().after(29).candidate(1, 0));
    assert_eq!(measured(&scene), 0);
    assert_eq!(measured(&scene.when(seen().after(1))), 1);
}

#[test]
fn requests_from_before_the_rollout_are_nobodys() {
    let mut scene = given(canary([to(10), hold()]).promptly());
    scene.sees(&seen().candidate(1_000, 1_000).stable(10, 0));
    let scene = scene.when(seen().after(10)).is("paused");
    assert_eq!(scene.report.evidence.candidate, Counts::default());
    assert_eq!(scene.rollout.book.totals(), (Counts::default(), Counts::default()));
}

#[test]
fn each_epoch_is_weighed_with_its_own_weight() {
    let scene = given(canary([to(10), hold(), to(50), hold(), to(10), hold()]).promptly())
        .when(seen())
        .when(seen().after(60).candidate(1, 0).stable(9, 1))
        .operator(Command::Promote { full: false })
        .when(seen().after(60).candidate(5, 1).stable(5, 0))
        .operator(Command::Promote { full: false })
        .when(seen().after(60).candidate(2, 1).stable(18, 0));
    let stretches: Vec<(f64, u64, u64)> = scene
        .rollout
        .book
        .stretches()
        .iter()
        .map(|s| (s.weight, s.candidate.requests, s.stable.requests))
        .collect();
    assert_eq!(stretches, [(0.1, 3, 27), (0.5, 5, 5)]);
    assert_eq!(scene.rollout.book.candidate_in(scene.rollout.epoch), Counts { requests: 2, errors: 1 });
}

#[test]
fn a_book_without_epochs_takes_nothing() {
    let mut book = Book::default();
    let some = Counts { requests: 10, errors: 1 };
    book.enter(
        "a",
        &[EpochTally { epoch: Epoch(1), candidate: some, stable: some, ..EpochTally::default() }],
    );
    assert_eq!(book, Book::default());
    assert!(!book.covers(Epoch(1)));
}

#[test]
fn epochs_go_on_from_the_places_last_one() {
    let scene = given(canary([to(10), to(50), hold()]).promptly());
    assert_eq!((scene.rollout.epoch, scene.weight()), (Epoch(7), Weight::NONE));
    let scene = scene.when(seen());
    assert_eq!(scene.rollout.epoch, Epoch(9));
    let scene = scene.operator(Command::Abort);
    assert_eq!(scene.rollout.epoch, Epoch(10), "the way back opens an epoch too");
}
