//! Traits that a simulation replaces: clock, entropy, transports, tasks, the cloud provider.
