//! A small client for any kind, used by whoever plays the administrator: setup and timelines.

use std::collections::BTreeMap;

use controller_ports::{Transport, empty_body, full_body};
use http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// `metav1.Status.reason`.
        reason: String,
        /// `metav1.Status.message`.
        message: String,
        /// `details.causes[0].field`.
        field: Option<String>,
    },
    /// The server does not know the kind.
    #[error("the server does not know the kind {kind} of {api_version}")]
    UnknownKind {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// No answer.
    #[error("no answer from the API server: {0}")]
    Transport(String),
}

impl ClientError {
    fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::UnknownKind { .. } => 404,
            Self::Transport(_) => 0,
        }
    }
}

/// An API client without types.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    bearer: HeaderValue,
    /// `(plural, namespaced)` by apiVersion and kind.
    kinds: BTreeMap<(String, String), (String, bool)>,
}

impl Client {
    /// A client that signs with this token.
    pub fn new(transport: Transport, token: &str) -> Self {
        let bearer =
            HeaderValue::from_str(&format!("Bearer {token}")).expect("tokens are printable");
        Self {
            transport,
            bearer,
            kinds: BTreeMap::new(),
        }
    }

    /// Creates an object or, when it exists, merges it into what is there.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn apply(&mut self, object: &Value) -> Result<Value, ClientError> {
        let (collection, name) = self.collection(object).await?;
        match self
            .send(Method::POST, &collection, "application/json", Some(object))
            .await
        {
            Err(error) if error.code() == 409 && !name.is_empty() => {
                let path = format!("{collection}/{name}");
                self.send(
                    Method::PATCH,
                    &path,
                    "application/merge-patch+json",
                    Some(object),
                )
                .await
            }
            other => other,
        }
    }

    /// Merge-patches an object or one of its subresources.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn merge(
        &mut self,
        target: &Value,
        subresource: &str,
        patch: &Value,
    ) -> Result<Value, ClientError> {
        let (collection, name) = self.collection(target).await?;
        let slash = if subresource.is_empty() { "" } else { "/" };
        let path = format!("{collection}/{name}{slash}{subresource}");
        self.send(
            Method::PATCH,
            &path,
            "application/merge-patch+json",
            Some(patch),
        )
        .await
    }

    /// Deletes an object.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn delete(&mut self, target: &Value) -> Result<Value, ClientError> {
        let (collection, name) = self.collection(target).await?;
        let path = format!("{collection}/{name}");
        self.send(Method::DELETE, &path, "application/json", Some(&json!({})))
            .await
    }

    /// Evicts a pod.
    ///
    /// # Errors
    ///
    /// What the server said, for example that a disruption budget does not allow it.
    pub async fn evict(&mut self, namespace: &str, name: &str) -> Result<Value, ClientError> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        });
        self.send(Method::POST, &path, "application/json", Some(&eviction))
            .await
    }

    /// Path of the collection an object belongs to, and its name.
    async fn collection(&mut self, object: &Value) -> Result<(String, String), ClientError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let name = text(&object["metadata"]["name"]);
        let root = if api_version.contains('/') {
            format!("/apis/{api_version}")
        } else {
            format!("/api/{api_version}")
        };
        let key = (api_version.clone(), kind.clone());
        if !self.kinds.contains_key(&key) {
            self.discover(&root, &api_version).await?;
        }
        let (plural, namespaced) = self
            .kinds
            .get(&key)
            .ok_or(ClientError::UnknownKind { api_version, kind })?;
        let collection = if *namespaced {
            let namespace = object["metadata"]["namespace"]
                .as_str()
                .unwrap_or("default");
            format!("{root}/namespaces/{namespace}/{plural}")
        } else {
            format!("{root}/{plural}")
        };
        Ok((collection, name))
    }

    async fn discover(&mut self, root: &str, api_version: &str) -> Result<(), ClientError> {
        let list = match self.send(Method::GET, root, "application/json", None).await {
            Ok(list) => list,
            Err(error) if error.code() == 404 => return Ok(()),
            Err(error) => return Err(error),
        };
        for resource in list["resources"].as_array().into_iter().flatten() {
            let plural = resource["name"].as_str().unwrap_or_default();
            // Subresources are listed beside their resources.
            if plural.contains('/') {
                continue;
            }
            let kind = resource["kind"].as_str().unwrap_or_default();
            let namespaced = resource["namespaced"].as_bool().unwrap_or_default();
            let key = (api_version.to_owned(), kind.to_owned());
            self.kinds.insert(key, (plural.to_owned(), namespaced));
        }
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let body = body.map_or_else(empty_body, |body| full_body(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "kubernetes")
            .header(header::AUTHORIZATION, self.bearer.clone())
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, "application/json")
            .body(body)
            .map_err(|error| ClientError::Transport(error.to_string()))?;
        let failed = |error: controller_ports::BoxError| ClientError::Transport(error.to_string());
        let answer = self.transport.send(request).await.map_err(failed)?;
        let status = answer.status();
        let bytes = answer
            .into_body()
            .collect()
            .await
            .map_err(failed)?
            .to_bytes();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Err(ClientError::Refused {
            code: status.as_u16(),
            reason: text(&value["reason"]),
            message: text(&value["message"]),
            field: value["details"]["causes"][0]["field"]
                .as_str()
                .map(str::to_owned),
        })
    }
}
