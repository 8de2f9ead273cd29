//! Who gets a request: swaps, weights, load, counts.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::{Epoch, ReleaseNumber};
use support::*;
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_starts_on_the_old_table_after_a_swap() {
    let gateway = Arc::new(gateway());
    let stop = Arc::new(AtomicBool::new(false));
    let late = Arc::new(AtomicUsize::new(0));
    let mut flags = Vec::new();
    let mut addrs = Vec::new();
    for _ in 0..2 {
        let (flag, late) = (Arc::new(AtomicBool::new(false)), late.clone());
        flags.push(flag.clone());
        addrs.push(
            backend(move |_| {
                late.fetch_add(usize::from(flag.load(Ordering::SeqCst)), Ordering::SeqCst);
                async { text(200, "ok") }
            })
            .await,
        );
    }
    let table = |which: usize| shop().share(1, 10_000).ready(1, which as u32, addrs[which]);
    table(0).on(&gateway);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (gateway, stop) = (gateway.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut client, mut served) = (Client::to(&gateway).await, 0);
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(client.get("/").await.status, 200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    for round in 1..100 {
        let (new, old) = (round % 2, (round + 1) % 2);
        flags[new].store(false, Ordering::SeqCst);
        table(new).on(&gateway);
        // A request that was claimed before may reach the backend after: the counter tells when none is left.
        tokio::time::timeout(PATIENCE, gateway.drained(&place(), ReleaseNumber(1), old as u32))
            .await
            .unwrap();
        flags[old].store(true, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(get(&gateway, "/").await.status, 200);
        }
        assert_eq!(gateway.in_flight(&place(), ReleaseNumber(1), old as u32), 0);
    }
    stop.store(true, Ordering::SeqCst);
    let mut served = 0;
    for client in clients {
        served += client.await.unwrap();
    }
    assert_eq!(late.load(Ordering::SeqCst), 0);
    assert!(served > 16);
}

#[tokio::test]
async fn tallies_count_each_epoch_apart_and_by_release() {
    let gateway = gateway();
    let (good, bad) = (status(200).await, status(500).await);
    shop().share(1, 10_000).share(2, 0).ready(1, 0, good).ready(2, 0, bad).epoch(7).on(&gateway);
    for _ in 0..5 {
        get(&gateway, "/").await;
    }
    shop().share(1, 0).share(2, 10_000).ready(1, 0, good).ready(2, 0, bad).epoch(8).on(&gateway);
    for _ in 0..3 {
        get(&gateway, "/").await;
    }
    let tallies = gateway.tallies();
    let of = |epoch, release| {
        let tally = tallies.iter().find(|t| t.epoch == Epoch(epoch) && t.release == ReleaseNumber(release));
        tally.map(|tally| (tally.requests, tally.errors, tally.latency.total())).unwrap()
    };
    assert_eq!(of(7, 1), (5, 0, 5));
    assert_eq!(of(7, 2), (0, 0, 0));
    assert_eq!(of(8, 1), (0, 0, 0));
    assert_eq!(of(8, 2), (3, 3, 3));
}

#[tokio::test]
async fn only_so_many_epochs_are_kept() {
    let gateway = gateway();
    let addr = status(200).await;
    for epoch in 1..=200 {
        Shop::only(addr).epoch(epoch).on(&gateway);
    }
    let tallies = gateway.tallies();
    assert!((64..=100).contains(&tallies.len()), "{}", tallies.len());
    assert_eq!(tallies.last().unwrap().epoch, Epoch(200));
}

#[tokio::test]
async fn a_fallback_is_served_and_in_no_tally() {
    let gateway = gateway();
    shop().share(1, 9_999).share(2, 1).ready(2, 0, named("stand-in").await).on(&gateway);
    for _ in 0..4 {
        assert_eq!(get(&gateway, "/").await.body, "stand-in");
    }
    let judged: u64 = gateway.tallies().iter().map(|tally| tally.requests).sum();
    assert!(judged < 4, "the draw falls on the release without replicas nearly always");
    assert!(
        gateway.metrics_text().contains("version=\"2\",route=\"/\",method=\"GET\",status_class=\"2xx\"} 4")
    );
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_nowhere_and_cancels_its_request() {
    let gateway = gateway();
    let (reached, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reach, go) = (reached.clone(), gone.clone());
    let (addr, _) = raw(move |_, mut socket| {
        let (reach, go) = (reach.clone(), go.clone());
        async move {
            read_head(&mut socket).await;
            reach.notify_one();
            // The gateway closes this connection when its client is gone.
            read_head(&mut socket).await;
            go.notify_one();
        }
    })
    .await;
    Shop::only(addr).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, reached.notified()).await.unwrap();
    assert_eq!(gateway.in_flight(&place(), ReleaseNumber(1), 0), 1);
    drop(client);
    tokio::time::timeout(PATIENCE, gone.notified()).await.unwrap();
    until("the request is over", || gateway.in_flight(&place(), ReleaseNumber(1), 0) == 0).await;
    assert_eq!(gateway.tallies()[0].requests, 0);
    assert!(gateway.metrics_text().contains("shipshape_gateway_client_aborts_total 1"));
}

#[tokio::test]
async fn the_less_busy_replica_gets_the_next_request() {
    let gateway = gateway();
    let release = Arc::new(Notify::new());
    let (hold, slow_hits) = (release.clone(), Arc::new(AtomicUsize::new(0)));
    let hits = slow_hits.clone();
    let slow = backend(move |_| {
        let hold = hold.clone();
        hits.fetch_add(1, Ordering::SeqCst);
        async move {
            hold.notified().await;
            text(200, "slow")
        }
    })
    .await;
    let fast = named("fast").await;
    shop().share(1, 10_000).ready(1, 0, slow).on(&gateway);
    let mut waiting = Client::to(&gateway).await;
    waiting.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    until("the slow one is busy", || slow_hits.load(Ordering::SeqCst) == 1).await;
    shop().share(1, 10_000).ready(1, 0, slow).ready(1, 1, fast).on(&gateway);
    assert_eq!(gateway.in_flight(&place(), ReleaseNumber(1), 0), 1);
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/").await.body, "fast");
    }
    release.notify_one();
    assert_eq!(waiting.answer().await.body, "slow");
}

