//! Reading a replica's output from where somebody stopped, through rotations, restarts and crashes of the reader. Nothing is
//! held in between: what was read is told by a [`Mark`] that can be written down. Following on a screen is in
//! [`crate::logs`].

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::logs::{CURRENT, rotated};

/// The most that one call reads, in bytes. A longer line is passed on in pieces.
const READ_BYTES: u64 = 1 << 20;
/// An unfinished line that was left alone for so long is passed on as it is.
const UNFINISHED: Duration = Duration::from_secs(5);
/// How often files are looked at anew when they rotate while they are looked at.
const TRIES: usize = 3;

/// How far a replica's output was read: always to the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The number that the file has, or will have when it is rotated.
    number: u64,
    inode: u64,
    /// When the file was made, in nanoseconds since 1970: an inode may be used again. Zero when the system does not know.
    born: u64,
    offset: u64,
}

/// A line without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The bytes as they were written.
    pub bytes: Vec<u8>,
    /// When it had been written at the latest.
    pub written: SystemTime,
    /// How far was read with it.
    pub mark: Mark,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The lines that were finished.
    pub lines: Vec<Line>,
    /// How long nothing was written behind them; zero when there is more to read.
    pub quiet: Duration,
    /// About how many bytes were rotated away before they were read; at least one when anything was.
    pub missed: u64,
}

