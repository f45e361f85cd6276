//! Plumbing of an operator that knows no domain: lease, metrics, health, events, tasks, logs, real ports.
