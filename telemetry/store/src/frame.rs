//! Records in an append-only file: length, checksum, bytes. A file that ends in the middle of a record is cut off there:
//! that is what a crash leaves.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// The longest record; a longer length in a file is damage.
const LONGEST: u32 = 64 << 20;
/// How much memory an idle appender keeps.
const MOST_KEPT: usize = 1 << 20;

/// An append-only file of records. Nothing is durable before [`Appender::sync`].
#[derive(Debug)]
pub(crate) struct Appender {
    file: File,
    waiting: Vec<u8>,
    /// Bytes in the file that are whole records.
    length: u64,
    /// Whether something else may follow them.
    torn: bool,
}

impl Appender {
    /// Opens or makes the file; what stands there stays.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, waiting: Vec::new(), length, torn: false })
    }

    pub(crate) fn push(&mut self, record: &[u8]) {
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.waiting.extend_from_slice(&length.to_le_bytes());
        self.waiting.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
        self.waiting.extend_from_slice(record);
    }

    /// Bytes that are not in the file yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Makes everything pushed so far durable. After an error the same records are still waiting.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // A part may have been written the last time: it must not stand before what comes now.
        if self.torn {
            self.file.set_len(self.length)?;
        }
        self.torn = true;
        self.file.write_all(&self.waiting)?;
        self.file.sync_data()?;
        self.torn = false;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        // What a large burst took is not kept for ever.
        self.waiting.shrink_to(MOST_KEPT);
        Ok(())
    }
}

/// Gives every whole record of a file to `each`, in order, and cuts off what follows the last one. A missing file has
/// none. Returns how many bytes were cut off.
pub(crate) fn replay(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let total = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    let (mut whole, mut record) = (0u64, Vec::new());
    loop {
        let mut head = [0; 8];
        if reader.read_exact(&mut head).is_err() {
            break;
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (length, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length > LONGEST || whole + 8 + u64::from(length) > total {
            break;
        }
        record.resize(length as usize, 0);
        if reader.read_exact(&mut record).is_err() || crc32fast::hash(&record) != sum {
            break;
        }
        each(&record);
        whole += 8 + u64::from(length);
    }
    let lost = total - whole;
    if lost > 0 {
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(lost)
}

/// Numbers in a record, read in order.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.u64().map(|value| value as i64)
    }

    /// Seven bits a byte, the lowest first.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}

pub(crate) fn push_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

pub(crate) fn push_text(into: &mut Vec<u8>, text: &str) {
    push_varint(into, text.len() as u64);
    into.extend_from_slice(text.as_bytes());
}
