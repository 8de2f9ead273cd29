//! Ports for replicas: free ones of the loopback interface, never the same for two replicas, whoever's they are.
//!
//! They lie below the range from which the kernel takes ports for outgoing connections, so that no connection sits on a
//! port between its choice and the replica's bind. Between agents on one machine, and between choice and bind, a port
//! is reserved by the name of an abstract Unix socket, which the kernel frees when its holder ends.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::Error;

/// The first port that a replica may have.
const LOWEST: u16 = 20_000;
/// Fewer are not worth walking through: the kernel is asked instead.
const FEWEST: u16 = 1_000;

/// A port that nobody else gets while this lives.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) port: u16,
    _name: Option<UnixDatagram>,
}

impl Reservation {
    /// A port that is free now.
    pub(crate) fn free() -> Result<Self, Error> {
        let ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let below: u16 =
            ephemeral.split_ascii_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768);
        let count = below.saturating_sub(LOWEST);
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        // A different walk for each process and moment: agents that start together do not contend for each port.
        let start = u64::from(std::process::id()).wrapping_mul(7919).wrapping_add(clock());
        for step in 0..u64::from(count.max(FEWEST)) {
            let candidate = match count {
                0..FEWEST => 0,
                _ => LOWEST + u16::try_from(start.wrapping_add(step) % u64::from(count)).unwrap_or(0),
            };
            match Self::take(candidate) {
                Ok(reservation) => return Ok(reservation),
                Err(error) => last = error,
            }
        }
        Err(Error::NoPort(last))
    }

    fn take(candidate: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, candidate))?;
        let port = listener.local_addr()?.port();
        Ok(Self { port, _name: Some(claim(port)?) })
    }

    /// The port of a replica that was found running; it holds the port itself.
    pub(crate) fn held(port: u16) -> Self {
        Self { port, _name: claim(port).ok() }
    }
}

fn claim(port: u16) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("shipshape-replica-port-{port}"))?)
}

fn clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::from(since.subsec_nanos()) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn two_replicas_never_get_the_same_port() {
        let held: Vec<_> = (0..50).map(|_| Reservation::free().unwrap()).collect();
        let ports: BTreeSet<u16> = held.iter().map(|reservation| reservation.port).collect();
        assert_eq!(ports.len(), held.len());
        assert!(Reservation::take(held[0].port).is_err());
        assert!(
            TcpListener::bind((Ipv4Addr::LOCALHOST, held[0].port)).is_ok(),
            "the replica itself can bind it"
        );
    }
}
