//! Host names as requests write them and as routes claim them.

use std::borrow::Cow;

/// A claim on host names. The order is from the most specific to the least.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    /// This name alone.
    Exact(String),
    /// Any name that ends with this text, which starts with a dot.
    Below(String),
    /// Any host, even none.
    Any,
}

impl Pattern {
    /// Reads `*`, `*.example.org` or `example.org`; `None` when it is none of them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = normal(text);
        if text == "*" {
            return Some(Self::Any);
        }
        if let Some(rest) = name.strip_prefix('*') {
            let fits = rest.len() > 1 && rest.starts_with('.') && !rest.contains('*');
            return fits.then(|| Self::Below(rest.to_owned()));
        }
        let fits = !name.is_empty() && !name.contains(['*', '/', ' ']);
        fits.then(|| Self::Exact(name.into_owned()))
    }
}

/// A host without its port and trailing dot, in lower case. Borrowed when it already was.
pub(crate) fn normal(host: &str) -> Cow<'_, str> {
    let bare = without_port(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(bare.to_ascii_lowercase())
    } else {
        Cow::Borrowed(bare)
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_port_case_and_trailing_dot() {
        for (given, expected) in [
            ("Shop.Example.ORG:8080", "shop.example.org"),
            ("shop.", "shop"),
            ("shop.:80", "shop"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(normal(given), expected);
        }
    }

    #[test]
    fn patterns_are_names_suffixes_or_anything() {
        assert_eq!(Pattern::parse("*"), Some(Pattern::Any));
        assert_eq!(Pattern::parse("*.A.b"), Some(Pattern::Below(".a.b".to_owned())));
        assert_eq!(Pattern::parse("a.b"), Some(Pattern::Exact("a.b".to_owned())));
        for bad in ["", "*x", "*.", "a.*.b", "*.*.b", "http://x"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
