//! What was counted in a rollout, added up over the lives of the counter. Does not live here: what the counts mean, which
//! is the judge's and the rules' business.

use std::collections::BTreeMap;

use model::strategy::MAX_QUANTILES;
use model::{Epoch, Weight};

use crate::judge::Stretch;
use crate::latency::Slow;
use crate::observation::{Counts, EpochTally};
use crate::users::UserTally;

/// Counts by epoch. It has at most two pages for each epoch, however often the counter started again: one for the life
/// that counted last, one for all before it. A life that is over does not come back.
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

    /// What came on top of an earlier reading of requests; users do not come on top.
    fn since(self, earlier: Self) -> Self {
        Self {
            candidate: self.candidate.since(earlier.candidate),
            stable: self.stable.since(earlier.stable),
            slow: self.slow.since(earlier.slow),
            ..self
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
            self.earlier = Some(self.total());
            instance.clone_into(&mut self.instance);
        }
        self.current = page;
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
            let first = || Chapter { instance: instance.to_owned(), current: Page::default(), earlier: None };
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
            let chapter = self.chapters.get(&tally.epoch).filter(|chapter| chapter.instance == instance);
            // A life that has counted nothing is not worth a page.
            chapter.map(|chapter| chapter.current).unwrap_or_default() != Page::from(*tally)
        };
        tallies.iter().filter(|tally| self.covers(tally.epoch)).filter(is_news).copied().collect()
    }

    /// What `tallies` would add, by weight: requests, and as errors those that were slower than the threshold `index`.
    pub(crate) fn slow_growth(&self, instance: &str, tallies: &[EpochTally], index: usize) -> Vec<Stretch> {
        let known = tallies.iter().filter_map(|tally| Some((tally, self.weights.get(&tally.epoch)?)));
        let grown = known.map(|(tally, weight)| {
            let chapter = self.chapters.get(&tally.epoch).filter(|chapter| chapter.instance == instance);
            let before = chapter.map(|chapter| chapter.current).unwrap_or_default();
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
            let chapter = self.chapters.get(&tally.epoch).filter(|chapter| chapter.instance == instance);
            sum.plus(Page::from(tally).since(chapter.map(|chapter| chapter.current).unwrap_or_default()))
        });
        (grown.candidate, grown.slow.candidate)
    }

    /// How many pages it has.
    pub fn pages(&self) -> usize {
        self.chapters.values().map(|chapter| 1 + usize::from(chapter.earlier.is_some())).sum()
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
        let users =
            |book: &Self, chapter: &Chapter| (chapter.instance == book.instance).then_some(chapter.current);
        self.by_weight(users).into_iter().map(|(weight, page)| (weight, page.users)).collect()
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
        let chapters = self.chapters.values().filter(|chapter| chapter.instance == instance);
        chapters.fold(Counts::default(), |sum, chapter| {
            sum.plus(chapter.current.candidate).plus(chapter.current.aimed)
        })
    }

    /// Of the new release: what header routes led to it in the whole rollout.
    pub fn aimed(&self) -> Counts {
        self.chapters.values().fold(Counts::default(), |sum, chapter| sum.plus(chapter.total().aimed))
    }

    /// Users in one epoch, in the present life of the counter.
    pub fn users_in(&self, epoch: Epoch) -> UserTally {
        let chapter = self.chapters.get(&epoch).filter(|chapter| chapter.instance == self.instance);
        chapter.map(|chapter| chapter.current.users).unwrap_or_default()
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
