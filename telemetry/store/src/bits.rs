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

    /// At least the next 57 bits, the first one highest; zeros past the end.
    fn ahead(&self) -> u64 {
        let byte = self.at / 8;
        let next = match self.bytes.get(byte..).and_then(<[u8]>::first_chunk::<8>) {
            Some(whole) => u64::from_be_bytes(*whole),
            None => {
                let mut padded = [0; 8];
                let rest = self.bytes.get(byte..).unwrap_or_default();
                padded[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(padded)
            }
        };
        next << (self.at % 8)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.bytes.len() * 8).then_some(())
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// The next `count` bits, at most 64.
    pub(crate) fn take(&mut self, count: u32) -> Option<u64> {
        if count > 56 {
            let high = self.take(count - 32)?;
            return Some(high << 32 | self.take(32)?);
        }
        if count == 0 {
            return Some(0);
        }
        let value = self.ahead() >> (64 - count);
        self.skip(count as usize)?;
        Some(value)
    }

    /// How many ones there are before the next zero, which is taken too; at most `most`, then without it.
    pub(crate) fn ones(&mut self, most: u32) -> Option<u32> {
        let ones = (!self.ahead()).leading_zeros().min(most);
        self.skip(ones as usize + usize::from(ones < most))?;
        Some(ones)
    }
}
