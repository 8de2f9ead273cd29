//! A line with its escapes resolved, and where each byte came from. Does not live here: what is looked for in it.

use std::ops::Range;

/// Bytes, and for each the place in the line where it begins.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) bytes: Vec<u8>,
    /// One more than there are bytes: the last is the line's end. Empty means that nothing was moved.
    origins: Vec<u32>,
}

impl Layer {
    /// The line as it is.
    pub(crate) fn of(line: &[u8]) -> Self {
        Self { bytes: line.to_vec(), origins: Vec::new() }
    }

    fn from(&self, at: usize) -> u32 {
        self.origins.get(at).copied().unwrap_or(at as u32)
    }

    /// Where in the line this range of bytes stands.
    pub(crate) fn origin(&self, range: Range<usize>) -> Range<usize> {
        self.from(range.start) as usize..self.from(range.end) as usize
    }
}

/// With the escapes of JSON, and the `\xNN` of others, resolved; `None` when there is none.
pub(crate) fn backslashes(layer: &Layer) -> Option<Layer> {
    resolved(layer, b'\\', |rest| {
        let simple = match rest.get(1)? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            same @ (b'"' | b'\\' | b'/' | b'\'') => *same,
            b'x' => return Some((vec![u8::try_from(hex(rest.get(2..4)?)?).ok()?], 4)),
            b'u' => return unicode(rest),
            _ => return None,
        };
        Some((vec![simple], 2))
    })
}

/// With the `%NN` of addresses resolved; `None` when there is none.
pub(crate) fn percents(layer: &Layer) -> Option<Layer> {
    resolved(layer, b'%', |rest| Some((vec![u8::try_from(hex(rest.get(1..3)?)?).ok()?], 3)))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// `\uNNNN`, two of them for a character beyond the first plane, or `\u{N}` as Rust writes it.
fn unicode(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let utf8 = |code: u32| Some(char::from_u32(code)?.to_string().into_bytes());
    if rest.get(2) == Some(&b'{') {
        let end = rest.iter().take(10).position(|byte| *byte == b'}')?;
        return Some((utf8(hex(&rest[3..end])?)?, end + 1));
    }
    let first = hex(rest.get(2..6)?)?;
    if (0xd800..0xdc00).contains(&first) && rest.get(6..8) == Some(b"\\u") {
        let second = hex(rest.get(8..12)?)?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        return Some((utf8(0x10000 + ((first - 0xd800) << 10) + low)?, 12));
    }
    Some((utf8(first)?, 6))
}

/// `escape` gives what stands for the escape at the beginning of the rest, and how many bytes that takes.
fn resolved(layer: &Layer, sign: u8, escape: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Option<Layer> {
    let all = &layer.bytes;
    memchr::memchr(sign, all)?;
    let (mut bytes, mut origins) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len() + 1));
    let mut at = 0;
    while at < all.len() {
        let (mut plain, mut taken) = (vec![], 0);
        if all[at] == sign
            && let Some(resolved) = escape(&all[at..])
        {
            (plain, taken) = resolved;
        }
        if taken == 0 {
            bytes.push(all[at]);
            origins.push(layer.from(at));
            at += 1;
            continue;
        }
        origins.extend(std::iter::repeat_n(layer.from(at), plain.len()));
        bytes.append(&mut plain);
        at += taken;
    }
    origins.push(layer.from(all.len()));
    Some(Layer { bytes, origins })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_and_lead_back() {
        let line = br#"a\u00e9\n\ud83d\ude00\x41\q"#;
        let layer = backslashes(&Layer::of(line)).unwrap();
        assert_eq!(String::from_utf8(layer.bytes.clone()).unwrap(), "aé\n😀A\\q");
        assert_eq!(layer.origin(0..1), 0..1);
        assert_eq!(layer.origin(1..3), 1..7);
        assert_eq!(layer.origin(0..layer.bytes.len()), 0..line.len());
        assert_eq!(percents(&Layer::of(b"%41%zz%4")).unwrap().bytes, b"A%zz%4");
        assert!(backslashes(&Layer::of(b"plain")).is_none());
    }

    #[test]
    fn what_is_cut_off_stays_as_it_is() {
        for line in [r"\", r"\u", r"\u12", r"\ud83d", r"\ud83d\u", r"\u{110000}", r"\u{12", r"\x4"] {
            let layer = backslashes(&Layer::of(line.as_bytes())).unwrap();
            assert_eq!(layer.bytes, line.as_bytes(), "{line}");
        }
    }
}