struct Part {
    /// Where it begins in what was read.
    begin: usize,
    written: SystemTime,
    mark: Mark,
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    (metadata.ino(), born.map_or(0, |born| u64::try_from(born.as_nanos()).unwrap_or(0)))
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The lines behind a mark, or from the beginning; `None` when there is nothing new.
///
/// # Errors
/// When a file cannot be read; one that is not there is empty.
pub fn read(directory: &Path, from: Option<&Mark>) -> io::Result<Option<Piece>> {
    let current = match fs::metadata(directory.join(CURRENT)) {
        Ok(metadata) => Some(metadata),
        Err(error) if is_absent(&error) => None,
        Err(error) => return Err(error),
    };
    if let (Some(mark), Some(current)) = (from, &current)
        && identity(current) == (mark.inode, mark.born)
        && current.len() == mark.offset
    {
        return Ok(None);
    }
    for _ in 0..TRIES {
        match opened(directory) {
            Ok(Some(files)) => return behind(files, from),
            Ok(None) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// All files with their numbers, oldest first; `None` when they rotated meanwhile.
fn opened(directory: &Path) -> io::Result<Option<Vec<(u64, File)>>> {
    let known = rotated(directory)?;
    let next = known.last().map_or(1, |(number, _)| number + 1);
    let paths: Vec<(u64, PathBuf)> = known.iter().cloned().chain([(next, directory.join(CURRENT))]).collect();
    let mut files = Vec::new();
    for (number, path) in paths {
        match File::open(&path) {
            Ok(file) => files.push((number, file)),
            Err(error) if is_absent(&error) && number == next => {}
            Err(error) => return Err(error),
        }
    }
    Ok((rotated(directory)? == known).then_some(files))
}

fn behind(mut files: Vec<(u64, File)>, from: Option<&Mark>) -> io::Result<Option<Piece>> {
    let (mut offset, mut missed) = (0, 0);
    if let Some(mark) = from {
        let mut at_mark = None;
        for (place, (_, file)) in files.iter().enumerate() {
            let metadata = file.metadata()?;
            if identity(&metadata) == (mark.inode, mark.born) && metadata.len() >= mark.offset {
                at_mark = Some(place);
            }
        }
        match (at_mark, files.first()) {
            (Some(place), _) => {
                files.drain(..place);
                offset = mark.offset;
            }
            (None, Some((oldest, file))) => {
                let gone = oldest.saturating_sub(mark.number).saturating_mul(file.metadata()?.len());
                missed = gone.saturating_sub(mark.offset).max(1);
            }
            (None, None) => return Ok(None),
        }
    }
    let (mut bytes, mut parts, mut more) = (Vec::new(), Vec::new(), false);
    for (number, file) in &mut files {
        let metadata = file.metadata()?;
        let (inode, born) = identity(&metadata);
        let mark = Mark { number: *number, inode, born, offset };
        parts.push(Part { begin: bytes.len(), written: metadata.modified()?, mark });
        let room = READ_BYTES.saturating_sub(bytes.len() as u64);
        file.seek(SeekFrom::Start(offset))?;
        let read = file.take(room).read_to_end(&mut bytes)?;
        offset = 0;
        if read as u64 == room {
            more = true;
            break;
        }
    }
    let now = SystemTime::now();
    let age =
        parts.last().map_or(Duration::ZERO, |part| now.duration_since(part.written).unwrap_or_default());
    let quiet = if more { Duration::ZERO } else { age };
    let lines = lines(&bytes, &parts, now, more, quiet >= UNFINISHED);
    Ok((!lines.is_empty() || missed > 0).then_some(Piece { lines, quiet, missed }))
}

fn lines(bytes: &[u8], parts: &[Part], now: SystemTime, more: bool, unfinished: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut take = |begin: usize, end: usize, behind: usize| {
        let part = parts.iter().rev().find(|part| part.begin <= behind);
        let ends = parts.iter().rev().find(|part| part.begin <= begin.max(end.saturating_sub(1)));
        if let (Some(part), Some(ends)) = (part, ends) {
            let mark = Mark { offset: part.mark.offset + (behind - part.begin) as u64, ..part.mark };
            lines.push(Line { bytes: bytes[begin..end].to_vec(), written: ends.written.min(now), mark });
        }
    };
    let mut begin = 0;
    while let Some(length) = bytes[begin..].iter().position(|byte| *byte == b'\n') {
        take(begin, begin + length, begin + length + 1);
        begin += length + 1;
    }
    let is_endless = more && begin == 0;
    if begin < bytes.len() && (unfinished || is_endless) {
        take(begin, bytes.len(), bytes.len());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Log;

    fn texts(piece: &Piece) -> Vec<String> {
        piece.lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    #[test]
    fn whoever_reads_on_from_any_mark_misses_nothing_and_sees_nothing_twice() {
        let home = tempfile::tempdir().unwrap();
        let mut log = Log::new(home.path(), 1024, 4);
        let (mut mark, mut seen) = (None, Vec::new());
        for n in 0..900 {
            log.write(format!("line {n:04} {}\n", "x".repeat(n % 40)).as_bytes());
            if n % 23 == 5 {
                // Only a part is kept, as when somebody ends in the middle.
                if let Some(piece) = read(home.path(), mark.as_ref()).unwrap() {
                    assert_eq!(piece.missed, 0);
                    let keep = piece.lines.len() - n % 3;
                    seen.extend(texts(&piece).into_iter().take(keep));
                    mark = piece.lines.get(keep.wrapping_sub(1)).map(|line| line.mark).or(mark);
                }
            }
        }
        seen.extend(texts(&read(home.path(), mark.as_ref()).unwrap().unwrap()));
        let written: Vec<String> = (0..900).map(|n| format!("line {n:04} {}", "x".repeat(n % 40))).collect();
        assert_eq!(seen, written);
    }

    #[test]
    fn what_was_rotated_away_is_said() {
        for files in [1, 3] {
            let home = tempfile::tempdir().unwrap();
            let mut log = Log::new(home.path(), 1024, files);
            log.write(b"first\n");
            let mark = read(home.path(), None).unwrap().unwrap().lines[0].mark;
            assert_eq!(read(home.path(), Some(&mark)).unwrap(), None);
            for n in 0..1000 {
                log.write(format!("{n}\n").as_bytes());
            }
            let piece = read(home.path(), Some(&mark)).unwrap().unwrap();
            assert!(piece.missed > 0, "{files}");
            assert_eq!(texts(&piece).last().unwrap(), "999");
            if files == 3 {
                let kept: usize = piece.lines.iter().map(|line| line.bytes.len() + 1).sum();
                let gone = 6 + 3890 - kept as u64;
                assert!(piece.missed.abs_diff(gone) < 1024, "{} of {gone}", piece.missed);
            }
        }
    }

    #[test]
    fn a_line_waits_for_its_end_also_across_files_unless_it_never_ends() {
        let home = tempfile::tempdir().unwrap();
        let mut log = Log::new(home.path(), 1024, 4);
        log.write(b"whole\nhalf ");
        let piece = read(home.path(), None).unwrap().unwrap();
        assert_eq!(texts(&piece), ["whole"]);
        let mark = piece.lines[0].mark;
        assert_eq!(read(home.path(), Some(&mark)).unwrap(), None);
        log.write(&[b'y'; 1020]);
        log.write(b"done\n");
        let piece = read(home.path(), Some(&mark)).unwrap().unwrap();
        assert_eq!(texts(&piece), [format!("half {}done", "y".repeat(1020))]);

        let mut log = Log::new(&home.path().join("endless"), 8 << 20, 2);
        log.write(&vec![b'z'; 3 << 19]);
        let piece = read(&home.path().join("endless"), None).unwrap().unwrap();
        assert_eq!(piece.lines[0].bytes.len(), 1 << 20);
    }

    #[test]
    fn an_unfinished_line_that_was_left_alone_is_passed_on() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(CURRENT);
        fs::write(&path, "prompt> ").unwrap();
        assert_eq!(read(home.path(), None).unwrap(), None);
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        let piece = read(home.path(), None).unwrap().unwrap();
        assert_eq!(texts(&piece), ["prompt> "]);
        assert_eq!(piece.lines[0].written, long_ago);
    }
}
