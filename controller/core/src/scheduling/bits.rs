//! Bit sets that mostly fit on the stack.

use smallvec::{SmallVec, smallvec};

const WORD: usize = 64;

/// A set of small integers. Bits beyond the stored words are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(SmallVec<[u64; 4]>);

impl Bits {
    /// The empty set over `0..len`.
    pub(crate) fn none(len: usize) -> Self {
        Self(smallvec![0; len.div_ceil(WORD)])
    }

    /// The full set `0..len`.
    pub(crate) fn all(len: usize) -> Self {
        let mut bits = Self(smallvec![u64::MAX; len.div_ceil(WORD)]);
        if let (Some(last), rest @ 1..) = (bits.0.last_mut(), len % WORD) {
            *last = (1 << rest) - 1;
        }
        bits
    }

    pub(crate) fn get(&self, index: usize) -> bool {
        self.0
            .get(index / WORD)
            .is_some_and(|word| word >> (index % WORD) & 1 == 1)
    }

    /// Adds an element, growing if need be.
    pub(crate) fn insert(&mut self, index: usize) {
        let word = index / WORD;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % WORD);
    }

    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / WORD) {
            *word &= !(1 << (index % WORD));
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.0.iter().any(|&word| word != 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    pub(crate) fn and_assign(&mut self, other: &Self) {
        for (index, word) in self.0.iter_mut().enumerate() {
            *word &= other.0.get(index).copied().unwrap_or(0);
        }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.and_assign(other);
        result
    }

    pub(crate) fn or_assign(&mut self, other: &Self) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    pub(crate) fn and_not_assign(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
        }
    }

    /// The smallest element that is at least `from` and not in `without`.
    pub(crate) fn next_without(&self, from: usize, without: &Self) -> Option<usize> {
        let mut mask = u64::MAX << (from % WORD);
        for index in from / WORD..self.0.len() {
            let blocked = without.0.get(index).copied().unwrap_or(0);
            let word = self.0[index] & !blocked & mask;
            if word != 0 {
                return Some(index * WORD + word.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// The elements in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(index * WORD + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn bits(elements: &BTreeSet<usize>) -> Bits {
        let mut bits = Bits::default();
        for &element in elements {
            bits.insert(element);
        }
        bits
    }

    proptest! {
        #[test]
        fn a_bit_set_is_a_set(
            a in prop::collection::btree_set(0_usize..300, 0..40),
            b in prop::collection::btree_set(0_usize..300, 0..40),
            from in 0_usize..300,
        ) {
            let (x, y) = (bits(&a), bits(&b));
            prop_assert_eq!(x.iter().collect::<BTreeSet<_>>(), a.clone());
            prop_assert_eq!(x.count(), a.len());
            prop_assert_eq!(x.intersects(&y), !a.is_disjoint(&b));
            let and: BTreeSet<usize> = a.intersection(&b).copied().collect();
            prop_assert_eq!(x.and(&y).iter().collect::<BTreeSet<_>>(), and);
            let mut or = x.clone();
            or.or_assign(&y);
            prop_assert_eq!(or.count(), a.union(&b).count());
            let mut difference = x.clone();
            difference.and_not_assign(&y);
            prop_assert_eq!(difference.count(), a.difference(&b).count());
            let next = a.difference(&b).copied().find(|&element| element >= from);
            prop_assert_eq!(x.next_without(from, &y), next);
        }
    }
}
