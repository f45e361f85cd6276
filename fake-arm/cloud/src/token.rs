//! Access tokens: JSON Web Tokens that only this emulator verifies.
//!
//! The signature depends on the tenant alone, not on the seed, so that a client that cached a
//! token may go on using it after a restart, until it expires.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{config::Application, error::ArmError};

/// A token for `audience`.
pub(crate) fn issue(
    base: &str,
    tenant: &str,
    who: &Application,
    audience: &str,
    valid: (Timestamp, u32),
) -> String {
    let (now, lifetime) = valid;
    let issued = now.as_second();
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "fake-arm"});
    let claims = json!({
        "aud": audience,
        "iss": format!("{base}/{tenant}/"),
        "iat": issued,
        "nbf": issued,
        "exp": issued + i64::from(lifetime),
        "appid": who.client_id,
        "appidacr": "1",
        "idp": format!("{base}/{tenant}/"),
        "idtyp": "app",
        "oid": who.object_id,
        "sub": who.object_id,
        "tid": tenant,
        "ver": "1.0",
    });
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = sign(tenant, &signed);
    format!("{signed}.{signature}")
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn sign(tenant: &str, signed: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"fake-arm token key ");
    hash.update(tenant.as_bytes());
    hash.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Checks an `Authorization` header; the error is ARM's answer.
pub(crate) fn check(
    base: &str,
    tenant: &str,
    header: Option<&str>,
    now: Timestamp,
) -> Result<(), ArmError> {
    let Some(header) = header else {
        return Err(refuse(
            base,
            tenant,
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing.",
        ));
    };
    let Some((scheme, token)) = header.split_once(' ') else {
        return Err(refuse(
            base,
            tenant,
            "AuthenticationFailedInvalidHeader",
            "Authentication failed. The 'Authorization' header is provided in an invalid format.",
        ));
    };
    let invalid = || {
        refuse(
            base,
            tenant,
            "InvalidAuthenticationToken",
            "The access token is invalid.",
        )
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    let expires = expiry(tenant, token.trim()).ok_or_else(invalid)?;
    if expires <= now {
        return Err(refuse(
            base,
            tenant,
            "ExpiredAuthenticationToken",
            &format!(
                "The access token expiry UTC time '{expires}' is earlier than current UTC time '{now}'."
            ),
        ));
    }
    Ok(())
}

/// The expiry of a token that we signed.
fn expiry(tenant: &str, token: &str) -> Option<Timestamp> {
    let (signed, signature) = token.rsplit_once('.')?;
    if signature != sign(tenant, signed) {
        return None;
    }
    let (_, claims) = signed.split_once('.')?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

fn refuse(base: &str, tenant: &str, code: &str, message: &str) -> ArmError {
    ArmError::new(401, code, message).header(
        "www-authenticate",
        format!(
            "Bearer authorization_uri=\"{base}/{tenant}\", error=\"invalid_token\", \
             error_description=\"{message}\""
        ),
    )
}
