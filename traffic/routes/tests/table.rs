//! What the table answers, told through its public face.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use model::route::{Limits, Route, Timeouts};
use model::{Epoch, Place, ReleaseNumber, Weight};
use proptest::prelude::*;
use routes::{DRAWS, Entry, Error, Preview, Replica, Share, Table};

fn place(service: &str) -> Place {
    Place { service: service.parse().unwrap(), environment: "production".parse().unwrap() }
}

fn route(hosts: &[&str], prefixes: &[&str]) -> Route {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let second = Duration::from_secs(1);
    Route {
        hosts: owned(hosts),
        path_prefixes: owned(prefixes),
        templates: Vec::new(),
        timeouts: Timeouts { connect: second, response: second, idle: second },
        limits: Limits { body_bytes: 1024, in_flight: 10 },
    }
}

fn entry(service: &str, hosts: &[&str], prefixes: &[&str]) -> Entry {
    Entry {
        place: place(service),
        route: route(hosts, prefixes),
        epoch: Epoch(1),
        shares: vec![share(1, 10_000, 1)],
        preview: None,
        aim: None,
        affinity: None,
    }
}

fn share(release: u64, points: u16, replicas: u32) -> Share {
    let addr = |ordinal: u32| SocketAddr::from(([127, 0, 0, 1], 1000 + ordinal as u16));
    Share {
        release: ReleaseNumber(release),
        weight: Weight::from_basis_points(points).unwrap(),
        replicas: (0..replicas).map(|ordinal| Replica { ordinal, addr: addr(ordinal) }).collect(),
    }
}

fn split(shares: Vec<Share>) -> Entry {
    Entry { shares, ..entry("shop", &[], &[]) }
}

fn found(table: &Table, host: &str, path: &str) -> Option<String> {
    table.find(host, path).map(|found| table.entries()[found.entry].place.service.to_string())
}

#[test]
fn the_most_specific_host_wins_then_the_longest_prefix() {
    let table = Table::build(vec![
        entry("any", &["*"], &["/"]),
        entry("below", &["*.example.org"], &["/"]),
        entry("deep", &["*.shop.example.org"], &["/"]),
        entry("exact", &["a.shop.example.org"], &["/api"]),
        entry("longer", &["a.shop.example.org"], &["/api/v2/"]),
    ])
    .unwrap();
    for (host, path, service) in [
        ("a.shop.example.org", "/api", "exact"),
        ("A.Shop.Example.Org.:8080", "/api/v1", "exact"),
        ("a.shop.example.org", "/api/v2", "longer"),
        ("a.shop.example.org", "/api/v20", "exact"),
        ("a.shop.example.org", "/other", "deep"),
        ("b.shop.example.org", "/", "deep"),
        ("shop.example.org", "/", "below"),
        ("example.org", "/", "any"),
        ("", "/", "any"),
    ] {
        assert_eq!(found(&table, host, path).as_deref(), Some(service), "{host}{path}");
    }
}

#[test]
fn a_request_that_nobody_claims_is_found_nowhere() {
    let table = Table::build(vec![entry("shop", &["shop"], &["/api"])]).unwrap();
    assert_eq!(found(&table, "shop", "/apix"), None);
    assert_eq!(found(&table, "shop", "//api"), None);
    assert_eq!(found(&table, "other", "/api"), None);
}

#[test]
fn a_duplicate_claim_names_both_places() {
    let error =
        Table::build(vec![entry("a", &["X.org"], &["/p/"]), entry("b", &["x.org"], &["/p"])]).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Conflict(_)));
    assert!(text.contains("a/production") && text.contains("b/production"), "{text}");
}

