//! An alert as everybody knows it: labels that say which one it is, annotations that say what to know, and since when.
//! Alertmanager's and Prometheus' terms. Beside it the rules that make alerts, as data, and the texts with blanks that become
//! their annotations. Does not live here: when one begins and ends, and who is told.

mod rule;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use rule::{Condition, Declared, MOST_RULES, ReadyMade, Rule, Threshold};
pub use template::{InvalidTemplate, LONGEST, Template, plain};

use crate::Timestamp;

/// Labels by name, or annotations.
pub type Labels = BTreeMap<String, String>;

/// The label that names an alert.
pub const NAME: &str = "alertname";
/// The label that says how urgent one is: `P1`, `P2` or `P3`.
pub const SEVERITY: &str = "severity";
/// The annotation that names what to do.
pub const RUNBOOK: &str = "runbook";

/// Something that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Which one it is: two with the same labels are the same alert.
    pub labels: Labels,
    /// What to know of it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// When it ended; `None` while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Where it comes from, as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_url: Option<String>,
}

impl Alert {
    /// Which one it is, in 16 digits.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.labels)
    }
}

/// A set of labels in 64 bits: that of Prometheus and Alertmanager (FNV-1a over names and values, each followed by a
/// byte 255, names ascending), so that what they say of an alert can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// That of these labels.
    pub fn of(labels: &Labels) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let parts =
            labels.iter().flat_map(|(name, value)| [name.as_bytes(), &[255], value.as_bytes(), &[255]]);
        let add = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(PRIME);
        Self(parts.flatten().fold(OFFSET, add))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
        digits.map(Self).ok_or_else(|| {
            format!("{text:?} is no fingerprint: 16 hexadecimal digits, as in `shipshape alerts`")
        })
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_labels_have_the_offset_of_fnv() {
        assert_eq!(Fingerprint::of(&Labels::new()).to_string(), "cbf29ce484222325");
    }

    #[test]
    fn fingerprints_tell_names_and_values_apart() {
        let of = |name: &str, value: &str| Fingerprint::of(&Labels::from([(name.into(), value.into())]));
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(of("a", "b"), of("b", "a"));
    }

    #[test]
    fn a_fingerprint_reads_back() {
        let given = Fingerprint::of(&Labels::from([(NAME.into(), "Down".into())]));
        assert_eq!(given.to_string().parse(), Ok(given));
        assert!("7".parse::<Fingerprint>().is_err());
    }
}
