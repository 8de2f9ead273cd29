//! Who is led where by headers, and who stays with a release, on the wire: the same over plain HTTP/1.1 and over HTTP/2,
//! which are two ways through the gateway. Does not live here: how a user is dealt a release (`routes`).
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::assignment::SessionAffinity;
use model::{Epoch, ReleaseNumber};
use proxy::Gateway;
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Http2,
}

const WAYS: [Way; 2] = [Way::Plain, Way::Http2];
const SALT: &str = "shop/production: rollout 1";

/// What came back.
#[derive(Debug)]
struct Told {
    status: u16,
    /// Every `Set-Cookie`, in order.
    cookies: Vec<String>,
    body: String,
}

impl Told {
    /// The user's cookie as the client sends it back.
    fn user(&self) -> Option<&str> {
        self.cookies.iter().find(|it| it.starts_with("shop-user="))?.split(';').next()
    }
}

async fn ask(gateway: &Gateway, way: Way, headers: &[(&str, &[u8])]) -> Told {
    tokio::time::timeout(PATIENCE, async {
        match way {
            Way::Plain => plain(gateway, headers).await,
            Way::Http2 => over_http2(gateway, headers).await,
        }
    })
    .await
    .unwrap()
}

async fn plain(gateway: &Gateway, headers: &[(&str, &[u8])]) -> Told {
    let mut client = Client::to(gateway).await;
    let mut head = b"GET / HTTP/1.1\r\nhost: shop\r\n".to_vec();
    for (name, value) in headers {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    client.0.write_all(&head).await.unwrap();
    let answer = client.answer().await;
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    let cookies = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookies = cookies.map(|(_, value)| value.to_owned()).collect();
    Told { status: answer.status, cookies, body: answer.body }
}

async fn over_http2(gateway: &Gateway, headers: &[(&str, &[u8])]) -> Told {
    let socket = TcpStream::connect(gateway.listen_address()).await.unwrap();
    let opened = http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(socket)).await;
    let (mut sender, connection) = opened.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get("http://shop/").version(Version::HTTP_2);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let answer = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
    let cookies = answer.headers().get_all("set-cookie").iter();
    let cookies = cookies.map(|value| value.to_str().unwrap().to_owned()).collect();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Told { status, cookies, body: String::from_utf8(body.to_vec()).unwrap() }
}

fn by_cookie() -> SessionAffinity {
    SessionAffinity::Cookie { name: "shop-user".to_owned(), max_age: Duration::from_secs(3600) }
}

fn by_header() -> SessionAffinity {
    SessionAffinity::Header { name: "x-user".to_owned() }
}

/// The old and the new release, which stands last and has so many basis points.
#[derive(Clone, Copy)]
struct Pair {
    old: SocketAddr,
    new: SocketAddr,
}

impl Pair {
    async fn up() -> Self {
        Self { old: named("old").await, new: named("new").await }
    }

    fn at(self, points: u16) -> Shop {
        shop().share(1, 10_000 - points).share(2, points).ready(1, 0, self.old).ready(2, 0, self.new)
    }

    fn kept(self, points: u16) -> Shop {
        self.at(points).keeping(by_cookie(), SALT)
    }
}

/// Waits until so many requests have been counted, led ones included.
async fn counted(gateway: &Gateway, requests: u64) {
    let sum = || gateway.tallies().iter().map(|tally| tally.requests + tally.aimed.requests).sum::<u64>();
    until("every request is counted", || sum() == requests).await;
}

/// So many newcomers, by turns over both ways: the cookie of each, and who served it.
async fn newcomers(gateway: &Gateway, count: usize) -> Vec<(String, String)> {
    let mut users = Vec::new();
    for turn in 0..count {
        let told = ask(gateway, WAYS[turn % 2], &[]).await;
        users.push((told.user().unwrap().to_owned(), told.body));
    }
    users
}

#[tokio::test]
async fn a_newcomer_gets_one_cookie_with_sound_attributes() {
    let (gateway, pair) = (gateway(), Pair::up().await);
    pair.kept(5_000).on(&gateway);
    for way in WAYS {
        let told = ask(&gateway, way, &[("cookie", b"theme=dark; shop-user=")]).await;
        assert_eq!((told.status, told.cookies.len()), (200, 1), "{way:?}: {told:?}");
        let (pair, attributes) = told.cookies[0].split_once("; ").unwrap();
        let id = pair.strip_prefix("shop-user=").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax", "{way:?}");
        assert_ne!(ask(&gateway, way, &[]).await.user(), Some(pair), "each newcomer is somebody else");
    }
}

