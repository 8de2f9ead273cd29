//! Reading captured output: where it is, its last lines, and following it. Plain functions on files, usable from any
//! process; writing is in the shim.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use model::{Place, ReleaseNumber};
use ports::fleet::GroupId;

use crate::ReplicaId;

/// The file being written.
pub const CURRENT: &str = "current.log";
/// How many directories of ended replicas are kept for each place.
pub const KEPT_DIRECTORIES: usize = 20;

/// The most that one call reads from one replica, in bytes; the next call goes on from there.
const READ_BYTES: usize = 1024 * 1024;
/// The most that [`tail`] looks back, in bytes.
const TAIL_BYTES: u64 = 8 * 1024 * 1024;
/// A longer line is passed on in pieces.
const LINE_BYTES: usize = 64 * 1024;

/// A replica whose output is on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Which release.
    pub release: ReleaseNumber,
    /// Which replica of it.
    pub ordinal: u32,
    /// Where its files are.
    pub directory: PathBuf,
}

/// One line of a replica's output, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which release wrote it.
    pub release: ReleaseNumber,
    /// Which replica of it.
    pub ordinal: u32,
    /// The bytes as they were written.
    pub bytes: Vec<u8>,
}

fn place_directory(home: &Path, place: &Place) -> PathBuf {
    home.join("logs").join(place.service.as_str()).join(place.environment.as_str())
}

/// Where the output of a replica is.
pub fn directory(home: &Path, id: &ReplicaId) -> PathBuf {
    place_directory(home, &id.group.place).join(id.group.release.to_string()).join(id.ordinal.to_string())
}

