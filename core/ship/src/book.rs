//! What was counted in a rollout, added up over the lives of the counter. Does not live here: what the counts mean, which
//! is the judge's and the rules' business.

use std::collections::BTreeMap;

use model::strategy::MAX_QUANTILES;
use model::{Epoch, Weight};

use crate::judge::Stretch;
use crate::latency::Slow;
use crate::observation::{Counts, EpochTally};

/// Counts by epoch. It has at most two pages for each epoch, however often the counter started again: one for the life
/// that counted last, one for all before it. A life that is over does not come back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    weights: BTreeMap<Epoch, Weight>,
    chapters: BTreeMap<Epoch, Chapter>,
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
}

impl Page {
    fn plus(self, other: Self) -> Self {
        Self {
            candidate: self.candidate.plus(other.candidate),
            stable: self.stable.plus(other.stable),
            slow: self.slow.plus(other.slow),
        }
    }

    /// What came on top of an earlier reading.
    fn since(self, earlier: Self) -> Self {
        Self {
            candidate: self.candidate.since(earlier.candidate),
            stable: self.stable.since(earlier.stable),
            slow: self.slow.since(earlier.slow),
        }
    }
}

impl From<&EpochTally> for Page {
    fn from(tally: &EpochTally) -> Self {
        Self { candidate: tally.candidate, stable: tally.stable, slow: tally.slow }
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
        let Self { weights, chapters } = self;
        for tally in tallies.iter().filter(|tally| weights.contains_key(&tally.epoch)) {
            let first = || Chapter { instance: instance.to_owned(), current: Page::default(), earlier: None };
            chapters.entry(tally.epoch).or_insert_with(first).enter(instance, tally.into());
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
            let Page { candidate, stable, slow } = Page::from(tally).since(before);
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
        let mut by_weight: BTreeMap<Weight, Page> = BTreeMap::new();
        for (epoch, chapter) in &self.chapters {
            if let Some(weight) = self.weights.get(epoch) {
                let sum = by_weight.entry(*weight).or_default();
                *sum = sum.plus(chapter.total());
            }
        }
        let stretch = |(weight, Page { candidate, stable, .. }): (Weight, Page)| Stretch {
            weight: weight.fraction(),
            candidate,
            stable,
        };
        by_weight.into_iter().map(stretch).collect()
    }

    /// Of the new release in the present life of the counter: never less than before.
    pub fn candidate_by(&self, instance: &str) -> Counts {
        let chapters = self.chapters.values().filter(|chapter| chapter.instance == instance);
        chapters.fold(Counts::default(), |sum, chapter| sum.plus(chapter.current.candidate))
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
