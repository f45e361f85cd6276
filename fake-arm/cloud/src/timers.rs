//! What will happen, and when.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One thing that will happen by itself. `epoch` is the stored resource's epoch when the timer was
/// set: a timer whose resource has moved on is ignored when it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The platform decides whether it has room for the machine.
    VmAllocated {
        vm: String,
        epoch: u64,
    },
    /// The machine's operating system runs.
    VmRunning {
        vm: String,
        epoch: u64,
    },
    /// The guest agent has reported: the create operation ends.
    VmProvisioned {
        vm: String,
        epoch: u64,
    },
    /// The delete operation ends.
    VmDeleted {
        vm: String,
        epoch: u64,
    },
    /// A power operation ends.
    VmPower {
        vm: String,
        epoch: u64,
    },
    /// The platform starts to evict a spot machine.
    EvictionAnnounced {
        vm: String,
        epoch: u64,
    },
    /// The notice has run out.
    Evicted {
        vm: String,
        epoch: u64,
    },
    NicDeleted {
        nic: String,
        epoch: u64,
    },
    DiskDeleted {
        disk: String,
        epoch: u64,
    },
    GroupDeleted {
        group: String,
    },
    /// An operation without a state machine of its own ends well.
    OperationDone {
        operation: String,
    },
}

/// Timers in the order in which they fire; equal times fire in the order they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<(Timestamp, u64), Timer>,
    set: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.queue.insert((at, self.set), timer);
        self.set += 1;
    }

    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest timer that is due by `now`, with the time it was due at.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        let entry = self.queue.first_entry()?;
        let at = entry.key().0;
        (at <= now).then(|| (at, entry.remove()))
    }
}
