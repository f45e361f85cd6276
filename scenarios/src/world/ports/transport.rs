//! What stands between one process and a server: trace, fence, faults, latency.
//!
//! Order inside a call (`request →`): trace, fence, latency, crash before, **faults and server**,
//! crash after, latency, fence, trace. What a dead incarnation sends stays unanswered for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use controller_ports::{Body, BoxError, Entropy, HttpService, Transport, full_body};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use rand_core::Rng;
use tower::ServiceExt;

use crate::invariants::Act;
use crate::trace::{Entry, Trace, body_hash};
use crate::world::ports::{Finding, Findings, Incarnation, Moment, SimClock, WriteGate};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The API server.
    Kube,
    /// Azure Resource Manager and its identity endpoints.
    Arm,
}

impl Target {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kube => "kube",
            Self::Arm => "arm",
        }
    }

    /// One way, in milliseconds: least, and how many more at most. An API server is in the same
    /// region; ARM takes longer.
    fn latency(self) -> (u64, u64) {
        match self {
            Self::Kube => (1, 3),
            Self::Arm => (5, 25),
        }
    }
}

/// A server's router as a transport: no sockets, no threads, no time.
#[derive(Clone, Debug)]
pub struct Wire(axum::Router);

impl Wire {
    /// Calls go to this router.
    pub fn new(router: axum::Router) -> Self {
        Self(router)
    }

    /// As a transport without an identity.
    pub fn transport(self) -> Transport {
        Transport::new(self)
    }
}

impl HttpService for Wire {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
        let router = self.0.clone();
        Box::pin(async move {
            let answer = router.oneshot(request.map(axum::body::Body::new)).await;
            let answer = answer.map_err(|never| match never {})?;
            Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// Changes a request on its way: a fault of content, for example broken bootstrap data.
pub type Rewrite = Arc<dyn Fn(&Method, &str, Bytes) -> Bytes + Send + Sync>;

/// What all transports of a world share.
#[derive(Clone)]
pub struct Shared {
    /// The record of the run.
    pub trace: Trace,
    /// The time of the run.
    pub clock: SimClock,
    /// Requests so far.
    pub requests: Arc<AtomicU64>,
    /// Root of latencies.
    pub entropy: Entropy,
    /// Where refusals that must not happen go.
    pub findings: Findings,
    /// Where deeds go that invariants judge.
    pub acts: Acts,
}

/// Deeds of the controller that nobody has judged yet.
pub type Acts = Arc<Mutex<Vec<Act>>>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// The transport of one process incarnation to one server.
#[derive(Clone)]
pub struct ActorTransport(Arc<Actor>);

impl fmt::Debug for ActorTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActorTransport")
            .field(&self.0.incarnation.name())
            .finish()
    }
}

struct Actor {
    incarnation: Arc<Incarnation>,
    target: Target,
    inner: Transport,
    bearer: Option<HeaderValue>,
    shared: Shared,
    gate: Option<Arc<WriteGate>>,
    rewrite: Option<Rewrite>,
    seen: Mutex<BTreeMap<String, u64>>,
}

impl ActorTransport {
    /// A transport for `incarnation`; `bearer` is added to each request.
    pub fn new(
        incarnation: Arc<Incarnation>,
        target: Target,
        inner: Transport,
        bearer: Option<&str>,
        shared: Shared,
    ) -> Self {
        let bearer = bearer.map(|token| {
            HeaderValue::from_str(&format!("Bearer {token}")).expect("tokens are printable")
        });
        Self(Arc::new(Actor {
            incarnation,
            target,
            inner,
            bearer,
            shared,
            gate: None,
            rewrite: None,
            seen: Mutex::new(BTreeMap::new()),
        }))
    }

    /// Counts writes, and kills where the gate says.
    #[must_use]
    pub fn gated(self, gate: Arc<WriteGate>) -> Self {
        self.with(|actor| actor.gate = Some(gate))
    }

    /// Changes requests on their way.
    #[must_use]
    pub fn rewritten(self, rewrite: Rewrite) -> Self {
        self.with(|actor| actor.rewrite = Some(rewrite))
    }

