//! Chance that can be repeated.

use std::ops::Range;

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Another sequence, which follows from this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True `per_mille` times of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `choices`, of which there is one at least.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or(0)]
    }
}

/// A test's seed: told when the test fails while it is held.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// The seeds of `range`, or the one of the environment variable `RUNLAKE_TEST_SEED`.
    pub fn all(range: Range<u64>) -> impl Iterator<Item = Self> {
        let named: Option<u64> = std::env::var("RUNLAKE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        named.map_or(range, |seed| seed..seed + 1).map(Self)
    }

    /// The sequence of this seed.
    pub fn random(&self) -> Random {
        Random::new(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was with RUNLAKE_TEST_SEED={}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_another_one_gives_others() {
        let numbers = |seed| {
            std::iter::repeat_with(move || ()).take(8).scan(Random::new(seed), |random, ()| Some(random.number()))
        };
        assert!(numbers(1).eq(numbers(1)));
        assert!(!numbers(1).eq(numbers(2)));
        let mut random = Random::new(3);
        let hits = (0..10_000).filter(|_| random.chance(100)).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
