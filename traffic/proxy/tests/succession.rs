//! A gateway that gives its sockets to a successor.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use proxy::{Config, Gateway, Listeners, Routing};
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn successor(of: &Gateway, routing: Routing) -> Gateway {
    let config = Config { workers: 1, ..Config::new(SocketAddr::from(([127, 0, 0, 1], 1))) };
    Gateway::start_on(config, of.listeners().unwrap(), &routing, &of.ejected()).unwrap()
}

#[tokio::test]
async fn a_successor_takes_new_connections_and_those_there_are_told_to_go_with_an_answer() {
    let first = gateway();
    Shop::only(named("one").await).on(&first);
    let mut kept = Client::to(&first).await;
    assert_eq!(kept.get("/").await.body, "one");
    let mut silent = Client::to(&first).await;
    until("both are accepted", || first.connections() == 2).await;

    let table = Routing { places: vec![Shop::only(named("two").await).0] };
    let second = successor(&first, table);
    assert_eq!(second.listen_address(), first.listen_address());
    first.yields();
    assert!(first.listeners().unwrap().traffic.is_empty());
    // A worker of the first that was about to accept may still do so, once.
    let mut in_a_row = 0;
    for _ in 0..200 {
        let answer = get(&second, "/").await;
        assert_eq!(answer.status, 200, "from the first request on, with a table");
        in_a_row = if answer.body == "two" { in_a_row + 1 } else { 0 };
        if in_a_row == 20 {
            break;
        }
    }
    assert_eq!(in_a_row, 20);
    // Resting and silent connections are not closed under a request that may be on its way.
    for client in [&mut kept, &mut silent] {
        let answer = client.get("/").await;
        assert_eq!((answer.body.as_str(), answer.header("connection")), ("one", Some("close")));
        assert!(client.is_closed().await);
    }
    tokio::time::timeout(PATIENCE, first.ended()).await.unwrap();
    assert_eq!(get(&second, "/").await.body, "two");
}

#[tokio::test]
async fn a_tunnel_outlives_the_yielding_and_the_table_can_still_be_swapped() {
    let first = gateway();
    let (addr, _) = raw(|_, mut socket| async move {
        let _ = read_head(&mut socket).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        let (mut from, mut to) = socket.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await;
    // A request makes sure that it is the first gateway that has accepted it.
    let mut kept = Client::to(&first).await;
    Shop::only(named("old").await).on(&first);
    assert_eq!(kept.get("/").await.body, "old");
    Shop::only(addr).on(&first);
    let mut tunnel = Client::to(&first).await;
    tunnel.send("GET / HTTP/1.1\r\nhost: s\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    assert!(read_head(&mut tunnel.0).await.starts_with("HTTP/1.1 101"));
    let second = successor(&first, Routing::default());
    first.yields();
    Shop::only(named("new").await).on(&first);
    assert_eq!(kept.get("/").await.body, "new");
    tunnel.send("still here").await;
    let mut back = [0; 10];
    tunnel.0.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"still here");
    assert_eq!(first.in_flight(&place(), model::ReleaseNumber(1), 0), 1);
    drop(tunnel);
    tokio::time::timeout(PATIENCE, first.ended()).await.unwrap();
    second.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn one_socket_serves_many_workers_and_many_sockets_are_all_served() {
    let config = Config { workers: 4, ..Config::new(SocketAddr::from(([127, 0, 0, 1], 0))) };
    let all = Listeners::bind(&config).unwrap();
    let only = Listeners { traffic: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()], admin: None };
    for (listeners, workers) in [(all, 1), (only, 4)] {
        let config = Config { workers, ..config.clone() };
        let table = Routing { places: vec![Shop::only(named("x").await).0] };
        let gateway = Gateway::start_on(config, listeners, &table, &[]).unwrap();
        for _ in 0..64 {
            assert_eq!(get(&gateway, "/").await.status, 200);
        }
    }
    let nothing = Gateway::start_on(config, Listeners::default(), &Routing::default(), &[]).unwrap_err();
    assert!(nothing.to_string().contains("no socket"), "{nothing}");
}

#[tokio::test]
async fn a_successor_leaves_out_what_was_left_out_before() {
    let first = gateway();
    let (well, ill) = (named("well").await, status(500).await);
    let table = || shop().share(1, 10_000).ready(1, 0, well).ready(1, 1, ill);
    table().on(&first);
    while first.ejected().is_empty() {
        get(&first, "/").await;
    }
    let second = successor(&first, Routing { places: vec![table().0] });
    assert_eq!(second.ejected(), first.ejected());
    first.shutdown(Duration::ZERO).await;
    for _ in 0..50 {
        assert_eq!(get(&second, "/").await.body, "well");
    }
    second.readmit(&place(), model::ReleaseNumber(1), 1);
    while second.ejected().is_empty() {
        get(&second, "/").await;
    }
    assert_eq!(second.ejected()[0].times, 2, "and the next time is longer");
}
