//! How a server is set up.

use std::sync::Arc;

use fake_apiserver_components::api::Identity;

use crate::auth::ca::CertificateAuthority;
use crate::clock::Clock;

/// Settings of an [`crate::ApiServer`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Time of the cluster.
    pub clock: Clock,
    /// Root of every random choice: uids, generated names, keys of service account tokens.
    pub seed: u64,
    /// What `/version` answers, for example `v1.36.1`.
    pub version: String,
    /// Bearer tokens known from the start.
    pub tokens: Vec<StaticToken>,
    /// The cluster's certificate authority; derived from the seed when absent, which is only right
    /// where nobody trusts it beyond the process (anyone who knows the seed knows the key).
    pub ca: Option<CertificateAuthority>,
    /// Whether requests without credentials run as `system:anonymous`.
    pub anonymous: bool,
    /// Whose writes `managedFields` records.
    pub tracking: Tracking,
    /// Host and port clients reach the server at, for discovery and kubeconfigs.
    pub address: String,
}

/// A bearer token and who it stands for.
#[derive(Clone, Debug)]
pub struct StaticToken {
    /// The token as sent after `Bearer`.
    pub token: String,
    /// The user and groups.
    pub identity: Identity,
}

/// Which objects carry `metadata.managedFields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// All, as the real server does.
    All,
    /// Those that were applied server-side at least once. A quarter of the memory and much less
    /// work; what clients see differs only in the absence of `Update` entries.
    Applied,
}

impl Options {
    /// Defaults: version 1.36.1, no tokens, no anonymous access, everything tracked.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            seed,
            version: "v1.36.1".to_owned(),
            tokens: Vec::new(),
            ca: None,
            anonymous: false,
            tracking: Tracking::All,
            address: "127.0.0.1:6443".to_owned(),
        }
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn with_token(mut self, token: &str, user: &str, groups: &[&str]) -> Self {
        let identity = Identity::new(user, groups);
        self.tokens.push(StaticToken {
            token: token.to_owned(),
            identity,
        });
        self
    }
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// All groups, `system:authenticated` included.
    pub groups: Vec<Arc<str>>,
    /// A stable id, where there is one.
    pub uid: String,
}

impl User {
    /// A user found by authentication: the groups gain `system:authenticated`.
    pub fn authenticated(identity: &Identity) -> Self {
        let mut groups: Vec<Arc<str>> = identity.groups.to_vec();
        if !groups
            .iter()
            .any(|group| &**group == "system:authenticated")
        {
            groups.push("system:authenticated".into());
        }
        Self {
            name: Arc::clone(&identity.user),
            groups,
            uid: String::new(),
        }
    }

    /// `system:anonymous`.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            uid: String::new(),
        }
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| &**own == group)
    }
}
