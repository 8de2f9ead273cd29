//! Listening sockets from a service manager, by systemd's convention: `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`. A
//! socket named `admin` is for metrics, every other one for requests. Does not live here: what is served on them.

use std::env;

use listenfd::ListenFd;
use proxy::Listeners;

/// The name of the socket for metrics (`FileDescriptorName=` of its unit).
const ADMIN: &str = "admin";
/// More than these make no sense: the gateway has no more workers.
const MOST: usize = 256;

/// The sockets that this process was started with; `None` when it was started in another way.
pub(crate) fn listeners() -> Result<Option<Listeners>, String> {
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Ok(None);
    }
    if passed.len() > MOST {
        return Err(format!(
            "the service manager passed {} sockets, at most {MOST} make sense",
            passed.len()
        ));
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut listeners = Listeners::default();
    for index in 0..passed.len() {
        let name = names.get(index).copied().unwrap_or_default();
        let listener = passed.take_tcp_listener(index).map_err(|error| {
            format!("socket {index} ({name:?}) from the service manager is of no use: {error}; ListenStream= takes ADDRESS:PORT")
        })?;
        let Some(listener) = listener else { continue };
        match name {
            ADMIN if listeners.admin.is_none() => listeners.admin = Some(listener),
            ADMIN => return Err(format!("the service manager passed two sockets named {ADMIN:?}")),
            _ => listeners.traffic.push(listener),
        }
    }
    if listeners.traffic.is_empty() {
        return Err(
            "the service manager passed no socket for requests: the socket unit needs a ListenStream= \
                    without FileDescriptorName=admin"
                .to_owned(),
        );
    }
    Ok(Some(listeners))
}
