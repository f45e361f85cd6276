//! Seeded streams of randomness, one per purpose.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A node in a tree of seeds. Each purpose draws from a stream of its own, so that one draw more
/// here does not shift the draws there.
///
/// Production starts from operating-system entropy, a simulation from the scenario's seed plus
/// the process's name and incarnation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entropy {
    key: [u8; 32],
}

impl Entropy {
    /// The root of a tree.
    pub const fn from_key(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The root of a tree, from a scenario seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut key = [0; 32];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut key);
        Self { key }
    }

    /// The subtree with this name; independent of all other names.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut key = self.key;
        // ChaCha is the mixing function: absorb the name in blocks, squeeze a key after each.
        for block in name.as_bytes().chunks(31).chain(std::iter::once(&[][..])) {
            key[0] ^= u8::try_from(block.len()).expect("a block has at most 31 bytes");
            for (slot, byte) in key[1..].iter_mut().zip(block) {
                *slot ^= byte;
            }
            ChaCha8Rng::from_seed(key).fill_bytes(&mut key);
        }
        Self { key }
    }

    /// The generator for one purpose. Equal names give equal streams: a caller that draws
    /// repeatedly keeps the generator, or names the occasion as well.
    pub fn stream(&self, name: &str) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.child(name).key)
    }
}

impl fmt::Debug for Entropy {
    /// Never shows the key: traces and logs must not contain the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_independent_and_stable() {
        let root = Entropy::from_seed(7);
        assert_eq!(
            root.child("a").stream("x").next_u64(),
            root.child("a").stream("x").next_u64()
        );
        assert_ne!(root.stream("a").next_u64(), root.stream("b").next_u64());
        assert_ne!(root.child("ab").child("c"), root.child("a").child("bc"));
        let long = "x".repeat(31);
        assert_ne!(root.child(&long), root.child(&format!("{long}x")));
    }
}
