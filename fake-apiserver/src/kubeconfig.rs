//! Text of kubeconfig files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::auth::ca::KeyedCertificate;

/// How a kubeconfig's user proves who they are.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A bearer token.
    Token(String),
    /// A client certificate.
    Certificate(KeyedCertificate),
}

/// A kubeconfig (JSON, which is YAML) for one cluster and one user.
///
/// `server` is a URL such as `https://127.0.0.1:6443`; `ca_pem` is `None` for plain HTTP.
pub fn kubeconfig(cluster: &str, server: &str, ca_pem: Option<&str>, user: &Credentials) -> String {
    let mut target = json!({"server": server});
    if let Some(ca) = ca_pem {
        target["certificate-authority-data"] = STANDARD.encode(ca).into();
    }
    let user = match user {
        Credentials::Token(token) => json!({"token": token}),
        Credentials::Certificate(pair) => json!({
            "client-certificate-data": STANDARD.encode(&pair.certificate_pem),
            "client-key-data": STANDARD.encode(&pair.key_pem),
        }),
    };
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": cluster,
        "clusters": [{"name": cluster, "cluster": target}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "users": [{"name": cluster, "user": user}],
    });
    let mut text = serde_json::to_string_pretty(&config).expect("a tree of strings serializes");
    text.push('\n');
    text
}
