//! What the gateway does to heads, and which requests it refuses by their head.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;

#[tokio::test]
async fn hop_by_hop_headers_do_not_pass() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let answer = ask(
        &gateway,
        "GET /a?b=%2f HTTP/1.1\r\nhost: Shop.Example:80\r\nconnection: x-secret, keep-alive\r\nx-secret: 1\r\nkeep-alive: 5\r\nproxy-connection: x\r\nte: trailers, gzip\r\nx-kept: yes\r\n\r\n",
    )
    .await;
    assert!(answer.body.starts_with("GET /a?b=%2f HTTP/1.1\n"), "{}", answer.body);
    assert_eq!(answer.seen("host"), Some("Shop.Example:80"));
    assert_eq!(answer.seen("x-kept"), Some("yes"));
    assert_eq!(answer.seen("te"), Some("trailers"));
    for gone in ["x-secret", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.seen(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_do_not_come_back() {
    let gateway = gateway();
    let addr = backend(|_| async {
        let mut response = text(200, "x");
        for (name, value) in [("connection", "x-secret"), ("x-secret", "1"), ("shipshape-error", "fake")] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
    .await;
    Shop::only(addr).on(&gateway);
    let answer = get(&gateway, "/").await;
    assert_eq!(answer.status, 200);
    for gone in ["connection", "x-secret", "shipshape-error"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn forwarded_headers_name_the_client_last_and_replace_claims_about_us() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let answer = ask(
        &gateway,
        "GET / HTTP/1.1\r\nhost: shop\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\nforwarded: for=10.0.0.1\r\n\r\n",
    )
    .await;
    assert_eq!(answer.seen("x-forwarded-for"), Some("10.0.0.1, 127.0.0.1"));
    assert_eq!(answer.seen("x-forwarded-proto"), Some("http"));
    assert_eq!(answer.seen("x-forwarded-host"), Some("shop"));
    assert_eq!(answer.seen("forwarded"), Some("for=10.0.0.1, for=127.0.0.1;host=\"shop\";proto=http"));
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let answer = ask(&gateway, "GET / HTTP/1.1\r\nhost: s\r\nx-request-id: abc-1\r\n\r\n").await;
    assert_eq!((answer.seen("x-request-id"), answer.header("x-request-id")), (Some("abc-1"), Some("abc-1")));
    let answer = ask(&gateway, "GET / HTTP/1.1\r\nhost: s\r\nx-request-id: a b<\r\n\r\n").await;
    let made = answer.seen("x-request-id").unwrap();
    assert_eq!(made.len(), 32);
    assert_eq!(answer.header("x-request-id"), Some(made));
}

#[tokio::test]
async fn a_trace_is_continued_with_a_span_of_its_own_or_started() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let answer = ask(&gateway, &format!("GET / HTTP/1.1\r\nhost: s\r\ntraceparent: {given}\r\n\r\n")).await;
    let passed = answer.seen("traceparent").unwrap();
    assert_eq!((&passed[..36], &passed[52..]), (&given[..36], "-00"));
    assert_ne!(passed, given);
    let started = get(&gateway, "/").await;
    assert_eq!(started.seen("traceparent").unwrap().len(), 55);
}

#[tokio::test]
async fn heads_that_can_be_read_two_ways_are_refused() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let refused = [
        ("content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "SHP-GW-AMBIGUOUS-LENGTH"),
        ("transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n", "SHP-GW-AMBIGUOUS-LENGTH"),
        ("host: other\r\n\r\n", "SHP-GW-BAD-REQUEST"),
    ];
    for (rest, code) in refused {
        let mut client = Client::to(&gateway).await;
        let answer = client.send(&format!("POST / HTTP/1.1\r\nhost: shop\r\n{rest}")).await.answer().await;
        assert_eq!((answer.status, answer.header("shipshape-error")), (400, Some(code)), "{rest}");
    }
    for rest in ["content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "content-length: -1\r\n\r\n"] {
        let mut client = Client::to(&gateway).await;
        let answer = client.send(&format!("POST / HTTP/1.1\r\nhost: shop\r\n{rest}")).await.answer().await;
        assert_eq!(answer.status, 400, "{rest}");
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn targets_and_hosts_are_read_as_the_standard_says() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let absolute = ask(&gateway, "GET http://real.example/x?y HTTP/1.1\r\nhost: other\r\n\r\n").await;
    assert!(absolute.body.starts_with("GET /x?y "), "{}", absolute.body);
    assert_eq!(absolute.seen("host"), Some("real.example"));
    for (head, status) in [
        ("CONNECT shop:80 HTTP/1.1\r\nhost: shop:80\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /a/../b HTTP/1.1\r\nhost: s\r\n\r\n", 400),
        ("GET /a/%2e%2e/b HTTP/1.1\r\nhost: s\r\n\r\n", 400),
        ("GET //a/b%2fc HTTP/1.1\r\nhost: s\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\n\r\n", 200),
    ] {
        assert_eq!(ask(&gateway, head).await.status, status, "{head}");
    }
}

#[tokio::test]
async fn a_path_that_climbs_is_refused_once_and_the_next_request_is_served() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    let refused = client.get("/a/../b").await;
    assert_eq!((refused.status, refused.header("shipshape-error")), (400, Some("SHP-GW-DOT-SEGMENTS")));
    assert!(client.get("/next").await.body.starts_with("GET /next "));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let gateway = gateway_with(|config| {
        config.limits.header_bytes = 9_000;
        config.limits.buffer_bytes = 9_000;
    });
    Shop::only(mirror().await).on(&gateway);
    let large = format!("GET / HTTP/1.1\r\nhost: s\r\nx: {}\r\n\r\n", "y".repeat(9_500));
    assert_eq!(ask(&gateway, &large).await.status, 431);
    let many = format!("GET / HTTP/1.1\r\nhost: s\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert_eq!(ask(&gateway, &many).await.status, 431);
}

#[tokio::test]
async fn a_slow_head_and_a_silent_connection_are_closed() {
    let gateway = gateway_with(|config| config.limits.header_read = std::time::Duration::from_millis(50));
    Shop::only(mirror().await).on(&gateway);
    let mut slow = Client::to(&gateway).await;
    slow.send("GET / HTTP/1.1\r\nhost: ").await;
    assert!(slow.is_closed().await);
    assert!(Client::to(&gateway).await.is_closed().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let gateway = gateway();
    Shop::only(mirror().await).on(&gateway);
    let mut client = Client::to(&gateway).await;
    client
        .send("POST /1 HTTP/1.1\r\nhost: s\r\ncontent-length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nhost: s\r\n\r\n")
        .await;
    let (first, second) = (client.answer().await, client.answer().await);
    assert!(first.body.starts_with("POST /1 ") && first.seen("body") == Some("3"), "{}", first.body);
    assert!(second.body.starts_with("GET /2 "));
}
