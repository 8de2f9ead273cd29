//! Who is dealt which release, told through the table's public face: by a header route, by a cookie, by a header, by
//! chance. Does not live here: what the gateway makes of it on the wire (`proxy`).

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::time::Duration;

use model::assignment::{HeaderMatch, HeaderRoute, Pattern, SessionAffinity};
use model::route::{Limits, Route, Timeouts};
use model::{Epoch, Place, ReleaseNumber, Weight};
use proptest::prelude::*;
use routes::{Affinity, Aim, Assignment, DRAWS, Entry, Headers, Share, Table};

const OLD: ReleaseNumber = ReleaseNumber(1);
const NEW: ReleaseNumber = ReleaseNumber(2);
const COOKIE: &str = "shop-user";

/// Header lines, names in lower case.
struct Lines(Vec<(&'static str, Vec<u8>)>);

impl Headers for Lines {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().filter(|(given, _)| *given == name).any(|(_, value)| holds(value))
    }
}

fn lines(of: &[(&'static str, &str)]) -> Lines {
    Lines(of.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect())
}

fn known_by(key: &[u8]) -> Lines {
    Lines(vec![("x-user", key.to_vec())])
}

fn by_header() -> SessionAffinity {
    SessionAffinity::Header { name: "x-user".to_owned() }
}

fn by_cookie() -> SessionAffinity {
    SessionAffinity::Cookie { name: COOKIE.to_owned(), max_age: Duration::from_secs(3600) }
}

/// The old release and the new one, which has so many basis points.
fn entry(points: u16, by: SessionAffinity, salt: &str) -> Entry {
    let second = Duration::from_secs(1);
    let share = |release, points| Share {
        release,
        weight: Weight::from_basis_points(points).unwrap(),
        replicas: Vec::new(),
    };
    Entry {
        place: Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() },
        route: Route {
            hosts: Vec::new(),
            path_prefixes: Vec::new(),
            templates: Vec::new(),
            timeouts: Timeouts { connect: second, response: second, idle: second },
            limits: Limits { body_bytes: 1024, in_flight: 10 },
        },
        epoch: Epoch(1),
        shares: vec![share(OLD, 10_000 - points), share(NEW, points)],
        preview: None,
        aim: None,
        affinity: Some(Affinity { by, salt: salt.to_owned() }),
    }
}

fn table(points: u16, by: SessionAffinity, salt: &str) -> Table {
    Table::build(vec![entry(points, by, salt)]).unwrap()
}

fn assigned(table: &Table, headers: &impl Headers, chance: u16) -> Assignment {
    table.assign(0, headers, chance, || 0x5EED)
}

/// The release that a request's headers and chance lead to.
fn release(table: &Table, headers: &impl Headers, chance: u16) -> ReleaseNumber {
    let assigned = assigned(table, headers, chance);
    let entry = &table.entries()[0];
    let share = assigned.aimed.or_else(|| entry.draw(assigned.draw)).unwrap();
    entry.shares[share].release
}

fn header_match(name: &str, value: Pattern) -> HeaderMatch {
    HeaderMatch { header_name: name.to_owned(), header_value: value }
}

proptest! {
    #[test]
    fn a_user_on_the_new_release_stays_there_while_the_weight_grows(
        key in prop::collection::vec(any::<u8>(), 1..40),
        salt in ".{0,20}",
        mut weights in prop::collection::vec(0u16..=10_000, 2..8),
        chance in prop::collection::vec(0..DRAWS, 8),
    ) {
        weights.sort_unstable();
        let on_new = |(points, chance): (&u16, &u16)| {
            release(&table(*points, by_header(), &salt), &known_by(&key), *chance) == NEW
        };
        let seen: Vec<bool> = weights.iter().zip(&chance).map(on_new).collect();
        prop_assert!(seen.is_sorted(), "{seen:?} at {weights:?}");
    }

    #[test]
    fn a_user_never_flips_at_an_unchanged_weight(
        key in prop::collection::vec(any::<u8>(), 1..40), points in 0u16..=10_000, chance in [0..DRAWS, 0..DRAWS],
    ) {
        let table = table(points, by_header(), "rollout 1");
        let [first, second] = chance.map(|chance| assigned(&table, &known_by(&key), chance));
        prop_assert_eq!(first, second);
        prop_assert!(first.user.is_some_and(|user| !user.newcomer));
    }

    #[test]
    fn a_newcomer_comes_back_to_where_it_was_dealt(id: u128, points in 1u16..10_000, chance in 0..DRAWS) {
        let table = table(points, by_cookie(), "rollout 1");
        let first = table.assign(0, &lines(&[]), chance, || id);
        prop_assert!(first.user.unwrap().newcomer);
        let set = table.entries()[0].set_cookie(id).unwrap();
        let pair = set.split(';').next().unwrap();
        let again = table.assign(0, &lines(&[("cookie", &format!("theme=dark; {pair}"))]), chance, || !id);
        prop_assert_eq!(again.draw, first.draw);
        let user = again.user.unwrap();
        prop_assert!(!user.newcomer);
        prop_assert_eq!(user.number, first.user.unwrap().number);
    }

    /// HTTP/2 brings the crumbs of one cookie line apart, HTTP/1.1 brings them together.
    #[test]
    fn hostile_cookies_are_read_without_panic_and_the_same_apart_or_together(
        crumbs in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "(shop-user|Shop-User|x)?[ \t]{0,2}=?[ \t]{0,2}\"{0,2}[a-c;=\",]{0,4}\"{0,2}".prop_map(String::into_bytes),
            ],
            0..6,
        ),
        chance in 0..DRAWS,
    ) {
        let table = table(5_000, by_cookie(), "rollout 1");
        let together = Lines(vec![("cookie", crumbs.join(b"; ".as_slice()))]);
        let apart = Lines(crumbs.into_iter().map(|crumb| ("cookie", crumb)).collect());
        prop_assert_eq!(assigned(&table, &apart, chance), assigned(&table, &together, chance));
    }
}

