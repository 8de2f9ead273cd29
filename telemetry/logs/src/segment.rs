//! Files of finished blocks: compressed records with what says whether it is worth reading them. Appended to, then left.
//! Does not live here: which file goes when (`store`).
//!
//! ```text
//! block: "SHIPLOG1", length and checksum of the head, head (JSON), filter, records (Snappy)
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bloom::Bloom;
use crate::columns::Columns;
use crate::wire::Wire;

const MAGIC: &[u8; 8] = b"SHIPLOG1";
const BEGIN: usize = 16;
/// The longest head: its marks are one for each replica whose output is read.
const LONGEST_HEAD: u32 = 4 << 20;
/// The longest block when it is read.
const LONGEST_RECORDS: usize = 256 << 20;

/// What is known of a block without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    /// The number of its first record.
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// The earliest and the latest time.
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// A bit for each level.
    pub(crate) levels: u8,
    /// Bytes of the text.
    pub(crate) text: u64,
    filter: u32,
    filter_sum: u32,
    records: u32,
    records_sum: u32,
    /// How far each source was read when it was written. Only those of the last block count.
    pub(crate) marks: BTreeMap<String, String>,
}

/// A block in a file.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) head: Head,
    /// Where its filter begins.
    offset: u64,
}

/// A file of blocks.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) blocks: Vec<Block>,
    /// Bytes of whole blocks, and of what is damaged between them.
    pub(crate) size: u64,
    /// Bytes that are no block.
    pub(crate) damaged: u64,
}

impl Segment {
    /// Makes an empty file whose first record will have this number.
    pub(crate) fn create(folder: &Path, first: u64) -> io::Result<Self> {
        let path = folder.join(format!("segment-{first:020}"));
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        File::open(folder)?.sync_all()?;
        Ok(Self { path, file, blocks: Vec::new(), size: 0, damaged: 0 })
    }

