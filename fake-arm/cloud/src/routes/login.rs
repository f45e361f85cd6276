//! Entra and instance metadata: what clients ask before they have a token.

use serde_json::{Value, json};

use super::{Call, Reply};
use crate::{
    cloud::Cloud,
    config::Application,
    error::{ArmError, Result},
    exchange::{ArmRequest, Method},
    path::same,
    token,
};

/// A token is made of the request alone: nothing of the cloud changes with it.
pub(super) fn is_sign_in(request: &ArmRequest) -> bool {
    request.method == Method::Post
        && request
            .path
            .to_ascii_lowercase()
            .ends_with("/oauth2/v2.0/token")
}

/// Answers the paths of this module; `None` for all others.
pub(super) fn route(cloud: &Cloud, call: &Call<'_>, path: &[&str]) -> Option<Result<Reply>> {
    match path {
        ["metadata", "endpoints"] => Some(Ok(endpoints(call))),
        ["metadata", "identity", "oauth2", "token"] => Some(managed_identity(cloud, call, true)),
        ["msi", "token"] => Some(managed_identity(cloud, call, false)),
        ["aliases.json"] => Some(Ok(Reply::json(
            200,
            &json!({"outputs": {"aliases": {"type": "object", "value": {}}}}),
        ))),
        ["common", "discovery", "instance"] => Some(Ok(instance_discovery(cloud, call))),
        [tenant, "v2.0", ".well-known", "openid-configuration"] => Some(Ok(oidc(call, tenant))),
        [tenant, "discovery", "v2.0", "keys"] if !same(tenant, "subscriptions") => {
            Some(Ok(Reply::json(200, &json!({"keys": []}))))
        }
        [tenant, "oauth2", "v2.0", "token"] if call.method() == Method::Post => {
            Some(client_credentials(cloud, call, tenant))
        }
        _ => None,
    }
}

/// The cloud's endpoints: one object, or an array of one for the older version.
fn endpoints(call: &Call<'_>) -> Reply {
    let base = &call.request.base;
    let document = json!({
        "name": "FakeAzure",
        "portal": "https://portal.localhost/",
        "authentication": {
            "loginEndpoint": format!("{base}/"),
            "audiences": ["https://management.core.windows.net/", format!("{base}/")],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": format!("{base}/"),
        "microsoftGraphResourceId": format!("{base}/msgraph"),
        "graphAudience": format!("{base}/"),
        "graph": format!("{base}/"),
        "suffixes": {
            "storage": "core.localhost",
            "keyVaultDns": "vault.localhost",
            "sqlServerHostname": "database.localhost",
            "acrLoginServer": "azurecr.localhost",
        },
        "vmImageAliasDoc": format!("{base}/aliases.json"),
        "gallery": base,
        "batch": format!("{base}/batch"),
        "media": base,
        "sqlManagement": base,
        "activeDirectoryDataLake": base,
        "logAnalyticsResourceId": base,
    });
    if call.request.parameter("api-version").as_deref() == Some("2019-05-01") {
        return Reply::json(200, &json!([document]));
    }
    Reply::json(200, &document)
}

fn oidc(call: &Call<'_>, tenant: &str) -> Reply {
    let at = format!("{}/{tenant}", call.request.base);
    Reply::json(
        200,
        &json!({
            "issuer": format!("{at}/v2.0"),
            "authorization_endpoint": format!("{at}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{at}/oauth2/v2.0/token"),
            "device_authorization_endpoint": format!("{at}/oauth2/v2.0/devicecode"),
            "jwks_uri": format!("{at}/discovery/v2.0/keys"),
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": Value::Null,
            "cloud_instance_name": "localhost",
        }),
    )
}

fn instance_discovery(cloud: &Cloud, call: &Call<'_>) -> Reply {
    let base = &call.request.base;
    let host = base.split("://").nth(1).unwrap_or_default();
    Reply::json(
        200,
        &json!({
            "tenant_discovery_endpoint":
                format!("{base}/{}/v2.0/.well-known/openid-configuration", cloud.config.tenant_id),
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }),
    )
}

/// `grant_type=client_credentials`, by secret or by assertion.
fn client_credentials(cloud: &Cloud, call: &Call<'_>, tenant: &str) -> Result<Reply> {
    let form: Vec<(String, String)> = form_urlencoded::parse(&call.request.body)
        .into_owned()
        .collect();
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .unwrap_or_default()
    };
    check_tenant(cloud, tenant)?;
    if field("grant_type") != "client_credentials" {
        return Err(ArmError::entra(
            400,
            "unsupported_grant_type",
            70003,
            &format!(
                "The app requested an unsupported grant type '{}'.",
                field("grant_type")
            ),
        ));
    }
    let application = application(cloud, field("client_id"))?;
    check_secret(
        &application,
        field("client_secret"),
        field("client_assertion"),
    )?;
    let Some(audience) = field("scope")
        .strip_suffix("/.default")
        .filter(|it| !it.is_empty())
    else {
        return Err(ArmError::entra(
            400,
            "invalid_scope",
            70011,
            &format!(
                "The provided value for scope '{}' is not valid.",
                field("scope")
            ),
        ));
    };
    let lifetime = cloud.config.token_lifetime_seconds;
    let token = token::issue(
        &call.request.base,
        &cloud.config.tenant_id,
        &application,
        audience,
        (call.now, lifetime),
    );
    Ok(Reply::json(
        200,
        &json!({
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        }),
    ))
}

