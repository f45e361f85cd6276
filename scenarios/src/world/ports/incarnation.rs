//! One life of a simulated process, from start to crash.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use futures::future::AbortHandle;

/// Something that must not happen in any run, found beside expectations and invariants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A task panicked.
    Panic {
        /// Whose.
        process: String,
        /// Name of the task.
        task: String,
        /// What it said.
        message: String,
    },
    /// A process ended by itself.
    Exit {
        /// Whose.
        process: String,
        /// What it said.
        message: String,
    },
    /// A request that the process's rules do not allow.
    Forbidden {
        /// Whose.
        process: String,
        /// What the API server said: user, verb, resource.
        message: String,
    },
    /// Tasks of a dead process ran on.
    Leak {
        /// Whose.
        process: String,
        /// Their names.
        tasks: Vec<String>,
    },
    /// Time stood still while work went on.
    Livelock {
        /// Where.
        message: String,
    },
    /// The run took too much real time.
    TooSlow {
        /// How much was allowed.
        message: String,
    },
    /// Components or the world itself gave up.
    World {
        /// Why.
        message: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic {
                process,
                task,
                message,
            } => {
                write!(f, "task '{task}' of {process} panicked: {message}")
            }
            Self::Exit { process, message } => write!(f, "{process} ended by itself: {message}"),
            Self::Forbidden { process, message } => write!(f, "{process} may not: {message}"),
            Self::Leak { process, tasks } => {
                write!(
                    f,
                    "tasks of {process} outlived its crash: {}",
                    tasks.join(", ")
                )
            }
            Self::Livelock { message } => write!(f, "time stands still: {message}"),
            Self::TooSlow { message } => write!(f, "too slow: {message}"),
            Self::World { message } => f.write_str(message),
        }
    }
}

/// Findings of a run, shared by all that may find something.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<Vec<Finding>>>);

/// More findings than this say nothing new.
const FINDINGS_MAX: usize = 100;

impl Findings {
    /// Adds a finding.
    pub fn add(&self, finding: Finding) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < FINDINGS_MAX && !list.contains(&finding) {
            list.push(finding);
        }
    }

    /// All so far.
    pub fn all(&self) -> Vec<Finding> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

/// One life of a process: its fence and its tasks.
#[derive(Debug)]
pub struct Incarnation {
    name: String,
    dead: AtomicBool,
    /// While it stands still: who waits to be polled again.
    paused: Mutex<Option<Vec<Waker>>>,
    next: AtomicU64,
    tasks: Mutex<BTreeMap<u64, (String, AbortHandle)>>,
}

impl Incarnation {
    /// The `number`-th life of a process, counted from 1.
    pub fn new(process: &str, number: u32) -> Arc<Self> {
        Arc::new(Self {
            name: format!("{process}#{number}"),
            dead: AtomicBool::new(false),
            paused: Mutex::new(None),
            next: AtomicU64::new(0),
            tasks: Mutex::new(BTreeMap::new()),
        })
    }

    /// `controller#1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the process is dead: nothing it sends reaches anybody.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Kills the process: the fence closes first, then every task is stopped.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Release);
        self.resume();
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, abort) in tasks.values() {
            abort.abort();
        }
    }

    /// Stands still: no task runs. What servers send meanwhile waits, and timers are late.
    pub fn pause(&self) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused.get_or_insert_default();
    }

    /// Goes on, in the order in which tasks were to run.
    pub fn resume(&self) {
        let waiting = {
            let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
            paused.take().unwrap_or_default()
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Whether a task has to wait; it is woken when the process goes on.
    pub(super) fn holds(&self, waker: &Waker) -> bool {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = paused.as_mut() else {
            return false;
        };
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        true
    }

    /// Number of tasks that exist.
    pub fn tasks(&self) -> u64 {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(tasks.len()).unwrap_or(u64::MAX)
    }

    /// Names of the tasks that still exist.
    pub fn alive(&self) -> Vec<String> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.values().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn register(self: &Arc<Self>, task: &str, abort: AbortHandle) -> Registration {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if self.is_dead() {
            abort.abort();
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.insert(id, (task.to_owned(), abort));
        Registration {
            incarnation: Arc::clone(self),
            id,
        }
    }
}

/// Takes the task off the list when it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    incarnation: Arc<Incarnation>,
    pub(super) id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut tasks = self
            .incarnation
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tasks.remove(&self.id);
    }
}
