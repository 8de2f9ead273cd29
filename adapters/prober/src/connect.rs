//! From a host and a port to a connection, and to TLS on it. Does not live here: what is said then.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::look::{Notes, Reason, Trouble, plain};

/// How many names are looked up at the same time. The system's own lookup cannot be given up: one that hangs keeps its
/// thread, so there must not be many.
const MOST_LOOKUPS: usize = 32;
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 4;
/// What an address gets at least before the next is tried.
const LEAST: Duration = Duration::from_millis(100);

/// Looks names up as this machine does.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(Arc<Semaphore>);

impl Default for Resolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_LOOKUPS)))
    }
}

impl Resolver {
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
        notes: &mut Notes,
    ) -> Result<Vec<SocketAddr>, Trouble> {
        notes.doing = "looking the name up";
        let host = bare(host);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let begun = Instant::now();
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let name = host.to_owned();
        let looking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (name.as_str(), port)
                .to_socket_addrs()
                .map(|found| found.take(MOST_ADDRESSES).collect::<Vec<_>>())
        });
        let found = looking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        notes.phases.resolve += begun.elapsed();
        let failed = |what: String| Trouble::Failed(Reason::Resolve, what);
        match found {
            Ok(addresses) if addresses.is_empty() => Err(failed(format!("{host} has no address"))),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(failed(format!("{host} cannot be looked up: {}", plain(&error.to_string())))),
        }
    }
}

/// Connects to the first address that takes it. `deadline`: when the whole look is given up.
pub(crate) async fn connect(
    resolver: &Resolver,
    host: &str,
    port: u16,
    deadline: Instant,
    notes: &mut Notes,
) -> Result<TcpStream, Trouble> {
    let addresses = resolver.resolve(host, port, notes).await?;
    notes.doing = "connecting";
    let (begun, before) = (Instant::now(), notes.phases.connect);
    let mut left = u32::try_from(addresses.len()).unwrap_or(1);
    let mut last = Trouble::failed(Reason::Connect, "no address");
    for address in addresses {
        notes.ip = Some(if address.is_ipv4() { 4 } else { 6 });
        // One that is silent leaves time for the others.
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        let connecting = tokio::time::timeout(share.max(LEAST), TcpStream::connect(address)).await;
        notes.phases.connect = before + begun.elapsed();
        left = left.saturating_sub(1);
        match connecting {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                let what =
                    format!("cannot connect to {address}: {}", plain(&error.to_string()).to_lowercase());
                last = Trouble::Failed(Reason::Connect, what);
            }
            Err(_) => {
                last = Trouble::Failed(Reason::Timeout, format!("{address} takes no connection in time"))
            }
        }
    }
    Err(last)
}

/// Host and port of `host:port`; the host without brackets.
pub(crate) fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((bare(host), port.parse().ok()?))
}

/// Without the brackets of an IPv6 address.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
