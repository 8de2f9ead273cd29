//! On which ports a process listens: for the service that does not listen on the one it was given. A guess for people,
//! read from /proc and empty when that says nothing. Does not live here: any decision.

use std::collections::BTreeSet;
use std::fs;

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";
/// Descendants that are looked at.
const MOST_PROCESSES: usize = 64;

/// The TCP ports on which a process or one of its descendants listens.
pub(crate) fn ports(pid: u32) -> BTreeSet<u16> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied().filter(|_| next < MOST_PROCESSES) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    let sockets: BTreeSet<String> = all.iter().take(MOST_PROCESSES).flat_map(|pid| sockets(*pid)).collect();
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    tables.into_iter().flatten().flat_map(|table| listening(&table, &sockets)).collect()
}

/// The inodes of a process' sockets.
fn sockets(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let inode =
        |link: &str| link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned);
    links.filter_map(|link| inode(link.to_str()?)).collect()
}

fn listening(table: &str, sockets: &BTreeSet<String>) -> Vec<u16> {
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (*state == LISTEN && sockets.contains(*inode)).then_some(port)
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_listens_where_it_has_bound_and_nowhere_else() {
        let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = here.local_addr().unwrap().port();
        assert!(ports(std::process::id()).contains(&port));
        drop(here);
        assert!(!ports(std::process::id()).contains(&port));
    }

    #[test]
    fn only_listening_sockets_of_the_process_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0\n\
             1: 0100007F:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 7 1 0\n\
             2: 0100007F:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 8 1 0\n";
        assert_eq!(listening(table, &BTreeSet::from(["7".to_owned()])), [8080]);
    }
}
