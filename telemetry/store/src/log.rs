//! The samples that are not in a block yet, on disk: what a crash would otherwise lose. Files are numbered; one that
//! begins with everything that is still needed makes those before it superfluous.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use promql::Point;

use crate::chunk::Chunk;
use crate::frame::{Appender, Fields, push_varint, replay};
use crate::head::Head;
use crate::numbers::{fold, unfold};
use crate::registry::sync_folder;

const SAMPLES: u8 = 1;
const CHUNK: u8 = 2;
/// Like [`SAMPLES`], and some of them were taken after the clock was set back.
const SAMPLES_NOW: u8 = 3;
/// From when on samples are taken, where that is not the end of the last block.
const FROM: u8 = 4;
/// How many bytes of chunks are gathered before they are written.
const GATHERED: usize = 1 << 20;

pub(crate) struct Log {
    folder: PathBuf,
    number: u64,
    file: Appender,
}

impl Log {
    /// Brings everything into the head that it does not have, and goes on in a new file.
    pub(crate) fn open(folder: &Path, head: &mut Head, known: impl Fn(u32) -> bool) -> io::Result<Self> {
        let numbers = numbers(folder)?;
        for number in &numbers {
            let (mut strangers, mut is_first) = (0usize, true);
            let lost = replay(&path(folder, *number), |record| {
                // A file that begins so has everything that is still needed.
                if std::mem::take(&mut is_first) && matches!(record.first(), Some(&(CHUNK | FROM))) {
                    head.clear();
                }
                if read(record, head, &known, &mut strangers).is_none() {
                    tracing::warn!(number, "a record of the metrics' log makes no sense and was left out");
                }
            })?;
            if lost > 0 || strangers > 0 {
                tracing::warn!(lost, strangers, "the metrics' log was cut off by a crash");
            }
        }
        let number = numbers.last().map_or(0, |last| last + 1);
        Ok(Self { folder: folder.to_owned(), number, file: Appender::open(&path(folder, number))? })
    }

    /// Samples that the head took, and whether it did so because the clock was set back.
    pub(crate) fn samples(&mut self, samples: &[(u32, Point)], steps: bool) {
        if samples.is_empty() {
            return;
        }
        let mut record = Vec::with_capacity(8 + samples.len() * 16);
        record.push(if steps { SAMPLES_NOW } else { SAMPLES });
        push_varint(&mut record, samples.len() as u64);
        let mut before = 0i64;
        for (series, point) in samples {
            record.extend_from_slice(&series.to_le_bytes());
            push_varint(&mut record, fold(point.at.wrapping_sub(before)));
            record.extend_from_slice(&point.value.to_bits().to_le_bytes());
            before = point.at;
        }
        self.file.push(&record);
    }

    /// Bytes that a crash would lose now.
    pub(crate) fn waiting(&self) -> usize {
        self.file.waiting()
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Bytes on disk.
    pub(crate) fn size(&self) -> u64 {
        let sizes = numbers(&self.folder).unwrap_or_default().into_iter();
        sizes.filter_map(|number| std::fs::metadata(path(&self.folder, number)).ok()).map(|it| it.len()).sum()
    }

    /// Goes on in a new file. Returns the number that is left free before it, for [`checkpoint`].
    pub(crate) fn turn(&mut self) -> io::Result<u64> {
        self.file.sync()?;
        let free = self.number + 1;
        self.file = Appender::open(&path(&self.folder, free + 1))?;
        self.number = free + 1;
        Ok(free)
    }
}

/// Writes from when on samples are taken, when that is not the end of the last block, and everything that is still needed into the file of this number, and removes those before it.
pub(crate) fn checkpoint<'a>(
    folder: &Path,
    number: u64,
    from: Option<i64>,
    chunks: impl Iterator<Item = (u32, &'a Arc<Chunk>)>,
) -> io::Result<()> {
    let (kept, written) = (path(folder, number), folder.join("log.new"));
    let _ = std::fs::remove_file(&written);
    let mut file = Appender::open(&written)?;
    if let Some(from) = from {
        let mut record = vec![FROM];
        record.extend_from_slice(&from.to_le_bytes());
        file.push(&record);
    }
    for (series, chunk) in chunks {
        let mut record = vec![CHUNK];
        record.extend_from_slice(&series.to_le_bytes());
        record.extend_from_slice(&chunk.count.to_le_bytes());
        push_varint(&mut record, chunk.times.len() as u64);
        record.extend_from_slice(&chunk.times);
        record.extend_from_slice(&chunk.values);
        file.push(&record);
        if file.waiting() > GATHERED {
            file.sync()?;
        }
    }
    file.sync()?;
    std::fs::rename(&written, &kept)?;
    sync_folder(&kept)?;
    for older in numbers(folder)?.into_iter().filter(|older| *older < number) {
        std::fs::remove_file(path(folder, older))?;
    }
    Ok(())
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("log-{number:010}"))
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix("log-")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn read(record: &[u8], head: &mut Head, known: &impl Fn(u32) -> bool, strangers: &mut usize) -> Option<()> {
    let mut fields = Fields(record);
    match fields.u8()? {
        kind @ (SAMPLES | SAMPLES_NOW) => {
            let mut at = 0i64;
            for _ in 0..fields.varint()? {
                let series = fields.u32()?;
                at = at.wrapping_add(unfold(fields.varint()?));
                let point = Point { at, value: f64::from_bits(fields.u64()?) };
                if head.has(series) || known(series) {
                    // What is known, or in a block already, is refused, and rightly so.
                    let _ = match kind {
                        SAMPLES_NOW => head.push_now(series, point).map(drop),
                        _ => head.push(series, point),
                    };
                } else {
                    *strangers += 1;
                }
            }
        }
        FROM => head.from = fields.i64()?,
        CHUNK => {
            let (series, count) = (fields.u32()?, fields.u32()?);
            let times = usize::try_from(fields.varint()?).ok()?;
            let (times, values) = (fields.bytes(times)?.into(), fields.0.into());
            if known(series) {
                head.adopt(series, Chunk { count, first: 0, last: 0, times, values })?;
            } else {
                *strangers += count as usize;
            }
        }
        _ => return None,
    }
    Some(())
}
