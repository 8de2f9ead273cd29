//! From a number to an input: a piece of the corpus, changed a few times by the target's own words and by plain damage.

use fastrand::Rng;

/// The longest input in bytes.
const LONGEST: usize = 16 * 1024;
/// The most changes of one input.
const CHANGES: usize = 6;
/// Numbers at the edge of something.
const EDGES: [&str; 10] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "1e9",
    "0x10",
];

/// The input that `seed` makes.
pub(crate) fn input(corpus: &[Vec<u8>], words: &[&str], seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let mut bytes = corpus[rng.usize(..corpus.len())].clone();
    for _ in 0..rng.usize(1..=CHANGES) {
        change(&mut bytes, corpus, words, &mut rng);
        bytes.truncate(LONGEST);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str], rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let until = bytes.len().min(at + rng.usize(..32));
    match rng.u8(..10) {
        0 => insert(bytes, at, &[rng.u8(..)]),
        1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        2 if at < bytes.len() => bytes[at] = rng.u8(..),
        3 => _ = bytes.drain(at..until),
        4 => {
            let again = bytes[at..until].to_vec();
            insert(bytes, at, &again.repeat(rng.usize(1..40)));
        }
        5 => {
            let other = &corpus[rng.usize(..corpus.len())];
            let from = rng.usize(..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        6 => insert(bytes, at, EDGES[rng.usize(..EDGES.len())].as_bytes()),
        7 => lines(bytes, rng),
        _ if words.is_empty() => {}
        _ => insert(bytes, at, words[rng.usize(..words.len())].as_bytes()),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    let rest = bytes.split_off(at);
    bytes.extend_from_slice(what);
    bytes.extend_from_slice(&rest);
}

/// Takes a line out, puts it elsewhere, or both.
fn lines(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let line = lines[rng.usize(..lines.len())].clone();
    if rng.bool() {
        lines.remove(rng.usize(..lines.len()));
    }
    if rng.bool() {
        lines.insert(rng.usize(..=lines.len()), line);
    }
    *bytes = lines.concat();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_makes_the_same_input_each_time_and_another_number_another() {
        let corpus = [b"GET / HTTP/1.1\r\nhost: s\r\n\r\n".to_vec(), b"POST".to_vec()];
        let make = |seed| input(&corpus, &["chunked"], seed);
        assert!((0..100).all(|seed| make(seed) == make(seed)));
        let different: std::collections::BTreeSet<_> = (0..100).map(make).collect();
        assert!(different.len() > 90, "{}", different.len());
        assert!((0..1000).all(|seed| make(seed).len() <= LONGEST));
    }
}