fn numbers(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The replicas at a place whose output is on disk, of one release or of all, oldest release first.
///
/// # Errors
/// When a directory cannot be read; one that is not there is empty.
pub fn sources(home: &Path, place: &Place, release: Option<ReleaseNumber>) -> io::Result<Vec<Source>> {
    let mut found = Vec::new();
    for (number, path) in numbers(&place_directory(home, place))? {
        if release.is_some_and(|wanted| wanted.0 != number) {
            continue;
        }
        for (ordinal, directory) in numbers(&path)? {
            let Ok(ordinal) = u32::try_from(ordinal) else { continue };
            found.push(Source { release: ReleaseNumber(number), ordinal, directory });
        }
    }
    Ok(found)
}

/// The places whose output is on disk.
///
/// # Errors
/// When a directory cannot be read; one that is not there is empty.
pub fn places(home: &Path) -> io::Result<Vec<Place>> {
    let root = home.join("logs");
    let mut places = Vec::new();
    if !root.exists() {
        return Ok(places);
    }
    for (service, directory) in names(&root)? {
        for (environment, _) in names(&directory)? {
            let (Ok(service), Ok(environment)) = (service.parse(), environment.parse()) else { continue };
            places.push(Place { service, environment });
        }
    }
    Ok(places)
}

/// The highest ordinal of each group whose output is on disk.
pub(crate) fn ordinals(home: &Path) -> io::Result<BTreeMap<GroupId, u32>> {
    let mut highest: BTreeMap<GroupId, u32> = BTreeMap::new();
    for place in places(home)? {
        for source in sources(home, &place, None)? {
            let group = GroupId { place: place.clone(), release: source.release };
            let highest = highest.entry(group).or_default();
            *highest = source.ordinal.max(*highest);
        }
    }
    Ok(highest)
}

fn names(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let (Ok(name), true) = (entry.file_name().into_string(), entry.path().is_dir()) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// Finished files of a log with their sequence numbers, oldest first.
pub(crate) fn rotated(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// All files of a log, oldest first.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = match rotated(directory) {
        Ok(rotated) => rotated.into_iter().map(|(_, path)| path).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    paths.push(directory.join(CURRENT));
    Ok(paths)
}

/// The last lines of a replica's output, oldest first, across its files. Looks back over at most 8 MiB.
///
/// # Errors
/// When a file cannot be read; one that is not there is empty.
pub fn tail(directory: &Path, lines: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut text: Vec<u8> = Vec::new();
    let mut budget = TAIL_BYTES;
    for path in files(directory)?.iter().rev() {
        let Some(mut file) = open(path)? else { continue };
        let mut end = file.metadata()?.len();
        while end > 0 && budget > 0 && count_newlines(&text) <= lines {
            let piece = end.min(64 * 1024).min(budget);
            file.seek(SeekFrom::Start(end - piece))?;
            let mut bytes = Vec::new();
            (&mut file).take(piece).read_to_end(&mut bytes)?;
            bytes.append(&mut text);
            text = bytes;
            end -= piece;
            budget -= piece;
        }
    }
    let mut all: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    if all.last().is_some_and(Vec::is_empty) {
        all.pop();
    }
    Ok(all.split_off(all.len().saturating_sub(lines)))
}

fn count_newlines(text: &[u8]) -> usize {
    text.iter().filter(|b| **b == b'\n').count()
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads one replica's output as it grows, through rotations.
struct Reader {
    directory: PathBuf,
    file: Option<(File, u64)>,
    held: Vec<u8>,
}

impl Reader {
    fn from_start(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), file: None, held: Vec::new() }
    }

    fn from_end(directory: &Path) -> io::Result<Self> {
        let mut reader = Self::from_start(directory);
        if let Some(mut file) = open(&directory.join(CURRENT))? {
            file.seek(SeekFrom::End(0))?;
            let inode = file.metadata()?.ino();
            reader.file = Some((file, inode));
        }
        Ok(reader)
    }

    /// The next file after the one at hand; the oldest when that one was removed or there was none.
    fn next_file(&self) -> io::Result<Option<(File, u64)>> {
        let mut opened = Vec::new();
        for path in files(&self.directory)? {
            if let Some(file) = open(&path)? {
                let inode = file.metadata()?.ino();
                opened.push((file, inode));
            }
        }
        let at_hand = self.file.as_ref().map(|(_, inode)| *inode);
        let skip = opened.iter().position(|(_, inode)| Some(*inode) == at_hand).map_or(0, |index| index + 1);
        Ok(opened.into_iter().nth(skip))
    }

    fn read_on(&mut self, budget: &mut usize) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else { return Ok(()) };
        let read = file.take(*budget as u64).read_to_end(&mut self.held)?;
        *budget -= read;
        Ok(())
    }

    fn poll(&mut self, mut line: impl FnMut(Vec<u8>)) -> io::Result<()> {
        let mut budget = READ_BYTES;
        loop {
            self.read_on(&mut budget)?;
            if budget == 0 {
                break;
            }
            let Some(next) = self.next_file()? else { break };
            // The file at hand was complete before its successor was found, but maybe not when it was last read.
            self.read_on(&mut budget)?;
            if budget == 0 {
                break;
            }
            self.file = Some(next);
        }
        while let Some(end) = self.held.iter().position(|b| *b == b'\n') {
            let rest = self.held.split_off(end + 1);
            self.held.pop();
            line(std::mem::replace(&mut self.held, rest));
        }
        if self.held.len() > LINE_BYTES {
            line(std::mem::take(&mut self.held));
        }
        Ok(())
    }
}

/// Follows the output of all replicas at a place, new ones included, as `shipshape logs -f` does. Ask [`Follow::poll`]
/// every now and then; nothing is missed in between unless a log rotates through all of its files.
pub struct Follow {
    home: PathBuf,
    place: Place,
    release: Option<ReleaseNumber>,
    readers: BTreeMap<Source, Reader>,
}

impl Follow {
    /// Starts with the last `lines` of each replica that has output now, which it returns too.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn new(
        home: &Path,
        place: &Place,
        release: Option<ReleaseNumber>,
        lines: usize,
    ) -> io::Result<(Self, Vec<Line>)> {
        let mut readers = BTreeMap::new();
        let mut last = Vec::new();
        for source in sources(home, place, release)? {
            let reader = Reader::from_end(&source.directory)?;
            for bytes in tail(&source.directory, lines)? {
                last.push(Line { release: source.release, ordinal: source.ordinal, bytes });
            }
            readers.insert(source, reader);
        }
        Ok((Self { home: home.to_owned(), place: place.clone(), release, readers }, last))
    }

    /// The lines that were finished since the last call.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn poll(&mut self) -> io::Result<Vec<Line>> {
        let present: BTreeSet<Source> = sources(&self.home, &self.place, self.release)?.into_iter().collect();
        for source in &present {
            if !self.readers.contains_key(source) {
                self.readers.insert(source.clone(), Reader::from_start(&source.directory));
            }
        }
        let mut lines = Vec::new();
        for (source, reader) in &mut self.readers {
            reader
                .poll(|bytes| lines.push(Line { release: source.release, ordinal: source.ordinal, bytes }))?;
        }
        self.readers.retain(|source, _| present.contains(source));
        Ok(lines)
    }
}

