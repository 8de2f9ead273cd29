//! What a directory holds, and its digest. Does not live here: reading any of it from a disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use model::Digest;

/// Links followed at most to find where one ends, as on Linux.
const MAX_HOPS: usize = 40;

const HEADER: &[u8] = b"shipshape tree 1\0";

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// The SHA-256 of its bytes.
        digest: Digest,
        /// Whether somebody may execute it.
        executable: bool,
        /// Its size in bytes; not part of the listing's digest, since `digest` covers it.
        bytes: u64,
    },
    /// A symbolic link.
    Link {
        /// What it points to, as it is written there.
        target: PathBuf,
    },
}

/// A directory's content by path relative to it.
///
/// Its digest is the SHA-256 of these bytes: `shipshape tree 1`, a NUL, and then for each entry, in the byte order of
/// the relative paths (parts joined by `/`), one of
/// - `d <path>` for a directory,
/// - `f <digest> <path>` for a file, `x <digest> <path>` for an executable one,
/// - `l <digest of the target's bytes> <path>` for a symbolic link,
///
/// each followed by a NUL; digests are 64 hex digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// Where a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Inside the directory, or nowhere.
    Inside,
    /// Outside, or it could be anywhere since it is absolute.
    Outside,
    /// In a circle.
    Loop,
}

impl Listing {
    /// Adds an entry. `path` is relative to the directory.
    pub fn insert(&mut self, path: &Path, entry: Entry) {
        self.entries.insert(path.as_os_str().as_bytes().to_vec(), entry);
    }

    /// The entries in the byte order of their paths.
    pub fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (Path::new(OsStr::from_bytes(path)), entry))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is a file in it.
    pub(crate) fn has_files(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry, Entry::File { .. }))
    }

    /// The bytes of all files together.
    pub fn bytes(&self) -> u64 {
        let size = |entry: &Entry| match entry {
            Entry::File { bytes, .. } => *bytes,
            Entry::Directory | Entry::Link { .. } => 0,
        };
        self.entries.values().map(size).fold(0, u64::saturating_add)
    }

    /// The digest of the directory.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text())
    }

    /// The bytes that the digest is taken of.
    pub fn text(&self) -> Vec<u8> {
        let mut text = HEADER.to_vec();
        for (path, entry) in self.entries() {
            text.extend_from_slice(&line(path, entry));
        }
        text
    }

    /// The paths in a listing's text, each with its line.
    pub(crate) fn lines(text: &[u8]) -> Option<Vec<(&Path, &[u8])>> {
        let rest = text.strip_prefix(HEADER)?;
        rest.split_inclusive(|byte| *byte == 0).map(|line| Some((path_of(line)?, line))).collect()
    }

    /// Where the link at `path` ends, followed through the other links of this listing.
    pub(crate) fn end_of(&self, path: &Path, target: &Path) -> End {
        let mut at: Vec<&OsStr> = path.parent().into_iter().flat_map(Path::iter).collect();
        let mut todo: Vec<Component<'_>> = target.components().rev().collect();
        let mut hops = 0;
        while let Some(part) = todo.pop() {
            match part {
                Component::Prefix(_) | Component::RootDir => return End::Outside,
                Component::CurDir => {}
                Component::ParentDir => {
                    if at.pop().is_none() {
                        return End::Outside;
                    }
                }
                Component::Normal(name) => {
                    at.push(name);
                    let here: PathBuf = at.iter().collect();
                    if let Some(Entry::Link { target }) = self.entries.get(here.as_os_str().as_bytes()) {
                        hops += 1;
                        if hops > MAX_HOPS {
                            return End::Loop;
                        }
                        at.pop();
                        todo.extend(target.components().rev());
                    }
                }
            }
        }
        End::Inside
    }
}

/// The path in an entry's line.
fn path_of(line: &[u8]) -> Option<&Path> {
    let path = match line {
        [b'd', b' ', path @ ..] => path,
        [b'f' | b'x' | b'l', b' ', rest @ ..] => rest.get(65..)?,
        _ => return None,
    };
    Some(Path::new(OsStr::from_bytes(path.strip_suffix(b"\0")?)))
}

/// An entry's line in the text.
pub(crate) fn line(path: &Path, entry: &Entry) -> Vec<u8> {
    let head = match entry {
        Entry::Directory => "d ".to_owned(),
        Entry::File { digest, executable: false, .. } => format!("f {} ", digest.hex()),
        Entry::File { digest, executable: true, .. } => format!("x {} ", digest.hex()),
        Entry::Link { target } => format!("l {} ", Digest::of(target.as_os_str().as_bytes()).hex()),
    };
    [head.as_bytes(), path.as_os_str().as_bytes(), b"\0"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, executable: bool) -> Entry {
        Entry::File { digest: Digest::of(text.as_bytes()), executable, bytes: text.len() as u64 }
    }

    #[test]
    fn the_digest_is_the_documented_one() {
        let mut listing = Listing::default();
        listing.insert(Path::new("run"), file("#!/bin/sh\n", true));
        listing.insert(Path::new("lib"), Entry::Directory);
        listing.insert(Path::new("lib/a"), file("a", false));
        listing.insert(Path::new("latest"), Entry::Link { target: "lib/a".into() });
        let text = format!(
            "shipshape tree 1\0l {} latest\0d lib\0f {} lib/a\0x {} run\0",
            Digest::of(b"lib/a").hex(),
            Digest::of(b"a").hex(),
            Digest::of(b"#!/bin/sh\n").hex()
        );
        assert_eq!(listing.digest(), Digest::of(text.as_bytes()));
        let lines = Listing::lines(text.as_bytes()).unwrap();
        let paths: Vec<_> = lines.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["latest", "lib", "lib/a", "run"]);
        for noise in ["", "shipshape tree 1\0z\0", "shipshape tree 1\0f abc\0", "shipshape tree 1\0d lib"] {
            assert_eq!(Listing::lines(noise.as_bytes()), None, "{noise:?}");
        }
    }

    #[test]
    fn links_are_followed_through_links() {
        let mut listing = Listing::default();
        let links = [
            ("p/q/up", "../.."),
            ("sly", "p/q/up/.."),
            ("fine", "p/q/up/p"),
            ("gone", "p/no/../such"),
            ("out", "../x"),
            ("deep/out", "../../x"),
            ("absolute", "/etc/passwd"),
            ("a", "b"),
            ("b", "a"),
            ("self", "."),
        ];
        for (path, target) in links {
            listing.insert(Path::new(path), Entry::Link { target: target.into() });
        }
        let end = |path: &str| {
            let target = links.iter().find(|(p, _)| *p == path).unwrap().1;
            listing.end_of(Path::new(path), Path::new(target))
        };
        for inside in ["p/q/up", "fine", "gone", "self"] {
            assert_eq!(end(inside), End::Inside, "{inside}");
        }
        for outside in ["sly", "out", "deep/out", "absolute"] {
            assert_eq!(end(outside), End::Outside, "{outside}");
        }
        assert_eq!(end("a"), End::Loop);
    }
}