    fn with(self, change: impl FnOnce(&mut Actor)) -> Self {
        let mut actor = Arc::into_inner(self.0).expect("a transport is shared after it is built");
        change(&mut actor);
        Self(Arc::new(actor))
    }

    /// For [`controller_ports::Ports`].
    pub fn transport(self) -> Transport {
        Transport::new(self)
    }
}

impl HttpService for ActorTransport {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
        let actor = Arc::clone(&self.0);
        Box::pin(async move { actor.call(request).await })
    }
}

/// A request whose body has been read.
struct Sent {
    id: u64,
    path: String,
    write: Option<u64>,
    delays: (Duration, Duration),
}

impl Actor {
    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (mut parts, body) = request.into_parts();
        let mut body = body.collect().await?.to_bytes();
        let path = normalised(&parts.uri);
        let sent = self.sent(&parts.method, path, &body);
        let asked = (parts.method.clone(), body.clone());
        self.fence(&sent).await;
        if let Some(rewrite) = &self.rewrite {
            body = rewrite(&parts.method, &sent.path, body);
            if parts.headers.contains_key(http::header::CONTENT_LENGTH) {
                parts
                    .headers
                    .insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
        }
        if let Some(bearer) = &self.bearer {
            parts.headers.insert(AUTHORIZATION, bearer.clone());
        }
        tokio::time::sleep(sent.delays.0).await;
        self.fence(&sent).await;
        self.crash(&sent, Moment::Before).await;
        let answer = self
            .inner
            .send(Request::from_parts(parts, full_body(body)))
            .await;
        self.crash(&sent, Moment::After).await;
        let lost = self
            .gate
            .as_ref()
            .is_some_and(|gate| gate.loses(sent.write));
        let answer = if lost {
            self.lose(&sent, answer)
        } else {
            answer
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.record(Entry::Lost {
                    id: sent.id,
                    why: "transport",
                });
                return Err(error);
            }
        };
        tokio::time::sleep(sent.delays.1).await;
        self.fence(&sent).await;
        self.received(&sent, &asked, answer).await
    }

    fn sent(&self, method: &Method, path: String, body: &Bytes) -> Sent {
        let id = self.shared.trace.next_id();
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let resource = path.split('?').next().unwrap_or_default();
        let write = self
            .gate
            .as_ref()
            .and_then(|gate| gate.number(self.target, method, resource));
        self.record(Entry::Req {
            id,
            to: self.target.as_str(),
            verb: method.as_str(),
            path: &path,
            body: &body_hash(body),
            write,
        });
        let delays = self.delays(method, resource);
        Sent {
            id,
            path,
            write,
            delays,
        }
    }

    /// Drawn by identity, so that one request more or less does not shift the others.
    fn delays(&self, method: &Method, resource: &str) -> (Duration, Duration) {
        let key = format!("{} {resource}", method.as_str());
        let nth = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let counter = seen.entry(key.clone()).or_default();
            *counter += 1;
            *counter
        };
        let purpose = format!("latency/{}/{key}/{nth}", self.incarnation.name());
        let mut random = self.shared.entropy.stream(&purpose);
        let (least, spread) = self.target.latency();
        let mut draw = || Duration::from_millis(least + random.next_u64() % (spread + 1));
        (draw(), draw())
    }

    /// Keeps a dead process's call waiting for ever.
    async fn fence(&self, sent: &Sent) {
        if self.incarnation.is_dead() {
            self.record(Entry::Lost {
                id: sent.id,
                why: "fenced",
            });
            std::future::pending::<()>().await;
        }
    }

    async fn crash(&self, sent: &Sent, moment: Moment) {
        let name = self.incarnation.name();
        let gate = self.gate.as_ref();
        if !gate.is_some_and(|gate| gate.strikes(sent.write, moment, name)) {
            return;
        }
        let what = match moment {
            Moment::Before => "crash-before",
            Moment::After | Moment::Ambiguous => "crash-after",
        };
        self.record(Entry::Fault {
            what,
            arg: &sent.path,
        });
        self.incarnation.kill();
        std::future::pending::<()>().await;
    }

    /// The server has done its part; the connection breaks before anybody hears.
    fn lose(
        &self,
        sent: &Sent,
        answer: Result<Response<Body>, BoxError>,
    ) -> Result<Response<Body>, BoxError> {
        drop(answer?);
        self.record(Entry::Fault {
            what: "reset-after",
            arg: &sent.path,
        });
        let kind = std::io::ErrorKind::ConnectionReset;
        Err(Box::new(std::io::Error::new(
            kind,
            "connection reset by peer",
        )))
    }

    async fn received(
        &self,
        sent: &Sent,
        (method, asked): &(Method, Bytes),
        answer: Response<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let (parts, body) = answer.into_parts();
        let code = parts.status.as_u16();
        let streamed = self.target == Target::Kube
            && parts.status.is_success()
            && sent.path.contains("watch=true");
        if streamed {
            self.record(Entry::Resp {
                id: sent.id,
                code,
                body: "",
            });
            let body = WatchBody {
                inner: body,
                id: sent.id,
                incarnation: Arc::clone(&self.incarnation),
                shared: self.shared.clone(),
            };
            return Ok(Response::from_parts(parts, body.boxed_unsync()));
        }
        let bytes = body.collect().await?.to_bytes();
        self.record(Entry::Resp {
            id: sent.id,
            code,
            body: &body_hash(&bytes),
        });
        if let Some(act) = act_of(self.target, (method, &sent.path), asked, (code, &bytes)) {
            let mut acts = self.shared.acts.lock();
            acts.as_mut().expect("nobody panics holding it").push(act);
        }
        if self.target == Target::Kube && parts.status == http::StatusCode::FORBIDDEN {
            self.forbidden(&bytes);
        }
        Ok(Response::from_parts(parts, full_body(bytes)))
    }

    /// A process runs under exactly the rules that ship with it: what they do not cover is a rule
    /// that is missing.
    fn forbidden(&self, body: &[u8]) {
        let status: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let message = status["message"].as_str().unwrap_or("no reason given");
        self.shared.findings.add(Finding::Forbidden {
            process: self.incarnation.name().to_owned(),
            message: message.to_owned(),
        });
    }

    fn record(&self, entry: Entry<'_>) {
        self.shared
            .trace
            .record(self.shared.clock.millis(), self.incarnation.name(), entry);
    }
}

