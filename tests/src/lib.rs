//! Acceptance tests with foreign clients: kubectl, az, SDKs.
