//! Bit sets that mostly fit on the stack.

use smallvec::{SmallVec, smallvec};

const WORD: usize = 64;

/// A set of small integers. Bits beyond the stored words are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bits(SmallVec<[u64; 8]>);

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

    /// Takes the elements of the other set, without giving up the memory of this one.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    /// Keeps the elements that are in any of the others.
    pub(crate) fn and_any(&mut self, others: &[&Self]) {
        for (index, word) in self.0.iter_mut().enumerate() {
            if *word != 0 {
                let any = |union, other: &Self| union | other.0.get(index).copied().unwrap_or(0);
                *word &= others.iter().copied().fold(0, any);
            }
        }
    }

    /// The smallest element that is at least `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        self.next_in(from, self)
    }

    /// The smallest element that is at least `from` and in `other` too.
    pub(crate) fn next_in(&self, from: usize, other: &Self) -> Option<usize> {
        let mut mask = u64::MAX << (from % WORD);
        for index in from / WORD..self.0.len().min(other.0.len()) {
            let word = self.0[index] & other.0[index] & mask;
            if word != 0 {
                return Some(index * WORD + word.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// The largest element below `until`.
    pub(crate) fn last_before(&self, until: usize) -> Option<usize> {
        let last = until.checked_sub(1)?;
        let mut mask = u64::MAX >> (WORD - 1 - last % WORD);
        let first = (last / WORD).min(self.0.len().checked_sub(1)?);
        if first < last / WORD {
            mask = u64::MAX;
        }
        for index in (0..=first).rev() {
            let word = self.0[index] & mask;
            if word != 0 {
                return Some(index * WORD + WORD - 1 - word.leading_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// The elements that are in `other` too, in ascending order.
    pub(crate) fn both<'b>(&'b self, other: &'b Self) -> impl Iterator<Item = usize> + 'b {
        let mut from = 0;
        std::iter::from_fn(move || {
            let found = self.next_in(from, other)?;
            from = found + 1;
            Some(found)
        })
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
            let next = a.intersection(&b).copied().find(|&element| element >= from);
            prop_assert_eq!(x.next_in(from, &y), next);
            prop_assert_eq!(x.next(from), a.range(from..).next().copied());
            prop_assert_eq!(x.last_before(from), a.range(..from).next_back().copied());
            let both: Vec<usize> = a.intersection(&b).copied().collect();
            prop_assert_eq!(x.both(&y).collect::<Vec<_>>(), both);
            let mut any = x.clone();
            any.and_any(&[&y, &Bits::default()]);
            prop_assert_eq!(any.iter().collect::<Vec<_>>(), x.and(&y).iter().collect::<Vec<_>>());
            let mut copy = y.clone();
            copy.copy_from(&x);
            prop_assert_eq!(copy, x);
        }
    }
}
