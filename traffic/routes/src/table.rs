//! The table itself: built whole, checked whole, never changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::route::Route;
use model::{Epoch, Place, ReleaseNumber, Weight};

use crate::assign::{Affinity, Aim, Assigner};
use crate::host::{self, Pattern};
use crate::path;
use crate::template::Template;

/// The requests of one place and who serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub place: Place,
    /// Which requests, and within which bounds. No host means any, no prefix means the root.
    pub route: Route,
    /// The stretch of time with these weights.
    pub epoch: Epoch,
    /// Each release's share; the weights add up to all traffic, or there is no share at all.
    pub shares: Vec<Share>,
    /// The requests that reach one release whatever the weights.
    pub preview: Option<Preview>,
    /// The requests that reach one release by what their headers say, whatever the weights.
    pub aim: Option<Aim>,
    /// Whether users keep the release that they were given.
    pub affinity: Option<Affinity>,
}

/// Requests for a look at a release before it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Which requests; at least one host. They are claimed while nothing is previewed, too.
    pub route: Route,
    /// The release, which has a share, if only of zero; `None` while nothing is previewed.
    pub release: Option<ReleaseNumber>,
}

/// One release's share of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Which release.
    pub release: ReleaseNumber,
    /// How much.
    pub weight: Weight,
    /// Its ready replicas.
    pub replicas: Vec<Replica>,
}

/// A ready replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// Unique within its release and place.
    pub ordinal: u32,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Two places claim the same requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{first} and {second} both claim host {host:?} with path prefix {prefix:?}: change `route` of one of them"
)]
pub struct Conflict {
    /// The place that came first.
    pub first: Place,
    /// The place that came second.
    pub second: Place,
    /// The host both claim.
    pub host: String,
    /// The prefix both claim.
    pub prefix: String,
}

/// Why entries make no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two places claim the same requests.
    #[error(transparent)]
    Conflict(#[from] Box<Conflict>),
    /// One place stands in the list twice.
    #[error("{0} is listed twice: a place has one entry")]
    Twice(Place),
    /// A host is no host.
    #[error(
        "{place}: host {host:?} is not a host name: write a name without scheme, port or path, `*.` and a name, or `*`"
    )]
    Host {
        /// Whose.
        place: Place,
        /// The text.
        host: String,
    },
    /// A prefix is no path.
    #[error("{place}: path prefix {prefix:?} must start with '/' and hold no '.' or '..' segment")]
    Prefix {
        /// Whose.
        place: Place,
        /// The text.
        prefix: String,
    },
    /// A template cannot be read.
    #[error("{place}: route template {template:?} cannot be read: {reason}")]
    Template {
        /// Whose.
        place: Place,
        /// The text.
        template: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The weights do not add up.
    #[error("{place}: the weights add up to {points} basis points instead of 10000")]
    Weights {
        /// Whose.
        place: Place,
        /// Their sum.
        points: u32,
    },
    /// A preview that nobody could reach, or that reaches nobody.
    #[error("{place}: the preview needs a host, and its release a share")]
    Preview {
        /// Whose.
        place: Place,
    },
    /// Header routes that lead nowhere.
    #[error("{place}: header routes lead to release {release}, which has no share")]
    Aim {
        /// Whose.
        place: Place,
        /// Where to.
        release: ReleaseNumber,
    },
    /// A header route that cannot be read.
    #[error("{place}: header route {name:?} has a regular expression that cannot be used: {reason}")]
    HeaderRoute {
        /// Whose.
        place: Place,
        /// Its name.
        name: String,
        /// In words.
        reason: String,
    },
    /// A release is listed twice.
    #[error("{place}: release {release} has two shares")]
    Release {
        /// Whose.
        place: Place,
        /// Which.
        release: ReleaseNumber,
    },
}

/// What a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// The position in [`Table::entries`].
    pub entry: usize,
    /// The position in [`Table::labels`] of that entry.
    pub label: usize,
    /// Whether it came in by the entry's preview.
    pub preview: bool,
}

/// All entries, arranged for look-up: the most specific host first, then the longest prefix. A host that has no fitting
/// prefix leaves the request to a less specific one.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: Vec<Entry>,
    /// Of each entry's route and of its preview's.
    templates: Vec<[Vec<Template>; 2]>,
    labels: Vec<Vec<String>>,
    pub(crate) assigners: Vec<Assigner>,
    exact: BTreeMap<String, Vec<Claim>>,
    below: Vec<(String, Vec<Claim>)>,
    any: Vec<Claim>,
}

#[derive(Debug, Clone)]
struct Claim {
    prefix: String,
    entry: usize,
    label: usize,
    preview: bool,
}