#[test]
fn bad_entries_are_refused() {
    let bad = |change: fn(&mut Entry)| {
        let mut entry = entry("shop", &["shop"], &["/"]);
        change(&mut entry);
        Table::build(vec![entry]).unwrap_err()
    };
    assert!(matches!(bad(|e| e.route.hosts = vec!["a/b".into()]), Error::Host { .. }));
    assert!(matches!(bad(|e| e.route.path_prefixes = vec!["api".into()]), Error::Prefix { .. }));
    assert!(matches!(bad(|e| e.route.path_prefixes = vec!["/a/..".into()]), Error::Prefix { .. }));
    assert!(matches!(bad(|e| e.route.templates = vec!["/{".into()]), Error::Template { .. }));
    assert!(matches!(bad(|e| e.shares = vec![share(1, 10, 1)]), Error::Weights { points: 10, .. }));
    assert!(matches!(bad(|e| e.shares = vec![share(1, 5000, 1), share(1, 5000, 1)]), Error::Release { .. }));
    let twice = Table::build(vec![entry("a", &["a"], &[]), entry("a", &["b"], &[])]);
    assert!(matches!(twice, Err(Error::Twice(_))));
}

#[test]
fn the_label_is_the_most_specific_template_or_the_prefix() {
    let mut shop = entry("shop", &[], &["/orders", "/static"]);
    shop.route.templates =
        ["/orders/{rest...}", "/orders/{id}", "/orders/new", "/{any}/{thing}"].map(str::to_owned).to_vec();
    let table = Table::build(vec![shop]).unwrap();
    let label = |path: &str| {
        let found = table.find("", path).unwrap();
        table.labels(found.entry)[found.label].clone()
    };
    assert_eq!(label("/orders/new"), "/orders/new");
    assert_eq!(label("/orders/7"), "/orders/{id}");
    assert_eq!(label("/orders/7/items"), "/orders/{rest...}");
    assert_eq!(label("/static/x"), "/{any}/{thing}");
    assert_eq!(label("/static/x/y"), "/static");
}

#[test]
fn each_share_is_drawn_exactly_as_often_as_it_weighs() {
    let entry = split(vec![share(1, 9_000, 0), share(2, 0, 3), share(3, 1_000, 1)]);
    let mut drawn = [0; 3];
    for draw in 0..DRAWS {
        drawn[entry.draw(draw).unwrap()] += 1;
    }
    assert_eq!(drawn, [9_000, 0, 1_000]);
}

#[test]
fn a_release_without_replicas_falls_back_to_one_with_weight_only() {
    let entry = split(vec![share(1, 9_000, 0), share(2, 1_000, 2), share(3, 0, 5)]);
    let choice = entry.choose(0, 7, |_, _| true, |_, _| 0).unwrap();
    assert_eq!((choice.share, choice.fallback), (1, true));
    let entry = split(vec![share(1, 10_000, 0), share(3, 0, 5)]);
    assert_eq!(entry.choose(0, 7, |_, _| true, |_, _| 0), None);
    assert_eq!(split(vec![]).choose(0, 7, |_, _| true, |_, _| 0), None);
}

#[test]
fn the_less_loaded_of_two_is_chosen() {
    let entry = split(vec![share(1, 10_000, 2)]);
    for luck in 0..64u64 {
        let choice =
            entry.choose(1, luck << 26 | luck << 58, |_, _| true, |_, replica| [9, 2][replica]).unwrap();
        assert_eq!(choice.replica, 1);
    }
}

fn shares() -> impl Strategy<Value = Vec<Share>> {
    (0u16..=10_000, 0u16..=10_000, 0u32..4, 0u32..4, 0u32..4).prop_map(|(a, b, x, y, z)| {
        let (low, high) = (a.min(b), a.max(b));
        vec![share(1, low, x), share(2, high - low, y), share(3, 10_000 - high, z)]
    })
}