#[test]
fn the_share_of_many_users_is_the_weight() {
    const USERS: u32 = 20_000;
    for points in [0, 1, 100, 500, 2_500, 5_000, 9_900, 10_000] {
        let table = table(points, by_header(), "shop/production: rollout 7");
        let keys = (0..USERS).map(|user| user.to_string().into_bytes());
        let found = keys.filter(|key| release(&table, &known_by(key), 0) == NEW).count() as f64;
        let (n, p) = (f64::from(USERS), f64::from(points) / 10_000.0);
        // Four standard deviations of what chance would deal.
        let most = 4.0 * (n * p * (1.0 - p)).sqrt();
        assert!((found - n * p).abs() <= most, "{found} of {USERS} users at {points} basis points");
    }
}

#[test]
fn another_salt_deals_the_users_anew() {
    const USERS: u32 = 4_000;
    let of = |salt| {
        let table = table(2_500, by_header(), salt);
        let keys = (0..USERS).map(|user| format!("user-{user}").into_bytes());
        keys.map(|key| release(&table, &known_by(&key), 0) == NEW).collect::<Vec<_>>()
    };
    let (first, second) = (of("rollout 1"), of("rollout 2"));
    assert_eq!(first, of("rollout 1"), "a salt deals the same on every worker and in every life");
    let both = first.iter().zip(&second).filter(|(a, b)| **a && **b).count();
    // A sixteenth of the users if the two know nothing of each other, a quarter if they were the same.
    assert!((170..=330).contains(&both), "{both} of {USERS} users are first both times");
}

#[test]
fn a_users_number_says_nothing_about_the_release() {
    let table = table(5_000, by_header(), "rollout 1");
    let even = (0..4_000u32).filter(|user| {
        let assigned = assigned(&table, &known_by(&user.to_be_bytes()), 0);
        (assigned.user.unwrap().number & 1 == 0) == (assigned.draw < 5_000)
    });
    assert!((1_850..=2_150).contains(&even.count()));
}