    /// Opens a file and finds its blocks. With `mend`, what a crash left at its end is cut off.
    pub(crate) fn open(path: &Path, mend: bool) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(mend).open(path)?;
        let length = file.metadata()?.len();
        let mut segment = Self { path: path.to_owned(), file, blocks: Vec::new(), size: 0, damaged: 0 };
        let mut at = 0;
        while at < length {
            match segment.block_at(at, length)? {
                Some((block, end)) => {
                    segment.damaged += at - segment.size;
                    segment.blocks.push(block);
                    segment.size = end;
                    at = end;
                }
                None => match segment.magic_behind(at + 1, length)? {
                    Some(next) => at = next,
                    None => break,
                },
            }
        }
        // The last block may have been written in part: its bytes are read, those of the others when they are needed.
        if let Some(last) = segment.blocks.last()
            && segment.columns(last).is_err()
        {
            let begin = segment.blocks.iter().rev().nth(1).map_or(0, Block::end);
            segment.blocks.pop();
            segment.damaged += if mend { 0 } else { segment.size - begin };
            segment.size = begin;
        }
        if mend && segment.size < length {
            segment.file.set_len(segment.size)?;
            segment.file.sync_all()?;
        }
        Ok(segment)
    }

    fn block_at(&self, at: u64, length: u64) -> io::Result<Option<(Block, u64)>> {
        let mut begin = [0; BEGIN];
        if at + BEGIN as u64 > length {
            return Ok(None);
        }
        self.file.read_exact_at(&mut begin, at)?;
        let mut wire = Wire(&begin[MAGIC.len()..]);
        let (Some(size), Some(sum)) = (wire.u32(), wire.u32()) else { return Ok(None) };
        let offset = at + BEGIN as u64 + u64::from(size);
        if !begin.starts_with(MAGIC) || size > LONGEST_HEAD || offset > length {
            return Ok(None);
        }
        let mut head = vec![0; size as usize];
        self.file.read_exact_at(&mut head, at + BEGIN as u64)?;
        if crc32fast::hash(&head) != sum {
            return Ok(None);
        }
        let Ok(head) = serde_json::from_slice::<Head>(&head) else { return Ok(None) };
        let block = Block { head, offset };
        let end = block.end();
        Ok((end <= length).then_some((block, end)))
    }

    fn magic_behind(&self, from: u64, length: u64) -> io::Result<Option<u64>> {
        let mut bytes = vec![0; 1 << 20];
        let mut at = from;
        while at + MAGIC.len() as u64 <= length {
            let count = bytes.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            self.file.read_exact_at(&mut bytes[..count], at)?;
            if let Some(found) = memchr::memmem::find(&bytes[..count], MAGIC) {
                return Ok(Some(at + found as u64));
            }
            at += (count - (MAGIC.len() - 1)) as u64;
        }
        Ok(None)
    }

    /// Adds a block and makes it durable.
    pub(crate) fn append(
        &mut self,
        columns: &Columns,
        filter: &Bloom,
        marks: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        let filter = filter.folded().bytes();
        let records = snap::raw::Encoder::new().compress_vec(&columns.bytes()).map_err(io::Error::other)?;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        let head = Head {
            first: columns.first,
            count: columns.len() as u64,
            from: columns.from,
            until: columns.until,
            levels: columns.graveness,
            text: columns.text_bytes() as u64,
            filter: length(&filter)?,
            filter_sum: crc32fast::hash(&filter),
            records: length(&records)?,
            records_sum: crc32fast::hash(&records),
            marks: marks.clone(),
        };
        let written = serde_json::to_vec(&head)?;
        let mut bytes = Vec::with_capacity(BEGIN + written.len() + filter.len() + records.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&length(&written)?.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&written).to_le_bytes());
        bytes.extend_from_slice(&written);
        let offset = self.size + bytes.len() as u64;
        bytes.extend_from_slice(&filter);
        bytes.extend_from_slice(&records);
        // A part may be there from a try that the disk refused.
        self.file.set_len(self.size)?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.size += bytes.len() as u64;
        // Marks count in the last block alone, and are kept by the store.
        let head = Head { marks: BTreeMap::new(), ..head };
        self.blocks.push(Block { head, offset });
        Ok(())
    }

    /// The filter of a block.
    pub(crate) fn filter(&self, block: &Block) -> io::Result<Bloom> {
        let mut bytes = vec![0; block.head.filter as usize];
        self.file.read_exact_at(&mut bytes, block.offset)?;
        if crc32fast::hash(&bytes) != block.head.filter_sum {
            return Err(damaged("the filter of a block does not have its checksum"));
        }
        Bloom::of_bytes(&bytes).ok_or_else(|| damaged("the filter of a block is none"))
    }

    /// The records of a block.
    pub(crate) fn columns(&self, block: &Block) -> io::Result<Columns> {
        let mut bytes = vec![0; block.head.records as usize];
        self.file.read_exact_at(&mut bytes, block.offset + u64::from(block.head.filter))?;
        if crc32fast::hash(&bytes) != block.head.records_sum {
            return Err(damaged("a block does not have its checksum"));
        }
        let length = snap::raw::decompress_len(&bytes).map_err(io::Error::other)?;
        if length > LONGEST_RECORDS {
            return Err(damaged("a block is longer than any that was written"));
        }
        let bytes = snap::raw::Decoder::new().decompress_vec(&bytes).map_err(io::Error::other)?;
        Columns::of_bytes(&bytes).ok_or_else(|| damaged("the records of a block make no sense"))
    }

    /// The latest time in it.
    pub(crate) fn until(&self) -> i64 {
        self.blocks.iter().map(|block| block.head.until).max().unwrap_or(i64::MIN)
    }
}

impl Block {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.head.filter) + u64::from(self.head.records)
    }

    /// The number behind its last record.
    pub(crate) fn next(&self) -> u64 {
        self.head.first + self.head.count
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
