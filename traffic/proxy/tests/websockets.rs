//! WebSockets through the gateway: whoever has to go is told, in a frame of its own, and never in the middle of another.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use model::ReleaseNumber;
use proxy::{Gateway, Routing};
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const CLOSE: u8 = 8;
/// What a client answers to a Close frame: the same status, masked with zeros.
const GOODBYE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// A replica that changes to WebSocket, sends the bytes it is given, and tells what it got; it ends when both have.
struct Peer {
    addr: std::net::SocketAddr,
    say: mpsc::UnboundedSender<Vec<u8>>,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Peer {
    async fn new(protocol: &'static str) -> Self {
        let (say, words) = mpsc::unbounded_channel::<Vec<u8>>();
        let (hear, heard) = mpsc::unbounded_channel();
        let words = std::sync::Arc::new(tokio::sync::Mutex::new(words));
        let (addr, _) = raw(move |_, mut socket| {
            let (words, hear) = (words.clone(), hear.clone());
            async move {
                read_head(&mut socket).await;
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: {protocol}\r\nconnection: upgrade\r\n\r\n"
                );
                socket.write_all(answer.as_bytes()).await.unwrap();
                let mut words = words.lock().await;
                let mut buffer = [0; 4096];
                loop {
                    tokio::select! {
                        word = words.recv() => match word {
                            Some(word) => socket.write_all(&word).await.unwrap(),
                            None => return,
                        },
                        read = socket.read(&mut buffer) => match read {
                            Ok(size @ 1..) => hear.send(buffer[..size].to_vec()).unwrap(),
                            Ok(0) | Err(_) => return,
                        },
                    }
                }
            }
        })
        .await;
        Self { addr, say, heard }
    }

    fn says(&self, bytes: &[u8]) {
        self.say.send(bytes.to_vec()).unwrap();
    }

    /// What it got once it is so many bytes.
    async fn hears(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(tokio::time::timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap());
        }
        all
    }
}

async fn open(gateway: &Gateway, protocol: &str) -> TcpStream {
    let mut client = Client::to(gateway).await;
    let ask = format!("GET /chat HTTP/1.1\r\nhost: s\r\nupgrade: {protocol}\r\nconnection: Upgrade\r\n\r\n");
    client.send(&ask).await;
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 101"));
    client.0
}

fn text(last: bool, opcode: u8, words: &str) -> Vec<u8> {
    let first = opcode | if last { 0x80 } else { 0 };
    [&[first, words.len() as u8], words.as_bytes()].concat()
}

/// One small frame: its opcode and payload.
async fn frame(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let read = async {
        let mut head = [0; 2];
        socket.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1])];
        socket.read_exact(&mut payload).await.unwrap();
        (head[0] & 0x0f, payload)
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap()
}

async fn is_told_to_go(socket: &mut TcpStream) {
    let (opcode, payload) = frame(socket).await;
    assert_eq!((opcode, &payload[..2]), (CLOSE, &[0x03, 0xe9][..]), "1001, going away");
}

async fn ends(socket: &mut TcpStream) {
    assert_eq!(tokio::time::timeout(PATIENCE, socket.read(&mut [0; 64])).await.unwrap().unwrap(), 0);
}

/// Takes the replica out of the table and tells its clients.
fn dismiss(gateway: &Gateway) {
    gateway.swap(Routing::default()).unwrap();
    gateway.dismiss(&place(), ReleaseNumber(1), 0);
}

async fn is_free(gateway: &Gateway) {
    let drained = gateway.drained(&place(), ReleaseNumber(1), 0);
    tokio::time::timeout(PATIENCE, drained).await.unwrap();
}

#[tokio::test]
async fn the_client_of_a_replica_that_goes_is_told_and_its_last_words_arrive() {
    let gateway = gateway();
    let mut peer = Peer::new("WebSocket").await;
    Shop::only(peer.addr).on(&gateway);
    let mut client = open(&gateway, "websocket").await;
    peer.says(&text(true, 1, "hello"));
    assert_eq!(frame(&mut client).await, (1, b"hello".to_vec()));
    gateway.swap(Routing::default()).unwrap();
    peer.says(&text(true, 1, "again"));
    assert_eq!(frame(&mut client).await.1, b"again", "a replica that is only not listed is nobody's goodbye");
    dismiss(&gateway);
    is_told_to_go(&mut client).await;
    peer.says(&text(true, 1, "late"));
    let last = [&[0x81, 0x84, 0, 0, 0, 0][..], b"last", GOODBYE].concat();
    client.write_all(&last).await.unwrap();
    assert_eq!(peer.hears(last.len()).await, last);
    ends(&mut client).await;
    drop(client);
    is_free(&gateway).await;
}

