//! Reading a file or a directory, hashing it, and copying it on the way if wanted.
//!
//! Whatever is not a plain file, a directory or a link that stays inside is an error, never skipped. So is a source
//! that changes meanwhile: what is stored must be something that existed at one moment.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::Digest;
use ports::artifacts::Error;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use crate::listing::{self, End, Entry, Listing};
use crate::store::Limits;

const BUFFER_BYTES: usize = 128 << 10;

/// The deepest nesting of directories.
const MAX_DEPTH: usize = 128;

/// Up to so many files are synced one by one, more with one sync of the whole file system.
const SYNC_SINGLY: usize = 64;

/// Makes the error for a failed call on a path.
pub(crate) fn io<'a>(path: &'a Path, doing: &'a str) -> impl Fn(std::io::Error) -> Error + 'a {
    move |error| Error(format!("cannot {doing} {}: {error}", path.display()))
}

/// A file's content, hashed, and copied to `to` when given.
pub(crate) fn file(from: &Path, to: Option<&Path>, limits: &Limits) -> Result<Entry, Error> {
    one_file(from, to, limits.max_bytes, limits)
}

/// A directory's content, hashed, and copied into `to` (which must exist and be empty) when given.
pub(crate) fn tree(from: &Path, to: Option<&Path>, limits: &Limits) -> Result<Listing, Error> {
    let mut walk = Walk { from, to, limits, listing: Listing::default(), seen: Vec::new(), bytes: 0 };
    walk.directory(Path::new(""))?;
    walk.check_unchanged()?;
    let Walk { listing, .. } = walk;
    if !listing.has_files() {
        return Err(Error(format!(
            "{} holds no file: there is nothing to ship; build first, or name another directory",
            from.display()
        )));
    }
    for (path, entry) in listing.entries() {
        if let Entry::Link { target } = entry {
            check_link(&listing, &from.join(path), path, target)?;
        }
    }
    Ok(listing)
}

/// Compares a stored tree with its listing's text. What a running service has added to it is not looked at.
pub(crate) fn check(root: &Path, text: &[u8]) -> Result<u64, Error> {
    let unlimited = Limits { max_bytes: u64::MAX, max_files: usize::MAX };
    let Some(lines) = Listing::lines(text) else {
        return Err(Error(format!("the listing of {} is not readable", root.display())));
    };
    let mut bytes = 0;
    for (relative, expected) in lines {
        let path = root.join(relative);
        let kind = std::fs::symlink_metadata(&path).map_err(io(&path, "read"))?.file_type();
        let entry = if kind.is_dir() {
            Entry::Directory
        } else if kind.is_symlink() {
            Entry::Link { target: std::fs::read_link(&path).map_err(io(&path, "read the link"))? }
        } else {
            file(&path, None, &unlimited)?
        };
        if let Entry::File { bytes: size, .. } = &entry {
            bytes += size;
        }
        if listing::line(relative, &entry) != expected {
            return Err(Error(format!("{} is not what was stored", path.display())));
        }
    }
    Ok(bytes)
}

/// Makes a copied tree durable: its files, its directories, and `root` itself.
pub(crate) fn sync(root: &Path, listing: &Listing) -> Result<(), Error> {
    if listing.len() > SYNC_SINGLY {
        let dir = File::open(root).map_err(io(root, "open"))?;
        return rustix::fs::syncfs(&dir).map_err(|error| io(root, "sync the file system of")(error.into()));
    }
    for (path, entry) in listing.entries() {
        if !matches!(entry, Entry::Link { .. }) {
            sync_one(&root.join(path))?;
        }
    }
    sync_one(root)
}

/// Makes one file or directory durable.
pub(crate) fn sync_one(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io(path, "sync"))
}

struct Walk<'a> {
    from: &'a Path,
    to: Option<&'a Path>,
    limits: &'a Limits,
    listing: Listing,
    seen: Vec<(PathBuf, Metadata)>,
    bytes: u64,
}

