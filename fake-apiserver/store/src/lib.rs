//! A multi-version store that knows no kinds: values under string keys, one global revision
//! counter, and the history of every change back to a floor.
//!
//! ```text
//!   put / delete ──► live map (newest value per key)
//!        │
//!        └────────► log per space: (revision, key, before, after)   ◄── changes(since), at(revision)
//! ```
//!
//! Keys live in *spaces* (one per kind, chosen by the caller), so that a reader of one kind never
//! touches the history of another. Values are cloned freely and should be cheap to clone (`Arc`).
//!
//! # Invariants
//! - Revisions grow by exactly one per write, over all spaces; every change has its own revision.
//! - [`Store::changes`] yields every change after `since` exactly once, in order, or says
//!   [`Compacted`]; it never skips.
//! - [`Store::at`] equals the live state as it was when [`Store::revision`] had that value.
//! - A failed write changes nothing, not even the revision.
//! - No iteration order depends on hashing or on time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Names a space; spaces are created by use and never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceId(pub u32);

/// A value and the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<V> {
    /// The revision of the write.
    pub revision: u64,
    /// What was written.
    pub value: V,
}

/// One step of a key's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// The revision this change made.
    pub revision: u64,
    /// The changed key.
    pub key: Arc<str>,
    /// What the key held before, if anything.
    pub before: Option<Versioned<V>>,
    /// The new value or, for a deletion, the last state the writer wants observers to see.
    pub value: V,
    /// Whether the key is gone after this change.
    pub deleted: bool,
}

/// What a writer expects to find under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything or nothing.
    Any,
    /// Nothing.
    Absent,
    /// A value written at this revision.
    Revision(u64),
}

/// The expectation of a write was not met; `found` is the revision actually under the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected another revision, found {found:?}")]
pub struct Mismatch {
    /// The revision under the key, `None` when the key is absent.
    pub found: Option<u64>,
}

/// The history asked for is gone: list again and continue from the newest revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("history up to revision {floor} was compacted")]
pub struct Compacted {
    /// Changes at or below this revision are forgotten.
    pub floor: u64,
}

/// Most changes a space keeps, whatever the caller's compaction policy: the watch cache of the
/// real API server grows to about 100,000 entries per resource
/// (`kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/storage/cacher`).
const HISTORY_MAX: usize = 100_000;

/// A key and what is under it.
type Keyed<V> = (Arc<str>, Versioned<V>);

#[derive(Debug)]
struct Space<V> {
    live: BTreeMap<Arc<str>, Versioned<V>>,
    log: VecDeque<Change<V>>,
    /// Revision of the newest forgotten change.
    floor: u64,
}

/// The store. See the crate documentation.
#[derive(Debug)]
pub struct Store<V> {
    revision: u64,
    floor: u64,
    spaces: Vec<Space<V>>,
}

impl<V: Clone> Default for Store<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone> Store<V> {
    /// An empty store at revision 0.
    pub fn new() -> Self {
        Self {
            revision: 0,
            floor: 0,
            spaces: Vec::new(),
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision the next successful write will get, for values that carry their revision.
    pub fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    /// Changes at or below this revision are forgotten in every space.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Advances the revision without a change, as writes to other systems on the same counter do.
    pub fn skip_to(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// The newest value of a key.
    pub fn get(&self, space: SpaceId, key: &str) -> Option<&Versioned<V>> {
        self.space(space)?.live.get(key)
    }

    /// The live values of keys that start with `prefix` and are greater than `after`, in key order.
    pub fn range<'a>(
        &'a self,
        space: SpaceId,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Versioned<V>)> + 'a {
        let start = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.space(space)
            .into_iter()
            .flat_map(move |space| space.live.range::<str, _>((start, Bound::Unbounded)))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// How many keys a space holds.
    pub fn len(&self, space: SpaceId) -> usize {
        self.space(space).map_or(0, |space| space.live.len())
    }

    /// Whether a space holds no key.
    pub fn is_empty(&self, space: SpaceId) -> bool {
        self.len(space) == 0
    }

    /// The state of the keys under `prefix` when `revision` was the newest one.
    ///
    /// A revision in the future reads as the present.
    pub fn at(
        &self,
        space: SpaceId,
        prefix: &str,
        revision: u64,
    ) -> Result<BTreeMap<Arc<str>, Versioned<V>>, Compacted> {
        let mut state: BTreeMap<Arc<str>, Versioned<V>> = self
            .range(space, prefix, None)
            .map(|(key, value)| (Arc::clone(key), value.clone()))
            .collect();
        let Some(space) = self.space(space) else {
            return Ok(state);
        };
        let floor = space.floor.max(self.floor);
        if revision < floor {
            return Err(Compacted { floor });
        }
        for change in space
            .log
            .iter()
            .rev()
            .take_while(|change| change.revision > revision)
        {
            if change.key.starts_with(prefix) {
                match &change.before {
                    Some(before) => state.insert(Arc::clone(&change.key), before.clone()),
                    None => state.remove(&change.key),
                };
            }
        }
        Ok(state)
    }

    /// The changes under `prefix` after revision `since`, oldest first.
    pub fn changes<'a>(
        &'a self,
        space: SpaceId,
        prefix: &'a str,
        since: u64,
    ) -> Result<impl Iterator<Item = &'a Change<V>> + 'a, Compacted> {
        if since < self.floor {
            return Err(Compacted { floor: self.floor });
        }
        self.resume(space, prefix, since)
    }

    /// The same for a reader that was up to date at `since`: compaction of changes it has seen, or
    /// of other spaces, is no loss to it.
    pub fn resume<'a>(
        &'a self,
        space: SpaceId,
        prefix: &'a str,
        since: u64,
    ) -> Result<impl Iterator<Item = &'a Change<V>> + 'a, Compacted> {
        let space = self.space(space);
        let floor = space.map_or(0, |space| space.floor);
        if since < floor {
            return Err(Compacted { floor });
        }
        let log = space.map(|space| {
            let start = space.log.partition_point(|change| change.revision <= since);
            space.log.range(start..)
        });
        Ok(log
            .into_iter()
            .flatten()
            .filter(move |change| change.key.starts_with(prefix)))
    }

