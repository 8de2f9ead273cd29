//! Numbers and texts as bytes. Does not live here: what they mean.

pub(crate) fn push_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Small for small differences in both directions.
pub(crate) fn push_signed(into: &mut Vec<u8>, value: i64) {
    push_varint(into, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn push_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Bytes that are read in order; `None` behind their end.
pub(crate) struct Wire<'a>(pub(crate) &'a [u8]);

impl<'a> Wire<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        self.varint().map(|value| (value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(number in any::<u64>(), signed in any::<i64>(), text in ".{0,20}") {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            push_signed(&mut bytes, signed);
            push_bytes(&mut bytes, text.as_bytes());
            let mut wire = Wire(&bytes);
            prop_assert_eq!((wire.varint(), wire.signed(), wire.text()), (Some(number), Some(signed), Some(text.as_str())));
            prop_assert_eq!(wire.byte(), None);
        }
    }
}
