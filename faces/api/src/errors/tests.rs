//! What the inbox says, and what it takes.

use std::path::Path;

use ::logs::Source;

use super::*;

fn place() -> Place {
    Place { service: "shop".parse().unwrap(), environment: "dev".parse().unwrap() }
}

fn keep(home: &Path) -> Keep {
    let keep = Keep::new(home.to_owned());
    keep.store("shop", "dev", true).unwrap().unwrap();
    keep
}

fn print(keep: &Keep, release: u64, at: i64, text: &str) {
    let store = keep.store("shop", "dev", true).unwrap().unwrap();
    let line = ::logs::Line { at, text: text.to_owned() };
    store.append("1/1", "m", Source { release, replica: 1 }, &[line]).unwrap();
}

fn served(release: u64) -> World {
    let mut world = World::default();
    world.lanes.insert(place(), Lane { stable: Some(ReleaseNumber(release)), ..Lane::default() });
    world
}

fn decide(world: &mut World, keep: &Keep, stance: Stance, id: &str) {
    let asked = Decide { place: place(), id: id.to_owned(), stance, actor: "ada".to_owned(), reason: None };
    let (fingerprint, decision) = decided(world, keep, &asked, 9).unwrap();
    let command = lifecycle::Command::DecideError { place: place(), fingerprint, decision };
    for event in lifecycle::decide(world, command, Timestamp::from_micros(9)).unwrap() {
        world.apply(&event, 1, Timestamp::from_micros(9)).unwrap();
    }
}

fn asked(world: &World, keep: &Keep, state: Which) -> Vec<ErrorGroup> {
    answer(world, keep, &Ask { state, ..Ask::default() }, 10).unwrap().errors
}

#[test]
fn what_the_newest_release_brought_comes_first_and_is_marked() {
    let home = tempfile::tempdir().unwrap();
    let keep = keep(home.path());
    print(&keep, 2, 1, "ERROR new 17");
    print(&keep, 1, 2, "ERROR old 1");
    print(&keep, 2, 3, "ERROR old 2");
    let world = served(2);
    let errors = asked(&world, &keep, Which::Open);
    let told: Vec<_> = errors.iter().map(|error| (error.is_new, error.count, error.first_release)).collect();
    assert_eq!(told, [(true, 1, 2), (false, 2, 1)]);
    assert_eq!(errors[1].releases, [InRelease { release: 1, count: 1 }, InRelease { release: 2, count: 1 }]);
    let said = warnings(&world, &keep, 10, |_| true);
    assert_eq!(said, ["1 error is new in release 2 of shop/dev: `shipshape errors --service shop -e dev`"]);
    let ask = Ask { id: Some(errors[0].id[..6].to_owned()), ..Ask::default() };
    let shown = answer(&world, &keep, &ask, 10).unwrap().errors.remove(0);
    assert_eq!(shown.sample.unwrap().line, "ERROR new 17");
}

#[test]
fn what_somebody_knows_is_out_of_the_way_until_a_later_release_has_it() {
    let home = tempfile::tempdir().unwrap();
    let keep = keep(home.path());
    print(&keep, 1, 1, "ERROR known");
    let mut world = served(1);
    let id = asked(&world, &keep, Which::Open).remove(0).id;
    decide(&mut world, &keep, Stance::Acknowledged, &id[..8]);
    print(&keep, 1, 2, "ERROR known");
    assert!(asked(&world, &keep, Which::Open).is_empty());
    assert!(warnings(&world, &keep, 10, |_| true).is_empty());
    let known = asked(&world, &keep, Which::Acknowledged).remove(0);
    assert_eq!((known.decided.unwrap().by.as_str(), known.count), ("ada", 2));
    print(&keep, 2, 3, "ERROR known");
    let open = asked(&world, &keep, Which::Open).remove(0);
    assert_eq!(open.reopened, Some(Reopened::NewerRelease));
    decide(&mut world, &keep, Stance::Resolved { from: Some(ReleaseNumber(3)) }, &id);
    print(&keep, 2, 4, "ERROR known");
    assert_eq!(asked(&world, &keep, Which::Resolved).len(), 1);
    decide(&mut world, &keep, Stance::Reopened, &id);
    assert_eq!(asked(&world, &keep, Which::Open).remove(0).reopened, None);
}

#[test]
fn who_names_no_error_is_told_how() {
    let home = tempfile::tempdir().unwrap();
    let keep = keep(home.path());
    print(&keep, 4, 1, "ERROR known");
    let world = served(4);
    let ask = |id: &str| {
        let ask = Ask { id: Some(id.to_owned()), ..Ask::default() };
        let problem = answer(&world, &keep, &ask, 10).unwrap_err();
        format!("{problem}; {}", problem.instead.as_deref().unwrap_or_default())
    };
    assert!(ask("ab").contains("at least 4 digits"));
    assert!(ask("00000000").contains("there is no error 00000000"));
    let id = asked(&world, &keep, Which::Open).remove(0).id;
    let stance = Stance::Resolved { from: Some(ReleaseNumber(4)) };
    let asked = Decide { place: place(), id, stance, actor: "ada".to_owned(), reason: None };
    let error = decided(&world, &keep, &asked, 9).unwrap_err().to_string();
    assert!(error.contains("was seen in release 4"), "{error}");
}