#[tokio::test]
async fn a_user_who_comes_back_is_served_by_the_same_release_on_either_way_and_gets_no_second_cookie() {
    let (gateway, pair) = (gateway(), Pair::up().await);
    pair.kept(5_000).on(&gateway);
    let users = newcomers(&gateway, 40).await;
    for (cookie, release) in &users {
        let cookies = format!("theme=dark; {cookie}; lang=en");
        for way in WAYS {
            let told = ask(&gateway, way, &[("cookie", cookies.as_bytes())]).await;
            assert_eq!((told.body.as_str(), told.cookies.len()), (release.as_str(), 0), "{way:?} {cookie}");
        }
        let crumbs = ask(&gateway, Way::Http2, &[("cookie", b"a=b"), ("cookie", cookie.as_bytes())]).await;
        assert_eq!((crumbs.body.as_str(), crumbs.cookies.len()), (release.as_str(), 0));
    }
    let on_new = users.iter().filter(|(_, release)| release == "new").count();
    assert!((1..40).contains(&on_new), "half of forty, but for luck of one in a million million");
}

#[tokio::test]
async fn users_move_to_the_new_release_while_its_weight_grows_and_to_the_old_one_when_it_goes_back() {
    let (gateway, pair) = (gateway(), Pair::up().await);
    pair.kept(3_000).epoch(1).on(&gateway);
    let mut users = newcomers(&gateway, 40).await;
    for (epoch, points) in [(2, 3_000), (3, 6_000), (4, 9_000), (5, 10_000)] {
        pair.kept(points).epoch(epoch).on(&gateway);
        for (turn, (cookie, release)) in users.iter_mut().enumerate() {
            let told = ask(&gateway, WAYS[turn % 2], &[("cookie", cookie.as_bytes())]).await;
            assert!(told.cookies.is_empty());
            assert!(told.body == "new" || release == "old", "{cookie} went back at {points}");
            assert!(told.body == *release || points > 3_000, "{cookie} flips at an unchanged weight");
            *release = told.body;
        }
    }
    assert!(users.iter().all(|(_, release)| release == "new"));
    // On the way back the old release has all, first with the rollout still open, then without; the bad one still runs.
    let closed = || shop().share(1, 10_000).ready(1, 0, pair.old).epoch(7);
    for back in [pair.kept(0).epoch(6), closed()] {
        back.on(&gateway);
        for (turn, (cookie, _)) in users.iter().enumerate() {
            let told = ask(&gateway, WAYS[turn % 2], &[("cookie", cookie.as_bytes())]).await;
            assert_eq!((told.body.as_str(), told.cookies.len()), ("old", 0));
        }
        for way in WAYS {
            assert!(ask(&gateway, way, &[]).await.cookies.is_empty(), "there is nothing to be known for");
        }
    }
}

#[tokio::test]
async fn a_header_leads_to_the_canary_at_weight_zero_and_makes_nobody_known() {
    let (gateway, pair) = (gateway(), Pair::up().await);
    pair.kept(0).led(2, "x-beta", "yes").on(&gateway);
    for way in WAYS {
        let led = ask(&gateway, way, &[("x-beta", b"yes"), ("cookie", b"shop-user=anna")]).await;
        assert_eq!((led.body.as_str(), led.cookies.len()), ("new", 0), "{way:?}");
        for other in [&[] as &[(&str, &[u8])], &[("x-beta", b"no")], &[("x-beta", b"Yes")]] {
            let told = ask(&gateway, way, other).await;
            assert_eq!((told.body.as_str(), told.cookies.len()), ("old", 0), "{way:?} {other:?}");
        }
    }
    pair.kept(5_000).led(2, "x-beta", "yes").epoch(2).on(&gateway);
    for way in WAYS {
        let led = ask(&gateway, way, &[("x-beta", b"yes")]).await;
        assert_eq!((led.body.as_str(), led.cookies.len()), ("new", 0), "who is led was not dealt");
    }
    counted(&gateway, 10).await;
    let tallies = gateway.tallies();
    let of = |epoch, release| {
        let tally = tallies.iter().find(|t| t.epoch == Epoch(epoch) && t.release == ReleaseNumber(release));
        tally.map(|tally| (tally.requests, tally.aimed.requests)).unwrap()
    };
    assert_eq!((of(1, 1), of(1, 2), of(2, 2)), ((6, 0), (0, 2), (0, 2)));
    pair.kept(0).epoch(3).on(&gateway);
    for way in WAYS {
        assert_eq!(ask(&gateway, way, &[("x-beta", b"yes")]).await.body, "old", "the route is gone");
    }
}

