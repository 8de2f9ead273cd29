//! A seeded generator (SplitMix64), so that a simulation is the same on every machine and on every day.

/// A stream of random numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How many trials until the first success, that one included. Exact, by inversion, so that rare errors cost
    /// nothing for the requests between them.
    pub(crate) fn trials_until(&mut self, probability: f64) -> u64 {
        let ln_rest = (-self.unit()).ln_1p();
        (ln_rest / (-probability).ln_1p()).floor() as u64 + 1
    }
}