/// Path and query without the noise that clients add (`?`, `?&`).
fn normalised(uri: &http::Uri) -> String {
    let query = uri.query().unwrap_or_default().trim_start_matches('&');
    if query.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{query}", uri.path())
    }
}

/// A stream of watch events that is recorded as it arrives and falls silent with its process.
struct WatchBody {
    inner: Body,
    id: u64,
    incarnation: Arc<Incarnation>,
    shared: Shared,
}

impl http_body::Body for WatchBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        if self.incarnation.is_dead() {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let entry = Entry::Chunk {
                id: self.id,
                body: &body_hash(data),
            };
            self.shared
                .trace
                .record(self.shared.clock.millis(), self.incarnation.name(), entry);
        }
        polled
    }
}

/// What a request and its answer mean for invariants, if anything.
fn act_of(
    target: Target,
    (method, path): (&Method, &str),
    asked: &[u8],
    (code, answer): (u16, &[u8]),
) -> Option<Act> {
    let path = path.split('?').next().unwrap_or_default();
    match (target, method) {
        (Target::Kube, &Method::DELETE) if (200..300).contains(&code) => {
            let rest = path.strip_prefix("/api/v1/namespaces/")?;
            let (namespace, rest) = rest.split_once('/')?;
            let name = rest.strip_prefix("pods/")?;
            Some(Act::DeletedPod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        (Target::Arm, &Method::GET) if code == 200 && path.ends_with("/usages") => {
            Some(Act::ReadUsages)
        }
        (Target::Arm, &Method::PUT) if code >= 400 => {
            let text = String::from_utf8_lossy(answer);
            if !text.contains("exceeding approved") {
                return None;
            }
            let machine: serde_json::Value = serde_json::from_slice(asked).ok()?;
            let properties = &machine["properties"];
            Some(Act::QuotaRefused {
                size: properties["hardwareProfile"]["vmSize"].as_str()?.to_owned(),
                spot: properties["priority"] == "Spot",
            })
        }
        _ => None,
    }
}
