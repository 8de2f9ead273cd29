//! The predecessor's end: it has an heir. Does not live here: when it yields, and what it still finishes.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use routes::Table;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Ask, Entry, Estate, InFlight, Offer, PATIENCE, Released, TAKING_OVER, VERSION, carry};

/// An agent that is about to take over, or has.
pub(crate) struct Heir {
    stream: tokio::net::UnixStream,
    process: OwnedFd,
}

/// What an heir wants of its predecessor.
pub(crate) enum Wish {
    /// To route by this table.
    Swap(Table),
    /// To know the requests in flight.
    InFlight,
    /// That it ends at once.
    End,
}

impl Heir {
    /// Offers the estate to whoever has connected. On success it takes it as soon as everything is released.
    ///
    /// # Errors
    /// When it is no heir of ours, or goes away.
    pub(crate) async fn meet(stream: tokio::net::UnixStream, estate: Estate) -> io::Result<Self> {
        let mut stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let met = spawn_blocking(move || {
            let process = offer(&mut stream, &estate)?;
            stream.set_nonblocking(true)?;
            Ok::<_, io::Error>((stream, process))
        });
        let (stream, process) = met.await.map_err(io::Error::other)??;
        Ok(Self { stream: tokio::net::UnixStream::from_std(stream)?, process })
    }

    /// Tells it that nobody acts on replicas any more, and waits until it serves.
    ///
    /// # Errors
    /// When it does not get there. It is gone then, so that what was released can be taken back.
    pub(crate) async fn take_over(&mut self, released: &Released) -> io::Result<()> {
        let serving = async {
            carry::say_later(&mut self.stream, released).await?;
            match carry::hear_later(&mut self.stream).await? {
                Ask::Serving => Ok(()),
                Ask::Take { .. } | Ask::Swap(_) | Ask::InFlight | Ask::End => {
                    Err(io::Error::other("it spoke out of turn"))
                }
            }
        };
        let told = timeout(TAKING_OVER, serving).await;
        let failed = match told {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut),
        };
        // One that still runs would act on the same replicas.
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
        let process = self.process.try_clone()?;
        let gone = spawn_blocking(move || {
            let mut fds = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None)
        });
        gone.await.map_err(io::Error::other)??;
        Err(failed)
    }

    /// What it wants next; `None` when it is gone. Not to be cancelled, except to leave it.
    pub(crate) async fn wish(&mut self) -> Option<Wish> {
        match carry::hear_later(&mut self.stream).await.ok()? {
            Ask::Swap(entries) => {
                let entries: Vec<routes::Entry> = entries.into_iter().map(Entry::into).collect();
                Some(Wish::Swap(Table::build(entries).ok()?))
            }
            Ask::InFlight => Some(Wish::InFlight),
            Ask::End => Some(Wish::End),
            Ask::Take { .. } | Ask::Serving => None,
        }
    }

    pub(crate) async fn answer(&mut self, in_flight: InFlight) {
        // When it is gone the next wish says so.
        let in_flight: Vec<_> = in_flight.into_iter().collect();
        let _ = timeout(PATIENCE, carry::say_later(&mut self.stream, &in_flight)).await;
    }
}

fn offer(stream: &mut UnixStream, estate: &Estate) -> io::Result<OwnedFd> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = socket_peercred(&*stream)?;
    if peer.uid != geteuid() {
        return Err(io::Error::other(format!("user {} may not take over", peer.uid.as_raw())));
    }
    let process = pidfd_open(peer.pid, PidfdFlags::empty())?;
    let Estate { listeners, socket, hand, lock } = estate;
    let offer =
        Offer { version: VERSION, traffic: listeners.traffic.len(), admin: listeners.admin.is_some() };
    carry::say(stream, &offer)?;
    for listener in listeners.traffic.iter().chain(&listeners.admin) {
        carry::give(stream, listener.as_fd())?;
    }
    for file in [socket.as_fd(), hand.as_fd(), lock.as_fd()] {
        carry::give(stream, file)?;
    }
    match carry::hear(stream)? {
        Ask::Take { version: VERSION } => Ok(process),
        Ask::Take { version } => {
            Err(io::Error::other(format!("it speaks version {version} of this, not {VERSION}")))
        }
        Ask::Serving | Ask::Swap(_) | Ask::InFlight | Ask::End => {
            Err(io::Error::other("it spoke out of turn"))
        }
    }
}
