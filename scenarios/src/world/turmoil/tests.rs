//! Hosts, partitions, fail-over.
