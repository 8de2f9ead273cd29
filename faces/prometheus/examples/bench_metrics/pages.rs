//! A server of pages: `/SIDE/NUMBER` is the next page of a replica. Both sides get the same pages.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Outcome;
use crate::world::Replica;

struct Side {
    replicas: Vec<Mutex<Replica>>,
    served: AtomicUsize,
}

/// A running server.
pub(crate) struct Pages {
    pub(crate) address: SocketAddr,
    sides: Arc<[Side; 2]>,
}

impl Pages {
    pub(crate) fn serve(replicas: usize, routes: usize) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let side = |_| Side {
            replicas: (0..replicas).map(|it| Mutex::new(Replica::new(it as u64, routes))).collect(),
            served: AtomicUsize::new(0),
        };
        let sides = Arc::new([0, 1].map(side));
        let shared = Arc::clone(&sides);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sides = Arc::clone(&shared);
                // A client that goes away ends its thread.
                std::thread::spawn(move || talk(&stream, &sides));
            }
        });
        Ok(Self { address, sides })
    }

    /// The paths of a side's pages.
    pub(crate) fn paths(&self, side: usize) -> Vec<String> {
        (0..self.sides[side].replicas.len()).map(|number| format!("/{side}/{number}")).collect()
    }

    /// How many pages a side got.
    pub(crate) fn served(&self, side: usize) -> usize {
        self.sides[side].served.load(Ordering::Relaxed)
    }
}

fn talk(stream: &TcpStream, sides: &[Side; 2]) -> Outcome<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream.try_clone()?;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        let mut parts = path.split('/').skip(1).map(str::parse::<usize>);
        let (Some(Ok(side)), Some(Ok(number))) = (parts.next(), parts.next()) else {
            return Err("no such page".into());
        };
        let side = sides.get(side).ok_or("no such side")?;
        let page = {
            let replica = side.replicas.get(number).ok_or("no such replica")?;
            let mut replica = replica.lock().unwrap_or_else(PoisonError::into_inner);
            replica.advance();
            replica.page()
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            page.len()
        );
        let mut answer = head.into_bytes();
        answer.extend_from_slice(page.as_bytes());
        stream.write_all(&answer)?;
        side.served.fetch_add(1, Ordering::Relaxed);
    }
}
