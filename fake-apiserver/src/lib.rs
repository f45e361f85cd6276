//! A Kubernetes API server over a multi-version store.
