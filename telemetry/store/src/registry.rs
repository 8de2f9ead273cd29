//! Which series there are: a number for each set of labels, for ever, and who has which label. The numbers stand in a
//! file of their own; samples name series by them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use promql::Labels;
use promql::expr::{Matcher, Test};

use crate::frame::{Appender, Fields, push_text, push_varint, replay};

/// Names a series in this store; never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub(crate) u32);

/// All known series.
pub(crate) struct Registry {
    file: Appender,
    path: PathBuf,
    labels: BTreeMap<u32, Labels>,
    numbers: HashMap<Labels, u32>,
    /// By label name and value: the series that have it, in order.
    holders: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<u32>>>,
    texts: HashSet<Arc<str>>,
    next: u32,
}

impl Registry {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("series");
        let mut read: Vec<(u32, Vec<(String, String)>)> = Vec::new();
        let lost = replay(&path, |record| read.extend(parsed(record)))?;
        if lost > 0 {
            tracing::warn!(lost, "the end of the list of series was cut off");
        }
        let mut registry = Self {
            file: Appender::open(&path)?,
            path,
            labels: BTreeMap::new(),
            numbers: HashMap::new(),
            holders: BTreeMap::new(),
            texts: HashSet::new(),
            next: 0,
        };
        for (number, pairs) in read {
            registry.next = registry.next.max(number.saturating_add(1));
            let labels = registry.shared(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            registry.insert(number, labels);
        }
        Ok(registry)
    }

    pub(crate) fn number(&self, labels: &Labels) -> Option<u32> {
        self.numbers.get(labels).copied()
    }

    pub(crate) fn labels(&self, number: u32) -> Option<&Labels> {
        self.labels.get(&number)
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Adds a series that is not known yet. `None` when all numbers are taken.
    pub(crate) fn add(&mut self, labels: &Labels) -> Option<u32> {
        let number = self.next;
        self.next = number.checked_add(1)?;
        let labels = self.shared(labels.iter().map(|(name, value)| (&**name, &**value)));
        self.file.push(&record(number, &labels));
        self.insert(number, labels);
        Some(number)
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Forgets all series but those that `keep`, in the file too.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) -> io::Result<()> {
        let kept: Vec<(u32, Labels)> =
            self.labels.iter().filter(|(number, _)| keep(**number)).map(|(n, l)| (*n, l.clone())).collect();
        let written = self.path.with_extension("new");
        let _ = std::fs::remove_file(&written);
        let mut file = Appender::open(&written)?;
        // The highest number stays known although its series may be gone: numbers are never given twice.
        let highest = self.next.saturating_sub(1);
        for (number, labels) in &kept {
            file.push(&record(*number, labels));
        }
        if !kept.iter().any(|(number, _)| *number == highest) {
            file.push(&record(highest, &Labels::default()));
        }
        file.sync()?;
        std::fs::rename(&written, &self.path)?;
        sync_folder(&self.path)?;
        self.file = Appender::open(&self.path)?;
        self.labels.clear();
        self.numbers.clear();
        self.holders.clear();
        self.texts.clear();
        for (number, labels) in kept {
            let labels = self.shared(labels.iter().map(|(name, value)| (&**name, &**value)));
            self.insert(number, labels);
        }
        Ok(())
    }

    /// The same texts are kept once.
    fn shared<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
        let mut share = |text: &str| match self.texts.get(text) {
            Some(known) => known.clone(),
            None => {
                let text: Arc<str> = text.into();
                self.texts.insert(text.clone());
                text
            }
        };
        let pairs: Vec<(Arc<str>, Arc<str>)> =
            pairs.map(|(name, value)| (share(name), share(value))).collect();
        Labels::new(pairs)
    }

    fn insert(&mut self, number: u32, labels: Labels) {
        if labels.is_empty() {
            return;
        }
        for (name, value) in labels.iter() {
            let holders = self.holders.entry(name.clone()).or_default().entry(value.clone()).or_default();
            holders.push(number);
        }
        self.numbers.insert(labels.clone(), number);
        self.labels.insert(number, labels);
    }

    /// The series that all matchers match, in order of their numbers.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<(u32, &Labels)> {
        let candidates = matchers.iter().enumerate().filter(|(_, matcher)| !matcher.holds(""));
        let candidates = candidates.map(|(place, matcher)| (place, self.holding(matcher)));
        let size = |(_, lists): &(usize, Vec<&Vec<u32>>)| lists.iter().map(|list| list.len()).sum::<usize>();
        let Some((used, lists)) = candidates.min_by_key(size) else {
            let all = self.labels.iter().map(|(number, labels)| (*number, labels));
            return all.filter(|(_, labels)| matchers.iter().all(|it| it.selects(labels))).collect();
        };
        let others = || matchers.iter().enumerate().filter(|(place, _)| *place != used).map(|(_, it)| it);
        let numbers = lists.into_iter().flatten();
        let series = numbers.filter_map(|number| Some((*number, self.labels.get(number)?)));
        let mut series: Vec<(u32, &Labels)> =
            series.filter(|(_, labels)| others().all(|it| it.selects(labels))).collect();
        series.sort_unstable_by_key(|(number, _)| *number);
        series
    }

    /// Who has a label that the matcher holds for.
    fn holding(&self, matcher: &Matcher) -> Vec<&Vec<u32>> {
        let Some(values) = self.holders.get(&*matcher.name) else { return vec![] };
        if let Test::Equal(value) = &matcher.test {
            return values.get(&**value).into_iter().collect();
        }
        values.iter().filter(|(value, _)| matcher.holds(value)).map(|(_, numbers)| numbers).collect()
    }

    /// The names of all labels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.holders.keys().map(|name| &**name)
    }

    /// All values of a label.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.holders.get(name).into_iter().flat_map(|values| values.keys().map(|value| &**value))
    }
}

fn record(number: u32, labels: &Labels) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    push_varint(&mut record, labels.iter().count() as u64);
    for (name, value) in labels.iter() {
        push_text(&mut record, name);
        push_text(&mut record, value);
    }
    record
}

fn parsed(record: &[u8]) -> Option<(u32, Vec<(String, String)>)> {
    let mut fields = Fields(record);
    let number = fields.u32()?;
    let count = fields.varint()?;
    let pairs = (0..count).map(|_| Some((fields.text()?.to_owned(), fields.text()?.to_owned())));
    Some((number, pairs.collect::<Option<_>>()?))
}

/// Makes a renamed file's name durable.
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
