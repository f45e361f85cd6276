//! A deterministic Azure: one state machine of resources, capacity, quota and time.
