//! Both backends, in one thread: an epoll loop that answers each head with the same bytes. It reads no request further
//! than to the end of its head, so that the proxy and not this is what is measured.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const HEAD_END: &[u8] = b"\r\n\r\n";

struct Connection {
    socket: TcpStream,
    /// How much of [`HEAD_END`] the last bytes read were.
    matched: usize,
    /// What could not be written yet.
    unsent: Vec<u8>,
}

/// Serves until killed. Prints the two addresses, a line each.
pub(crate) fn run(body_bytes: usize) -> io::Result<()> {
    let body = "x".repeat(body_bytes);
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {body_bytes}\r\n\r\n{body}");
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut listeners = HashMap::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        println!("{}", listener.local_addr()?);
        epoll::add(&poll, &listener, key(&listener), EventFlags::IN)?;
        listeners.insert(key(&listener).u64(), listener);
    }
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        events.clear();
        if let Err(error) = epoll::wait(&poll, spare_capacity(&mut events), None)
            && error != rustix::io::Errno::INTR
        {
            return Err(error.into());
        }
        for &Event { data, .. } in &events {
            let id = data.u64();
            if let Some(listener) = listeners.get(&id) {
                accept(&poll, listener, &mut connections)?;
            } else if let Some(connection) = connections.get_mut(&id)
                && connection.turn(&mut buffer, answer.as_bytes()).is_err()
            {
                connections.remove(&id);
            }
        }
    }
}

fn key(socket: &impl AsRawFd) -> EventData {
    EventData::new_u64(u64::from(socket.as_raw_fd().unsigned_abs()))
}

fn accept(
    poll: &impl std::os::fd::AsFd,
    listener: &TcpListener,
    connections: &mut HashMap<u64, Connection>,
) -> io::Result<()> {
    while let Ok((socket, _)) = listener.accept() {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let id = key(&socket);
        epoll::add(poll, &socket, id, EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
        connections.insert(id.u64(), Connection { socket, matched: 0, unsent: Vec::new() });
    }
    Ok(())
}

impl Connection {
    /// Answers what has come. An error ends the connection.
    fn turn(&mut self, buffer: &mut [u8], answer: &[u8]) -> io::Result<()> {
        self.flush()?;
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for _ in 0..self.heads(&buffer[..read]) {
                self.unsent.extend_from_slice(answer);
            }
            self.flush()?;
            // A short read is the last: the next bytes make a new event.
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    /// How many heads end in these bytes.
    fn heads(&mut self, bytes: &[u8]) -> usize {
        let mut heads = 0;
        for byte in bytes {
            self.matched = match (*byte == HEAD_END[self.matched], *byte) {
                (true, _) => self.matched + 1,
                (false, b'\r') => 1,
                (false, _) => 0,
            };
            if self.matched == HEAD_END.len() {
                (self.matched, heads) = (0, heads + 1);
            }
        }
        heads
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.socket.write(&self.unsent[sent..]) {
                Ok(wrote) => sent += wrote,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }
}
