//! Counting: epochs, lives of the counter, and what is written down when.

use model::{Epoch, Weight};
use ship::book::Book;
use ship::users::{UserTally, Users};
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
fn many_lives_of_the_agent_take_no_more_room_than_three() {
    let mut scene = at_ten_percent();
    for life in 1..=50 {
        scene = scene.when(seen().after(1).agent_restarted().candidate(10, 0).stable(90, 1));
        assert_eq!(scene.report.evidence.candidate, Counts { requests: 10 * life, errors: 0 });
        assert_eq!(scene.report.evidence.stable, Counts { requests: 90 * life, errors: life });
        assert_eq!(scene.rollout.book.candidate_by(&scene.seen.instance), Counts { requests: 10, errors: 0 });
    }
    assert_eq!(scene.rollout.book.pages(), 3);
}

#[test]
fn a_life_that_comes_back_after_a_successor_that_failed_is_not_counted_twice() {
    let scene = at_ten_percent();
    let mut book = scene.rollout.book.clone();
    let tally = |requests| {
        let counts = Counts { requests, errors: requests / 10 };
        [EpochTally { epoch: scene.rollout.epoch, candidate: counts, ..EpochTally::default() }]
    };
    for (instance, requests, total) in
        [("a", 100, 100), ("b", 30, 130), ("a", 100, 130), ("a", 150, 180), ("b", 50, 200), ("c", 10, 210)]
    {
        book.enter(instance, &tally(requests));
        assert_eq!(book.totals().0, Counts { requests: total, errors: total / 10 }, "{instance} {requests}");
        assert!(book.news(instance, &tally(requests)).is_empty());
    }
    assert_eq!(book.news("b", &tally(50)), [], "what the life before had counted is no news");
    assert_eq!(book.pages(), 3);
}

#[test]
fn users_of_a_life_that_comes_back_are_those_it_saw_and_what_was_aimed_is_added_once() {
    let scene = at_ten_percent().when(seen().after(1).candidate(1, 0));
    let (mut book, epoch) = (scene.rollout.book.clone(), scene.rollout.epoch);
    let tally = |seen, aimed| {
        let candidate = Users { seen, erred: 1, first_erred: 1 };
        let users = UserTally { candidate, ..UserTally::default() };
        [EpochTally { epoch, users, aimed: Counts { requests: aimed, errors: 0 }, ..EpochTally::default() }]
    };
    for (instance, seen, aimed, lives) in [("a", 40, 100, 2), ("b", 10, 30, 3), ("a", 45, 110, 4)] {
        book.enter(instance, &tally(seen, aimed));
        assert_eq!((book.users().candidate.seen, book.lives()), (seen, lives), "{instance}");
        assert_eq!(book.users_in(epoch).candidate.seen, seen);
        assert_eq!(book.candidate_by(instance).requests, aimed);
    }
    assert_eq!(book.aimed().requests, 140, "110 by one, 30 by the other");
}

#[test]
fn what_a_life_counted_in_an_epoch_that_is_over_is_known_when_it_comes_back_in_another() {
    let scene = given(canary([to(10), to(50), hold()]).promptly()).when(seen());
    let (first, second) = (Epoch(8), scene.rollout.epoch);
    assert_eq!(second, Epoch(9));
    let mut book = scene.rollout.book.clone();
    let tally = |epoch, seen| {
        let users = UserTally { candidate: Users { seen, ..Users::default() }, ..UserTally::default() };
        let candidate = Counts { requests: seen, errors: 0 };
        EpochTally { epoch, candidate, users, ..EpochTally::default() }
    };
    book.enter("a", &[tally(first, 40)]);
    book.enter("b", &[tally(first, 7)]);
    let back = [tally(first, 40), tally(second, 5)];
    let news = book.news("a", &back);
    assert_eq!(news, [back[1]], "the epoch that is over has nothing new");
    book.enter("a", &news);
    assert_eq!(book.users().candidate.seen, 45);
    assert_eq!(book.candidate_by("a").requests, 45);
    assert_eq!(book.totals().0.requests, 52);
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
