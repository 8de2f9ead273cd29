//! One line of text, from left to right.

/// What is left of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub(crate) &'a str);

impl<'a> Cursor<'a> {
    pub(crate) fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    pub(crate) fn eat(&mut self, c: char) -> bool {
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Up to the next blank, or the end.
    pub(crate) fn word(&mut self) -> &'a str {
        let end = self.0.find([' ', '\t']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    /// A name: letters, digits, `_`, and for a metric `:`; not with a digit first.
    pub(crate) fn name(&mut self, colon: bool) -> Option<&'a str> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
        let end = self.0.find(|c: char| !good(c)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        Some(name)
    }

    /// A text in double quotes, as it stands: between the quotes, escapes and all.
    pub(crate) fn quoted(&mut self) -> Option<&'a str> {
        let inner = self.0.strip_prefix('"')?;
        let mut escaped = false;
        for (at, byte) in inner.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.0 = &inner[at + 1..];
                    return Some(&inner[..at]);
                }
                _ => {}
            }
        }
        None
    }
}

/// A quoted text without its escapes: `\\`, `\"` and `\n`; another one stands for itself.
pub(crate) fn unescaped(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, false) => result.push(c),
            (_, true) => match chars.next() {
                Some('n') => result.push('\n'),
                Some(escaped @ ('\\' | '"')) => result.push(escaped),
                Some(other) => result.extend(['\\', other]),
                None => result.push('\\'),
            },
        }
    }
    result
}