#[tokio::test]
async fn more_in_flight_than_the_route_allows_is_refused() {
    let gateway = gateway();
    let (release, busy) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (hold, tell) = (release.clone(), busy.clone());
    let addr = backend(move |_| {
        let (hold, tell) = (hold.clone(), tell.clone());
        async move {
            tell.notify_one();
            hold.notified().await;
            text(200, "x")
        }
    })
    .await;
    Shop::only(addr).route(|route| route.limits.in_flight = 1).on(&gateway);
    let mut first = Client::to(&gateway).await;
    first.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    busy.notified().await;
    let refused = get(&gateway, "/").await;
    assert_eq!((refused.status, refused.header("shipshape-error")), (503, Some("SHP-GW-IN-FLIGHT-LIMIT")));
    release.notify_one();
    assert_eq!(first.answer().await.status, 200);
}

#[tokio::test]
async fn metrics_name_route_version_method_and_class_within_their_limit() {
    let gateway = gateway_with(|config| {
        config.limits.series = 2;
        config.admin = Some(([127, 0, 0, 1], 0).into());
    });
    Shop::only(status(404).await).on(&gateway);
    for head in ["GET /orders/7", "GET /orders/8", "GET /x", "BREW /x", "POST /x"] {
        ask(&gateway, &format!("{head} HTTP/1.1\r\nhost: s\r\n\r\n")).await;
    }
    let mut scrape = Client(tokio::net::TcpStream::connect(gateway.admin_address().unwrap()).await.unwrap());
    let text = scrape.get("/metrics").await.body;
    let base = "app=\"shop\",environment=\"production\",version=\"1\"";
    for line in [
        format!(
            "http_requests_total{{{base},route=\"/orders/{{id}}\",method=\"GET\",status_class=\"4xx\"}} 2"
        ),
        format!("http_requests_total{{{base},route=\"/\",method=\"GET\",status_class=\"4xx\"}} 1"),
        format!("http_requests_total{{{base},route=\"other\",method=\"other\",status_class=\"4xx\"}} 1"),
        format!("http_requests_total{{{base},route=\"other\",method=\"POST\",status_class=\"4xx\"}} 1"),
        format!("http_request_duration_seconds_count{{{base},route=\"/orders/{{id}}\",method=\"GET\"}} 2"),
        "shipshape_gateway_series_collapsed_total 2".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert_eq!(scrape.get("/healthz").await.body, "ok\n");
}

#[tokio::test]
async fn a_bad_table_is_refused_and_the_old_one_stays() {
    let gateway = gateway();
    Shop::only(named("old").await).on(&gateway);
    let bad = shop().share(1, 5_000).0;
    assert!(gateway.swap(proxy::Routing { places: vec![bad] }).is_err());
    assert_eq!(get(&gateway, "/").await.body, "old");
}

#[tokio::test]
async fn a_preview_is_served_beside_the_weights_and_in_no_tally() {
    let gateway = gateway();
    let (old, new) = (named("old").await, named("new").await);
    let split = || shop().share(1, 10_000).share(2, 0).ready(1, 0, old).ready(2, 0, new);
    split().preview("next.test", Some(2)).on(&gateway);
    for _ in 0..5 {
        assert_eq!(get(&gateway, "/").await.body, "old");
        assert_eq!(get_from(&gateway, "next.test", "/orders/1").await.body, "new");
    }
    let counted: Vec<_> = gateway.tallies().iter().map(|tally| (tally.release.0, tally.requests)).collect();
    assert_eq!(counted, [(1, 5), (2, 0)]);
    let seen = "version=\"2\",route=\"/orders/{id}\",method=\"GET\",status_class=\"2xx\"} 5";
    assert!(gateway.metrics_text().contains(seen), "{}", gateway.metrics_text());
}

#[tokio::test]
async fn a_preview_without_its_release_never_shows_the_one_that_serves() {
    let gateway = gateway();
    let old = named("old").await;
    shop().share(1, 10_000).share(2, 0).ready(1, 0, old).preview("next.test", Some(2)).on(&gateway);
    assert_eq!(get_from(&gateway, "next.test", "/").await.status, 503);
    Shop::only(old).preview("next.test", None).on(&gateway);
    assert_eq!(get_from(&gateway, "next.test", "/").await.status, 404);
    assert_eq!(get(&gateway, "/").await.body, "old");
}
