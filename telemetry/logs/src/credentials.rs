//! What looks like a credential although nobody said that it is one: headers, pairs such as `password=...`, keys, tokens of
//! known makers. Does not live here: values that are known to be secret.

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

use crate::redact::MARK;

/// The words without which a pattern matches nothing, and the pattern. Its group `s` is taken out; all of it without one.
const PATTERNS: [(&[&str], &str); 8] = [
    (
        &["authorization"],
        r#"(?i)authorization\\*["']?\s*[:=]\s*\\*["']?(?:(?:basic|bearer|digest|negotiate|token|apikey)\s+)?(?<s>[^\s"',;\\]+)"#,
    ),
    (&["bearer"], r"(?i)\bbearer\s+(?<s>[A-Za-z0-9._~+/=-]{8,})"),
    (
        &[
            "passw",
            "pwd",
            "passphrase",
            "secret",
            "token",
            "api_key",
            "api-key",
            "apikey",
            "access_key",
            "access-key",
            "accesskey",
            "private_key",
            "private-key",
            "privatekey",
            "credential",
        ],
        concat!(
            r"(?i)(?:password|passwd|passwort|pwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|",
            r#"secret[_-]?key|token|credentials?)\\*["']?\s*(?:=>|[:=])\s*(?:\\*"(?<q>[^"\\]*(?:\\[^"][^"\\]*)*)|'(?<a>[^']*)|"#,
            r#"(?<s>[^\s"'\\,;&{}\[\])>][^\s"'\\,;&{}\[\])]*))"#
        ),
    ),
    (&["cookie"], r#"(?i)\b(?:set-)?cookie\\*["']?\s*[:=]\s*\\*["']?(?<s>[^"'\\\r\n]+)"#),
    (&["-----begin"], r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?<s>[A-Za-z0-9+/=\s\\:,.-]*)"),
    (
        &["akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "_live_", "aiza"],
        concat!(
            r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|",
            r"xox[abprs]-[A-Za-z0-9-]{10,}|[spr]k_live_[A-Za-z0-9]{10,}|AIza[0-9A-Za-z_-]{35})"
        ),
    ),
    (&["eyj"], r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    (&["://"], r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'\\]*:(?<s>[^\s/@"'\\]+)@"#),
];

/// Looks for credentials.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// A line without any of these words has none.
    words: AhoCorasick,
    /// Which pattern each word leads to.
    leads: Vec<usize>,
    patterns: Vec<Regex>,
}

impl Credentials {
    pub(crate) fn new() -> Result<Self, String> {
        let (mut words, mut leads, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (of, pattern)) in PATTERNS.iter().enumerate() {
            words.extend_from_slice(of);
            leads.extend(of.iter().map(|_| index));
            patterns.push(Regex::new(pattern).map_err(|error| error.to_string())?);
        }
        let words = AhoCorasick::builder().ascii_case_insensitive(true).build(words);
        Ok(Self { words: words.map_err(|error| error.to_string())?, leads, patterns })
    }

    /// The line without credentials; `None` when it has none.
    pub(crate) fn redact(&self, line: &str) -> Option<String> {
        let mut asked = [false; PATTERNS.len()];
        for found in self.words.find_overlapping_iter(line) {
            asked[self.leads[found.pattern().as_usize()]] = true;
        }
        let mut clean: Option<String> = None;
        for (pattern, _) in self.patterns.iter().zip(asked).filter(|(_, asked)| *asked) {
            let text = clean.as_deref().unwrap_or(line);
            if pattern.is_match(text) {
                clean =
                    Some(pattern.replace_all(text, |found: &Captures<'_>| marked(text, found)).into_owned());
            }
        }
        clean
    }
}

fn marked(line: &str, found: &Captures<'_>) -> String {
    let whole = found.get(0).map_or(0..0, |whole| whole.range());
    let part = ["s", "q", "a"].iter().find_map(|name| found.name(name));
    let part = part.map_or(whole.clone(), |part| part.range());
    if part.is_empty() || line[part.clone()].starts_with("[redacted") {
        return line[whole].to_owned();
    }
    format!("{}{MARK}{}", &line[whole.start..part.start], &line[part.end..whole.end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(line: &str) -> String {
        Credentials::new().unwrap().redact(line).unwrap_or_else(|| line.to_owned())
    }

    #[test]
    fn credentials_are_taken_out() {
        let cases = [
            ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
            ("authorization=Token abc.def", "authorization=Token [redacted]"),
            (
                r#"{"headers":{"Authorization":"Bearer abcdefgh12"}}"#,
                r#"{"headers":{"Authorization":"Bearer [redacted]"}}"#,
            ),
            (
                r#"{"m":"{\"authorization\":\"Bearer abcdefgh12\"}"}"#,
                r#"{"m":"{\"authorization\":\"Bearer [redacted]\"}"}"#,
            ),
            ("sent Bearer abcdefgh12 to x", "sent Bearer [redacted] to x"),
            ("db_password=hunter2&user=me", "db_password=[redacted]&user=me"),
            (r#"{"password":"hun ter2","user":"me"}"#, r#"{"password":"[redacted]","user":"me"}"#),
            (r#"{"password":"hun\nt\u0041er2","user":"me"}"#, r#"{"password":"[redacted]","user":"me"}"#),
            (
                r#"{"m":"{\"password\":\"hunter2\",\"user\":1}"}"#,
                r#"{"m":"{\"password\":\"[redacted]\",\"user\":1}"}"#,
            ),
            ("config { api_key: 'abc def', b: 1 }", "config { api_key: '[redacted]', b: 1 }"),
            ("client_secret => s3cr3t", "client_secret => [redacted]"),
            ("Set-Cookie: sid=abc; Path=/", "Set-Cookie: [redacted]"),
            ("key AKIAIOSFODNN7EXAMPLE used", "key [redacted] used"),
            ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_1 ok", "jwt [redacted] ok"),
            ("postgres://me:hunter2@db:5432/shop", "postgres://me:[redacted]@db:5432/shop"),
            (
                r#"{"key":"-----BEGIN RSA PRIVATE KEY-----\nMIIE/+=\n-----END RSA PRIVATE KEY-----\n","b":1}"#,
                r#"{"key":"-----BEGIN RSA PRIVATE KEY-----[redacted]","b":1}"#,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
                "-----BEGIN PRIVATE KEY-----[redacted]",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(clean(line), expected);
            assert_eq!(clean(expected), expected, "twice is as once");
        }
    }

    #[test]
    fn prose_and_figures_stay() {
        for line in [
            r#"{"tokens":120,"token_count":5,"secretary":"Ann"}"#,
            "the password was wrong",
            "https://example.org/a:b@c",
            "the bearer of news",
            "keyboard=qwerty",
            r#"{"token":{"count":3}}"#,
        ] {
            assert_eq!(clean(line), line);
        }
    }
}
