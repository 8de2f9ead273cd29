//! Writing a replica's output to files that rotate. Used by the shim only; reading is in [`crate::logs`].

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::logs::{CURRENT, rotated};

/// Below this a rotation would cost more than it keeps.
const SMALLEST_FILE_BYTES: u64 = 1024;
/// How much of an unfinished line is held back, so that lines of the two streams do not cut each other in half.
const LINE_BYTES: usize = 16 * 1024;

/// A log that rotates. Writing never fails: what cannot be written is counted, and said as soon as it can be.
pub(crate) struct Log {
    directory: PathBuf,
    file_bytes: u64,
    files: u32,
    open: Option<(File, u64)>,
    unsaid: u64,
    dropped: u64,
}

impl Log {
    pub(crate) fn new(directory: &Path, file_bytes: u64, files: u32) -> Self {
        let file_bytes = file_bytes.max(SMALLEST_FILE_BYTES);
        Self {
            directory: directory.to_owned(),
            file_bytes,
            files: files.max(1),
            open: None,
            unsaid: 0,
            dropped: 0,
        }
    }

    /// Bytes that were lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Writes, rotating before a file grows beyond its limit.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.unsaid > 0 {
            let notice = format!(
                "[shipshape: {} bytes of output were dropped, the log could not be written]\n",
                self.unsaid
            );
            if self.put(notice.as_bytes()).is_ok() {
                self.unsaid = 0;
            }
        }
        let piece = usize::try_from(self.file_bytes).unwrap_or(usize::MAX);
        for piece in bytes.chunks(piece) {
            if let Err(lost) = self.put(piece) {
                self.unsaid = self.unsaid.saturating_add(lost);
                self.dropped = self.dropped.saturating_add(lost);
            }
        }
    }

    /// Writes a piece no larger than a file; says how many bytes were lost.
    fn put(&mut self, bytes: &[u8]) -> Result<(), u64> {
        let all = bytes.len() as u64;
        let file_bytes = self.file_bytes;
        let (file, length) = self.file_with_room(all).map_err(|_| all)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => break,
                Ok(written) => {
                    rest = &rest[written..];
                    *length += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        debug_assert!(*length <= file_bytes, "a file grew beyond its limit");
        if rest.is_empty() { Ok(()) } else { Err(rest.len() as u64) }
    }

    fn file_with_room(&mut self, bytes: u64) -> io::Result<&mut (File, u64)> {
        let full = match &self.open {
            Some((_, length)) => *length > 0 && length + bytes > self.file_bytes,
            None => {
                let file = self.append()?;
                let length = file.metadata()?.len();
                self.open = Some((file, length));
                length > 0 && length + bytes > self.file_bytes
            }
        };
        if full {
            self.rotate()?;
            self.open = Some((self.append()?, 0));
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("the log is not open"))
    }

    fn append(&self) -> io::Result<File> {
        fs::create_dir_all(&self.directory)?;
        File::options().create(true).append(true).open(self.directory.join(CURRENT))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let mut old = rotated(&self.directory)?;
        let next = old.last().map_or(1, |(number, _)| number + 1);
        let path = self.directory.join(format!("{next:08}.log"));
        fs::rename(self.directory.join(CURRENT), &path)?;
        old.push((next, path));
        let keep = usize::try_from(self.files).unwrap_or(usize::MAX) - 1;
        let surplus = old.len().saturating_sub(keep);
        for (_, path) in old.iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Cuts one stream into whole lines, so that two streams can share a file.
#[derive(Default)]
pub(crate) struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Passes on every finished line, and an unfinished one that became too long to hold.
    pub(crate) fn push(&mut self, bytes: &[u8], log: &mut Log) {
        self.held.extend_from_slice(bytes);
        let end = match self.held.iter().rposition(|b| *b == b'\n') {
            Some(last) if self.held.len() - last <= LINE_BYTES => last + 1,
            _ if self.held.len() > LINE_BYTES => self.held.len(),
            _ => return,
        };
        log.write(&self.held[..end]);
        self.held.drain(..end);
    }

    /// Passes on what is held: the line will not be finished soon, or ever.
    pub(crate) fn flush(&mut self, log: &mut Log) {
        if !self.held.is_empty() {
            log.write(&self.held);
            self.held.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(directory: &Path) -> (usize, Vec<u8>) {
        let mut paths: Vec<_> = rotated(directory).unwrap().into_iter().map(|(_, path)| path).collect();
        paths.push(directory.join(CURRENT));
        let bytes: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        (bytes.iter().map(Vec::len).max().unwrap_or(0), bytes.concat())
    }

    #[test]
    fn a_log_keeps_the_newest_files_and_none_beyond_its_limit() {
        let home = tempfile::tempdir().unwrap();
        let mut log = Log::new(home.path(), 1024, 3);
        let text: Vec<String> = (0..1000).map(|n| format!("line {n:04}\n")).collect();
        for line in &text {
            log.write(line.as_bytes());
        }
        let (largest, kept) = all(home.path());
        assert!(largest <= 1024, "{largest}");
        assert_eq!(rotated(home.path()).unwrap().len(), 2);
        assert!(text.concat().as_bytes().ends_with(&kept));
        assert!(kept.len() > 2 * 1000);
        log.write(&[b'x'; 5000]);
        assert!(all(home.path()).0 <= 1024);
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_log_goes_on_where_an_earlier_one_ended() {
        let home = tempfile::tempdir().unwrap();
        Log::new(home.path(), 4096, 2).write(b"one\n");
        Log::new(home.path(), 4096, 2).write(b"two\n");
        assert_eq!(all(home.path()).1, b"one\ntwo\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_said_later() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("logs");
        fs::write(&directory, "in the way").unwrap();
        let mut log = Log::new(&directory, 4096, 2);
        log.write(b"lost\n");
        assert_eq!(log.dropped(), 5);
        fs::remove_file(&directory).unwrap();
        log.write(b"kept\n");
        let text = String::from_utf8(all(&directory).1).unwrap();
        assert!(text.starts_with("[shipshape: 5 bytes of output were dropped"), "{text}");
        assert!(text.ends_with("]\nkept\n"), "{text}");
    }

    #[test]
    fn lines_of_two_streams_do_not_cut_each_other() {
        let home = tempfile::tempdir().unwrap();
        let mut log = Log::new(home.path(), 4096, 2);
        let (mut out, mut err) = (Lines::default(), Lines::default());
        out.push(b"hello ", &mut log);
        err.push(b"oops\nhalf", &mut log);
        out.push(b"world\n", &mut log);
        assert_eq!(all(home.path()).1, b"oops\nhello world\n");
        err.flush(&mut log);
        assert!(err.is_empty());
        assert_eq!(all(home.path()).1, b"oops\nhello world\nhalf");
        out.push(&[b'y'; LINE_BYTES + 1], &mut log);
        assert!(out.is_empty());
    }
}
