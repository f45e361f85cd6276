//! A transport under faults.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use controller_ports::{Body, BoxError, Clock as _, HttpService, Transport};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;

use super::answers::{expired_watch, refusal};
use super::class::{Class, Verb};
use super::draw::{Fate, Injector, Outcome};
use super::kind::FaultKind;
use super::stream::FaultyStream;
use crate::world::ports::{SimClock, Target};

/// Told of each fault: what, and to which request.
pub type Witness = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What connects a client with a server, and fails now and then.
///
/// It stands on the client's side of whatever carries the bytes, or in front of a server's router.
#[derive(Clone)]
pub struct Faulty {
    inner: Transport,
    /// Who asks.
    actor: String,
    target: Target,
    injector: Arc<Injector>,
    clock: SimClock,
    witness: Option<Witness>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.actor).finish()
    }
}

impl Faulty {
    /// Faults between `actor` and `inner`.
    pub fn new(
        inner: Transport,
        actor: &str,
        target: Target,
        injector: Arc<Injector>,
        clock: SimClock,
    ) -> Self {
        Self {
            inner,
            actor: actor.to_owned(),
            target,
            injector,
            clock,
            witness: None,
        }
    }

    /// Tells somebody of each fault.
    #[must_use]
    pub fn witnessed(self, witness: Witness) -> Self {
        Self {
            witness: Some(witness),
            ..self
        }
    }

    /// As a transport.
    pub fn transport(self) -> Transport {
        Transport::new(self)
    }

    async fn pass(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str)
            .to_owned();
        let class = Class::of(self.target, request.method(), &path);
        let now = self.clock.elapsed();
        let fate = self.injector.fate(&self.actor, self.target, &class, now);
        if fate == Fate::default() {
            return self.serve(&class, request).await;
        }
        self.tell(&fate, &path);
        if !fate.before.is_zero() {
            self.clock.sleep(fate.before).await;
        }
        let answer = self.meet(&fate, &class, request).await;
        if !fate.after.is_zero() {
            self.clock.sleep(fate.after).await;
        }
        answer
    }

    async fn meet(
        &self,
        fate: &Fate,
        class: &Class,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let refuse = |status, wait| Ok(refusal(self.target, class.verb, status, wait));
        match fate.outcome {
            Outcome::ResetBefore => Err(reset()),
            Outcome::Refused(status) => refuse(status, None),
            Outcome::Throttled(wait) => refuse(429, Some(wait)),
            Outcome::ResetAfter => {
                drop(self.inner.send(request).await?);
                Err(reset())
            }
            Outcome::TimeoutAfter => {
                drop(self.inner.send(request).await?);
                refuse(504, None)
            }
            Outcome::Expired if class.verb == Verb::KubeListPage => refuse(410, None),
            Outcome::Expired if resumes(&request) => Ok(expired_watch()),
            Outcome::Stale(back) => self.serve(class, self.stale(request, back)).await,
            Outcome::Served | Outcome::Expired => {
                let answer = self.serve(class, request).await?;
                if fate.stream.is_clean() || !answer.status().is_success() {
                    return Ok(answer);
                }
                let (injector, clock) = (Arc::clone(&self.injector), self.clock);
                Ok(answer.map(|body| {
                    FaultyStream::new(body, fate.stream, injector, clock).boxed_unsync()
                }))
            }
        }
    }

    async fn serve(
        &self,
        class: &Class,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let answer = self.inner.send(request).await?;
        if !matches!(class.verb, Verb::KubeList | Verb::KubeListAny) || !self.wants_revisions() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await?.to_bytes();
        if let Some(revision) = revision_of(&bytes) {
            self.injector.told(revision);
        }
        Ok(Response::from_parts(
            parts,
            controller_ports::full_body(bytes),
        ))
    }

    fn wants_revisions(&self) -> bool {
        let rules = &self.injector.plan().rules;
        rules.iter().any(|rule| rule.kind == FaultKind::StaleRead)
    }

    /// The same question, to be answered from the state some answers ago.
    fn stale(&self, mut request: Request<Body>, back: u64) -> Request<Body> {
        let Some(revision) = self.injector.revision(back) else {
            return request;
        };
        let exact = format!("resourceVersion={revision}&resourceVersionMatch=Exact");
        let text = request.uri().to_string();
        let text = text.replace("resourceVersion=0", &exact);
        if let Ok(uri) = text.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
        request
    }

    fn tell(&self, fate: &Fate, path: &str) {
        let Some(witness) = &self.witness else { return };
        for what in names(fate) {
            witness(what, path);
        }
    }
}

/// What strikes, for the record.
fn names(fate: &Fate) -> impl Iterator<Item = &'static str> {
    let delay = fate.before + fate.after;
    let outcome = match fate.outcome {
        Outcome::Served => None,
        Outcome::ResetBefore => Some("reset-before"),
        Outcome::ResetAfter => Some("reset-after"),
        Outcome::TimeoutAfter => Some("timeout-after"),
        Outcome::Refused(_) => Some("server-error"),
        Outcome::Throttled(_) => Some("throttle"),
        Outcome::Stale(_) => Some("stale-read"),
        Outcome::Expired => Some("expired"),
    };
    [
        (!delay.is_zero()).then_some("latency"),
        outcome,
        fate.stream.cut_after.map(|_| "watch-cut"),
        fate.stream.delay.map(|_| "watch-delay"),
        fate.stream.hold.map(|_| "slow-consumer"),
    ]
    .into_iter()
    .flatten()
}

/// Whether a watch goes on from a revision; others start with the present.
fn resumes(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("resourceVersion="))
        .any(|version| !version.is_empty() && version != "0")
}

/// Of a list; its metadata stands near the beginning.
fn revision_of(bytes: &[u8]) -> Option<u64> {
    let head = bytes.get(..bytes.len().min(512))?;
    let text = String::from_utf8_lossy(head);
    let (_, rest) = text.split_once(r#""resourceVersion":""#)?;
    rest.split('"').next()?.parse().ok()
}

fn reset() -> BoxError {
    Box::new(std::io::Error::new(
        std::io::ErrorKind::ConnectionReset,
        "connection reset by peer",
    ))
}

impl HttpService for Faulty {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
        Box::pin(self.clone().pass(request))
    }
}
