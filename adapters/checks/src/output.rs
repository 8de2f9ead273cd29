//! The end of a command's output, as it may be shown: limited, in one line, without anything secret.

use ports::Secret;

/// How much of the output's end is held. Far more than is shown, so that a secret is never cut in two by its beginning.
const HELD_BYTES: usize = 64 * 1024;
/// How many lines are shown.
const LINES: usize = 5;
/// How many characters are shown.
const CHARACTERS: usize = 600;
/// Secrets that are shorter than this are no secrets, and hiding them would hide the rest.
const SHORTEST_SECRET: usize = 4;
/// What stands in the place of a secret.
const HIDDEN: &str = "(secret)";

/// The end of what was written so far.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * HELD_BYTES {
            self.bytes.drain(..self.bytes.len() - HELD_BYTES);
        }
    }

    /// The last lines; empty when nothing was written.
    pub(crate) fn last_lines(&self, secrets: &[&Secret]) -> String {
        let text = hide(&String::from_utf8_lossy(&self.bytes), secrets);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let shown = lines[lines.len().saturating_sub(LINES)..].join(" | ");
        let plain: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let surplus = plain.chars().count().saturating_sub(CHARACTERS);
        if surplus == 0 { plain } else { format!("... {}", plain.chars().skip(surplus).collect::<String>()) }
    }
}

/// The text without these values; of one with several lines, no line of it either.
pub(crate) fn hide(text: &str, secrets: &[&Secret]) -> String {
    let values = secrets.iter().map(|secret| secret.reveal());
    let mut values: Vec<&str> =
        values.flat_map(|value| std::iter::once(value).chain(value.lines())).collect();
    values.retain(|value| value.len() >= SHORTEST_SECRET);
    // The longest first: one may be the beginning of another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.iter().fold(text.to_owned(), |text, value| text.replace(value, HIDDEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str, secrets: &[&str]) -> String {
        let mut tail = Tail::default();
        text.as_bytes().chunks(1_000).for_each(|chunk| tail.push(chunk));
        let secrets: Vec<Secret> = secrets.iter().map(|value| Secret::new((*value).to_owned())).collect();
        tail.last_lines(&secrets.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_last_lines_stand_on_one() {
        assert_eq!(tail("1\n2\n3\n\n4\n5\n6\u{1b}[31m\n", &[]), "2 | 3 | 4 | 5 | 6 [31m");
        assert_eq!(tail("", &[]), "");
    }

    #[test]
    fn much_output_is_cut_to_its_end() {
        let shown = tail(&format!("{}end", "x".repeat(1_000_000)), &[]);
        assert!(shown.starts_with("... x") && shown.ends_with("xend") && shown.len() <= CHARACTERS + 4);
    }

    #[test]
    fn no_secret_is_shown_nor_a_line_of_one() {
        assert_eq!(tail("token=hunter22 hunter", &["hunter", "hunter22"]), "token=(secret) (secret)");
        assert_eq!(tail("it says line-two!", &["line-one\nline-two"]), "it says (secret)!");
        assert_eq!(tail("a b c", &["", "b"]), "a b c");
    }
}
