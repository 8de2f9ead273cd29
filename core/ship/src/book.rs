//! What was counted in a rollout, added up over the lives of the counter. Does not live here: what the counts mean, which
//! is the judge's and the rules' business.

use std::collections::BTreeMap;

use model::strategy::MAX_QUANTILES;
use model::{Epoch, Weight};

use crate::judge::Stretch;
use crate::latency::Slow;
use crate::observation::{Counts, EpochTally};
use crate::users::UserTally;

/// Counts by epoch. It has at most three pages for each epoch, however often the counter started again: one for the life
/// that counted last, one for the life before it, one for all. The life before may come back: an agent that gave
/// everything to a successor takes it back when that one fails, and counts on. One before that does not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    weights: BTreeMap<Epoch, Weight>,
    chapters: BTreeMap<Epoch, Chapter>,
    /// The life that counted last.
    instance: String,
    /// How many lives have counted.
    lives: u32,
}

/// The pages of one epoch.
#[derive(Debug, Clone, Default, PartialEq)]
struct Chapter {
    instance: String,
    /// Cumulative in that instance.
    current: Page,
    /// The last counts of all instances before it, added up.
    earlier: Option<Page>,
    /// The last of those.
    former: Option<(String, Page)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Page {
    candidate: Counts,
    stable: Counts,
    slow: Slow,
    aimed: Counts,
    users: UserTally,
}

impl Page {
    fn plus(self, other: Self) -> Self {
        Self {
            candidate: self.candidate.plus(other.candidate),
            stable: self.stable.plus(other.stable),
            slow: self.slow.plus(other.slow),
            aimed: self.aimed.plus(other.aimed),
            users: self.users.plus(other.users),
        }
    }

    /// What came on top of an earlier reading of requests. Users do not come on top: nobody asks for those of all lives.
    fn since(self, earlier: Self) -> Self {
        Self {
            candidate: self.candidate.since(earlier.candidate),
            stable: self.stable.since(earlier.stable),
            slow: self.slow.since(earlier.slow),
            aimed: self.aimed.since(earlier.aimed),
            users: self.users,
        }
    }
}

impl From<&EpochTally> for Page {
    fn from(tally: &EpochTally) -> Self {
        let EpochTally { epoch: _, candidate, stable, slow, aimed, users } = *tally;
        Self { candidate, stable, slow, aimed, users }
    }
}

impl Chapter {
    fn enter(&mut self, instance: &str, page: Page) {
        if self.instance != instance {
            self.earlier = Some(self.total().since(self.read(instance)));
            let left = std::mem::replace(&mut self.instance, instance.to_owned());
            self.former = Some((left, self.current));
        }
        self.current = page;
    }

    /// What an instance had counted when it was last heard of.
    fn find(&self, instance: &str) -> Option<Page> {
        if self.instance == instance {
            return Some(self.current);
        }
        self.former.as_ref().filter(|(former, _)| former == instance).map(|(_, page)| *page)
    }

    fn read(&self, instance: &str) -> Page {
        self.find(instance).unwrap_or_default()
    }

    fn total(&self) -> Page {
        self.earlier.unwrap_or_default().plus(self.current)
    }
}

impl Book {
    /// Opens an epoch of this rollout, in which the new release has this weight.
    pub(crate) fn open(&mut self, epoch: Epoch, weight: Weight) {
        self.weights.insert(epoch, weight);
    }

    /// Takes cumulative counts into account; counts of epochs that are not this rollout's are left out.
    pub fn enter(&mut self, instance: &str, tallies: &[EpochTally]) {
        let Self { weights, chapters, .. } = self;
        let mut counted = false;
        for tally in tallies.iter().filter(|tally| weights.contains_key(&tally.epoch)) {
            let first = || Chapter { instance: instance.to_owned(), ..Chapter::default() };
            chapters.entry(tally.epoch).or_insert_with(first).enter(instance, tally.into());
            counted = true;
        }
        if counted && (self.lives == 0 || self.instance != instance) {
            self.lives += 1;
            instance.clone_into(&mut self.instance);
        }
    }

    /// Those of `tallies` that would change the book.
    pub fn news(&self, instance: &str, tallies: &[EpochTally]) -> Vec<EpochTally> {
        let is_news = |tally: &&EpochTally| {
            // A life that has counted nothing is not worth a page.
            self.read(instance, tally.epoch) != Page::from(*tally)
        };
        tallies.iter().filter(|tally| self.covers(tally.epoch)).filter(is_news).copied().collect()
    }