impl Table {
    /// Builds the table.
    ///
    /// # Errors
    /// The first thing wrong with the entries; [`Error::Conflict`] names both places.
    pub fn build(entries: Vec<Entry>) -> Result<Self, Error> {
        let mut table = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            if entries[..index].iter().any(|other| other.place == entry.place) {
                return Err(Error::Twice(entry.place.clone()));
            }
            check_shares(entry)?;
            table.assigners.push(Assigner::new(entry)?);
            let (templates, mut all) = labels(&entry.place, &entry.route)?;
            table.claim(&entries, index, &entry.route, templates.len(), false)?;
            let mut of_preview = Vec::new();
            if let Some(preview) = &entry.preview {
                let names;
                (of_preview, names) = labels(&entry.place, &preview.route)?;
                table.claim(&entries, index, &preview.route, all.len() + of_preview.len(), true)?;
                all.extend(names);
            }
            table.templates.push([templates, of_preview]);
            table.labels.push(all);
        }
        table.entries = entries;
        table.sort();
        Ok(table)
    }

    /// The entries as given.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The route labels an entry can have: its templates, then its prefixes; the same of its preview after them.
    pub fn labels(&self, entry: usize) -> &[String] {
        &self.labels[entry]
    }

    /// The entry and label of a request, by its `Host` (port and case do not matter) and raw path.
    pub fn find(&self, host: &str, path: &str) -> Option<Match> {
        let host = host::normal(host);
        let claim = self
            .exact
            .get(host.as_ref())
            .and_then(|claims| longest(claims, path))
            .or_else(|| {
                let mut fitting = self
                    .below
                    .iter()
                    .filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix));
                fitting.find_map(|(_, claims)| longest(claims, path))
            })
            .or_else(|| longest(&self.any, path))?;
        let [of_route, of_preview] = &self.templates[claim.entry];
        let entry = &self.entries[claim.entry];
        let template = if claim.preview {
            let first = of_route.len() + entry.route.path_prefixes.len().max(1);
            of_preview.iter().position(|template| template.fits(path)).map(|position| first + position)
        } else {
            of_route.iter().position(|template| template.fits(path))
        };
        let label = template.unwrap_or(claim.label);
        Some(Match { entry: claim.entry, label, preview: claim.preview })
    }

    fn claim(
        &mut self,
        entries: &[Entry],
        index: usize,
        route: &Route,
        first_label: usize,
        preview: bool,
    ) -> Result<(), Error> {
        let entry = &entries[index];
        for host in hosts(route) {
            let Some(pattern) = Pattern::parse(host) else {
                return Err(Error::Host { place: entry.place.clone(), host: host.to_owned() });
            };
            for (offset, prefix) in prefixes(&entry.place, route)?.into_iter().enumerate() {
                let claims = self.claims(&pattern);
                match claims.iter().find(|claim| claim.prefix == prefix) {
                    Some(same) if same.entry == index && same.preview == preview => {}
                    Some(other) => {
                        return Err(Error::from(Box::new(Conflict {
                            first: entries[other.entry].place.clone(),
                            second: entry.place.clone(),
                            host: host.to_owned(),
                            prefix: shown(&prefix),
                        })));
                    }
                    None => claims.push(Claim { prefix, entry: index, label: first_label + offset, preview }),
                }
            }
        }
        Ok(())
    }

    fn claims(&mut self, pattern: &Pattern) -> &mut Vec<Claim> {
        match pattern {
            Pattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            Pattern::Below(suffix) => {
                let at = self.below.iter().position(|(other, _)| other == suffix).unwrap_or_else(|| {
                    self.below.push((suffix.clone(), Vec::new()));
                    self.below.len() - 1
                });
                &mut self.below[at].1
            }
            Pattern::Any => &mut self.any,
        }
    }

    fn sort(&mut self) {
        let longest_first = |claims: &mut Vec<Claim>| {
            claims.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then_with(|| a.prefix.cmp(&b.prefix)));
        };
        self.exact.values_mut().for_each(longest_first);
        self.below.iter_mut().for_each(|(_, claims)| longest_first(claims));
        longest_first(&mut self.any);
        self.below.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    }
}

fn longest<'a>(claims: &'a [Claim], path: &str) -> Option<&'a Claim> {
    claims.iter().find(|claim| path::holds(&claim.prefix, path))
}

fn check_shares(entry: &Entry) -> Result<(), Error> {
    for (index, share) in entry.shares.iter().enumerate() {
        if entry.shares[..index].iter().any(|other| other.release == share.release) {
            return Err(Error::Release { place: entry.place.clone(), release: share.release });
        }
    }
    let points: u32 = entry.shares.iter().map(|share| u32::from(share.weight.basis_points())).sum();
    if !entry.shares.is_empty() && points != u32::from(Weight::ALL.basis_points()) {
        return Err(Error::Weights { place: entry.place.clone(), points });
    }
    if let Some(preview) = &entry.preview {
        let has_share = |release| entry.shares.iter().any(|share| share.release == release);
        if preview.route.hosts.is_empty() || !preview.release.is_none_or(has_share) {
            return Err(Error::Preview { place: entry.place.clone() });
        }
    }
    Ok(())
}

fn hosts(route: &Route) -> Vec<&str> {
    if route.hosts.is_empty() { vec!["*"] } else { route.hosts.iter().map(String::as_str).collect() }
}

/// The prefixes without trailing slashes; the root is the empty text.
fn prefixes(place: &Place, route: &Route) -> Result<Vec<String>, Error> {
    if route.path_prefixes.is_empty() {
        return Ok(vec![String::new()]);
    }
    let bare = |prefix: &String| {
        if !prefix.starts_with('/') || path::climbs(prefix) {
            return Err(Error::Prefix { place: place.clone(), prefix: prefix.clone() });
        }
        Ok(prefix.trim_end_matches('/').to_owned())
    };
    route.path_prefixes.iter().map(bare).collect()
}

fn shown(prefix: &str) -> String {
    if prefix.is_empty() { "/".to_owned() } else { prefix.to_owned() }
}

fn labels(place: &Place, route: &Route) -> Result<(Vec<Template>, Vec<String>), Error> {
    let mut templates = Vec::with_capacity(route.templates.len());
    for text in &route.templates {
        templates.push(Template::parse(text).map_err(|reason| Error::Template {
            place: place.clone(),
            template: text.clone(),
            reason,
        })?);
    }
    templates.sort_by(|a, b| a.order().cmp(&b.order()));
    templates.dedup();
    let mut labels: Vec<String> = templates.iter().map(|template| template.as_str().to_owned()).collect();
    labels.extend(prefixes(place, route)?.iter().map(|prefix| shown(prefix)));
    Ok((templates, labels))
}