#[test]
fn a_cookie_is_found_among_others_and_nothing_else_is_taken_for_it() {
    let table = table(5_000, by_cookie(), "rollout 1");
    let user = |cookies: &[&str]| {
        let headers = Lines(cookies.iter().map(|line| ("cookie", line.as_bytes().to_vec())).collect());
        let assigned = assigned(&table, &headers, 0);
        let user = assigned.user.unwrap();
        (!user.newcomer).then_some((assigned.draw, user.number))
    };
    let anna = user(&["shop-user=anna"]);
    assert!(anna.is_some());
    for same in [
        &["a=b; shop-user=anna; c=d"] as &[&str],
        &["a=b", "shop-user=anna"],
        &["a=b;shop-user=anna"],
        &["  shop-user=anna\t; c=d"],
        &["shop-user=\"anna\""],
        &["shop-user=; shop-user=anna"],
        &["shop-user=\"\"; shop-user=anna"],
        &["shop-user=", "shop-user=anna"],
        &["shop-user=anna; shop-user=bert"],
        &[";;; =; shop-user=anna;"],
    ] {
        assert_eq!(user(same), anna, "{same:?}");
    }
    for nobody in [
        &[] as &[&str],
        &[""],
        &["shop-user"],
        &["shop-user="],
        &["shop-user=\"\""],
        &["Shop-User=anna"],
        &["shop-users=anna"],
        &["my-shop-user=anna"],
        &["a=shop-user=anna"],
        &["shop-user =anna"],
    ] {
        assert_eq!(user(nobody), None, "{nobody:?}");
    }
    let huge = format!("shop-user={}", "x".repeat(1 << 20));
    assert!(user(&[&huge]).is_some_and(|huge| Some(huge) != anna));
    for other in ["shop-user=Anna", "shop-user=\"anna", "shop-user=änna", "shop-user=anna=1"] {
        assert!(user(&[other]).is_some_and(|other| Some(other) != anna), "{other}");
    }
}

#[test]
fn who_cannot_be_known_is_left_to_chance() {
    let by_header = table(5_000, by_header(), "rollout 1");
    for headers in [lines(&[]), lines(&[("x-user", "")]), lines(&[("x-users", "anna")])] {
        for chance in [0, 4_999, 5_000, 9_999] {
            let expected = Assignment { aimed: None, draw: chance, user: None };
            assert_eq!(assigned(&by_header, &headers, chance), expected);
        }
    }
    let (first, second) = (lines(&[("x-user", ""), ("x-user", "anna")]), lines(&[("x-user", "anna")]));
    assert_eq!(assigned(&by_header, &first, 1), assigned(&by_header, &second, 2));
    assert_eq!(by_header.entries()[0].set_cookie(1), None, "the client brings the header itself");
}

#[test]
fn nobody_is_made_known_before_there_are_two_releases_to_choose_from() {
    for points in [0, 10_000] {
        let table = table(points, by_cookie(), "rollout 1");
        let assigned = table.assign(0, &lines(&[]), 7, || unreachable!("no id is needed"));
        assert_eq!(assigned, Assignment { aimed: None, draw: 7, user: None });
        let known = lines(&[("cookie", "shop-user=anna")]);
        assert!(table.assign(0, &known, 7, || 0).user.is_some(), "who is known stays known");
    }
}

#[test]
fn a_cookie_is_kept_from_scripts_and_other_sites_and_lasts_as_long_as_declared() {
    let set = entry(5_000, by_cookie(), "rollout 1").set_cookie(0xAB).unwrap();
    let value = format!("{:032x}", 0xAB);
    assert_eq!(set, format!("shop-user={value}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"));
}

#[test]
fn a_header_route_goes_before_the_user_and_needs_all_of_its_matches() {
    let mut entry = entry(0, by_cookie(), "rollout 1");
    let route = |name: &str, matches| HeaderRoute { name: name.to_owned(), matches };
    let yes = header_match("X-Beta", Pattern::Exact("yes".to_owned()));
    let team = header_match("x-team", Pattern::Prefix("ship".to_owned()));
    let agent = header_match("user-agent", Pattern::Regex("test-[0-9]+".to_owned()));
    entry.aim = Some(Aim {
        release: NEW,
        routes: vec![route("both", vec![yes, team]), route("agent", vec![agent]), route("gone", vec![])],
    });
    let table = Table::build(vec![entry]).unwrap();
    for (headers, led) in [
        (lines(&[("x-beta", "yes"), ("x-team", "shipping")]), true),
        (lines(&[("x-beta", "no"), ("x-beta", "yes"), ("x-team", "ship"), ("cookie", "shop-user=a")]), true),
        (lines(&[("user-agent", "test-12")]), true),
        (lines(&[("x-beta", "yes")]), false),
        (lines(&[("x-beta", "Yes"), ("x-team", "ship")]), false),
        (lines(&[("user-agent", "a test-12")]), false),
        (lines(&[]), false),
    ] {
        let assigned = assigned(&table, &headers, 3);
        assert_eq!(assigned.aimed, led.then_some(1), "{:?}", headers.0);
        assert!(!led || assigned.user.is_none(), "who is led was not dealt, and is nobody's evidence");
        assert_eq!(release(&table, &headers, 3), if led { NEW } else { OLD });
    }
}
