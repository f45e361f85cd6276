//! Access tokens: client credentials, federated assertions, managed identity.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use controller_ports::{Body, Clock, Transport, empty_body, full_body};
use http::{Method, Request};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::client::{Answer, attempt};
use super::error::{ArmError, ServiceError};
use crate::options::{Credential, Endpoints};

/// A token is renewed this long before it ends, so that no request carries one that ends on the
/// way; Azure's own libraries use five minutes.
const RENEW_BEFORE: Duration = Duration::from_mins(5);
/// Even long-lived tokens are renewed this often (`Azure/karpenter-provider-azure` `pkg/auth`).
const LIFE_MAX: Duration = Duration::from_hours(2);

#[derive(Clone)]
struct Token {
    bearer: String,
    /// On the monotonic clock.
    renew_at: Duration,
}

/// The token in force; one exchange at a time.
pub(crate) struct Tokens {
    credential: Credential,
    authority: String,
    audience: String,
    current: Mutex<Option<Token>>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// A number from Entra, a string from managed identity.
    #[serde(default)]
    expires_in: serde_json::Value,
    /// Unix time as text; App Service gives only this.
    #[serde(default)]
    expires_on: serde_json::Value,
}

impl Tokens {
    pub(crate) fn new(credential: Credential, endpoints: &Endpoints) -> Self {
        Self {
            credential,
            authority: endpoints.active_directory.clone(),
            audience: endpoints.token_audience.clone(),
            current: Mutex::new(None),
        }
    }

    /// The value of `Authorization`.
    pub(crate) async fn bearer(
        &self,
        transport: &Transport,
        clock: &Arc<dyn Clock>,
    ) -> Result<String, ArmError> {
        // Held across the exchange: all who need a token wait for one exchange.
        let mut current = self.current.lock().await;
        if let Some(token) = &*current
            && clock.monotonic() < token.renew_at
        {
            return Ok(token.bearer.clone());
        }
        let token = self.exchange(transport, clock).await?;
        let bearer = token.bearer.clone();
        *current = Some(token);
        Ok(bearer)
    }

    /// Forgets a token that was refused, unless it has been replaced since.
    pub(crate) async fn refused(&self, bearer: &str) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|token| token.bearer == bearer) {
            *current = None;
        }
    }

    async fn exchange(
        &self,
        transport: &Transport,
        clock: &Arc<dyn Clock>,
    ) -> Result<Token, ArmError> {
        let (request, body) = self.request()?;
        let answer = attempt(transport, clock, request.build(body)?).await?;
        if !answer.status.is_success() {
            return Err(refusal(&answer));
        }
        let granted: Granted = serde_json::from_slice(&answer.body)
            .map_err(|source| ArmError::unreadable(&request.url, source))?;
        let life = life(&granted, &**clock).min(LIFE_MAX);
        Ok(Token {
            bearer: format!("Bearer {}", granted.access_token),
            // A token shorter than the margin is used for half its life.
            renew_at: clock.monotonic() + life.saturating_sub(RENEW_BEFORE).max(life / 2),
        })
    }

    fn request(&self) -> Result<(TokenRequest, Option<Bytes>), ArmError> {
        match &self.credential {
            Credential::ClientSecret {
                tenant_id,
                client_id,
                client_secret,
            } => Ok(self.grant(tenant_id, client_id, &[("client_secret", client_secret)])),
            Credential::WorkloadIdentity {
                tenant_id,
                client_id,
                token_file,
            } => {
                let assertion = std::fs::read_to_string(token_file).map_err(|error| {
                    let path = token_file.display();
                    ArmError::Credential {
                        message: format!("cannot read {path}: {error}"),
                    }
                })?;
                Ok(self.grant(
                    tenant_id,
                    client_id,
                    &[
                        ("client_assertion", assertion.trim()),
                        (
                            "client_assertion_type",
                            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                        ),
                    ],
                ))
            }
            Credential::ManagedIdentity {
                client_id,
                endpoint,
            } => {
                let url = format!("{endpoint}/metadata/identity/oauth2/token");
                Ok((
                    self.identity(
                        &url,
                        "2018-02-01",
                        client_id.as_deref(),
                        ("Metadata", "true"),
                    ),
                    None,
                ))
            }
            Credential::IdentityEndpoint {
                client_id,
                endpoint,
                header,
            } => Ok((
                self.identity(
                    endpoint,
                    "2019-08-01",
                    client_id.as_deref(),
                    ("X-IDENTITY-HEADER", header),
                ),
                None,
            )),
        }
    }

    fn grant(
        &self,
        tenant: &str,
        client: &str,
        proof: &[(&str, &str)],
    ) -> (TokenRequest, Option<Bytes>) {
        let scope = format!("{}/.default", self.audience);
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", client)
            .append_pair("scope", &scope)
            .extend_pairs(proof)
            .finish();
        let request = TokenRequest {
            method: Method::POST,
            url: format!("{}/{tenant}/oauth2/v2.0/token", self.authority),
            header: (
                "Content-Type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
        };
        (request, Some(Bytes::from(body)))
    }

    fn identity(
        &self,
        url: &str,
        version: &str,
        client: Option<&str>,
        (name, value): (&'static str, &str),
    ) -> TokenRequest {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("api-version", version)
            .append_pair("resource", &self.audience);
        if let Some(client) = client {
            query.append_pair("client_id", client);
        }
        TokenRequest {
            method: Method::GET,
            url: format!("{url}?{}", query.finish()),
            header: (name, value.to_owned()),
        }
    }
}

/// One request for a token.
pub(crate) struct TokenRequest {
    method: Method,
    pub(crate) url: String,
    header: (&'static str, String),
}

impl TokenRequest {
    pub(crate) fn build(&self, body: Option<Bytes>) -> Result<Request<Body>, ArmError> {
        Request::builder()
            .method(self.method.clone())
            .uri(&self.url)
            .header(self.header.0, &self.header.1)
            .header("Accept", "application/json")
            .body(body.map_or_else(empty_body, full_body))
            .map_err(|source| ArmError::unreadable(&self.url, source))
    }
}

fn refusal(answer: &Answer) -> ArmError {
    let error = ServiceError::from_response(answer.status.as_u16(), &answer.headers, &answer.body);
    if error.is_retriable() {
        return ArmError::Service(error);
    }
    ArmError::Credential {
        message: error.to_string(),
    }
}

fn life(granted: &Granted, clock: &dyn Clock) -> Duration {
    let number = |value: &serde_json::Value| -> Option<i64> {
        value
            .as_i64()
            .or_else(|| value.as_str()?.trim().parse().ok())
    };
    let seconds = number(&granted.expires_in)
        .or_else(|| Some(number(&granted.expires_on)? - clock.now().as_second()))
        // An answer without a life time is not documented; an hour is Entra's usual minimum.
        .unwrap_or(3600);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
