//! Chance that is the same on every machine: integers only, no library's distributions.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A seeded source of chance.
#[derive(Debug)]
pub struct SeededRng(ChaCha8Rng);

impl SeededRng {
    /// Chance for one purpose: each draws from a stream of its own, so that a change to one leaves
    /// the others as they are.
    #[must_use]
    pub fn new(seed: u64, purpose: impl Into<u64>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose.into());
        Self(rng)
    }

    /// A number from 0 to `bound - 1`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let scaled = u64::from(self.0.next_u32()) * u64::from(bound);
        u32::try_from(scaled >> 32).unwrap_or(0)
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(u32::try_from(list.len()).unwrap_or(u32::MAX)) as usize]
    }

    /// True with a probability of `share` percent.
    pub fn percent(&mut self, share: u32) -> bool {
        self.below(100) < share
    }

    /// A number around 0 with the given standard deviation, nearly normal: the sum of four
    /// even ones. It never exceeds 3.5 deviations.
    pub fn bell(&mut self, deviation: i32) -> i32 {
        const MEAN: i64 = 2 * 65_535;
        const DEVIATION: i64 = 37_837;
        let bits = self.0.next_u64();
        let sum: i64 = (0..4).map(|i| ((bits >> (16 * i)) & 0xffff) as i64).sum();
        ((sum - MEAN) * i64::from(deviation) / DEVIATION) as i32
    }

    /// The numbers from 0 to `count - 1` in random order.
    pub fn order(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last as usize, self.below(last + 1) as usize);
        }
        order
    }
}