#[tokio::test]
async fn the_notice_waits_for_the_end_of_a_message_in_however_many_pieces_it_comes() {
    let gateway = gateway();
    let peer = Peer::new("websocket").await;
    Shop::only(peer.addr).on(&gateway);
    let mut client = open(&gateway, "websocket").await;
    let message = [text(false, 1, "one "), text(true, 9, "ping"), text(true, 0, "two")].concat();
    // In the middle of the second fragment.
    let (begun, rest) = message.split_at(message.len() - 2);
    peer.says(begun);
    assert_eq!(frame(&mut client).await, (1, b"one ".to_vec()));
    assert_eq!(frame(&mut client).await, (9, b"ping".to_vec()));
    dismiss(&gateway);
    peer.says(&[rest, &text(true, 1, "more")].concat());
    assert_eq!(frame(&mut client).await, (0, b"two".to_vec()));
    is_told_to_go(&mut client).await;
    client.write_all(GOODBYE).await.unwrap();
    ends(&mut client).await;
}

#[tokio::test]
async fn a_message_that_does_not_end_is_left_between_two_of_its_frames() {
    let gateway = gateway();
    let peer = Peer::new("websocket").await;
    Shop::only(peer.addr).on(&gateway);
    let mut client = open(&gateway, "websocket").await;
    peer.says(&text(false, 1, "it goes on"));
    assert_eq!(frame(&mut client).await, (1, b"it goes on".to_vec()));
    dismiss(&gateway);
    is_told_to_go(&mut client).await;
}

#[tokio::test]
async fn a_gateway_that_stops_tells_the_clients_and_is_not_held_up_by_them() {
    let gateway = gateway();
    let peer = Peer::new("websocket").await;
    Shop::only(peer.addr).on(&gateway);
    let mut client = open(&gateway, "websocket").await;
    let talk = async {
        is_told_to_go(&mut client).await;
        client.write_all(GOODBYE).await.unwrap();
        ends(&mut client).await;
        drop(client);
        drop(peer);
    };
    let stop = tokio::time::timeout(PATIENCE, gateway.shutdown(Duration::from_secs(3600)));
    let (stopped, ()) = tokio::join!(stop, talk);
    stopped.unwrap();
}

#[tokio::test]
async fn a_successors_clients_are_told_to_come_again() {
    let gateway = gateway_with(|config| config.limits.handover_spread = Duration::from_millis(20));
    let peer = Peer::new("websocket").await;
    Shop::only(peer.addr).on(&gateway);
    let mut client = open(&gateway, "websocket").await;
    gateway.yields();
    is_told_to_go(&mut client).await;
}

#[tokio::test]
async fn a_replica_that_says_goodbye_itself_is_the_only_one_that_does() {
    let gateway = gateway();
    let mut peer = Peer::new("websocket").await;
    Shop::only(peer.addr).on(&gateway);
    let mut client = open(&gateway, "websocket").await;
    peer.says(&[CLOSE | 0x80, 2, 0x03, 0xe8]);
    assert_eq!(frame(&mut client).await, (CLOSE, vec![0x03, 0xe8]));
    dismiss(&gateway);
    client.write_all(GOODBYE).await.unwrap();
    peer.hears(GOODBYE.len()).await;
    drop(peer);
    ends(&mut client).await;
}

#[tokio::test]
async fn another_protocol_has_no_words_for_it_and_goes_on() {
    let gateway = gateway();
    let mut peer = Peer::new("chat").await;
    Shop::only(peer.addr).on(&gateway);
    let mut client = open(&gateway, "chat").await;
    dismiss(&gateway);
    client.write_all(b"still here").await.unwrap();
    assert_eq!(peer.hears(10).await, b"still here");
    peer.says(b"me too");
    let mut back = [0; 6];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"me too");
}
