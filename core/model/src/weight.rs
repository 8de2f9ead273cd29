//! Shares of traffic.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of traffic in basis points: 10,000 is all of it. Written as a percentage (`5%`, `0.5%`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// No traffic.
    pub const NONE: Self = Self(0);
    /// All traffic.
    pub const ALL: Self = Self(10_000);

    /// From basis points; `None` above 10,000.
    pub const fn from_basis_points(points: u16) -> Option<Self> {
        if points <= 10_000 { Some(Self(points)) } else { None }
    }

    /// From a percentage, rounded to a basis point; `None` outside 0 to 100.
    pub fn from_percent(percent: f64) -> Option<Self> {
        let points = (percent * 100.0).round();
        if (0.0..=10_000.0).contains(&points) { Some(Self(points as u16)) } else { None }
    }

    /// The share that `part` of `whole` replicas would take, rounded down; all of it when `whole` is zero.
    pub fn share(part: u32, whole: u32) -> Self {
        if part >= whole {
            return Self::ALL;
        }
        Self((u64::from(part) * 10_000 / u64::from(whole)) as u16)
    }

    /// Whether something is left for the others, and not everything.
    pub const fn is_part(self) -> bool {
        0 < self.0 && self.0 < Self::ALL.0
    }

    /// Basis points, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// The share as a fraction, 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// What is left for the others.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(10_000 - self.0)
    }

    /// How many of `replicas` this share needs, rounded up.
    pub fn of_replicas(self, replicas: u32) -> u32 {
        let needed = (u64::from(replicas) * u64::from(self.0)).div_ceil(10_000);
        u32::try_from(needed).unwrap_or(u32::MAX)
    }
}

impl TryFrom<u16> for Weight {
    type Error = String;

    fn try_from(points: u16) -> Result<Self, String> {
        Self::from_basis_points(points)
            .ok_or_else(|| format!("{points} basis points is more than all traffic"))
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_round_so_that_capacity_is_enough() {
        let five = Weight::from_percent(5.0).unwrap();
        assert_eq!(five.of_replicas(2), 1);
        assert_eq!(five.of_replicas(100), 5);
        assert_eq!(Weight::NONE.of_replicas(9), 0);
        assert_eq!(Weight::ALL.of_replicas(3), 3);
        assert_eq!(five.to_string(), "5%");
        assert_eq!(Weight::from_percent(0.5).unwrap().to_string(), "0.5%");
        assert_eq!(Weight::from_percent(100.5), None);
        assert_eq!(Weight::share(1, 3).basis_points(), 3333);
        assert_eq!(Weight::share(0, 0), Weight::ALL);
    }
}
