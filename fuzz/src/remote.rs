//! Remote write: whatever is sent, compressed or not, reading ends within its limits, and what was understood is written
//! and read the same.

use exposition::remote::{Limits, read, write};

/// Beginnings of fields: a series, a label's name and value, a sample with its value and time, a histogram.
pub(crate) const WORDS: &[&str] = &[
    "\n\u{c}\n\n",
    "\n\u{8}__name__",
    "\u{12}\u{2}up",
    "\u{12}\u{4}shop",
    "\u{12}\u{c}\t\0\0\0\0\0\0\0\0\u{10}\u{1}",
    "\n\0",
    "\u{12}\0",
    "\"\0",
    "\u{1a}\u{2}xx",
    "\u{10}\u{7f}",
    "\u{7f}",
    "__name__",
    "\u{1}",
    "\0\0\0\0",
];
/// What a message may hold here.
const LIMITS: Limits = Limits { bytes: 1 << 20, samples: 1000, parts: 5000 };

/// # Panics
/// When a promise is broken.
pub fn target(bytes: &[u8]) {
    let _ = read(bytes, &LIMITS);
    // As protobuf, and again and again: small when compressed.
    for times in [1, 100] {
        let message = bytes.repeat(times);
        let packed = snap::raw::Encoder::new().compress_vec(&message).unwrap_or_default();
        let Ok((series, _)) = read(&packed, &LIMITS) else { continue };
        assert!(series.iter().map(|series| series.points.len()).sum::<usize>() <= LIMITS.samples);
        for series in &series {
            assert!(!series.labels.name().is_empty(), "{series:?}");
            assert!(series.points.is_sorted_by_key(|point| point.at), "{series:?}");
        }
        let again = read(&write(&series), &LIMITS);
        let (again, _) = again.unwrap_or_else(|error| panic!("{error}: {series:?}"));
        // By their text: NaN is not equal to itself.
        assert_eq!(format!("{again:?}"), format!("{series:?}"));
    }
}
