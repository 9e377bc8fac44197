//! Randomness that a seed reproduces (SplitMix64).

#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True in `per_mille` of a thousand draws.
    pub fn happens(&mut self, per_mille: u16) -> bool {
        self.draw() % 1000 < u64::from(per_mille)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_draws_again() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..64).map(|_| random.happens(500)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn never_and_always_are_exact() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| !random.happens(0)));
        assert!((0..1000).all(|_| random.happens(1000)));
        let hits = (0..10_000).filter(|_| random.happens(100)).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
