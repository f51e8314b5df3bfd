//! Where every choice of a simulation comes from: a generator whose seed is all that it knows.

/// xoshiro256++ (Blackman and Vigna, 2019), filled by splitmix64. Not for secrets.
///
/// [`Dice::fork`] gives a generator that depends on the seed and a name alone, not on what was drawn before: a new kind
/// of choice in one place leaves the choices in all other places as they were.
#[derive(Clone, Debug)]
pub struct Dice {
    origin: u64,
    state: [u64; 4],
}

/// One step of splitmix64.
fn split(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Dice {
    /// A generator for a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self {
            origin: seed,
            state: std::array::from_fn(|_| split(&mut state)),
        }
    }

    /// A generator of its own for `name`, whatever was drawn from this one.
    #[must_use]
    pub fn fork(&self, name: &str) -> Self {
        let mut origin = self.origin;
        for byte in name.bytes() {
            origin ^= u64::from(byte);
            origin = split(&mut origin);
        }
        Self::new(origin)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ shifted, d.rotate_left(45)];
        drawn
    }

    /// One of the numbers below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        // By the upper half of a product: the bias is below bound / 2^64.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// One of the numbers from `least` to `most`, both included.
    ///
    /// # Panics
    /// When `most` is less than `least`.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        assert!(least <= most, "nothing lies between {least} and {most}");
        let span = most.abs_diff(least);
        if span == u64::MAX {
            return self.bits().cast_signed();
        }
        least.wrapping_add_unsigned(self.below(span + 1))
    }

    /// True in `share` of `whole` cases.
    ///
    /// # Panics
    /// When `whole` is 0.
    pub fn chance(&mut self, share: u64, whole: u64) -> bool {
        self.below(whole) < share
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    /// Puts things in any order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for place in (1..all.len()).rev() {
            all.swap(place, self.below(place as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_gives_the_same_numbers_each_time_and_another_seed_others() {
        let draw = |seed| -> Vec<u64> {
            let mut dice = Dice::new(seed);
            (0..8).map(|_| dice.bits()).collect()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn fork_depends_on_its_name_and_not_on_what_was_drawn() {
        let fresh = Dice::new(1);
        let mut used = Dice::new(1);
        used.bits();
        assert_eq!(fresh.fork("disk").bits(), used.fork("disk").bits());
        assert_ne!(fresh.fork("disk").bits(), fresh.fork("network").bits());
        assert_ne!(fresh.fork("ab").bits(), fresh.fork("ba").bits());
    }

    #[test]
    fn numbers_stay_within_bounds_and_reach_both_ends() {
        let mut dice = Dice::new(3);
        let drawn: std::collections::BTreeSet<i64> = (0..200).map(|_| dice.between(-2, 2)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
        assert_eq!(dice.between(5, 5), 5);
        assert!((0..100).all(|_| dice.chance(1, 1)));
        assert!((0..100).all(|_| !dice.chance(0, 9)));
    }

    #[test]
    fn shuffle_keeps_all() {
        let mut all: Vec<u32> = (0..20).collect();
        Dice::new(9).shuffle(&mut all);
        assert_ne!(all, (0..20).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    }
}
