//! The users of one place: who asks next, what their clients remember, and what the gateway notes of them. They are dealt
//! releases by the rules of the real gateway (`routes`). Does not live here: what becomes of a request (`machine`).

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use model::assignment::{HeaderRoute, Pattern};
use model::{Epoch, ReleaseNumber};
use ports::fleet::{Split, UserTally};
use routes::{Entry, Headers, Table, User};

/// So many users come again and again.
const REGULARS: u32 = 200;
/// One request in so many is somebody's first.
const FIRST: u32 = 8;
/// The header by which clients say who they are.
const USER_HEADER: &str = "x-user";

/// The users of one place.
#[derive(Debug)]
pub(super) struct Crowd {
    chance: Rng,
    newest: u32,
    /// The cookies that regulars were given.
    jar: BTreeMap<u32, String>,
    dealt_by: Option<(Split, Table)>,
    book: Book,
}

/// A request on its way to a release.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) user: u32,
    /// The release that it was drawn for, or led to.
    pub(super) release: ReleaseNumber,
    /// Whether a header route leads it.
    pub(super) led: bool,
    known: Option<User>,
    /// Whom a newcomer is known as from now on.
    id: u128,
}

/// Who was seen and who met an error while one salt deals.
#[derive(Debug, Default)]
struct Book {
    salt: String,
    seen: BTreeSet<(Epoch, ReleaseNumber, u64)>,
    erred: BTreeSet<(Epoch, ReleaseNumber, u64)>,
    ever_erred: BTreeSet<u64>,
}

/// What a client sends.
struct Request<'a> {
    user: String,
    cookie: Option<&'a String>,
    /// What it does to be led, if it does.
    led_by: Option<&'a HeaderRoute>,
}

impl Headers for Request<'_> {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let led_by = self.led_by.iter().flat_map(|route| &route.matches);
        let says = led_by.filter(|one| one.header_name == name).map(|one| match &one.header_value {
            Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Regex(text) => text,
        });
        let own = match name {
            "cookie" => self.cookie,
            USER_HEADER => Some(&self.user),
            _ => None,
        };
        says.chain(own).any(|value| holds(value.as_bytes()))
    }
}

impl Crowd {
    pub(super) fn new(chance: Rng) -> Self {
        Self { chance, newest: REGULARS, jar: BTreeMap::new(), dealt_by: None, book: Book::default() }
    }

    /// The gateway deals by this split from now on.
    pub(super) fn meet(&mut self, split: &Split) {
        if self.dealt_by.as_ref().is_some_and(|(known, _)| known == split) {
            return;
        }
        let share = |it: &ports::fleet::Share| routes::Share {
            release: it.release,
            weight: it.weight,
            replicas: Vec::new(),
        };
        let entry = Entry {
            place: split.place.clone(),
            route: split.route.clone(),
            epoch: split.epoch,
            shares: split.shares.iter().map(share).collect(),
            preview: None,
            aim: split
                .aim
                .as_ref()
                .map(|aim| routes::Aim { release: aim.release, routes: aim.routes.clone() }),
            affinity: split
                .affinity
                .as_ref()
                .map(|it| routes::Affinity { by: it.by.clone(), salt: it.salt.clone() }),
        };
        let salt = entry.affinity.as_ref().map(|affinity| affinity.salt.clone()).unwrap_or_default();
        if salt != self.book.salt {
            self.book = Book { salt, ..Book::default() };
        }
        self.dealt_by = Table::build(vec![entry]).ok().map(|table| (split.clone(), table));
    }

    /// Somebody asks; `draw` is chance's. `None` when the gateway has no table for it.
    pub(super) fn ask(&mut self, draw: u16, wants_to_be_led: bool) -> Option<Asked> {
        let first = self.chance.u32(..FIRST) == 0;
        self.newest += u32::from(first);
        let user = if first { self.newest } else { self.newest - self.chance.u32(..REGULARS) };
        let id = self.chance.u128(..);
        let (split, table) = self.dealt_by.as_ref()?;
        let routes = split.aim.as_ref().filter(|_| wants_to_be_led).map(|aim| &aim.routes);
        let led_by = routes.and_then(|routes| routes.iter().find(|route| !route.matches.is_empty()));
        let request = Request { user: format!("user-{user}"), cookie: self.jar.get(&user), led_by };
        let assigned = table.assign(0, &request, draw, || id);
        let entry = table.entries().first()?;
        let share = entry.shares.get(assigned.aimed.or_else(|| entry.draw(assigned.draw))?)?;
        let led = assigned.aimed.is_some();
        Some(Asked { user, release: share.release, led, known: assigned.user, id })
    }

    /// A replica has answered: a newcomer keeps the cookie that came with it.
    pub(super) fn answered(&mut self, asked: &Asked) {
        if !asked.known.is_some_and(|user| user.newcomer) {
            return;
        }
        let entry = self.dealt_by.as_ref().and_then(|(_, table)| table.entries().first());
        let set = entry.and_then(|entry| entry.set_cookie(asked.id));
        if let Some(pair) = set.as_deref().and_then(|set| set.split(';').next()) {
            self.jar.insert(asked.user, format!("theme=dark; {pair}"));
        }
        let oldest = self.newest - REGULARS;
        self.jar.retain(|user, _| *user > oldest);
    }

    /// What one finished request adds to the users of a release; nothing where nobody is dealt.
    pub(super) fn note(&mut self, epoch: Epoch, asked: &Asked, failed: bool, tally: &mut UserTally) {
        if self.book.salt.is_empty() {
            return;
        }
        let (seen, erred, first) = match asked.known {
            None => (true, failed, failed),
            Some(User { number, .. }) => {
                let key = (epoch, asked.release, number);
                let seen = self.book.seen.insert(key);
                let erred = failed && self.book.erred.insert(key);
                (seen, erred, failed && self.book.ever_erred.insert(number))
            }
        };
        tally.seen += u64::from(seen);
        tally.erred += u64::from(erred);
        tally.first_erred += u64::from(first);
    }

    /// The gateway forgets whom it saw; the clients keep their cookies.
    pub(super) fn forget(&mut self) {
        let salt = std::mem::take(&mut self.book.salt);
        self.book = Book { salt, ..Book::default() };
    }
}
