//! Requests and answers.

use std::hash::Hasher as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use controller_ports::{Body, BoxError, Clock, Entropy, Transport, empty_body, full_body, timeout};
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ArmError, ServiceError};
use super::lock;
use super::operation::{Operation, Progress};
use super::pace::{ATTEMPTS_MAX, Bucket, Pace, WAIT_MAX, backoff};
use super::token::Tokens;
use crate::options::{Credential, Endpoints};

/// api-versions, as `Azure/karpenter-provider-azure` sends them.
pub(crate) mod versions {
    pub(crate) const COMPUTE: &str = "2025-04-01";
    pub(crate) const DISKS: &str = "2024-03-02";
    pub(crate) const SKUS: &str = "2021-07-01";
    pub(crate) const GALLERIES: &str = "2025-03-03";
    pub(crate) const NETWORK: &str = "2022-01-01";
    pub(crate) const PRICES: &str = "2023-01-01-preview";
}

/// One try may take this long; ARM answers or fails within its own 60 s gateway limit.
const TRY_MAX: Duration = Duration::from_secs(65);
/// The SKU list of all regions has some tens of MB; nothing else comes near.
const BODY_MAX: usize = 128 << 20;
/// At some 100 objects a page, more than a subscription can hold.
const PAGES_MAX: usize = 1_000;
/// Compute ends every operation on a machine well within this.
const OPERATION_MAX: Duration = Duration::from_mins(30);
/// Consecutive polls that fail before the operation is given up: with the retries inside each
/// poll this outlasts an outage of some minutes.
const POLL_FAILURES_MAX: u32 = 5;

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The client; one per process.
pub(crate) struct Arm {
    transport: Transport,
    clock: Arc<dyn Clock>,
    base: String,
    tokens: Tokens,
    random: Mutex<ChaCha8Rng>,
    pace: Mutex<Pace>,
}

/// One request to ARM; built anew for every try.
struct ArmRequest<'a> {
    method: Method,
    url: &'a str,
    bearer: Option<&'a str>,
    request_id: &'a str,
}

impl ArmRequest<'_> {
    fn build(&self, body: Option<Bytes>) -> Result<Request<Body>, ArmError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.url)
            .header("Accept", "application/json")
            .header(
                "User-Agent",
                concat!("karpenter-aks/v", env!("CARGO_PKG_VERSION")),
            )
            .header("x-ms-client-request-id", self.request_id);
        if let Some(bearer) = self.bearer {
            request = request.header("Authorization", bearer);
        }
        let request = match body {
            None => request.body(empty_body()),
            Some(body) => request
                .header("Content-Type", "application/json")
                .body(full_body(body)),
        };
        request.map_err(|source| ArmError::unreadable(self.url, source))
    }
}

/// One try, bounded in time and size.
pub(crate) fn attempt(
    transport: &Transport,
    clock: &Arc<dyn Clock>,
    request: Request<Body>,
) -> BoxFuture<'static, Result<Answer, ArmError>> {
    let (transport, clock) = (transport.clone(), Arc::clone(clock));
    // Boxed and owning all it needs: its type would otherwise not be provably `Send` further up.
    Box::pin(async move {
        let target = request.uri().to_string();
        let work: BoxFuture<'static, Result<Answer, BoxError>> = Box::pin(async move {
            let (head, mut body) = transport.send(request).await?.into_parts();
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else {
                    continue;
                };
                if bytes.len() + data.len() > BODY_MAX {
                    return Err(format!("the answer is larger than {BODY_MAX} bytes").into());
                }
                bytes.extend_from_slice(&data);
            }
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: bytes.freeze(),
            })
        });
        match timeout(&*clock, TRY_MAX, work).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(ArmError::Transport { target, source }),
            Err(elapsed) => Err(ArmError::Transport {
                target,
                source: Box::new(elapsed),
            }),
        }
    })
}

/// A page of a collection.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    value: Vec<T>,
    #[serde(default)]
    next_link: Option<String>,
}

impl<T> Page<T> {
    fn next(&self) -> Option<&str> {
        self.next_link.as_deref().filter(|link| !link.is_empty())
    }
}

/// Length and hash of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(usize, u64);

impl Fingerprint {
    fn of(body: &[u8]) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(body);
        Self(body.len(), hasher.finish())
    }
}

impl Arm {
    pub(crate) fn new(
        transport: Transport,
        clock: Arc<dyn Clock>,
        entropy: &Entropy,
        endpoints: &Endpoints,
        credential: Credential,
    ) -> Self {
        Self {
            transport,
            clock,
            base: endpoints.resource_manager.clone(),
            tokens: Tokens::new(credential, endpoints),
            random: Mutex::new(entropy.stream("arm")),
            pace: Mutex::default(),
        }
    }

