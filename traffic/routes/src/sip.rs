//! SipHash-2-4 (Aumasson and Bernstein, 2012): a short keyed hash that is the same on every machine and in every version.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64, pub(crate) u64);

struct State([u64; 4]);

impl State {
    fn rounds(&mut self, rounds: u32) {
        let Self([a, b, c, d]) = self;
        for _ in 0..rounds {
            *a = a.wrapping_add(*b);
            *c = c.wrapping_add(*d);
            *b = b.rotate_left(13) ^ *a;
            *d = d.rotate_left(16) ^ *c;
            *a = a.rotate_left(32);
            *c = c.wrapping_add(*b);
            *a = a.wrapping_add(*d);
            *b = b.rotate_left(17) ^ *c;
            *d = d.rotate_left(21) ^ *a;
            *c = c.rotate_left(32);
        }
    }

    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.rounds(2);
        self.0[0] ^= word;
    }
}

impl Key {
    /// The hash of `bytes` under this key.
    pub(crate) fn hash(self, bytes: &[u8]) -> u64 {
        let Self(k0, k1) = self;
        let mut state = State([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ]);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state.take(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = bytes.len() as u8;
        state.take(u64::from_le_bytes(last));
        state.0[2] ^= 0xff;
        state.rounds(4);
        state.0.into_iter().fold(0, |hash, word| hash ^ word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the paper's reference: the key 00 01 .. 0f, and inputs 00 01 .. of each length.
    #[test]
    fn it_is_siphash_2_4() {
        let key = Key(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let input: Vec<u8> = (0..15).collect();
        assert_eq!(key.hash(&input), 0xa129_ca61_49be_45e5);
        assert_eq!(key.hash(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(key.hash(&input[..1]), 0x74f8_39c5_93dc_67fd);
    }
}