    /// What `tallies` would add, by weight: requests, and as errors those that were slower than the threshold `index`.
    pub(crate) fn slow_growth(&self, instance: &str, tallies: &[EpochTally], index: usize) -> Vec<Stretch> {
        let known = tallies.iter().filter_map(|tally| Some((tally, self.weights.get(&tally.epoch)?)));
        let grown = known.map(|(tally, weight)| {
            let before = self.read(instance, tally.epoch);
            let Page { candidate, stable, slow, .. } = Page::from(tally).since(before);
            let side = |counts: Counts, slow: &[u64]| Counts {
                requests: counts.requests,
                errors: slow.get(index).copied().unwrap_or_default(),
            };
            Stretch {
                weight: weight.fraction(),
                candidate: side(candidate, &slow.candidate),
                stable: side(stable, &slow.stable),
            }
        });
        grown.collect()
    }

    /// What `tallies` would add of the new release: requests and errors, and how many were slower than each threshold.
    pub(crate) fn candidate_growth(
        &self,
        instance: &str,
        tallies: &[EpochTally],
    ) -> (Counts, [u64; MAX_QUANTILES]) {
        let known = tallies.iter().filter(|tally| self.covers(tally.epoch));
        let grown = known.fold(Page::default(), |sum, tally| {
            sum.plus(Page::from(tally).since(self.read(instance, tally.epoch)))
        });
        (grown.candidate, grown.slow.candidate)
    }

    fn read(&self, instance: &str, epoch: Epoch) -> Page {
        self.chapters.get(&epoch).map(|chapter| chapter.read(instance)).unwrap_or_default()
    }

    /// How many pages it has.
    pub fn pages(&self) -> usize {
        let pages = |chapter: &Chapter| {
            1 + usize::from(chapter.earlier.is_some()) + usize::from(chapter.former.is_some())
        };
        self.chapters.values().map(pages).sum()
    }

    /// Whether an epoch is one of this rollout's.
    pub fn covers(&self, epoch: Epoch) -> bool {
        self.weights.contains_key(&epoch)
    }

    /// What the judge looks at: counts by weight.
    pub fn stretches(&self) -> Vec<Stretch> {
        let stretch = |(weight, Page { candidate, stable, .. }): (Weight, Page)| Stretch {
            weight: weight.fraction(),
            candidate,
            stable,
        };
        self.by_weight(|_, chapter| Some(chapter.total())).into_iter().map(stretch).collect()
    }

    /// Users in the present life of the counter by weight: earlier lives may have counted the same ones.
    pub(crate) fn users_by_weight(&self) -> BTreeMap<Weight, UserTally> {
        self.by_weight(|book, chapter| chapter.find(&book.instance))
            .into_iter()
            .map(|(weight, page)| (weight, page.users))
            .collect()
    }

    fn by_weight(&self, page: impl Fn(&Self, &Chapter) -> Option<Page>) -> BTreeMap<Weight, Page> {
        let mut by_weight: BTreeMap<Weight, Page> = BTreeMap::new();
        for (epoch, chapter) in &self.chapters {
            if let (Some(weight), Some(page)) = (self.weights.get(epoch), page(self, chapter)) {
                let sum = by_weight.entry(*weight).or_default();
                *sum = sum.plus(page);
            }
        }
        by_weight
    }

    /// Whether this life of the counter is the one that counted last.
    pub fn is_of(&self, instance: &str) -> bool {
        self.lives > 0 && self.instance == instance
    }

    /// How many lives of the counter have counted in this rollout.
    pub fn lives(&self) -> u32 {
        self.lives
    }

    /// Users of both releases in the present life of the counter, over all weights.
    pub fn users(&self) -> UserTally {
        self.users_by_weight().into_values().fold(UserTally::default(), UserTally::plus)
    }

    /// Of the new release in the present life of the counter, drawn and led there alike: never less than before.
    pub fn candidate_by(&self, instance: &str) -> Counts {
        self.chapters.values().fold(Counts::default(), |sum, chapter| {
            let page = chapter.read(instance);
            sum.plus(page.candidate).plus(page.aimed)
        })
    }

    /// Of the new release: what header routes led to it in the whole rollout.
    pub fn aimed(&self) -> Counts {
        self.chapters.values().fold(Counts::default(), |sum, chapter| sum.plus(chapter.total().aimed))
    }

    /// Users in one epoch, in the present life of the counter.
    pub fn users_in(&self, epoch: Epoch) -> UserTally {
        self.read(&self.instance, epoch).users
    }

    /// Of the new release in one epoch.
    pub fn candidate_in(&self, epoch: Epoch) -> Counts {
        self.chapters.get(&epoch).map(|chapter| chapter.total().candidate).unwrap_or_default()
    }

    /// Of both releases in the whole rollout: `(candidate, stable)`.
    pub fn totals(&self) -> (Counts, Counts) {
        let total = self.chapters.values().fold(Page::default(), |sum, chapter| sum.plus(chapter.total()));
        (total.candidate, total.stable)
    }
}
