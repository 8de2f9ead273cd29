//! Who has been seen, and who has met an error, during one rollout with session affinity: in fixed memory, without a lock.
//!
//! Users share [`SEATS`] seats by a hash that is independent of the release they were dealt. The seat is what is
//! counted: two users on one seat count as one, for requests and for errors alike, so crowding loses evidence and never
//! makes any. With `n` users the share that is lost is below `n / (2 SEATS)`: 2 % of ten thousand users.
//!
//! Does not live here: the sums, which are the tally's, and what follows from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use model::{Epoch, ReleaseNumber};
use routes::User;

/// Seats for users; a power of two. Five bytes each.
const SEATS: usize = 1 << 18;
/// Releases that one rollout has.
const SIDES: usize = 2;

/// The users of one place while one salt deals them.
pub(crate) struct Users {
    salt: String,
    /// By side and seat: the last stretch in which it was seen, 0 for never.
    seen: [Box<[AtomicU8]>; SIDES],
    /// The same for errors.
    erred: [Box<[AtomicU8]>; SIDES],
    /// By seat: not 0 when it has met an error in any stretch on any side.
    ever: Box<[AtomicU8]>,
}

/// Which stretches and releases have been met, in order: their positions are what [`Users`] notes.
#[derive(Default)]
pub(crate) struct Ledger {
    epochs: Vec<Epoch>,
    releases: Vec<ReleaseNumber>,
}

/// One release's column in the present stretch.
#[derive(Clone)]
pub(crate) struct Column {
    users: Arc<Users>,
    side: usize,
    stretch: u8,
}

/// What one finished request adds to the sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Its user was not seen before in this stretch.
    pub(crate) seen: bool,
    /// It met the first error of its user in this stretch.
    pub(crate) erred: bool,
    /// It met the first error of its user at all.
    pub(crate) first: bool,
}

impl Users {
    pub(crate) fn new(salt: &str) -> Self {
        let seats = || (0..SEATS).map(|_| AtomicU8::new(0)).collect();
        Self {
            salt: salt.to_owned(),
            seen: std::array::from_fn(|_| seats()),
            erred: std::array::from_fn(|_| seats()),
            ever: seats(),
        }
    }

    pub(crate) fn salt(&self) -> &str {
        &self.salt
    }
}

impl Ledger {
    /// The column of a release from this epoch on. After 255 epochs no new stretch begins: who was seen in the last one
    /// is not seen anew.
    pub(crate) fn column(&mut self, users: &Arc<Users>, epoch: Epoch, release: ReleaseNumber) -> Column {
        let position = |list: usize, most: usize| list.min(most);
        let at = self.releases.iter().position(|known| *known == release).unwrap_or_else(|| {
            self.releases.push(release);
            self.releases.len() - 1
        });
        let stretch = self.epochs.iter().position(|known| *known == epoch).unwrap_or_else(|| {
            self.epochs.push(epoch);
            self.epochs.len() - 1
        });
        let stretch = u8::try_from(position(stretch + 1, usize::from(u8::MAX))).unwrap_or(u8::MAX);
        Column { users: users.clone(), side: position(at, SIDES - 1), stretch }
    }
}

impl Column {
    /// Notes a finished request. A request whose user nobody knows is a user of its own.
    pub(crate) fn note(&self, user: Option<User>, failed: bool) -> News {
        let Some(user) = user else {
            return News { seen: true, erred: failed, first: failed };
        };
        let seat = user.number as usize & (SEATS - 1);
        // A request of an earlier stretch that ends in this one finds the seat taken: it is not counted again.
        let is_new =
            |seats: &[AtomicU8]| seats[seat].fetch_max(self.stretch, Ordering::Relaxed) < self.stretch;
        let seen = is_new(&self.users.seen[self.side]);
        let erred = failed && is_new(&self.users.erred[self.side]);
        let first = failed && self.users.ever[seat].swap(1, Ordering::Relaxed) == 0;
        News { seen, erred, first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> Option<User> {
        Some(User { number, newcomer: false })
    }

    fn told(news: News) -> (bool, bool, bool) {
        (news.seen, news.erred, news.first)
    }

    #[test]
    fn a_user_counts_once_a_stretch_and_errs_once_a_rollout() {
        let (users, mut ledger) = (Arc::new(Users::new("a")), Ledger::default());
        let [old, new] = [ReleaseNumber(1), ReleaseNumber(2)];
        let first = ledger.column(&users, Epoch(4), new);
        assert_eq!(told(first.note(user(7), false)), (true, false, false));
        assert_eq!(told(first.note(user(7), true)), (false, true, true));
        assert_eq!(told(first.note(user(7), true)), (false, false, false));
        let second = ledger.column(&users, Epoch(5), new);
        assert_eq!(told(second.note(user(7), true)), (true, true, false), "it erred before the weight rose");
        assert_eq!(told(first.note(user(7), true)), (false, false, false), "a request that came late");
        let beside = ledger.column(&users, Epoch(5), old);
        assert_eq!(
            told(beside.note(user(7), true)),
            (true, true, false),
            "nor does the other release make it new"
        );
        assert_eq!(told(beside.note(user(8), true)), (true, true, true));
    }

    #[test]
    fn two_users_on_one_seat_are_one_and_strangers_are_many() {
        let (users, mut ledger) = (Arc::new(Users::new("a")), Ledger::default());
        let column = ledger.column(&users, Epoch(1), ReleaseNumber(1));
        assert_eq!(told(column.note(user(3), true)), (true, true, true));
        assert_eq!(told(column.note(user(3 + SEATS as u64), true)), (false, false, false));
        assert_eq!(told(column.note(None, true)), (true, true, true));
        assert_eq!(told(column.note(None, true)), (true, true, true));
    }

    #[test]
    fn more_epochs_than_stretches_lose_counts_and_make_none() {
        let (users, mut ledger) = (Arc::new(Users::new("a")), Ledger::default());
        for epoch in 0..300 {
            let news = ledger.column(&users, Epoch(epoch), ReleaseNumber(1)).note(user(1), true);
            assert_eq!(told(news), (epoch < 255, epoch < 255, epoch == 0), "{epoch}");
        }
    }
}