/// Removes the output of replicas that ended, except for the most recent [`KEPT_DIRECTORIES`] at this place.
///
/// # Errors
/// When a directory cannot be read or removed.
pub(crate) fn prune(home: &Path, place: &Place, alive: &BTreeSet<ReplicaId>) -> io::Result<()> {
    let mut ended = Vec::new();
    for source in sources(home, place, None)? {
        let lives = alive.iter().any(|id| {
            id.group.place == *place && id.group.release == source.release && id.ordinal == source.ordinal
        });
        if !lives {
            let written =
                fs::metadata(source.directory.join(CURRENT)).or_else(|_| fs::metadata(&source.directory));
            ended.push((written?.modified()?, source.directory));
        }
    }
    ended.sort();
    let surplus = ended.len().saturating_sub(KEPT_DIRECTORIES);
    for (_, directory) in ended.iter().take(surplus) {
        fs::remove_dir_all(directory)?;
        if let Some(release) = directory.parent() {
            // Fails, rightly, while another replica's output is in it.
            let _ = fs::remove_dir(release);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Log;

    fn id(release: u64, ordinal: u32) -> ReplicaId {
        let place = Place { service: "shop".parse().unwrap(), environment: "dev".parse().unwrap() };
        ReplicaId { group: GroupId { place, release: ReleaseNumber(release) }, ordinal }
    }

    fn text(lines: &[Vec<u8>]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn the_last_lines_reach_across_rotated_files() {
        let home = tempfile::tempdir().unwrap();
        let directory = directory(home.path(), &id(1, 1));
        assert!(tail(&directory, 3).unwrap().is_empty());
        let mut log = Log::new(&directory, 1024, 4);
        for n in 0..300 {
            log.write(format!("{n}\n").as_bytes());
        }
        log.write(b"unfinished");
        assert_eq!(text(&tail(&directory, 3).unwrap()), ["298", "299", "unfinished"]);
        let many = text(&tail(&directory, 280).unwrap());
        assert_eq!((many.len(), many[0].as_str()), (280, "21"));
    }

    #[test]
    fn following_misses_nothing_through_rotations_and_finds_new_replicas() {
        let home = tempfile::tempdir().unwrap();
        let mut one = Log::new(&directory(home.path(), &id(1, 1)), 1024, 4);
        one.write(b"old\nnewest\n");
        let place = id(1, 1).group.place;
        let (mut follow, last) = Follow::new(home.path(), &place, None, 1).unwrap();
        assert_eq!(last.iter().map(|line| line.bytes.clone()).collect::<Vec<_>>(), [b"newest".to_vec()]);
        let mut seen = Vec::new();
        for n in 0..400 {
            one.write(format!("one {n}\n").as_bytes());
            if n % 100 == 7 {
                seen.extend(follow.poll().unwrap());
            }
        }
        Log::new(&directory(home.path(), &id(2, 1)), 1024, 4).write(b"two\n");
        seen.extend(follow.poll().unwrap());
        let of_one: Vec<_> =
            seen.iter().filter(|line| line.release.0 == 1).map(|line| line.bytes.clone()).collect();
        assert_eq!(text(&of_one), (0..400).map(|n| format!("one {n}")).collect::<Vec<_>>());
        assert!(seen.iter().any(|line| line.release.0 == 2 && line.bytes == b"two"));
        assert!(follow.poll().unwrap().is_empty());
    }

    #[test]
    fn output_of_ended_replicas_is_bounded_and_that_of_living_ones_stays() {
        let home = tempfile::tempdir().unwrap();
        for ordinal in 1..=25 {
            Log::new(&directory(home.path(), &id(1, ordinal)), 1024, 2).write(b"x\n");
        }
        let place = id(1, 1).group.place;
        prune(home.path(), &place, &BTreeSet::from([id(1, 1)])).unwrap();
        let left = sources(home.path(), &place, None).unwrap();
        assert_eq!(left.len(), KEPT_DIRECTORIES + 1);
        assert!(left.iter().any(|source| source.ordinal == 1));
    }
}
