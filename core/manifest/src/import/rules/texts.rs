//! Texts and times of Prometheus' rules in the manifest's words: of Go's templates what is known here, and durations with days.

use std::time::Duration;

use model::alert::Template;

/// Words of Go's templates that decide about the text around them.
const CONTROL: [&str; 9] = ["if", "else", "end", "range", "with", "define", "template", "block", "break"];
/// What stands where something was left out.
const GAP: &str = "…";

/// A text with blanks, as far as it can be carried over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// `None`: what is not known decides about all of it.
    pub(super) text: Option<String>,
    /// What is not known, as it is written.
    pub(super) unknown: Vec<String>,
}

/// Puts a text into the words that are known here.
pub(super) fn carried(text: &str) -> Carried {
    let (mut kept, mut unknown, mut whole) = (String::new(), Vec::new(), true);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, mut after)) = after.split_once("}}") else {
            // An open brace is said by whoever reads the manifest.
            break;
        };
        kept.push_str(before);
        // A dash takes the blanks beside the braces away.
        let inside = match inside.strip_prefix("- ") {
            Some(inside) => {
                kept.truncate(kept.trim_end().len());
                inside
            }
            None => inside,
        };
        let inside = match inside.strip_suffix(" -") {
            Some(inside) => {
                after = after.trim_start();
                inside
            }
            None => inside,
        };
        let inside = inside.trim();
        let word = inside.split_whitespace().next().unwrap_or_default();
        if !inside.starts_with("/*") {
            whole &= !CONTROL.contains(&word) && !inside.contains(":=");
            match known(inside) {
                Some(known) => kept.push_str(&known),
                None => {
                    kept.push_str(GAP);
                    unknown.push(format!("{{{{ {inside} }}}}"));
                }
            }
        }
        rest = after;
    }
    kept.push_str(rest);
    Carried { text: whole.then_some(kept), unknown }
}

/// The same in words that are known here, if there are any.
fn known(inside: &str) -> Option<String> {
    let blank = |inside: &str| format!("{{{{ {inside} }}}}");
    let turned = ["humanize", "humanizePercentage", "humanizeDuration"].into_iter().find_map(|form| {
        let of = inside.strip_prefix(form)?.strip_prefix(' ')?.trim();
        Some(format!("{of} | {form}"))
    });
    let indexed = inside.strip_prefix("index $labels \"").and_then(|rest| rest.strip_suffix('"'));
    let indexed = indexed.map(|name| format!("$labels.{name}"));
    let all = [Some(inside.to_owned()), turned, indexed];
    all.into_iter().flatten().map(|it| blank(&it)).find(|it| Template::read(it).is_ok())
}

/// A duration of Prometheus, as in `1d12h` or `0`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const MILLIS: [(&str, u64); 7] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    let (mut millis, mut rest) = (0_u64, text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let (_, each) = MILLIS.into_iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(each)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_put_into_our_words_and_the_rest_leaves_a_gap() {
        let cases: [(&str, Option<&str>, &[&str]); 9] = [
            ("{{ $labels.pod }} at {{$value}}", Some("{{ $labels.pod }} at {{ $value }}"), &[]),
            (
                "{{ humanizePercentage $value }}, {{ $value | humanize }}",
                Some("{{ $value | humanizePercentage }}, {{ $value | humanize }}"),
                &[],
            ),
            (
                "{{ printf \"%.2f\" $value }}% of {{ index $labels \"le\" }}",
                Some("{{ printf \"%.2f\" $value }}% of {{ $labels.le }}"),
                &[],
            ),
            (
                "VALUE = {{ $value }}\n LABELS = {{ $labels }}",
                Some("VALUE = {{ $value }}\n LABELS = …"),
                &["{{ $labels }}"],
            ),
            ("{{ $value | humanize1024 }}B", Some("…B"), &["{{ $value | humanize1024 }}"]),
            ("a {{- /* nothing */ -}} b", Some("ab"), &[]),
            ("{{ if gt $value 1.0 }}bad{{ end }}", None, &["{{ if gt $value 1.0 }}", "{{ end }}"]),
            ("{{ $x := 1 }}", None, &["{{ $x := 1 }}"]),
            ("open {{ $value", Some("open {{ $value"), &[]),
        ];
        for (theirs, ours, unknown) in cases {
            let expected = Carried {
                text: ours.map(str::to_owned),
                unknown: unknown.iter().map(|it| (*it).to_owned()).collect(),
            };
            assert_eq!(carried(theirs), expected, "{theirs}");
        }
    }

    #[test]
    fn durations_know_days() {
        let seconds = |text| duration(text).map(|it| it.as_secs_f64());
        for (text, expected) in [
            ("0", Some(0.0)),
            ("5m", Some(300.0)),
            ("1d12h", Some(129_600.0)),
            ("1m500ms", Some(60.5)),
            ("1w", Some(604_800.0)),
            ("5", None),
            ("m", None),
            ("", None),
            ("5 m", None),
            ("99999999999999999999y", None),
            ("9999999999999y", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
