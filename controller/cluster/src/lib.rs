//! A synchronous mirror of the cluster, kept as compact core values.
