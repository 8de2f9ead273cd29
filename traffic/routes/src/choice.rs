//! Which release and which replica serve a request, given chance and the load of each replica.

use crate::table::{Entry, Share};

/// How many equally likely draws there are: one for each basis point of traffic.
pub const DRAWS: u16 = 10_000;

/// Who serves a request: positions in [`Entry::shares`] and in that share's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Which share.
    pub share: usize,
    /// Which of its replicas.
    pub replica: usize,
    /// Another release than the one drawn, because that one had no replica to offer. Such a request says nothing
    /// about the weights, so it must not be judged by them.
    pub fallback: bool,
}

impl Entry {
    /// The share that a draw (0 to [`DRAWS`] - 1) falls on: each with the probability of its weight, whatever is ready.
    pub fn draw(&self, draw: u16) -> Option<usize> {
        let mut upto = 0u32;
        self.shares.iter().position(|share| {
            upto += u32::from(share.weight.basis_points());
            u32::from(draw) < upto
        })
    }

    /// Chooses release and replica. `usable` says whether a replica may be tried (by share and replica position),
    /// `load` how many requests it has in flight; `luck` is random bits for what the draw leaves open. `None` when no
    /// release with a weight has a usable replica.
    pub fn choose(
        &self,
        draw: u16,
        luck: u64,
        usable: impl Fn(usize, usize) -> bool,
        load: impl Fn(usize, usize) -> u32,
    ) -> Option<Choice> {
        self.choose_from(self.draw(draw)?, luck, usable, load)
    }

    /// As [`Entry::choose`], for a request that a header route leads to the share `drawn`: another release stands in
    /// when that one has no usable replica, since it has been said to serve.
    pub fn choose_from(
        &self,
        drawn: usize,
        luck: u64,
        usable: impl Fn(usize, usize) -> bool,
        load: impl Fn(usize, usize) -> u32,
    ) -> Option<Choice> {
        if let Some(replica) = self.lighter_of_two(drawn, luck, &usable, &load) {
            return Some(Choice { share: drawn, replica, fallback: false });
        }
        let share = self.stand_in(drawn, luck, &usable)?;
        let replica = self.lighter_of_two(share, luck, &usable, &load)?;
        Some(Choice { share, replica, fallback: true })
    }

    /// Chooses a replica of the previewed release, never of another one. `None` when it has no usable replica, or when
    /// nothing is previewed.
    pub fn choose_preview(
        &self,
        luck: u64,
        usable: impl Fn(usize, usize) -> bool,
        load: impl Fn(usize, usize) -> u32,
    ) -> Option<Choice> {
        let release = self.preview.as_ref()?.release?;
        let share = self.shares.iter().position(|share| share.release == release)?;
        let replica = self.lighter_of_two(share, luck, &usable, &load)?;
        Some(Choice { share, replica, fallback: false })
    }

    /// Two candidates at random, the less loaded of them: nearly as even as looking at all, without the herd.
    fn lighter_of_two(
        &self,
        share: usize,
        luck: u64,
        usable: &impl Fn(usize, usize) -> bool,
        load: &impl Fn(usize, usize) -> u32,
    ) -> Option<usize> {
        let all = self.shares[share].replicas.len();
        let count = (0..all).filter(|replica| usable(share, *replica)).count();
        let nth = |n: usize| (0..all).filter(|replica| usable(share, *replica)).nth(n);
        match count {
            0 => None,
            1 => nth(0),
            _ => {
                let first = within(luck as u32, count);
                let other = within((luck >> 32) as u32, count - 1);
                let second = if other >= first { other + 1 } else { other };
                let (first, second) = (nth(first)?, nth(second)?);
                Some(if load(share, second) < load(share, first) { second } else { first })
            }
        }
    }

    /// Another release that has weight and a usable replica, each in proportion to its weight.
    fn stand_in(&self, drawn: usize, luck: u64, usable: &impl Fn(usize, usize) -> bool) -> Option<usize> {
        let offers = |index: usize, share: &Share| {
            index != drawn
                && share.weight.basis_points() > 0
                && (0..share.replicas.len()).any(|r| usable(index, r))
        };
        let total: usize =
            self.weights().filter(|(index, share)| offers(*index, share)).map(|(_, s)| points(s)).sum();
        let mut left = within(luck.rotate_right(16) as u32, total);
        for (index, share) in self.weights().filter(|(index, share)| offers(*index, share)) {
            match left.checked_sub(points(share)) {
                Some(rest) => left = rest,
                None => return Some(index),
            }
        }
        None
    }

    fn weights(&self) -> impl Iterator<Item = (usize, &Share)> {
        self.shares.iter().enumerate()
    }
}

fn points(share: &Share) -> usize {
    usize::from(share.weight.basis_points())
}

/// Random bits as a number below `bound` (zero for a bound of zero).
fn within(bits: u32, bound: usize) -> usize {
    ((u64::from(bits) * bound as u64) >> 32) as usize
}
