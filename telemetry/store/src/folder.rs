//! The blocks of a folder: finding them, and which of them become one. A day in one block instead of twelve takes fewer
//! files, fewer bytes, and fewer looks for a query over days.
//!
//! A merged block is written whole beside its parts and renamed, then they go. Killed anywhere in between, the folder
//! holds either the parts or, by its name, a block that holds them: opening it removes what is held by another.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use promql::Point;

use crate::block::{Ask, Block, Index, Name};
use crate::chunk::{self, Chunk};

/// How many times longer a stretch becomes each time.
const LONGER: i64 = 4;
/// How many series are merged at a time: what has to be in memory.
const SERIES: usize = 64;

/// The folder's blocks in the order in which they were written. One that another holds, as a crash may leave it, is
/// removed; a damaged one is set aside.
pub(crate) fn open(folder: &Path) -> io::Result<Vec<Arc<Block>>> {
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".new") {
            std::fs::remove_file(&path)?;
        } else if name.starts_with("block-") && path.extension().is_none() {
            match Block::open(&path) {
                Ok(block) => blocks.push(Arc::new(block)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let aside = path.with_extension("damaged");
                    tracing::error!(%error, aside = %aside.display(), "a block of metrics is damaged and was set aside");
                    std::fs::rename(&path, &aside)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    let names: Vec<Name> = blocks.iter().map(|block| block.name).collect();
    let (held, mut blocks): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| names.iter().any(|name| name.holds(&block.name)));
    for block in held {
        std::fs::remove_file(&block.path)?;
    }
    sort(&mut blocks);
    Ok(blocks)
}

/// In the order in which they were written, which is that of time but for steps of the clock.
pub(crate) fn sort(blocks: &mut [Arc<Block>]) {
    blocks.sort_by_key(|block| (block.name.number, block.name.from, block.name.until));
}

/// The blocks that become one next, none of them longer than `longest`, whose samples are all before `finished`; times in
/// milliseconds. First come those of short stretches, so that each sample is written anew only a few times.
pub(crate) fn mergeable(
    blocks: &[Arc<Block>],
    span: i64,
    longest: i64,
    finished: i64,
) -> Option<Vec<Arc<Block>>> {
    let mut length = span;
    while length < longest {
        length = length.saturating_mul(LONGER).min(longest);
        let starts: BTreeSet<i64> = blocks.iter().map(|block| block.name.from.div_euclid(length)).collect();
        for start in starts {
            let from = start.saturating_mul(length);
            let until = from.saturating_add(length);
            let parts: Vec<Arc<Block>> =
                blocks.iter().filter(|block| block.name.meets(from, until)).cloned().collect();
            // What is damaged is left as it is: somebody may have it elsewhere.
            let fits = |block: &Arc<Block>| {
                block.name.from >= from && block.name.until <= until && block.damages() == 0
            };
            if until <= finished && parts.len() > 1 && parts.iter().all(fits) {
                return Some(parts);
            }
        }
    }
    None
}

/// Writes what these blocks hold, which are in order, as one block. `None` when something in them is damaged, which was
/// said, or when it is given up; then nothing has changed.
///
/// # Errors
/// When the disk refuses; nothing has changed then either.
pub(crate) fn merge(folder: &Path, parts: &[Arc<Block>], gives_up: &AtomicBool) -> io::Result<Option<Block>> {
    let all = || parts.iter().map(|block| block.name);
    let (Some(from), Some(until)) = (all().map(|it| it.from).min(), all().map(|it| it.until).max()) else {
        return Ok(None);
    };
    let (number, level) = (all().map(|it| it.number).max(), all().map(|it| it.level).max());
    let name = Name { from, until, number: number.unwrap_or(0), level: level.unwrap_or(0) + 1 };
    let Some(indices) = parts.iter().map(|part| part.sound_index()).collect::<Option<Vec<Index>>>() else {
        return Ok(None);
    };
    let series: BTreeSet<u32> = parts.iter().flat_map(|part| part.series()).collect();
    let series: Vec<u32> = series.into_iter().collect();
    let content = series.chunks(SERIES).flat_map(|batch| {
        let given_up =
            gives_up.load(Ordering::Relaxed).then(|| Err(io::Error::from(io::ErrorKind::Interrupted)));
        given_up.into_iter().chain(merged(parts, &indices, batch))
    });
    match Block::write(folder, name, content) {
        Ok(block) => Ok(Some(block)),
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// All samples of some series, which are in order; an error before them when something is damaged.
fn merged(
    parts: &[Arc<Block>],
    indices: &[Index],
    series: &[u32],
) -> impl Iterator<Item = io::Result<(u32, Vec<Chunk>)>> + use<> {
    let ask = Ask { series, after: i64::MIN, until: i64::MAX };
    let mut points: Vec<Vec<Point>> = vec![Vec::new(); series.len()];
    let read = |(part, index): (&Arc<Block>, &Index)| {
        part.read_by(index, ask, &mut points, &mut usize::MAX.clone()).is_ok_and(|damaged| damaged == 0)
    };
    let sound = parts.iter().zip(indices).all(read);
    let damage = (!sound).then(|| Err(io::Error::from(io::ErrorKind::InvalidData)));
    let series: Vec<u32> = series.to_vec();
    let chunks = series.into_iter().zip(points).map(|(series, points)| Ok((series, chunk::of_all(&points))));
    damage.into_iter().chain(chunks)
}