#[tokio::test]
async fn a_forged_cookie_is_harmless() {
    let (gateway, pair) = (gateway(), Pair::up().await);
    pair.kept(5_000).on(&gateway);
    let huge = [b"shop-user=".as_slice(), &[b'x'; 16 * 1024]].concat();
    for forged in [
        b"shop-user=admin".as_slice(),
        b"shop-user=../../etc/passwd",
        b"shop-user=00000000000000000000000000000000",
        b"shop-user=\"; shop-user=\"x",
        b"shop-user=' OR 1=1 --",
        b"shop-user=\xff\xfe\x80",
        "shop-user=jürgen".as_bytes(),
        b"shop-user=a%0d%0aset-cookie:%20b=c",
        huge.as_slice(),
    ] {
        let mut served = Vec::new();
        for way in [Way::Plain, Way::Http2, Way::Plain] {
            let told = ask(&gateway, way, &[("cookie", forged)]).await;
            assert_eq!((told.status, told.cookies.len()), (200, 0), "{way:?} {told:?}");
            served.push(told.body);
        }
        served.dedup();
        assert_eq!(served.len(), 1, "a forged user is a user like any other: {served:?}");
    }
    pair.kept(0).epoch(2).on(&gateway);
    for way in WAYS {
        let told = ask(&gateway, way, &[("cookie", b"shop-user=release-2; shop-user=new")]).await;
        assert_eq!(told.body, "old", "no cookie leads to a release without a share");
    }
}

#[tokio::test]
async fn the_services_own_cookies_reach_the_client() {
    let gateway = gateway();
    let shop_with_session = backend(|_| async {
        let answer =
            Response::builder().header("set-cookie", "session=1; Secure").header("Set-Cookie", "b=2");
        answer.body(Full::new(Bytes::from_static(b"own"))).unwrap()
    })
    .await;
    Pair { old: shop_with_session, new: shop_with_session }.kept(5_000).on(&gateway);
    for way in WAYS {
        let first = ask(&gateway, way, &[]).await;
        assert_eq!(first.cookies[..2], ["session=1; Secure", "b=2"], "{way:?}");
        assert_eq!((first.cookies.len(), first.body.as_str()), (3, "own"));
        let user = first.user().unwrap();
        let again = ask(&gateway, way, &[("cookie", format!("session=1; {user}").as_bytes())]).await;
        assert_eq!(again.cookies, ["session=1; Secure", "b=2"], "{way:?}");
    }
}

#[tokio::test]
async fn the_replica_sees_the_clients_cookies_as_they_were() {
    let gateway = gateway();
    let replica = mirror().await;
    Pair { old: replica, new: replica }.kept(5_000).on(&gateway);
    for way in WAYS {
        let told = ask(&gateway, way, &[("cookie", b"a=b; shop-user=anna")]).await;
        assert!(told.body.contains("cookie: a=b; shop-user=anna\n"), "{way:?} {}", told.body);
        let newcomer = ask(&gateway, way, &[("cookie", b"a=b")]).await;
        assert!(newcomer.body.contains("cookie: a=b\n"), "{way:?} {}", newcomer.body);
    }
}

#[tokio::test]
async fn a_newcomer_whose_first_replica_is_gone_is_dealt_once_and_stays() {
    let (gateway, pair) = (gateway(), Pair::up().await);
    let (gone, gone_too) = (nobody().await, nobody().await);
    for turn in 0..12 {
        // Each epoch with replicas that nobody has met yet: none of them is ejected.
        pair.kept(5_000).ready(1, 1 + turn, gone).ready(2, 1 + turn, gone_too).on(&gateway);
        let way = WAYS[turn as usize % 2];
        let first = ask(&gateway, way, &[]).await;
        assert_eq!((first.status, first.cookies.len()), (200, 1), "{first:?}");
        let again = ask(&gateway, way, &[("cookie", first.user().unwrap().as_bytes())]).await;
        assert_eq!(again.body, first.body);
    }
}

#[tokio::test]
async fn users_are_tallied_once_on_either_way() {
    let gateway = gateway();
    let (good, bad) = (status(200).await, status(500).await);
    Pair { old: good, new: bad }.at(5_000).keeping(by_header(), SALT).on(&gateway);
    let (mut on_old, mut on_new) = (0, 0);
    for user in 0..20 {
        let user = format!("user-{user}");
        let mut last = 0;
        for way in [Way::Plain, Way::Http2, Way::Http2] {
            last = ask(&gateway, way, &[("x-user", user.as_bytes())]).await.status;
        }
        if last == 200 { on_old += 1 } else { on_new += 1 }
    }
    assert!(on_old > 0 && on_new > 0);
    counted(&gateway, 60).await;
    let of = |tally: &proxy::Tally| {
        let proxy::UserTally { seen, erred, first_erred } = tally.users;
        (tally.release.0, tally.requests, seen, erred, first_erred)
    };
    let mut tallies: Vec<_> = gateway.tallies().iter().map(of).collect();
    tallies.sort_unstable();
    assert_eq!(tallies, [(1, 3 * on_old, on_old, 0, 0), (2, 3 * on_new, on_new, on_new, on_new)]);
}
