//! The head beside the journal: number and digest of the last committed entry.
//!
//! It is written after the commit and not synced, so it may lag behind the journal but never run ahead of it. Two
//! slots of fixed size are written in turn, each with a checksum: a torn write costs one slot, never both. Writing
//! needs no new disk space, so a full disk does not stop it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::Digest;

use crate::fault::{self, Fault};
use crate::files;

/// `<seq, 20 digits> <digest, 64 hex digits> <checksum, 16 hex digits>\n`
const SLOT_BYTES: usize = 20 + 1 + 64 + 1 + 16 + 1;

/// The last entry that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its number.
    pub(crate) seq: u64,
    /// The digest of its bytes.
    pub(crate) digest: Digest,
}

/// What the head file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// There is no head file, or an empty one.
    Nothing,
    /// There is one, and no slot in it is readable.
    Unreadable,
    /// The last committed entry, and the slot that says so.
    At(Head, usize),
}

impl Known {
    /// The head, when one is known.
    pub(crate) fn head(self) -> Option<Head> {
        match self {
            Self::At(head, _) => Some(head),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

fn slot(head: Head) -> String {
    let content = format!("{:020} {}", head.seq, head.digest.hex());
    let mut check = Digest::of(content.as_bytes()).hex();
    check.truncate(16);
    format!("{content} {check}\n")
}

fn parse(bytes: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (seq, rest) = text.split_at_checked(20)?;
    let digest = format!("sha256:{}", rest.get(1..65)?);
    let head = Head { seq: seq.parse().ok()?, digest: digest.parse().ok()? };
    (slot(head) == text).then_some(head)
}

/// Reads the head of a journal.
pub(crate) fn read(journal: &Path) -> Result<Known, Fault> {
    let path = files::beside(journal, ".head");
    let bytes = match std::fs::metadata(&path) {
        // Longer than two slots is no head of ours; do not read whatever it is.
        Ok(meta) if meta.len() > 2 * SLOT_BYTES as u64 => return Ok(Known::Unreadable),
        Ok(_) => std::fs::read(&path).map_err(|error| fault::io(&path, "read", &error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Known::Nothing),
        Err(error) => return Err(fault::io(&path, "read", &error)),
    };
    let slots = bytes.chunks(SLOT_BYTES).enumerate();
    let newest = slots.filter_map(|(i, bytes)| Some((parse(bytes)?, i))).max_by_key(|(head, _)| head.seq);
    Ok(match newest {
        Some((head, slot)) => Known::At(head, slot),
        None if bytes.is_empty() => Known::Nothing,
        None => Known::Unreadable,
    })
}

/// What was lost, given the journal's last number and its entry where the head is.
pub(crate) fn lost(head: Head, last_seq: u64, there: Option<Head>) -> Option<String> {
    if last_seq < head.seq {
        return Some(format!("it ends at event {last_seq} but had {}", head.seq));
    }
    if there != Some(head) {
        return Some(format!(
            "its event {} is not the one that was written: it is another journal",
            head.seq
        ));
    }
    None
}

/// What to do about it.
pub(crate) fn next(journal: &Path) -> String {
    format!(
        "restore the newest backup with its -wal file; or, to go on with what is there and give the rest up, remove {}",
        files::beside(journal, ".head").display()
    )
}

/// Writes the head after each commit.
#[derive(Debug)]
pub(crate) struct Keeper {
    file: File,
    next_slot: usize,
}

impl Keeper {
    /// Opens the head file; what it said before stays until the second write.
    pub(crate) fn open(journal: &Path, known: Known) -> Result<Self, Fault> {
        let path = files::beside(journal, ".head");
        let file = files::open_beside(&path)?;
        let next_slot = match known {
            Known::At(_, slot) => 1 - slot.min(1),
            Known::Nothing | Known::Unreadable => {
                file.set_len(0).map_err(|error| fault::io(&path, "write", &error))?;
                0
            }
        };
        Ok(Self { file, next_slot })
    }

    /// Notes the last committed entry.
    pub(crate) fn note(&mut self, head: Head) -> std::io::Result<()> {
        self.file.write_all_at(slot(head).as_bytes(), (self.next_slot * SLOT_BYTES) as u64)?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, digest: Digest::of(&seq.to_be_bytes()) }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("j");
        let file = dir.path().join("j.head");
        assert_eq!(read(&journal).unwrap(), Known::Nothing);
        let mut keeper = Keeper::open(&journal, Known::Nothing).unwrap();
        for seq in 1..=5 {
            keeper.note(head(seq)).unwrap();
            assert_eq!(read(&journal).unwrap().head(), Some(head(seq)));
        }
        let bytes = std::fs::read(&file).unwrap();
        // 5 is in slot 0; tear it at every length, and 4 in slot 1 still counts.
        for torn in 0..SLOT_BYTES {
            let mut damaged = bytes.clone();
            damaged[torn] ^= 0x55;
            std::fs::write(&file, &damaged).unwrap();
            assert_eq!(read(&journal).unwrap().head(), Some(head(4)), "byte {torn}");
        }
    }

    #[test]
    fn noise_is_not_a_head() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("j");
        for noise in [vec![b'0'; 50], vec![0xff; 2 * SLOT_BYTES], vec![b' '; 4096]] {
            std::fs::write(dir.path().join("j.head"), noise).unwrap();
            assert_eq!(read(&journal).unwrap(), Known::Unreadable);
        }
    }

    #[test]
    fn a_keeper_goes_on_in_the_other_slot() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("j");
        Keeper::open(&journal, Known::Nothing).unwrap().note(head(1)).unwrap();
        let known = read(&journal).unwrap();
        assert_eq!(known, Known::At(head(1), 0));
        Keeper::open(&journal, known).unwrap().note(head(2)).unwrap();
        assert_eq!(read(&journal).unwrap(), Known::At(head(2), 1));
    }
}
