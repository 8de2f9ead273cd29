//! Which words and fields a block has, perhaps: a filter that says no for sure. Does not live here: when it is asked.

/// Bits while a block is filled.
const BITS: usize = 1 << 18;
/// A filter is not folded below this.
const FEWEST_BITS: usize = 1 << 10;
/// Bits for each word.
const PROBES: u32 = 3;

/// Words that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    pub(crate) fn new() -> Self {
        Self { words: vec![0; BITS / 64] }
    }

    pub(crate) fn insert(&mut self, hash: u64) {
        let mask = self.words.len() * 64 - 1;
        for bit in probes(hash) {
            let bit = bit & mask;
            self.words[bit / 64] |= 1 << (bit % 64);
        }
    }

    pub(crate) fn may_have(&self, hash: u64) -> bool {
        let mask = self.words.len() * 64 - 1;
        probes(hash).all(|bit| self.words[(bit & mask) / 64] & (1 << ((bit & mask) % 64)) != 0)
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Half as large as long as at most a third of its bits would be set: half of a power of two is the same filter with a
    /// shorter mask.
    pub(crate) fn folded(&self) -> Self {
        let mut words = self.words.clone();
        while words.len() * 64 > FEWEST_BITS {
            let (low, high) = words.split_at(words.len() / 2);
            let half: Vec<u64> = low.iter().zip(high).map(|(low, high)| low | high).collect();
            let set: usize = half.iter().map(|word| word.count_ones() as usize).sum();
            if set * 3 > half.len() * 64 {
                break;
            }
            words = half;
        }
        Self { words }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// From its bytes; `None` when they can be no filter.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        if !bytes.len().is_power_of_two() || bytes.len() < 8 {
            return None;
        }
        let words = bytes.chunks_exact(8).map(|word| {
            let mut whole = [0; 8];
            whole.copy_from_slice(word);
            u64::from_le_bytes(whole)
        });
        Some(Self { words: words.collect() })
    }
}

fn probes(hash: u64) -> impl Iterator<Item = usize> {
    let step = (hash >> 32) | 1;
    (0..u64::from(PROBES)).map(move |probe| hash.wrapping_add(probe.wrapping_mul(step)) as usize)
}

/// A hash that is the same on every machine and in every version, because filters are kept.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(MIX);
    for piece in bytes.chunks(8) {
        let mut whole = [0; 8];
        whole[..piece.len()].copy_from_slice(piece);
        state = (state ^ u64::from_le_bytes(whole)).wrapping_mul(MIX);
        state ^= state >> 29;
    }
    state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state ^ (state >> 32)
}

/// A field with its value.
pub(crate) fn pair(path: &str, value: &str) -> u64 {
    hash(hash(1, path.as_bytes()), value.as_bytes())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The words of a text with the place where each begins: letters, digits, underscores and everything beyond ASCII.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() && !is_word(text[at]) {
            at += 1;
        }
        let begin = at;
        while at < text.len() && is_word(text[at]) {
            at += 1;
        }
        (at > begin).then(|| (begin, &text[begin..at]))
    })
}

/// The hash of a word.
pub(crate) fn word(word: &[u8]) -> u64 {
    hash(0, word)
}

/// The words that a line must have if it contains this text: those that the text bounds on both sides.
pub(crate) fn bounded_words(text: &[u8]) -> impl Iterator<Item = u64> {
    words(text)
        .filter(|(begin, found)| *begin > 0 && begin + found.len() < text.len())
        .map(|(_, found)| word(found))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_in_is_there_after_folding_and_on_disk(hashes in proptest::collection::vec(any::<u64>(), 0..3000)) {
            let mut bloom = Bloom::new();
            for hash in &hashes {
                bloom.insert(*hash);
            }
            let folded = Bloom::of_bytes(&bloom.folded().bytes()).unwrap();
            prop_assert!(hashes.iter().all(|hash| folded.may_have(*hash)));
        }

        #[test]
        fn a_text_inside_a_line_asks_only_for_words_of_that_line(line in "[a-c_ .é]{0,30}", from in 0usize..30, length in 0usize..30) {
            let all: Vec<u64> = words(line.as_bytes()).map(|(_, found)| word(found)).collect();
            let bytes = line.as_bytes();
            let from = from.min(bytes.len());
            let part = &bytes[from..(from + length).min(bytes.len())];
            prop_assert!(bounded_words(part).all(|hash| all.contains(&hash)));
        }
    }

    #[test]
    fn a_filter_says_no_most_of_the_time() {
        let mut bloom = Bloom::new();
        for n in 0..2000u32 {
            bloom.insert(word(format!("in{n}").as_bytes()));
        }
        let folded = bloom.folded();
        assert!(folded.bytes().len() < bloom.bytes().len());
        let wrong = (0..10_000u32).filter(|n| folded.may_have(word(format!("out{n}").as_bytes()))).count();
        assert!(wrong < 600, "{wrong} of 10000");
    }
}
