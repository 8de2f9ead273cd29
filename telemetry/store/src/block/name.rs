//! What a block's file is called after. The names alone say which blocks a crash left behind that are in a merged one
//! already.

/// The stretch of time of a block, and where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    /// Every sample is at or after this, in milliseconds.
    pub(crate) from: i64,
    /// Every sample is before this.
    pub(crate) until: i64,
    /// Counts the blocks that were cut: one of a higher number was written later. A merged one has its newest part's.
    pub(crate) number: u64,
    /// How often its samples were merged.
    pub(crate) level: u32,
}

impl Name {
    /// Of a file; `None` when it is no block's. Those of the first version had no number.
    pub(crate) fn read(file: &str) -> Option<Self> {
        let mut parts = file.strip_prefix("block-")?.split('-');
        let (from, until) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let number = parts.next().map_or(Some(0), |part| part.parse().ok())?;
        let level = parts.next().map_or(Some(0), |part| part.parse().ok())?;
        parts.next().is_none().then_some(Self { from, until, number, level })
    }

    /// The file's name.
    pub(crate) fn file(&self) -> String {
        let Self { from, until, number, level } = self;
        format!("block-{from:020}-{until:020}-{number:010}-{level}")
    }

    /// Whether this block was merged from the other one, and others. A merged block takes in all that is within its stretch
    /// of time; what is cut there afterwards has a higher number.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        let within = self.from <= other.from && other.until <= self.until;
        within && self.level > other.level && self.number >= other.number
    }

    /// Whether both have times in common.
    pub(crate) fn meets(&self, from: i64, until: i64) -> bool {
        self.from < until && self.until > from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_and_those_of_the_first_version_are_read() {
        let name = Name { from: 7_200_000, until: 14_400_000, number: 3, level: 1 };
        assert_eq!(Name::read(&name.file()), Some(name));
        let old = Name::read("block-00000001699999200000-00000001700002800000").unwrap();
        assert_eq!((old.from, old.until), (1_699_999_200_000, 1_700_002_800_000));
        assert_eq!((old.number, old.level), (0, 0));
        for strange in ["block-1", "block-1-2-3-4-5", "block-a-2", "log-0000000001", "block-1-2-x-1"] {
            assert_eq!(Name::read(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_merged_block_holds_its_parts_and_nothing_that_was_cut_later() {
        let merged = Name { from: 0, until: 100, number: 4, level: 1 };
        assert!(merged.holds(&Name { from: 0, until: 50, number: 3, level: 0 }));
        assert!(merged.holds(&Name { from: 50, until: 100, number: 4, level: 0 }));
        assert!(!merged.holds(&Name { from: 50, until: 100, number: 5, level: 0 }), "it was cut later");
        assert!(!merged.holds(&Name { from: 50, until: 101, number: 4, level: 0 }), "it goes beyond");
        assert!(!merged.holds(&merged));
    }
}
