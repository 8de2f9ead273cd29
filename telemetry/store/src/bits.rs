//! Streams of bits, the first one highest in its byte.

/// Bits that are appended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    /// Free bits in the last byte.
    free: u32,
}

impl Bits {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn push_bit(&mut self, bit: bool) {
        self.push(u64::from(bit), 1);
    }

    /// The lowest `count` bits of `value`, at most 64.
    pub(crate) fn push(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let part = (value >> (left - take)) & (u64::MAX >> (64 - take));
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part << (self.free - take)) as u8;
            }
            self.free -= take;
            left -= take;
        }
    }
}

/// Bits that are read; past the end there is nothing.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// The next `count` bits, at most 64.
    pub(crate) fn take(&mut self, count: u32) -> Option<u64> {
        if self.at + count as usize > self.bytes.len() * 8 {
            return None;
        }
        let mut value = 0;
        let mut left = count;
        while left > 0 {
            let offset = (self.at % 8) as u32;
            let take = left.min(8 - offset);
            let byte = u64::from(self.bytes[self.at / 8]);
            let part = byte >> (8 - offset - take) & (0xff >> (8 - take));
            value = value << take | part;
            self.at += take as usize;
            left -= take;
        }
        Some(value)
    }
}