proptest! {
    #[test]
    fn a_choice_is_always_usable_and_weighted(
        shares in shares(), draw in 0..DRAWS, luck: u64, mask: u16, loads in prop::array::uniform4(0u32..9),
    ) {
        let entry = split(shares);
        let usable = |share: usize, replica: usize| mask >> (share * 4 + replica) & 1 == 1;
        let offers = |share: usize| (0..entry.shares[share].replicas.len()).any(|r| usable(share, r));
        let drawn = entry.draw(draw).unwrap();
        let served = (0..3).any(|s| entry.shares[s].weight > Weight::NONE && offers(s));
        match entry.choose(draw, luck, usable, |_, replica| loads[replica]) {
            Some(choice) => {
                prop_assert!(usable(choice.share, choice.replica));
                prop_assert!(entry.shares[choice.share].weight > Weight::NONE);
                prop_assert_eq!(choice.fallback, choice.share != drawn);
                prop_assert_eq!(choice.fallback, !offers(drawn));
            }
            None => prop_assert!(!served),
        }
    }

    #[test]
    fn the_most_loaded_of_many_is_never_chosen(luck: u64, worst in 0usize..4) {
        let entry = split(vec![share(1, 10_000, 4)]);
        let choice = entry.choose(0, luck, |_, _| true, |_, r| u32::from(r == worst)).unwrap();
        prop_assert_ne!(choice.replica, worst);
    }

    #[test]
    fn any_host_and_path_is_answered_without_panic(host in ".*", path in ".*") {
        let table = Table::build(vec![entry("shop", &["*.org", "*"], &["/a"])]).unwrap();
        table.find(&host, &path);
        routes::path::climbs(&path);
    }
}

fn previewed(release: Option<u64>) -> Entry {
    let preview = Preview {
        route: Route { templates: vec!["/orders/{id}".to_owned()], ..route(&["next.test"], &["/", "/api"]) },
        release: release.map(ReleaseNumber),
    };
    Entry {
        shares: vec![share(1, 10_000, 2), share(2, 0, 2)],
        preview: Some(preview),
        ..entry("shop", &["*"], &["/"])
    }
}

#[test]
fn a_preview_is_found_by_its_host_alone_and_labelled_by_its_own_route() {
    let table = Table::build(vec![previewed(Some(2))]).unwrap();
    let told = |host, path| {
        let found = table.find(host, path).unwrap();
        (found.preview, table.labels(found.entry)[found.label].as_str())
    };
    assert_eq!(told("shop.test", "/orders/7"), (false, "/"));
    assert_eq!(told("Next.test:80", "/orders/7"), (true, "/orders/{id}"));
    assert_eq!(told("next.test", "/api/x"), (true, "/api"));
    assert_eq!(told("next.test", "/x"), (true, "/"));
}

#[test]
fn a_preview_gets_its_release_or_nobody() {
    let any = |_: usize, _: usize| true;
    let idle = |_: usize, _: usize| 0;
    let entry = previewed(Some(2));
    for luck in 0..64u64 {
        let choice = entry.choose_preview(luck << 56, any, idle).unwrap();
        assert_eq!((choice.share, choice.fallback), (1, false));
        let drawn = entry.choose(luck as u16 * 150, luck, any, idle).unwrap();
        assert_eq!(drawn.share, 0, "a preview takes no share of the requests");
    }
    assert_eq!(
        entry.choose_preview(0, |share, _| share == 0, idle),
        None,
        "the one that serves is no stand-in"
    );
    assert_eq!(previewed(None).choose_preview(0, any, idle), None);
}

#[test]
fn a_preview_that_reaches_nobody_or_takes_what_is_served_is_refused() {
    assert!(matches!(Table::build(vec![previewed(Some(3))]), Err(Error::Preview { .. })));
    let mut everywhere = previewed(Some(2));
    everywhere.preview.as_mut().unwrap().route.hosts.clear();
    assert!(matches!(Table::build(vec![everywhere]), Err(Error::Preview { .. })));
    let mut own = previewed(Some(2));
    own.preview.as_mut().unwrap().route.hosts = vec!["*".to_owned()];
    assert!(matches!(Table::build(vec![own]), Err(Error::Conflict(_))));
    let other = entry("other", &["next.test"], &["/api"]);
    assert!(matches!(Table::build(vec![previewed(None), other]), Err(Error::Conflict(_))));
}