    /// The absolute URL of a path, with its version and further query parameters.
    pub(crate) fn url(&self, path: &str, version: &str, query: &[(&str, &str)]) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("api-version", version)
            .extend_pairs(query)
            .finish();
        format!("{}{path}?{query}", self.base)
    }

    /// Reads one resource.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, ArmError> {
        let answer = self.send(Method::GET, url, None).await?;
        serde_json::from_slice(&answer.body).map_err(|source| ArmError::unreadable(url, source))
    }

    /// Reads a collection, all pages of it.
    pub(crate) async fn list<T: DeserializeOwned>(&self, url: &str) -> Result<Vec<T>, ArmError> {
        let first = self.get(url).await?;
        self.rest(url, first).await
    }

    /// Reads a collection; `None` when it is what `seen` says it was. Long lists that hardly ever
    /// change are then not decoded. A list of several pages counts as another one each time.
    pub(crate) async fn list_unless_same<T: DeserializeOwned>(
        &self,
        url: &str,
        seen: &mut Option<Fingerprint>,
    ) -> Result<Option<Vec<T>>, ArmError> {
        let answer = self.send(Method::GET, url, None).await?;
        let fingerprint = Fingerprint::of(&answer.body);
        if *seen == Some(fingerprint) {
            return Ok(None);
        }
        *seen = None;
        let first: Page<T> = serde_json::from_slice(&answer.body)
            .map_err(|source| ArmError::unreadable(url, source))?;
        let is_whole = first.next().is_none();
        let items = self.rest(url, first).await?;
        *seen = is_whole.then_some(fingerprint);
        Ok(Some(items))
    }

    async fn rest<T: DeserializeOwned>(
        &self,
        url: &str,
        mut page: Page<T>,
    ) -> Result<Vec<T>, ArmError> {
        let mut items = Vec::new();
        for _ in 1..PAGES_MAX {
            let next = page.next().map(str::to_owned);
            items.append(&mut page.value);
            match next {
                None => return Ok(items),
                Some(link) => page = self.get(&self.own(link)?).await?,
            }
        }
        Err(ArmError::unreadable(
            url,
            format!("more than {PAGES_MAX} pages"),
        ))
    }

    /// Changes a resource; gives the answer and the operation it started, if any.
    pub(crate) async fn write(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<(Value, Option<Operation>), ArmError> {
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        let answer = self.send(method.clone(), url, bytes).await?;
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let operation = Operation::started(&method, url, answer.status, &answer.headers, &json);
        Ok((json, operation))
    }

    /// [`Arm::write`], then follows the operation to its end.
    pub(crate) async fn write_and_wait(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<(), ArmError> {
        match self.write(method, url, body).await? {
            (_, Some(operation)) => self.follow(operation).await,
            (_, None) => Ok(()),
        }
    }

    /// Deletes a resource and waits until it is gone; one that was gone already is fine.
    pub(crate) async fn delete_and_wait(&self, url: &str) -> Result<(), ArmError> {
        match self.write_and_wait(Method::DELETE, url, None).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }

    /// Polls an operation to its end.
    pub(crate) async fn follow(&self, mut operation: Operation) -> Result<(), ArmError> {
        let deadline = self.clock.monotonic() + OPERATION_MAX;
        let mut failures = 0;
        loop {
            self.clock.sleep(operation.interval()).await;
            let url = self.own(operation.url().to_owned())?;
            match self.send(Method::GET, &url, None).await {
                Ok(answer) => {
                    failures = 0;
                    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
                    match operation.observe(answer.status, &answer.headers, &body) {
                        Progress::Running => {}
                        Progress::Succeeded => return Ok(()),
                        Progress::Failed(error) => return Err(ArmError::Service(error)),
                    }
                }
                Err(error) if error.is_transient() && failures < POLL_FAILURES_MAX => failures += 1,
                Err(error) => return Err(error),
            }
            if self.clock.monotonic() >= deadline {
                let source = format!("the operation did not end within {OPERATION_MAX:?}");
                return Err(ArmError::Transport {
                    target: url,
                    source: source.into(),
                });
            }
        }
    }

    /// Reads a document that needs no token, from anywhere.
    pub(crate) async fn get_public<T: DeserializeOwned>(&self, url: &str) -> Result<T, ArmError> {
        let answer = self.tries(Method::GET, url, None, false).await?;
        serde_json::from_slice(&answer.body).map_err(|source| ArmError::unreadable(url, source))
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, ArmError> {
        self.tries(method, url, body, true).await
    }

    /// Tries until there is a final answer, at most [`ATTEMPTS_MAX`] times. All requests are
    /// idempotent: resources are named by us.
    async fn tries(
        &self,
        method: Method,
        url: &str,
        body: Option<Bytes>,
        signed: bool,
    ) -> Result<Answer, ArmError> {
        let bucket = Bucket::of(&method, url.split('?').next().unwrap_or(url));
        let request_id = self.request_id();
        let mut was_refreshed = false;
        let mut number = 0;
        loop {
            self.wait_for(&bucket).await?;
            let bearer = if signed {
                Some(self.tokens.bearer(&self.transport, &self.clock).await)
            } else {
                None
            };
            let result = match bearer.transpose() {
                Err(error) => Err(error),
                Ok(bearer) => {
                    let request = ArmRequest {
                        method: method.clone(),
                        url,
                        bearer: bearer.as_deref(),
                        request_id: &request_id,
                    };
                    let sent = match request.build(body.clone()) {
                        Ok(request) => attempt(&self.transport, &self.clock, request).await,
                        Err(error) => Err(error),
                    };
                    let refused = matches!(&sent, Ok(a) if a.status == StatusCode::UNAUTHORIZED);
                    // A token may be revoked before its time: one fresh one is tried.
                    if let (true, false, Some(bearer)) = (refused, was_refreshed, &bearer) {
                        was_refreshed = true;
                        self.tokens.refused(bearer).await;
                        continue;
                    }
                    sent.and_then(accepted)
                }
            };
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.learn(&bucket, &error);
            number += 1;
            let wait = self.wait_before_retry(&error, number);
            match wait {
                Some(wait) => self.clock.sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    fn learn(&self, bucket: &Bucket, error: &ArmError) {
        if let Some(error) = error.service().filter(|error| error.is_throttled()) {
            lock(&self.pace).throttled(bucket.clone(), error, self.clock.monotonic());
        }
    }

    /// `None`: give up.
    fn wait_before_retry(&self, error: &ArmError, number: u32) -> Option<Duration> {
        if number >= ATTEMPTS_MAX || !error.is_transient() {
            return None;
        }
        match error.service().and_then(|error| error.retry_after) {
            Some(wait) if wait > WAIT_MAX => None,
            Some(wait) => Some(wait),
            None => Some(backoff(number - 1, &mut lock(&self.random))),
        }
    }

    /// Waits while a bucket is closed, unless that would take too long.
    async fn wait_for(&self, bucket: &Bucket) -> Result<(), ArmError> {
        let wait = lock(&self.pace).wait(bucket, self.clock.monotonic());
        if wait > WAIT_MAX {
            return Err(ArmError::Service(ServiceError {
                status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
                code: "TooManyRequests".to_owned(),
                message: "not sent: the server has asked to wait".to_owned(),
                body: String::new(),
                retry_after: Some(wait),
            }));
        }
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        Ok(())
    }

    fn request_id(&self) -> String {
        let mut bytes = [0; 16];
        lock(&self.random).fill_bytes(&mut bytes);
        // The form of a version 4 UUID.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let number = u128::from_be_bytes(bytes);
        let part = |shift: u32, bits: u32| (number >> shift) & ((1 << bits) - 1);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 32),
            part(80, 16),
            part(64, 16),
            part(48, 16),
            part(0, 48)
        )
    }

    /// A link that the server gave, if it leads back to Azure Resource Manager: our token goes
    /// nowhere else.
    fn own(&self, link: String) -> Result<String, ArmError> {
        let host = |url: &str| {
            url.parse::<http::Uri>()
                .ok()
                .and_then(|uri| uri.host().map(str::to_lowercase))
        };
        let (ours, theirs) = (host(&self.base), host(&link));
        let is_own = match (&ours, &theirs) {
            // Regional front ends are hosts below the global one.
            (Some(ours), Some(theirs)) => theirs == ours || theirs.ends_with(&format!(".{ours}")),
            _ => false,
        };
        if is_own {
            return Ok(link);
        }
        Err(ArmError::unreadable(
            &link,
            "the link leads to another host",
        ))
    }
}

fn accepted(answer: Answer) -> Result<Answer, ArmError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let status = answer.status.as_u16();
    Err(ArmError::Service(ServiceError::from_response(
        status,
        &answer.headers,
        &answer.body,
    )))
}
