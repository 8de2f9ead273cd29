//! W3C Trace Context: reading what a client says of its trace, and writing what a replica is told. What is not exactly as
//! the standard has it is nobody's trace: a new one begins then, and its `tracestate` goes.

/// The length of a `traceparent` of version 00.
pub(crate) const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
/// The flags that are known: sampled, and that the id's lowest 56 bits are random (level 2).
const KNOWN_FLAGS: u8 = 3;
/// What a `tracestate` may hold at most.
const MEMBERS: usize = 32;

/// A client's position in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) flags: u8,
}

/// A request's position in its trace, as its replica is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) flags: u8,
    /// The client's span.
    pub(crate) parent: Option<u64>,
}

impl Position {
    /// A span of our own, of the trace given or of a new one. Where nobody keeps traces a new one is marked sampled, which
    /// is what services do that see no trace at all.
    pub(crate) fn after(parent: Option<Parent>) -> Self {
        let span_id = fastrand::u64(1..);
        match parent {
            Some(parent) => Self {
                trace_id: parent.trace_id,
                span_id,
                flags: parent.flags & KNOWN_FLAGS,
                parent: Some(parent.span_id),
            },
            None => Self { trace_id: fastrand::u128(1..), span_id, flags: SAMPLED, parent: None },
        }
    }

    pub(crate) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(crate) fn sample(&mut self, sampled: bool) {
        self.flags = self.flags & !SAMPLED | u8::from(sampled);
    }

    /// As `traceparent` says it.
    pub(crate) fn write(self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(self.trace_id, &mut text[3..35]);
        hex(u128::from(self.span_id), &mut text[36..52]);
        hex(u128::from(self.flags), &mut text[53..]);
        text
    }
}

/// The lowest digits of a number, as many as there is room for. Written for each request, so without the formatter.
pub(crate) fn hex(mut number: u128, room: &mut [u8]) {
    for digit in room.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// Reads a `traceparent`. A version above 00 is read as far as 00 goes.
pub(crate) fn read(text: &[u8]) -> Option<Parent> {
    let (head, rest) = text.split_at_checked(LENGTH)?;
    let dashes = [head[2], head[35], head[52]];
    let version = number(&head[..2])?;
    let whole = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|next| *next == b'-') };
    if dashes != *b"---" || version == 0xff || !whole {
        return None;
    }
    let trace_id = number(&head[3..35])?;
    let span_id = u64::try_from(number(&head[36..52])?).ok()?;
    let flags = u8::try_from(number(&head[53..])?).ok()?;
    (trace_id != 0 && span_id != 0).then_some(Parent { trace_id, span_id, flags })
}

/// Small letters only.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u128::from(value))
    })
}

/// Whether the lines of a `tracestate`, taken together, are what the standard allows.
pub(crate) fn is_state<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in lines.into_iter().flat_map(|line| line.split(|byte| *byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return false };
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS {
            return false;
        }
        keys.push(key);
    }
    true
}

fn is_key(key: &[u8]) -> bool {
    let plain = |part: &[u8], longest: usize, digit_first: bool| {
        let first =
            part.first().is_some_and(|b| b.is_ascii_lowercase() || (digit_first && b.is_ascii_digit()));
        let rest = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(b);
        first && part.len() <= longest && part.iter().all(rest)
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => plain(key, 256, false),
        // tenant@system
        Some(at) => plain(&key[..at], 241, true) && plain(&key[at + 1..], 14, false),
    }
}

fn is_value(value: &[u8]) -> bool {
    let allowed = |b: &u8| (b' '..=b'~').contains(b) && !b",=".contains(b);
    (1..=256).contains(&value.len()) && value.iter().all(allowed) && value.last() != Some(&b' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_valid_traces_are_continued() {
        let parent = read(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parent.span_id, parent.flags), (0xb7ad_6b71_6920_3331, 1));
        let later = GOOD.replacen("00", "cc", 1);
        assert!(read(later.as_bytes()).is_some());
        assert!(read(format!("{later}-what-will-be").as_bytes()).is_some());
        for bad in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00 0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-001",
            "",
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn unknown_flags_are_not_passed_on() {
        let parent = read(GOOD.replace("-01", "-ff").as_bytes()).unwrap();
        assert_eq!(Position::after(Some(parent)).flags, 3);
    }

    #[test]
    fn a_state_is_read_as_the_standard_says() {
        for good in [
            "",
            "a=b",
            "a=b , c=d",
            "a=b,,c=d",
            "1t@sys=x",
            "a_-*/0=!~ x",
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        ] {
            assert!(is_state([good.as_bytes()]), "{good}");
        }
        for bad in [
            "a", "=b", "a=", "A=b", "a=b=c", "a=b,a=c", "1a=b", "t@1=b", "a@b@c=d", "a=\u{7f}", "a =b",
            "a=b\tc",
        ] {
            assert!(!is_state([bad.as_bytes()]), "{bad}");
        }
        let many = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        assert!(is_state([many(32).as_bytes()]) && !is_state([many(33).as_bytes()]));
        assert!(!is_state([b"a=b".as_slice(), b"a=c".as_slice()]));
        assert!(is_state([format!("a={}", "x".repeat(256)).as_bytes()]));
        assert!(!is_state([format!("a={}", "x".repeat(257)).as_bytes()]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(trace_id in 1_u128.., span_id in 1_u64.., flags in 0_u8..4) {
            let position = Position { trace_id, span_id, flags, parent: None };
            prop_assert_eq!(read(&position.write()), Some(Parent { trace_id, span_id, flags }));
        }

        #[test]
        fn a_changed_byte_is_refused_or_another_trace(at in 0..LENGTH, byte in any::<u8>()) {
            let mut text = *GOOD.as_bytes().first_chunk::<LENGTH>().unwrap();
            let before = text[at];
            text[at] = byte;
            // What is read can be written as it was given, up to the version and the unknown flags.
            if let Some(parent) = read(&text) {
                let written = Position { parent: None, ..Position { span_id: parent.span_id, ..Position::after(Some(parent)) } }.write();
                prop_assert!(!(2..=52).contains(&at) || written[3..52] == text[3..52], "{before} {byte}");
            }
        }

        #[test]
        fn no_bytes_upset_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
            let _ = is_state([bytes.as_slice()]);
        }
    }
}