/// A configured secret must be the one given; any assertion counts as proof.
fn check_secret(application: &Application, secret: &str, assertion: &str) -> Result<()> {
    if secret.is_empty() && assertion.is_empty() {
        return Err(ArmError::entra(
            401,
            "invalid_client",
            7_000_216,
            "'client_assertion', 'client_secret' or 'request' is required for the \
             'client_credentials' grant type.",
        ));
    }
    let wrong = application
        .client_secret
        .as_deref()
        .is_some_and(|expected| assertion.is_empty() && secret != expected);
    if wrong {
        return Err(ArmError::entra(
            401,
            "invalid_client",
            7_000_215,
            &format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the \
                 client secret value, not the client secret ID, for a secret added to app '{}'.",
                application.client_id
            ),
        ));
    }
    Ok(())
}

/// The tenant by id; domain names and `organizations` stand for the only one.
fn check_tenant(cloud: &Cloud, tenant: &str) -> Result<()> {
    let is_guid = tenant.len() == 36 && tenant.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !is_guid || same(tenant, &cloud.config.tenant_id) {
        return Ok(());
    }
    Err(ArmError::entra(
        400,
        "invalid_request",
        90002,
        &format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."),
    ))
}

fn application(cloud: &Cloud, client_id: &str) -> Result<Application> {
    let known = &cloud.config.applications;
    if let Some(found) = known.iter().find(|it| same(&it.client_id, client_id)) {
        return Ok(found.clone());
    }
    if known.is_empty() && !client_id.is_empty() {
        return Ok(Application {
            client_id: client_id.to_owned(),
            object_id: client_id.to_owned(),
            client_secret: None,
        });
    }
    Err(ArmError::entra(
        400,
        "unauthorized_client",
        700_016,
        &format!(
            "Application with identifier '{client_id}' was not found in the directory '{}'.",
            cloud.config.tenant_id
        ),
    ))
}

/// A token for the machine's identity, as IMDS or as App Service answers.
fn managed_identity(cloud: &Cloud, call: &Call<'_>, imds: bool) -> Result<Reply> {
    let header = if imds {
        "metadata"
    } else {
        "x-identity-header"
    };
    if call.request.header_value(header).is_none() {
        return Ok(Reply::json(
            400,
            &json!({
                "error": "invalid_request",
                "error_description": "Required metadata header not specified",
            }),
        ));
    }
    let audience = call.request.parameter("resource").unwrap_or_default();
    let identity = match call.request.parameter("client_id") {
        Some(client) => application(cloud, &client)?,
        None => cloud
            .config
            .applications
            .first()
            .cloned()
            .unwrap_or_else(|| {
                Application::defaults()
                    .into_iter()
                    .next()
                    .expect("there are defaults")
            }),
    };
    let lifetime = cloud.config.token_lifetime_seconds;
    let token = token::issue(
        &call.request.base,
        &cloud.config.tenant_id,
        &identity,
        &audience,
        (call.now, lifetime),
    );
    let expires = call.now.as_second() + i64::from(lifetime);
    let mut body = json!({
        "access_token": token,
        "client_id": identity.client_id,
        "expires_on": expires.to_string(),
        "not_before": call.now.as_second().to_string(),
        "resource": audience,
        "token_type": "Bearer",
    });
    if imds {
        body["expires_in"] = json!(lifetime.to_string());
        body["ext_expires_in"] = json!(lifetime.to_string());
    }
    Ok(Reply::json(200, &body))
}
