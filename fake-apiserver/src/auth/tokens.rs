//! Bearer tokens: static ones, service accounts' and bootstrap tokens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fake_apiserver_components::api::Identity;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::meta;
use crate::options::{StaticToken, User};

/// Issuer of service account tokens.
const ISSUER: &str = "https://kubernetes.default.svc";

/// Static tokens and the key that signs service account tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    table: BTreeMap<String, User>,
    key: [u8; 32],
}

/// What a service account token says, once its signature holds.
#[derive(Debug)]
pub(crate) struct Claims {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A token to be issued.
#[derive(Debug)]
pub(crate) struct Grant<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub id: &'a str,
    pub audiences: &'a [String],
    pub issued: Timestamp,
    pub expires: Timestamp,
}

impl Tokens {
    pub(crate) fn new(tokens: &[StaticToken], key: [u8; 32]) -> Self {
        let table = tokens
            .iter()
            .map(|token| (token.token.clone(), User::authenticated(&token.identity)))
            .collect();
        Self { table, key }
    }

    pub(crate) fn insert(&mut self, token: &StaticToken) {
        self.table
            .insert(token.token.clone(), User::authenticated(&token.identity));
    }

    pub(crate) fn static_user(&self, token: &str) -> Option<&User> {
        self.table.get(token)
    }

    /// A JWT (HS256) in the form of a projected service account token.
    pub(crate) fn issue(&self, grant: &Grant<'_>) -> String {
        let audiences = if grant.audiences.is_empty() {
            vec![ISSUER.to_owned()]
        } else {
            grant.audiences.to_vec()
        };
        let claims = json!({
            "aud": audiences,
            "exp": grant.expires.as_second(),
            "iat": grant.issued.as_second(),
            "iss": ISSUER,
            "jti": grant.id,
            "kubernetes.io": {
                "namespace": grant.namespace,
                "serviceaccount": {"name": grant.name, "uid": grant.uid},
            },
            "nbf": grant.issued.as_second(),
            "sub": format!("system:serviceaccount:{}:{}", grant.namespace, grant.name),
        });
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let body = format!("{}.{}", encode(&header), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac(&self.key, body.as_bytes()));
        format!("{body}.{signature}")
    }

    /// The claims of a token this server issued and that has not expired.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let (body, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if signature != hmac(&self.key, body.as_bytes()) {
            return None;
        }
        let (_, claims) = body.split_once('.')?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        if claims["exp"].as_i64()? <= now.as_second() {
            return None;
        }
        let account = &claims["kubernetes.io"];
        Some(Claims {
            namespace: account["namespace"].as_str()?.to_owned(),
            name: account["serviceaccount"]["name"].as_str()?.to_owned(),
            uid: account["serviceaccount"]["uid"].as_str()?.to_owned(),
        })
    }
}

/// The user of a service account.
pub(crate) fn service_account(claims: &Claims) -> User {
    let all = "system:serviceaccounts";
    let own = format!("{all}:{}", claims.namespace);
    let name = format!("system:serviceaccount:{}:{}", claims.namespace, claims.name);
    let mut user = User::authenticated(&Identity::new(&name, &[all, &own]));
    user.uid.clone_from(&claims.uid);
    user
}

/// The user of a bootstrap token, given the Secret `bootstrap-token-<id>` of kube-system
/// (`kubernetes/kubernetes plugin/pkg/auth/authenticator/token/bootstrap`).
pub(crate) fn bootstrap_user(
    secret: &Value,
    id: &str,
    token_secret: &str,
    now: Timestamp,
) -> Option<User> {
    let field = |name: &str| {
        let bytes = STANDARD.decode(secret["data"][name].as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    };
    if secret["type"] != "bootstrap.kubernetes.io/token"
        || meta::is_deleting(secret)
        || field("token-id").as_deref() != Some(id)
        || field("token-secret").as_deref() != Some(token_secret)
        || field("usage-bootstrap-authentication").as_deref() != Some("true")
    {
        return None;
    }
    if let Some(expiration) = field("expiration")
        && meta::parse_time(&expiration).is_none_or(|expiration| expiration <= now)
    {
        return None;
    }
    let extra = field("auth-extra-groups").unwrap_or_default();
    let mut groups: Vec<&str> = extra.split(',').filter(|group| !group.is_empty()).collect();
    groups.insert(0, "system:bootstrappers");
    let mut name = String::from("system:bootstrap:");
    write!(name, "{id}").expect("writing to a String cannot fail");
    Some(User::authenticated(&Identity {
        user: name.into(),
        groups: groups.into_iter().map(Arc::from).collect(),
    }))
}

/// HMAC-SHA-256 (RFC 2104) with a 32-byte key.
fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        for (slot, key) in block.iter_mut().zip(key) {
            *slot ^= key;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_the_rfc() {
        // RFC 4231, test case 1, key padded with zeros as the algorithm does
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let mut hex = String::new();
        for byte in hmac(&key, b"Hi There") {
            write!(hex, "{byte:02x}").unwrap();
        }
        assert_eq!(
            hex,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_touched() {
        let tokens = Tokens::new(&[], [1; 32]);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let expires = now + jiff::SignedDuration::from_hours(1);
        let grant = Grant {
            namespace: "ns",
            name: "sa",
            uid: "u",
            id: "j",
            audiences: &[],
            issued: now,
            expires,
        };
        let token = tokens.issue(&grant);
        assert_eq!(tokens.verify(&token, now).unwrap().name, "sa");
        assert!(tokens.verify(&token, expires).is_none());
        assert!(tokens.verify(&format!("{token}x"), now).is_none());
        assert!(Tokens::new(&[], [2; 32]).verify(&token, now).is_none());
    }
}