    /// The revision of the newest kept change of a space; 0 when it has none.
    pub fn last_change(&self, space: SpaceId) -> u64 {
        self.space(space).map_or(0, Space::last_change)
    }

    /// How many kept changes of a space came after revision `since`.
    pub fn count_since(&self, space: SpaceId, since: u64) -> usize {
        self.space(space).map_or(0, |space| {
            let start = space.log.partition_point(|change| change.revision <= since);
            space.log.len() - start
        })
    }

    /// The spaces with a change after revision `since`.
    pub fn touched(&self, since: u64) -> impl Iterator<Item = SpaceId> {
        let spaces = (0..).map(SpaceId).zip(&self.spaces);
        spaces
            .filter(move |(_, space)| space.last_change() > since)
            .map(|(id, _)| id)
    }

    /// Writes a value and returns its revision.
    pub fn put(
        &mut self,
        space: SpaceId,
        key: &str,
        expect: Expect,
        value: V,
    ) -> Result<u64, Mismatch> {
        let before = self.checked(space, key, expect)?;
        self.revision += 1;
        let revision = self.revision;
        let space = self.space_mut(space);
        let key = before
            .as_ref()
            .map_or_else(|| Arc::from(key), |(key, _)| Arc::clone(key));
        space.live.insert(
            Arc::clone(&key),
            Versioned {
                revision,
                value: value.clone(),
            },
        );
        let before = before.map(|(_, versioned)| versioned);
        space.record(Change {
            revision,
            key,
            before,
            value,
            deleted: false,
        });
        Ok(revision)
    }

    /// Removes a key; `last` is the state observers of the deletion see.
    ///
    /// An absent key is a [`Mismatch`], whatever was expected.
    pub fn delete(
        &mut self,
        space: SpaceId,
        key: &str,
        expect: Expect,
        last: V,
    ) -> Result<u64, Mismatch> {
        let (key, before) = self
            .checked(space, key, expect)?
            .ok_or(Mismatch { found: None })?;
        self.revision += 1;
        let revision = self.revision;
        let space = self.space_mut(space);
        space.live.remove(&key);
        space.record(Change {
            revision,
            key,
            before: Some(before),
            value: last,
            deleted: true,
        });
        Ok(revision)
    }

    /// Forgets the changes at or below `revision`; a later floor is never lowered.
    pub fn compact(&mut self, revision: u64) {
        self.floor = self.floor.max(revision.min(self.revision));
        for space in &mut self.spaces {
            let gone = space
                .log
                .partition_point(|change| change.revision <= self.floor);
            if let Some(last) = space.log.drain(..gone).next_back() {
                space.floor = last.revision;
            }
        }
    }

    fn checked(
        &self,
        space: SpaceId,
        key: &str,
        expect: Expect,
    ) -> Result<Option<Keyed<V>>, Mismatch> {
        let found = self
            .space(space)
            .and_then(|space| space.live.get_key_value(key));
        let revision = found.map(|(_, value)| value.revision);
        let met = match expect {
            Expect::Any => true,
            Expect::Absent => revision.is_none(),
            Expect::Revision(wanted) => revision == Some(wanted),
        };
        if !met {
            return Err(Mismatch { found: revision });
        }
        Ok(found.map(|(key, value)| (Arc::clone(key), value.clone())))
    }

    fn space(&self, space: SpaceId) -> Option<&Space<V>> {
        self.spaces.get(space.0 as usize)
    }

    fn space_mut(&mut self, space: SpaceId) -> &mut Space<V> {
        let index = space.0 as usize;
        while self.spaces.len() <= index {
            self.spaces.push(Space {
                live: BTreeMap::new(),
                log: VecDeque::new(),
                floor: 0,
            });
        }
        self.spaces
            .get_mut(index)
            .expect("grown to the index just above")
    }
}

impl<V> Space<V> {
    fn last_change(&self) -> u64 {
        let newest = self.log.back();
        newest.map_or(self.floor, |change| change.revision)
    }

    fn record(&mut self, change: Change<V>) {
        if self.log.len() == HISTORY_MAX
            && let Some(oldest) = self.log.pop_front()
        {
            self.floor = oldest.revision;
        }
        self.log.push_back(change);
    }
}

#[cfg(test)]
mod tests;
