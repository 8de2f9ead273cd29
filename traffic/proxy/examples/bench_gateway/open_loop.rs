//! Open-loop load: requests come due at a fixed rate whatever the answers do, and a request's latency runs from when it
//! was due. Small enough to share a core with the backends at 25,000/s, which the `load` crate with its ledger of every
//! request is not made for.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

const TICK: Duration = Duration::from_micros(50);
/// The timer among the events; connections have their position.
const TIMER: u64 = u64::MAX;
/// Answers to what was due before this are not counted.
const WARM_UP: Duration = Duration::from_millis(500);

struct Connection {
    socket: TcpStream,
    /// When the request under way was due.
    due: Option<Duration>,
    received: usize,
}

/// What came of it.
pub(crate) struct Outcome {
    /// Requests answered per second.
    pub(crate) rate: f64,
    /// The latency that 99 of 100 requests do not pass, in microseconds.
    pub(crate) p99_us: f64,
}

/// Sends `rate` requests per second by `connections` connections. Every answer must be `answer_bytes` long, so that the
/// end of one is known without reading it; the first answer of each connection tells.
pub(crate) fn run(addr: SocketAddr, rate: u32, connections: usize, lasts: Duration) -> io::Result<Outcome> {
    let request = format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let timer = timer()?;
    epoll::add(&poll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
    let mut all = Vec::new();
    for position in 0..connections {
        let socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(&poll, &socket, EventData::new_u64(position as u64), EventFlags::IN)?;
        all.push(Connection { socket, due: None, received: 0 });
    }
    let mut free: Vec<usize> = (0..connections).collect();
    let mut queue: VecDeque<Duration> = VecDeque::new();
    let mut latencies: Vec<u32> = Vec::with_capacity(1 << 20);
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    let (start, mut given) = (Instant::now(), 0_u32);
    while start.elapsed() < lasts {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for &Event { data, .. } in &events {
            if data.u64() == TIMER {
                rustix::io::read(&timer, &mut [0_u8; 8])?;
                continue;
            }
            let position = usize::try_from(data.u64()).unwrap_or(usize::MAX);
            if let Some(due) = all[position].receive(&mut buffer)? {
                free.push(position);
                if due > WARM_UP {
                    latencies.push(
                        (start.elapsed().saturating_sub(due)).as_micros().try_into().unwrap_or(u32::MAX),
                    );
                }
            }
        }
        while Duration::from_secs(1) * given / rate <= start.elapsed() {
            queue.push_back(Duration::from_secs(1) * given / rate);
            given += 1;
        }
        while let (Some(position), false) = (free.last(), queue.is_empty()) {
            all[*position].socket.write_all(request.as_bytes())?;
            (all[*position].due, all[*position].received) = (queue.pop_front(), 0);
            free.pop();
        }
    }
    latencies.sort_unstable();
    let nth = latencies.len() * 99 / 100;
    let p99_us = latencies.get(nth).copied().map_or(f64::INFINITY, f64::from);
    Ok(Outcome { rate: latencies.len() as f64 / (lasts - WARM_UP).as_secs_f64(), p99_us })
}

fn timer() -> io::Result<std::os::fd::OwnedFd> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
    rustix::time::timerfd_settime(
        &timer,
        TimerfdTimerFlags::empty(),
        &Itimerspec { it_interval: tick, it_value: tick },
    )?;
    Ok(timer)
}

impl Connection {
    /// Takes what has come; when the answer is complete, when its request was due.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Duration>> {
        let read = self.socket.read(&mut buffer[self.received..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received += read;
        Ok(if complete(&buffer[..self.received]) { self.due.take() } else { None })
    }
}

/// Whether an answer of 100 bytes is whole. The buffer is shared, so one that comes in pieces is told by its last bytes.
fn complete(bytes: &[u8]) -> bool {
    bytes.ends_with(&[b'x'; 100])
}
