//! Reading a raw request path: prefixes by whole segments, and the one kind of path that is refused.

/// Whether `prefix` (without trailing slash; empty is the root) holds `path` by whole segments: `/api` holds `/api`,
/// `/api/` and `/api/x`, not `/apix`.
pub fn holds(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// The segments of a path: `/a//b/` has `a`, an empty one, `b`, and an empty one.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// Whether a segment of the path is `.` or `..`, plainly, percent-encoded, or with path parameters behind (`..;x`).
/// A backslash, plain or encoded, counts as a separator here, because some servers read it as one; so does `%2f`.
pub fn climbs(path: &str) -> bool {
    if !path.bytes().any(|byte| byte == b'.' || byte == b'%') {
        return false;
    }
    let mut segment = Segment::Start;
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (byte, width) = decode(bytes, at);
        if byte == b'/' || byte == b'\\' {
            if segment.is_dots() {
                return true;
            }
            segment = Segment::Start;
        } else {
            segment = segment.then(byte);
            if segment == Segment::Parameters {
                return true;
            }
        }
        at += width;
    }
    segment.is_dots()
}

/// What a segment has been so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segment {
    Start,
    OneDot,
    TwoDots,
    /// One or two dots, then `;`.
    Parameters,
    /// Anything else; three dots and more are a name.
    Name,
}

impl Segment {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start, b'.') => Self::OneDot,
            (Self::OneDot, b'.') => Self::TwoDots,
            (Self::OneDot | Self::TwoDots, b';') => Self::Parameters,
            (Self::Start | Self::OneDot | Self::TwoDots | Self::Name | Self::Parameters, _) => Self::Name,
        }
    }

    fn is_dots(self) -> bool {
        matches!(self, Self::OneDot | Self::TwoDots)
    }
}

fn decode(bytes: &[u8], at: usize) -> (u8, usize) {
    let hex = |offset: usize| bytes.get(at + offset).and_then(|b| (*b as char).to_digit(16));
    if bytes[at] == b'%'
        && let (Some(high), Some(low)) = (hex(1), hex(2))
    {
        return ((high * 16 + low) as u8, 3);
    }
    (bytes[at], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_whole_segments() {
        for (prefix, path, expected) in [
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/x", true),
            ("/api", "/apix", false),
            ("/api", "//api", false),
            ("/api", "/api%2fx", false),
            ("", "/anything", true),
            ("", "/", true),
        ] {
            assert_eq!(holds(prefix, path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn dot_segments_are_told_however_they_are_written() {
        for bad in
            ["/..", "/a/../b", "/a/./b", "/%2e%2E/x", "/a/.%2e", "/a%2f..%2fb", "/a\\..\\b", "/..;x/b", "/."]
        {
            assert!(climbs(bad), "{bad}");
        }
        for good in
            ["/", "/a.b", "/...", "/a/..b", "/.well-known/x", "/100%", "/a%2fb", "//", "/a..", "/x;..y"]
        {
            assert!(!climbs(good), "{good}");
        }
    }
}
