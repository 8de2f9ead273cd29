//! What a request's own headers say about who serves it: a header route sends it to one release, and session affinity
//! fixes the draw by the user instead of by chance. Pure; whoever reads requests lends their headers as [`Headers`].
//!
//! A user's draw is a hash of the rollout's salt and the user's key. It needs no table: it is the same on every worker,
//! after a restart and in another version, and since the new release's share is the upper end of the draws, a growing
//! weight moves users from the old release to the new one and never back.

use std::time::Duration;

use model::ReleaseNumber;
use model::assignment::{HeaderRoute, Matcher, SessionAffinity};

use crate::choice::DRAWS;
use crate::sip::Key;
use crate::table::{Entry, Error, Table};

/// A request's headers, in whatever form they were read.
pub trait Headers {
    /// Shows each value of a header (its name in lower case) to `holds` until that says yes, and whether it did.
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// Requests that reach one release whatever its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// The release, which has a share, if only of zero.
    pub release: ReleaseNumber,
    /// A request that meets one of them is aimed; one without matches meets nothing.
    pub routes: Vec<HeaderRoute>,
}

/// Users who keep the release that they were given. The share that grows has to stand last in [`Entry::shares`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    /// By what a user is known.
    pub by: SessionAffinity,
    /// Deals the users anew: another salt, other users on the new release.
    pub salt: String,
}

/// What a request's headers decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The position in [`Entry::shares`] that a header route leads to.
    pub aimed: Option<usize>,
    /// The draw: the user's, or else the one that chance gave.
    pub draw: u16,
    /// Who sent it, when that is known.
    pub user: Option<User>,
}

/// A user, as far as counting needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// A number that is independent of the draw; two users have the same by chance alone.
    pub number: u64,
    /// Whether the request had no cookie, so that the answer has to bring one ([`set_cookie`]).
    pub newcomer: bool,
}

/// An entry's rules, made ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assigner {
    aims: Vec<(usize, Vec<(String, Matcher)>)>,
    affinity: Option<(SessionAffinity, Deal)>,
}

#[derive(Debug, Clone, Copy)]
struct Deal {
    draw: Key,
    number: Key,
}

impl Deal {
    fn new(salt: &str) -> Self {
        let part = |part| Key(0, part).hash(salt.as_bytes());
        Self { draw: Key(part(1), part(2)), number: Key(part(3), part(4)) }
    }

    fn user(self, key: &[u8], newcomer: bool) -> (u16, User) {
        let draw = (u128::from(self.draw.hash(key)) * u128::from(DRAWS)) >> 64;
        (draw as u16, User { number: self.number.hash(key), newcomer })
    }
}

impl Assigner {
    pub(crate) fn new(entry: &Entry) -> Result<Self, Error> {
        let mut aims = Vec::new();
        if let Some(aim) = &entry.aim {
            let place = || entry.place.clone();
            let share = entry.shares.iter().position(|share| share.release == aim.release);
            let share = share.ok_or_else(|| Error::Aim { place: place(), release: aim.release })?;
            for route in aim.routes.iter().filter(|route| !route.matches.is_empty()) {
                let matches = route.matches.iter().map(|one| {
                    let matcher = one.header_value.compile()?;
                    Ok((one.header_name.to_ascii_lowercase(), matcher))
                });
                let matches = matches.collect::<Result<Vec<_>, String>>();
                let told = |reason| Error::HeaderRoute { place: place(), name: route.name.clone(), reason };
                aims.push((share, matches.map_err(told)?));
            }
        }
        let affinity =
            entry.affinity.as_ref().map(|affinity| (affinity.by.clone(), Deal::new(&affinity.salt)));
        Ok(Self { aims, affinity })
    }
}

impl Table {
    /// What a request's headers decide about who serves it at an entry. `draw` is chance's; `newcomer` gives the id of a
    /// user who has none yet, the same for each call of one request.
    pub fn assign(
        &self,
        entry: usize,
        headers: &(impl Headers + ?Sized),
        draw: u16,
        newcomer: impl FnOnce() -> u128,
    ) -> Assignment {
        let Assigner { aims, affinity } = &self.assigners[entry];
        let meets =
            |(name, matcher): &(String, Matcher)| headers.any(name, &mut |value| matcher.holds(value));
        if let Some((share, _)) = aims.iter().find(|(_, matches)| matches.iter().all(meets)) {
            return Assignment { aimed: Some(*share), draw, user: None };
        }
        let known = match affinity {
            None => None,
            Some((SessionAffinity::Header { name }, deal)) => {
                let mut known = None;
                headers.any(name, &mut |value| {
                    known = (!value.is_empty()).then(|| deal.user(value, false));
                    known.is_some()
                });
                known
            }
            Some((SessionAffinity::Cookie { name, .. }, deal)) => {
                let mut known = None;
                headers.any("cookie", &mut |line| {
                    known = cookie(line, name.as_bytes()).map(|value| deal.user(value, false));
                    known.is_some()
                });
                // Nobody is dealt a release before there are two.
                let deals =
                    self.entries()[entry].shares.iter().filter(|s| s.weight.basis_points() > 0).count() > 1;
                known.or_else(|| deals.then(|| deal.user(shown(newcomer()).as_bytes(), true)))
            }
        };
        match known {
            Some((draw, user)) => Assignment { aimed: None, draw, user: Some(user) },
            None => Assignment { aimed: None, draw, user: None },
        }
    }
}

impl Entry {
    /// The `Set-Cookie` that makes a newcomer known; `None` where users are not known by a cookie.
    pub fn set_cookie(&self, newcomer: u128) -> Option<String> {
        match &self.affinity.as_ref()?.by {
            SessionAffinity::Cookie { name, max_age } => Some(set_cookie(name, newcomer, *max_age)),
            SessionAffinity::Header { .. } => None,
        }
    }
}

fn set_cookie(name: &str, newcomer: u128, max_age: Duration) -> String {
    format!("{name}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax", shown(newcomer), max_age.as_secs())
}

fn shown(newcomer: u128) -> String {
    format!("{newcomer:032x}")
}

/// The first value of this name that is not empty, in one `Cookie` line (RFC 6265, 4.2.1; names are told apart by case).
/// Quotes around a value are no part of it: some clients add them to what they were given.
fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="));
    values.map(unquoted).find(|value| !value.is_empty())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value)
}
