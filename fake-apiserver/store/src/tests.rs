use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SPACE: SpaceId = SpaceId(3);

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u16),
    Delete(u8),
    Compact(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => (0u8..8, any::<u16>()).prop_map(|(key, value)| Op::Put(key, value)),
        2 => (0u8..8).prop_map(Op::Delete),
        1 => (0u8..60).prop_map(Op::Compact),
    ];
    proptest::collection::vec(op, 0..60)
}

fn key(number: u8) -> String {
    format!("{}/{number}", if number < 4 { "a" } else { "b" })
}

type State = BTreeMap<String, u16>;

fn live(store: &Store<u16>, prefix: &str) -> State {
    store
        .range(SPACE, prefix, None)
        .map(|(key, v)| (key.to_string(), v.value))
        .collect()
}

proptest! {
    /// From any kept revision, replaying the watch over the state at that revision gives the present.
    #[test]
    fn watch_from_any_revision_equals_the_difference_of_states(ops in ops(), prefix in "[ab]/|") {
        let mut store = Store::new();
        let mut history = vec![State::new()];
        for op in ops {
            let before = store.revision();
            match op {
                Op::Put(number, value) => {
                    store.put(SPACE, &key(number), Expect::Any, value).unwrap();
                }
                Op::Delete(number) => {
                    let found = store.get(SPACE, &key(number)).is_some();
                    prop_assert_eq!(store.delete(SPACE, &key(number), Expect::Any, 0).is_ok(), found);
                }
                Op::Compact(back) => store.compact(before.saturating_sub(u64::from(back))),
            }
            if store.revision() != before {
                prop_assert_eq!(store.revision(), before + 1);
                history.push(live(&store, ""));
            }
        }
        for (revision, full) in history.iter().enumerate() {
            let revision = revision as u64;
            let old: State = full.iter().filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, value)| (key.clone(), *value)).collect();
            if revision < store.floor() {
                prop_assert!(store.at(SPACE, &prefix, revision).is_err());
                prop_assert!(store.changes(SPACE, &prefix, revision).is_err());
                continue;
            }
            let at: State = store.at(SPACE, &prefix, revision).unwrap().into_iter()
                .map(|(key, value)| (key.to_string(), value.value)).collect();
            prop_assert_eq!(&at, &old);
            let mut replayed = old;
            let mut last = revision;
            for change in store.changes(SPACE, &prefix, revision).unwrap() {
                prop_assert!(change.revision > last);
                last = change.revision;
                let before = if change.deleted {
                    replayed.remove(&*change.key)
                } else {
                    replayed.insert(change.key.to_string(), change.value)
                };
                prop_assert_eq!(before, change.before.as_ref().map(|before| before.value));
            }
            prop_assert_eq!(replayed, live(&store, &prefix));
        }
    }
}

#[test]
fn expectations_guard_writes_and_a_refused_write_moves_nothing() {
    let mut store = Store::new();
    assert_eq!(store.put(SPACE, "k", Expect::Absent, 1), Ok(1));
    assert_eq!(
        store.put(SPACE, "k", Expect::Absent, 2),
        Err(Mismatch { found: Some(1) })
    );
    assert_eq!(
        store.put(SPACE, "k", Expect::Revision(7), 2),
        Err(Mismatch { found: Some(1) })
    );
    assert_eq!(store.revision(), 1);
    assert_eq!(store.put(SPACE, "k", Expect::Revision(1), 2), Ok(2));
    assert_eq!(
        store.delete(SPACE, "k", Expect::Revision(1), 2),
        Err(Mismatch { found: Some(2) })
    );
    assert_eq!(store.delete(SPACE, "k", Expect::Any, 2), Ok(3));
    assert_eq!(
        store.delete(SPACE, "k", Expect::Any, 2),
        Err(Mismatch { found: None })
    );
    assert_eq!(store.revision(), 3);
}

#[test]
fn a_page_starts_after_its_key_and_stays_within_its_prefix() {
    let mut store = Store::new();
    for name in ["a/1", "a/2", "a-b/1", "b/1"] {
        store.put(SPACE, name, Expect::Any, 0).unwrap();
    }
    let keys = |prefix: &str, after: Option<&str>| -> Vec<String> {
        store
            .range(SPACE, prefix, after)
            .map(|(key, _)| key.to_string())
            .collect()
    };
    assert_eq!(keys("a/", None), ["a/1", "a/2"]);
    assert_eq!(keys("a/", Some("a/1")), ["a/2"]);
    assert_eq!(keys("", Some("a-b/1")), ["a/1", "a/2", "b/1"]);
    assert_eq!(keys("c/", None), Vec::<String>::new());
}

#[test]
fn spaces_share_the_counter_but_not_the_history() {
    let mut store = Store::new();
    store.put(SpaceId(0), "k", Expect::Any, 1).unwrap();
    store.put(SpaceId(1), "k", Expect::Any, 2).unwrap();
    assert_eq!(store.changes(SpaceId(0), "", 0).unwrap().count(), 1);
    assert_eq!(
        store
            .changes(SpaceId(1), "", 1)
            .unwrap()
            .next()
            .unwrap()
            .revision,
        2
    );
    assert_eq!(store.last_change(SpaceId(0)), 1);
}

#[test]
fn a_reader_that_missed_nothing_survives_compaction() {
    let mut store = Store::new();
    store.put(SpaceId(0), "k", Expect::Any, 1).unwrap();
    for value in 0..5 {
        store.put(SpaceId(1), "k", Expect::Any, value).unwrap();
    }
    store.compact(5);
    assert!(
        store.changes(SpaceId(0), "", 1).is_err(),
        "a stranger cannot know"
    );
    assert_eq!(store.resume(SpaceId(0), "", 1).unwrap().count(), 0);
    assert!(
        store.resume(SpaceId(1), "", 1).is_err(),
        "these were missed"
    );
    assert_eq!(store.resume(SpaceId(1), "", 5).unwrap().count(), 1);
}

#[test]
fn touched_names_the_spaces_changed_since_even_after_compaction() {
    let mut store = Store::new();
    let touched = |store: &Store<u16>, since| store.touched(since).collect::<Vec<_>>();
    store.put(SpaceId(0), "a", Expect::Any, 1).unwrap();
    store.put(SpaceId(2), "a", Expect::Any, 1).unwrap();
    assert_eq!(touched(&store, 0), [SpaceId(0), SpaceId(2)]);
    assert_eq!(touched(&store, 1), [SpaceId(2)]);
    assert!(touched(&store, 2).is_empty());
    store.compact(2);
    assert_eq!(touched(&store, 1), [SpaceId(2)]);
}
