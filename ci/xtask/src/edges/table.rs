//! The edges there are. From top to bottom: a crate may depend only on crates further down, and of
//! those only on the ones listed. A new edge needs a decision record.

/// One crate.
pub(super) struct Row {
    /// Package.
    pub(super) name: &'static str,
    /// Crates of the workspace it may depend on.
    pub(super) may: &'static [&'static str],
    /// Packages it must not depend on.
    pub(super) forbidden: &'static [&'static str],
    /// Whether it must not reach them through others either.
    pub(super) is_transitive: bool,
}

const FAKES: &[&str] = &[
    "fake-arm",
    "fake-arm-cloud",
    "fake-apiserver",
    "fake-apiserver-components",
    "fake-apiserver-store",
];

/// All crates. Three edges must stay absent: reconcilers to azure (the provider must be replaceable);
/// fakes to the controller or back (a misreading shared by both sides would hide); core to Kubernetes
/// types (strings would be parsed inside decisions).
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    Row {
        name: "acceptance",
        may: &["scenarios", "controller", "fake-arm", "fake-arm-cloud", "fake-apiserver",
            "fake-apiserver-components", "fake-apiserver-store", "controller-api"],
        forbidden: &[],
        is_transitive: false,
    },
    Row {
        name: "scenarios",
        may: &["controller", "controller-webhook", "controller-operator", "controller-azure",
            "controller-cluster", "controller-api", "controller-ports", "controller-core",
            "fake-arm", "fake-arm-cloud", "fake-apiserver", "fake-apiserver-components",
            "fake-apiserver-store"],
        forbidden: &[],
        is_transitive: false,
    },
    Row {
        name: "xtask",
        may: &["controller-api", "controller-operator"],
        forbidden: &["clap", "kube"],
        is_transitive: false,
    },
    Row {
        name: "controller",
        may: &["controller-reconcilers", "controller-webhook", "controller-azure",
            "controller-operator", "controller-cluster", "controller-ports", "controller-api",
            "controller-core"],
        forbidden: FAKES,
        is_transitive: true,
    },
    Row {
        name: "controller-reconcilers",
        may: &["controller-cluster", "controller-operator", "controller-ports", "controller-api",
            "controller-core"],
        forbidden: &["controller-azure", "azure_identity", "azure_core"],
        is_transitive: true,
    },
    Row {
        name: "controller-azure",
        may: &["controller-ports", "controller-api", "controller-core"],
        forbidden: &["kube", "kube-client", "kube-runtime"],
        is_transitive: true,
    },
    Row {
        name: "controller-webhook",
        may: &["controller-api", "controller-core"],
        forbidden: &["kube-client", "tokio"],
        is_transitive: true,
    },
    Row {
        name: "controller-cluster",
        may: &["controller-api", "controller-core"],
        forbidden: &["tokio", "kube-client"],
        is_transitive: true,
    },
    Row {
        name: "fake-arm",
        may: &["fake-arm-cloud"],
        forbidden: &["kube", "kube-client", "kube-core", "k8s-openapi"],
        is_transitive: true,
    },
    Row {
        name: "fake-apiserver",
        may: &["fake-apiserver-components", "fake-apiserver-store"],
        forbidden: &["kube", "kube-client"],
        is_transitive: true,
    },
    Row {
        name: "controller-operator",
        may: &["controller-ports"],
        forbidden: FAKES,
        is_transitive: true,
    },
    Row {
        name: "fake-apiserver-components",
        may: &[],
        forbidden: &["tokio", "axum", "hyper"],
        is_transitive: true,
    },
    Row {
        name: "controller-ports",
        may: &["controller-core"],
        forbidden: &["tokio", "kube", "kube-client"],
        is_transitive: false,
    },
    Row {
        name: "controller-api",
        may: &[],
        forbidden: &["kube", "kube-client", "tokio"],
        is_transitive: true,
    },
    Row {
        name: "controller-core",
        may: &[],
        forbidden: &["tokio", "kube", "kube-core", "kube-client", "k8s-openapi", "serde_json",
            "tracing", "rand", "rand_chacha"],
        is_transitive: true,
    },
    Row {
        name: "fake-arm-cloud",
        may: &[],
        forbidden: &["tokio", "axum", "hyper"],
        is_transitive: true,
    },
    Row {
        name: "fake-apiserver-store",
        may: &[],
        forbidden: &["tokio", "axum", "hyper"],
        is_transitive: true,
    },
];
