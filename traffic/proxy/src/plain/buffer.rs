//! Bytes on their way. A buffer has storage only while there are bytes in it: storage of one size goes from hand to hand
//! within a worker's thread, so that what rests holds none. Which bytes they are is not known here.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is read at once, in bytes. A body of 16 KiB and its head fit.
const READ_BYTES: usize = 24 * 1024;
/// Left free before what is read: a head that grows on its way is put there, so that its body need not move.
const LEAD_BYTES: usize = 512;
const STORAGE_BYTES: usize = LEAD_BYTES + READ_BYTES;
/// Storage that a thread keeps at hand; what is beyond is given back to the allocator.
const SPARE: usize = 32;
/// Storage for bytes that wait is this or a power of two above.
const FITTED_BYTES: usize = 256;

thread_local! {
    static STORAGE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A stretch of bytes, taken at its front and put to at its end.
#[derive(Default)]
pub(crate) struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the first bytes away.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        let storage = std::mem::take(&mut self.storage);
        if storage.len() == STORAGE_BYTES {
            give(storage);
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.reserve(bytes.len());
        self.storage[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Puts bytes before the first.
    pub(super) fn push_front(&mut self, bytes: &[u8]) {
        if self.start < bytes.len() {
            let mut moved = Self::default();
            moved.push(bytes);
            moved.push(self.bytes());
            *self = moved;
            return;
        }
        self.start -= bytes.len();
        self.storage[self.start..self.start + bytes.len()].copy_from_slice(bytes);
    }

    /// What is in here will wait: keeps no more storage than it needs.
    pub(super) fn settle(&mut self) {
        let fitted = self.len().next_power_of_two().max(FITTED_BYTES);
        if self.storage.len() >= STORAGE_BYTES && fitted < STORAGE_BYTES {
            let mut storage = vec![0; fitted];
            storage[..self.len()].copy_from_slice(self.bytes());
            let len = self.len();
            self.clear();
            (self.storage, self.end) = (storage, len);
        }
    }

    /// Reads once, and returns how much came; zero is the end. Storage is taken only when there is something to read.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        ready!(socket.poll_read_ready(cx))?;
        if self.storage.len() - self.end < READ_BYTES / 2 {
            let little = self.len() <= READ_BYTES / 2;
            self.reserve(if little { READ_BYTES - self.len() } else { READ_BYTES });
        }
        let mut room = ReadBuf::new(&mut self.storage[self.end..]);
        let polled = Pin::new(socket).poll_read(cx, &mut room);
        let count = room.filled().len();
        self.end += count;
        if self.is_empty() {
            self.clear();
        }
        polled.map_ok(|()| count)
    }

    /// Writes once and takes what was written away.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut TcpStream,
        upto: usize,
    ) -> Poll<io::Result<usize>> {
        let some = &self.bytes()[..upto.min(self.len())];
        let count = ready!(Pin::new(socket).poll_write(cx, some))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.consume(count);
        Poll::Ready(Ok(count))
    }

    /// Makes room behind the last byte.
    fn reserve(&mut self, count: usize) {
        if self.storage.is_empty() {
            self.storage = take();
            (self.start, self.end) = (LEAD_BYTES, LEAD_BYTES);
        }
        if self.storage.len() - self.end >= count {
            return;
        }
        let needed = LEAD_BYTES + self.len() + count;
        let mut storage = if needed <= STORAGE_BYTES { take() } else { vec![0; needed.next_power_of_two()] };
        let end = LEAD_BYTES + self.len();
        storage[LEAD_BYTES..end].copy_from_slice(self.bytes());
        self.clear();
        (self.storage, self.start, self.end) = (storage, LEAD_BYTES, end);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.clear();
    }
}

fn take() -> Vec<u8> {
    let spare = STORAGE.try_with(|all| all.borrow_mut().pop()).ok().flatten();
    spare.unwrap_or_else(|| vec![0; STORAGE_BYTES])
}

fn give(storage: Vec<u8>) {
    // Without its thread's store, as when the thread ends, the storage is simply freed.
    let _ = STORAGE.try_with(|all| {
        let mut all = all.borrow_mut();
        if all.len() < SPARE {
            all.push(storage);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_happens_to_the_storage() {
        let (mut buffer, mut model) = (Buffer::default(), Vec::new());
        let mut luck = fastrand::Rng::with_seed(7);
        for step in 0..5_000 {
            let piece = vec![step as u8; luck.usize(..40_000) >> luck.usize(..12)];
            match luck.u8(..5) {
                0 | 1 => {
                    buffer.push(&piece);
                    model.extend_from_slice(&piece);
                }
                2 => {
                    buffer.push_front(&piece);
                    model.splice(..0, piece);
                }
                3 => {
                    let count = piece.len().min(model.len()).max(model.len() / 2);
                    buffer.consume(count);
                    model.drain(..count);
                }
                _ => buffer.settle(),
            }
            assert_eq!(buffer.bytes(), model, "step {step}");
        }
    }

    #[test]
    fn an_empty_buffer_has_no_storage_and_a_waiting_one_little() {
        let mut buffer = Buffer::default();
        buffer.push(b"abc");
        buffer.settle();
        assert_eq!((buffer.bytes(), buffer.storage.len()), (b"abc".as_slice(), FITTED_BYTES));
        buffer.consume(3);
        assert_eq!(buffer.storage.capacity(), 0);
    }
}
