//! The board on which what is seen is written: each change gets a version, and whoever waits for one is woken.

use std::sync::{Arc, Weak};
use std::time::Duration;

use machine::Replica;
use ports::fleet::{GroupSeen, ReplicaPhase, Seen};
use tokio::sync::watch;

pub(crate) struct Board {
    latest: watch::Sender<Arc<Seen>>,
}

impl Board {
    /// A board of this process. Whoever counts up on it goes on counting when another executor takes over in the same
    /// process, so the instance is the process' and not the executor's: counts of different instances are added up.
    pub(crate) fn of_this_process() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self::new(format!("{:x}-{:x}", since.as_micros(), std::process::id()))
    }

    fn new(instance: String) -> Self {
        Self { latest: watch::Sender::new(Arc::new(Seen { instance, ..Seen::default() })) }
    }

    /// Writes what is seen now; it gets a version of its own if it differs from what was seen before.
    pub(crate) fn post(&self, mut seen: Seen) {
        self.latest.send_if_modified(|latest| {
            seen.instance.clone_from(&latest.instance);
            seen.version = latest.version;
            if seen == **latest {
                return false;
            }
            seen.version += 1;
            *latest = Arc::new(seen);
            true
        });
    }

    /// What is seen as soon as it differs from version `after` of `instance`, or unchanged when patience is over.
    pub(crate) async fn read(&self, instance: &str, after: u64, patience: Duration) -> Arc<Seen> {
        let mut latest = self.latest.subscribe();
        let news = |seen: &Arc<Seen>| seen.instance != instance || seen.version != after;
        let waited = tokio::time::timeout(patience, latest.wait_for(news)).await;
        match waited {
            Ok(Ok(seen)) => Arc::clone(&seen),
            Ok(Err(_)) | Err(_) => Arc::clone(&self.latest.borrow()),
        }
    }
}

/// What the replicas on the board and the machine take, as metrics, for as long as there is the board.
pub(crate) fn page(board: &Arc<Board>) -> proxy::Page {
    let board: Weak<Board> = Arc::downgrade(board);
    Arc::new(move || {
        let seen = board.upgrade().map(|board| Arc::clone(&board.latest.borrow()));
        machine::page(&seen.map(|seen| replicas(&seen.groups)).unwrap_or_default())
    })
}

fn replicas(groups: &[GroupSeen]) -> Vec<Replica> {
    let of = |group: &GroupSeen| -> Vec<Replica> {
        let each = group.replicas.iter().map(|replica| Replica {
            place: group.id.place.clone(),
            release: group.id.release,
            ordinal: replica.ordinal,
            pid: replica.pid,
            restarts: replica.restarts,
            out_of_memory: replica.out_of_memory,
            ready: replica.phase == ReplicaPhase::Ready,
        });
        each.collect()
    };
    groups.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_wakes_who_waits_and_no_change_keeps_the_version() {
        let board = Arc::new(Board::new("a".to_owned()));
        let first = Seen { warnings: vec!["first".to_owned()], ..Seen::default() };
        board.post(first.clone());
        let seen = board.read("other", 9, Duration::ZERO).await;
        assert_eq!((seen.version, seen.instance.as_str()), (1, "a"));
        board.post(first);
        assert_eq!(board.read("a", 1, Duration::ZERO).await.version, 1);
        let waiting = tokio::spawn({
            let board = Arc::clone(&board);
            async move { board.read("a", 1, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        board.post(Seen { warnings: vec!["second".to_owned()], ..Seen::default() });
        let seen = waiting.await.unwrap();
        assert_eq!((seen.version, seen.warnings.as_slice()), (2, ["second".to_owned()].as_slice()));
    }
}
