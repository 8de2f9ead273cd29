//! Listening sockets: one for each worker at the same address, the kernel spreads connections among them.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;

const BACKLOG: i32 = 4096;

/// `count` listeners at one address. A port that somebody else listens at is refused, although sharing it would work:
/// two gateways at one port each get a part of the requests, and nobody would notice.
pub(crate) fn shared(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, Error> {
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
pub(crate) fn alone(address: SocketAddr) -> Result<TcpListener, Error> {
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
