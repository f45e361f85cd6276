//! Work on several threads, taken in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// Results that may wait for an earlier one: a thread that is far ahead waits instead of filling
/// memory.
const AHEAD_MAX: usize = 1024;

struct State<T> {
    next: usize,
    taken: usize,
    done: BTreeMap<usize, T>,
}

/// Does `count` pieces of work on `jobs` threads and hands each result over in order, as soon as
/// it and all before it are there.
pub fn each<T: Send>(
    count: usize,
    jobs: usize,
    work: impl Fn(usize) -> T + Sync,
    mut done: impl FnMut(usize, T),
) {
    let state = Mutex::new(State {
        next: 0,
        taken: 0,
        done: BTreeMap::new(),
    });
    let (ready, room) = (Condvar::new(), Condvar::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
                    while guard.next < count && guard.next >= guard.taken + AHEAD_MAX {
                        guard = room.wait(guard).unwrap_or_else(PoisonError::into_inner);
                    }
                    let index = guard.next;
                    if index >= count {
                        return;
                    }
                    guard.next += 1;
                    drop(guard);
                    let result = work(index);
                    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
                    guard.done.insert(index, result);
                    drop(guard);
                    ready.notify_one();
                }
            });
        }
        for index in 0..count {
            let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
            let result = loop {
                match guard.done.remove(&index) {
                    Some(result) => break result,
                    None => guard = ready.wait(guard).unwrap_or_else(PoisonError::into_inner),
                }
            };
            guard.taken = index + 1;
            drop(guard);
            room.notify_all();
            done(index, result);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        for jobs in [0, 1, 3, 8] {
            let mut seen = Vec::new();
            each(
                2500,
                jobs,
                |index| index * 2,
                |index, twice| {
                    assert_eq!(index * 2, twice);
                    seen.push(index);
                },
            );
            assert_eq!(seen, (0..2500).collect::<Vec<_>>());
        }
        each(0, 4, |_| (), |_, ()| panic!("there is nothing to do"));
    }
}
