//! Listening sockets: one for each worker at the same address, the kernel spreads connections among them. They may come
//! from elsewhere: from the gateway before, or from a service manager.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::error::Error;

const BACKLOG: i32 = 4096;

/// The sockets on which a gateway takes connections.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For requests; all at one address. Whoever takes these over must serve each of them: the kernel gives every one
    /// its share of the connections.
    pub traffic: Vec<TcpListener>,
    /// For metrics.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Opens what a configuration asks for.
    ///
    /// # Errors
    /// When an address is not to be had.
    pub fn bind(config: &Config) -> Result<Self, Error> {
        let traffic = shared(config.listen, config.workers)?;
        let admin = config.admin.map(alone).transpose()?;
        Ok(Self { traffic, admin })
    }

    /// With a socket for metrics, if the configuration asks for one and none is there.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn complete(mut self, config: &Config) -> Result<Self, Error> {
        if self.admin.is_none() {
            self.admin = config.admin.map(alone).transpose()?;
        }
        Ok(self)
    }

    /// The same sockets once more.
    ///
    /// # Errors
    /// When file descriptors are not to be had.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let traffic = self.traffic.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?;
        let admin = self.admin.as_ref().map(TcpListener::try_clone).transpose()?;
        Ok(Self { traffic, admin })
    }

    /// One for each worker. With fewer sockets than workers some share one; there are never more sockets than workers.
    pub(crate) fn deal(&self, workers: usize) -> std::io::Result<(Vec<TcpListener>, Option<TcpListener>)> {
        let prepared = |listener: &TcpListener| {
            let listener = listener.try_clone()?;
            // Sockets of a service manager may block.
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let each = self.traffic.iter().cycle().take(workers).map(prepared);
        Ok((each.collect::<std::io::Result<_>>()?, self.admin.as_ref().map(prepared).transpose()?))
    }
}

/// `count` listeners at one address. A port that somebody else listens at is refused, although sharing it would work:
/// two gateways at one port each get a part of the requests, and nobody would notice.
fn shared(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, Error> {
    let fail = |source| Error::Listen { address, source };
    if address.port() != 0 {
        drop(open(address, false).map_err(fail)?);
    }
    let first = open(address, true).map_err(fail)?;
    let real = first.local_addr().map_err(fail)?;
    let mut all = vec![first];
    while all.len() < count {
        all.push(open(real, true).map_err(fail)?);
    }
    Ok(all)
}

/// One listener.
fn alone(address: SocketAddr) -> Result<TcpListener, Error> {
    open(address, false).map_err(|source| Error::Listen { address, source })
}

fn open(address: SocketAddr, share: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
