//! Shares as whole millionths, so that a target is the number that was written and two of them can be compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A share in parts of a million, 0 to all of it. Written as a percentage with at most four decimal places: `99.95%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Ratio(u32);

/// Why a text or a number is not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRatio {
    /// It is not a number with a percent sign.
    #[error("{0:?} is not a percentage: use a number with `%`, as in 99.9%")]
    Malformed(String),
    /// It has more decimal places than are kept.
    #[error("{0:?} is too fine: use at most four decimal places, as in 99.9999%")]
    TooFine(String),
    /// It is below nothing or above all.
    #[error("{0} is outside of 0% to 100%")]
    Outside(String),
    /// It is all or nothing, where only what lies between makes sense.
    #[error("a target lies between 0% and 100%: {0} leaves nothing to decide")]
    Extreme(String),
}

impl Ratio {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All of it.
    pub const ALL: Self = Self(Self::ONE);
    /// The parts that make all of it.
    pub const ONE: u32 = 1_000_000;

    /// From parts of a million; `None` above a million.
    pub const fn from_parts(parts: u32) -> Option<Self> {
        if parts <= Self::ONE { Some(Self(parts)) } else { None }
    }

    /// From whole percent; more than 100 is 100.
    pub const fn percent(percent: u32) -> Self {
        if percent >= 100 { Self::ALL } else { Self(percent * 10_000) }
    }

    /// `part` of `whole`, rounded down to a millionth; all of it when `whole` is zero or less than `part`.
    pub fn of(part: u64, whole: u64) -> Self {
        if part >= whole {
            return Self::ALL;
        }
        let parts = u128::from(part) * u128::from(Self::ONE) / u128::from(whole);
        Self(u32::try_from(parts).unwrap_or(Self::ONE))
    }

    /// Parts of a million.
    pub const fn parts(self) -> u32 {
        self.0
    }

    /// The share as a fraction, 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ONE)
    }

    /// What is left of all.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(Self::ONE - self.0)
    }
}

impl TryFrom<u32> for Ratio {
    type Error = InvalidRatio;

    fn try_from(parts: u32) -> Result<Self, InvalidRatio> {
        Self::from_parts(parts).ok_or_else(|| InvalidRatio::Outside(format!("{parts} parts of a million")))
    }
}

impl From<Ratio> for u32 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

impl FromStr for Ratio {
    type Err = InvalidRatio;

    fn from_str(text: &str) -> Result<Self, InvalidRatio> {
        let malformed = || InvalidRatio::Malformed(text.to_owned());
        let number = text.trim().strip_suffix('%').ok_or_else(malformed)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) || number.ends_with('.') {
            return Err(malformed());
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 4 {
            return Err(InvalidRatio::TooFine(text.to_owned()));
        }
        let outside = || InvalidRatio::Outside(text.trim().to_owned());
        let parts: u32 = format!("{whole}{decimals:0<4}").parse().map_err(|_| outside())?;
        Self::from_parts(parts).ok_or_else(outside)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 10_000, self.0 % 10_000);
        if decimals == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{decimals:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

/// A share that can be missed and can be kept: more than nothing, less than all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ratio", into = "Ratio")]
pub struct Target(Ratio);

impl Target {
    /// From parts of a million; `None` for 0 and for a million or more.
    pub fn from_parts(parts: u32) -> Option<Self> {
        Ratio::from_parts(parts).and_then(|ratio| Self::try_from(ratio).ok())
    }

    /// The share that has to be good.
    pub const fn ratio(self) -> Ratio {
        self.0
    }

    /// The share that may be bad: the error budget. Never nothing.
    pub const fn budget(self) -> Ratio {
        self.0.rest()
    }

    /// The burn rate when everything is bad, in thousandths, rounded down: `1 / (1 - target)`. No burn is above it.
    pub const fn highest_burn(self) -> u64 {
        1_000 * (Ratio::ONE as u64) / (self.0.rest().parts() as u64)
    }
}

impl TryFrom<Ratio> for Target {
    type Error = InvalidRatio;

    fn try_from(ratio: Ratio) -> Result<Self, InvalidRatio> {
        match ratio {
            Ratio::NONE | Ratio::ALL => Err(InvalidRatio::Extreme(ratio.to_string())),
            between => Ok(Self(between)),
        }
    }
}

impl From<Target> for Ratio {
    fn from(target: Target) -> Self {
        target.0
    }
}

impl FromStr for Target {
    type Err = InvalidRatio;

    fn from_str(text: &str) -> Result<Self, InvalidRatio> {
        text.parse::<Ratio>()?.try_into()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_the_number_that_was_written() {
        let cases =
            [("99.95%", 999_500), ("100 %", 1_000_000), ("0%", 0), ("0.0001%", 1), ("5.50000%", 55_000)];
        for (text, parts) in cases {
            assert_eq!(text.parse::<Ratio>(), Ok(Ratio(parts)), "{text}");
        }
        for bad in ["99.9", "%", ".5%", "5.%", "-1%", "101%", "99.99999%", "1e1%", "99999999999%"] {
            assert!(bad.parse::<Ratio>().is_err(), "{bad}");
        }
        assert!("100%".parse::<Target>().is_err() && "0%".parse::<Target>().is_err());
    }

    #[test]
    fn the_highest_burn_is_that_of_an_outage() {
        let highest = |text: &str| text.parse::<Target>().unwrap().highest_burn();
        assert_eq!((highest("99.9%"), highest("90%"), highest("50%")), (1_000_000, 10_000, 2_000));
        // The published limit: 14.4 needs a target above 93.06 %.
        assert!(highest("93.05%") < 14_400 && highest("93.06%") > 14_400);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(parts in 0u32..=Ratio::ONE) {
            prop_assert_eq!(Ratio(parts).to_string().parse::<Ratio>(), Ok(Ratio(parts)));
        }
    }
}