impl Walk<'_> {
    fn directory(&mut self, relative: &Path) -> Result<(), Error> {
        let path = self.from.join(relative);
        if relative.components().count() > MAX_DEPTH {
            return Err(Error(format!(
                "{}: directories are nested deeper than {MAX_DEPTH}: remove what does not belong there",
                path.display()
            )));
        }
        let before = std::fs::symlink_metadata(&path).map_err(io(&path, "read"))?;
        self.seen.push((path.clone(), before));
        for entry in std::fs::read_dir(&path).map_err(io(&path, "read the directory"))? {
            let entry = entry.map_err(io(&path, "read the directory"))?;
            self.entry(&relative.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn entry(&mut self, relative: &Path) -> Result<(), Error> {
        if self.listing.len() >= self.limits.max_files {
            return Err(Error(format!(
                "{} holds more than {} files and directories: ship only what is needed to run, or raise the limit \
                 of an artifact's files",
                self.from.display(),
                self.limits.max_files
            )));
        }
        let path = self.from.join(relative);
        let to = self.to.map(|to| to.join(relative));
        let kind = std::fs::symlink_metadata(&path).map_err(io(&path, "read"))?.file_type();
        if kind.is_dir() {
            if let Some(to) = &to {
                std::fs::create_dir(to).map_err(io(to, "create the directory"))?;
            }
            self.listing.insert(relative, Entry::Directory);
            return self.directory(relative);
        }
        let entry = if kind.is_symlink() {
            let target = std::fs::read_link(&path).map_err(io(&path, "read the link"))?;
            if let Some(to) = &to {
                std::os::unix::fs::symlink(&target, to).map_err(io(to, "create the link"))?;
            }
            Entry::Link { target }
        } else {
            let left = self.limits.max_bytes.saturating_sub(self.bytes);
            one_file(&path, to.as_deref(), left, self.limits)?
        };
        if let Entry::File { bytes, .. } = &entry {
            self.bytes = self.bytes.saturating_add(*bytes);
        }
        self.listing.insert(relative, entry);
        Ok(())
    }

    /// Names added or removed while the rest was copied show in the directories' times.
    fn check_unchanged(&self) -> Result<(), Error> {
        for (path, before) in &self.seen {
            let now = std::fs::symlink_metadata(path).map_err(io(path, "read"))?;
            if changed(before, &now) {
                return Err(changed_error(path));
            }
        }
        Ok(())
    }
}

fn one_file(from: &Path, to: Option<&Path>, left_bytes: u64, limits: &Limits) -> Result<Entry, Error> {
    let before = std::fs::symlink_metadata(from).map_err(io(from, "read"))?;
    if !before.is_file() {
        return Err(special(from, &before));
    }
    if before.len() > left_bytes {
        return Err(Error(format!(
            "{}: the artifact is larger than {} bytes: ship only what is needed to run, or raise the limit of an \
             artifact's size",
            from.display(),
            limits.max_bytes
        )));
    }
    // Not following, and not waiting for the other end of a pipe, should it have been swapped since the look at it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(from, flags, Mode::empty()).map_err(|error| io(from, "read")(error.into()))?;
    let mut source = File::from(fd);
    let opened = source.metadata().map_err(io(from, "read"))?;
    if changed(&before, &opened) {
        return Err(changed_error(from));
    }
    let executable = opened.permissions().mode() & 0o111 != 0;
    let mut copy = match to {
        Some(to) => {
            Some((to, OpenOptions::new().write(true).create_new(true).open(to).map_err(io(to, "create"))?))
        }
        None => None,
    };
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(io(from, "read")(error)),
        };
        bytes += read as u64;
        if bytes > opened.len() {
            return Err(changed_error(from));
        }
        let (part, _) = buffer.split_at(read);
        hash.update(part);
        if let Some((to, copy)) = &mut copy {
            copy.write_all(part).map_err(io(to, "write"))?;
        }
    }
    let after = source.metadata().map_err(io(from, "read"))?;
    if bytes != opened.len() || changed(&opened, &after) {
        return Err(changed_error(from));
    }
    if let Some((to, copy)) = copy {
        let mode = if executable { 0o555 } else { 0o444 };
        copy.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(io(to, "make read-only"))?;
    }
    Ok(Entry::File { digest: Digest::from_bytes(hash.finalize().into()), executable, bytes })
}

fn changed(before: &Metadata, after: &Metadata) -> bool {
    let marks = |meta: &Metadata| {
        (
            meta.dev(),
            meta.ino(),
            meta.mode(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        )
    };
    marks(before) != marks(after)
}

fn changed_error(path: &Path) -> Error {
    Error(format!(
        "{} changed while it was being copied: wait until the build is done and try again",
        path.display()
    ))
}

fn special(path: &Path, meta: &Metadata) -> Error {
    let kind = meta.file_type();
    let what = if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "no plain file"
    };
    let next = "only files, directories and links can be shipped; remove it or name another directory";
    Error(format!("{} is {what}: {next}", path.display()))
}

fn check_link(listing: &Listing, shown: &Path, path: &Path, target: &Path) -> Result<(), Error> {
    let (shown, target_shown) = (shown.display(), target.display());
    match listing.end_of(path, target) {
        End::Inside => Ok(()),
        End::Outside => Err(Error(format!(
            "{shown} points outside the artifact, to {target_shown}: on another machine that is something else; make \
             it a relative link inside, or replace it by what it points to"
        ))),
        End::Loop => {
            Err(Error(format!("{shown} points in a circle, by way of {target_shown}: remove the link")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk<'a>(from: &'a Path, limits: &'a Limits) -> Walk<'a> {
        let mut walk =
            Walk { from, to: None, limits, listing: Listing::default(), seen: Vec::new(), bytes: 0 };
        walk.directory(Path::new("")).unwrap();
        walk
    }

    #[test]
    fn a_name_that_comes_or_goes_meanwhile_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("a"), "a").unwrap();
        // An old time, so that the change below cannot fall into the same tick of the clock.
        let old = std::time::SystemTime::UNIX_EPOCH;
        File::open(&inner).unwrap().set_modified(old).unwrap();
        walk(dir.path(), &limits).check_unchanged().unwrap();
        let seen = walk(dir.path(), &limits);
        std::fs::write(inner.join("b"), "b").unwrap();
        let error = seen.check_unchanged().unwrap_err().to_string();
        assert!(error.contains("inner changed while it was being copied"), "{error}");
    }

    #[test]
    fn a_rewrite_of_the_same_size_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "good").unwrap();
        File::open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        assert!(!changed(&before, &std::fs::metadata(&path).unwrap()));
        std::fs::write(&path, "evil").unwrap();
        assert!(changed(&before, &std::fs::metadata(&path).unwrap()));
    }
}
