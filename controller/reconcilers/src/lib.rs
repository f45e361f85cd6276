//! Watchers, work queues and executors: gather, decide by calling the core, act.
