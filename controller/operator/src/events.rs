//! Events on objects, as Karpenter's recorder makes them (kubernetes-sigs/karpenter `pkg/events`).
//!
//! [`Recorder::publish`] never waits: it drops what was said a moment ago, and hands the rest to a
//! task that writes. An event that is said again after a while raises the count of the one written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use controller_ports::{Clock, Entropy};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{Metrics, Name, Shutdown, chain};

/// How long the same event is not repeated, unless it says otherwise.
pub const DEDUPE_WINDOW: Duration = Duration::from_mins(2);
/// Events that wait to be written. A node's whole life takes about ten; a thousand nodes at once fit.
const QUEUE_MAX: usize = 10_000;
/// Keys remembered for deduplication and counting; beyond, the oldest go. Forgetting one repeats one event.
const MEMORY_MAX: usize = 20_000;
/// Kubernetes refuses longer messages.
const MESSAGE_MAX: usize = 1024;
/// An event is written once and again at most this often before it is given up: events are news.
const TRIES_MAX: u32 = 3;
/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// After this time without an answer a try has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether somebody should worry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// Needs attention.
    Warning,
}

impl EventKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// At most `burst` at once and `per_second` on average, over all events with this reason.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// On average.
    pub per_second: f64,
    /// At once.
    pub burst: f64,
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The object: apiVersion, kind, name and uid, and namespace if it has one.
    pub object: ObjectReference,
    /// Whether somebody should worry.
    pub kind: EventKind,
    /// Upstream's reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What makes it the same event as an earlier one, together with the reason; nothing means that
    /// no two are the same.
    pub dedupe: Vec<String>,
    /// How long the same event is not repeated.
    pub window: Duration,
    /// Limit for its reason.
    pub limit: Option<RateLimit>,
}

impl Event {
    /// An event that is the same as another about the same object with the same reason, for two minutes.
    pub fn new(
        object: ObjectReference,
        kind: EventKind,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let dedupe = vec![
            object
                .uid
                .clone()
                .or_else(|| object.name.clone())
                .unwrap_or_default(),
        ];
        Self {
            object,
            kind,
            reason,
            message: message.into(),
            dedupe,
            window: DEDUPE_WINDOW,
            limit: None,
        }
    }

    /// With these values for deduplication.
    #[must_use]
    pub fn dedupe(mut self, values: impl IntoIterator<Item = String>) -> Self {
        self.dedupe = values.into_iter().collect();
        self
    }

    /// Not repeated for this long.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Limited with all others of its reason.
    #[must_use]
    pub fn limit(mut self, limit: RateLimit) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// Takes events. Clones are the same recorder.
#[derive(Debug, Clone)]
pub struct Recorder {
    memory: Arc<Mutex<Memory>>,
    sender: mpsc::Sender<Event>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// Writes the events of a [`Recorder`].
#[derive(Debug)]
pub struct Writer {
    receiver: mpsc::Receiver<Event>,
    clock: Arc<dyn Clock>,
    names: ChaCha8Rng,
    component: &'static str,
    instance: String,
    written: BTreeMap<String, Written>,
}

#[derive(Debug, Default)]
struct Memory {
    /// When the same event may be said again.
    until: BTreeMap<String, Timestamp>,
    /// Tokens left of each limited reason, and when they were counted.
    tokens: BTreeMap<&'static str, (f64, Timestamp)>,
}

#[derive(Debug, Clone)]
struct Written {
    namespace: String,
    name: String,
    count: i32,
    at: Timestamp,
}

/// A recorder and the writer behind it. The writer's `run` is to be spawned.
pub fn recorder(
    component: &'static str,
    instance: &str,
    clock: Arc<dyn Clock>,
    entropy: &Entropy,
    metrics: Metrics,
) -> (Recorder, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let writer = Writer {
        receiver,
        clock: Arc::clone(&clock),
        names: entropy.stream("events"),
        component,
        instance: instance.to_owned(),
        written: BTreeMap::new(),
    };
    (
        Recorder {
            memory: Arc::default(),
            sender,
            clock,
            metrics,
        },
        writer,
    )
}

impl Recorder {
    /// Says that something happened. Returns whether it will be written; it is not when it was said a
    /// moment ago, when its reason's limit is reached, or when too many wait.
    pub fn publish(&self, mut event: Event) -> bool {
        let now = self.clock.now();
        let is_news = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.admits(&event, now)
        };
        if !is_news {
            return false;
        }
        truncate(&mut event.message);
        let reason = event.reason;
        let is_queued = self.sender.try_send(event).is_ok();
        if !is_queued {
            self.metrics.inc(Name::EventsDropped, &[reason]);
        }
        is_queued
    }
}

impl Memory {
    fn admits(&mut self, event: &Event, now: Timestamp) -> bool {
        let key = (!event.dedupe.is_empty())
            .then(|| format!("{}-{}", event.reason.to_lowercase(), event.dedupe.join("-")));
        if let Some(key) = &key
            && self.until.get(key).is_some_and(|until| now < *until)
        {
            return false;
        }
        if let Some(limit) = event.limit
            && !self.takes_token(event.reason, limit, now)
        {
            return false;
        }
        if let Some(key) = key {
            if self.until.len() >= MEMORY_MAX {
                self.until.retain(|_, until| now < *until);
            }
            if self.until.len() >= MEMORY_MAX {
                self.until.pop_first();
            }
            self.until.insert(key, later(now, event.window));
        }
        true
    }

    fn takes_token(&mut self, reason: &'static str, limit: RateLimit, now: Timestamp) -> bool {
        let (tokens, counted) = self.tokens.entry(reason).or_insert((limit.burst, now));
        let elapsed = now.duration_since(*counted).as_secs_f64().max(0.0);
        *tokens = (*tokens + elapsed * limit.per_second).min(limit.burst);
        *counted = now;
        let has_token = *tokens >= 1.0;
        if has_token {
            *tokens -= 1.0;
        }
        has_token
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Cuts to what Kubernetes takes, at a character.
fn truncate(message: &mut String) {
    if message.len() > MESSAGE_MAX {
        let mut end = MESSAGE_MAX - 3;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str("...");
    }
}

impl Writer {
    /// Writes until the signal to end; what waits then is written first.
    pub async fn run(mut self, client: kube::Client, shutdown: Shutdown) {
        while let Some(Some(event)) = shutdown.or(self.receiver.recv()).await {
            self.write(&client, event).await;
        }
        while let Ok(event) = self.receiver.try_recv() {
            self.write(&client, event).await;
        }
    }

    async fn write(&mut self, client: &kube::Client, event: Event) {
        let key = series_key(&event);
        for attempt in 1..=TRIES_MAX {
            let clock = Arc::clone(&self.clock);
            let write = self.try_write(client, &event, &key);
            let error = match controller_ports::timeout(&*clock, REQUEST_TIMEOUT, write).await {
                Ok(Ok(())) => return,
                // The namespace goes away, or somebody forbids it: trying again changes nothing.
                Ok(Err(kube::Error::Api(status))) if (400..429).contains(&status.code) => {
                    tracing::warn!(reason = event.reason, error = %status, "event refused");
                    return;
                }
                Ok(Err(error)) => chain(&error).to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::debug!(
                reason = event.reason,
                attempt,
                error,
                "cannot write an event"
            );
            if attempt < TRIES_MAX {
                self.clock.sleep(RETRY_PAUSE).await;
            }
        }
        tracing::warn!(reason = event.reason, "gave up writing an event");
    }

    async fn try_write(
        &mut self,
        client: &kube::Client,
        event: &Event,
        key: &str,
    ) -> Result<(), kube::Error> {
        let now = self.clock.now();
        if let Some(written) = self.written.get(key).cloned() {
            let api: kube::Api<CoreEvent> =
                kube::Api::namespaced(client.clone(), &written.namespace);
            let count = written.count.saturating_add(1);
            let patch = json!({
                "count": count,
                "lastTimestamp": Time(now),
                "message": event.message,
            });
            let params = PatchParams::default();
            match api
                .patch(&written.name, &params, &Patch::Strategic(patch))
                .await
            {
                Ok(_) => {
                    self.written.insert(
                        key.to_owned(),
                        Written {
                            count,
                            at: now,
                            ..written
                        },
                    );
                    return Ok(());
                }
                // Events expire; the next one starts anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.written.remove(key);
                }
                Err(error) => return Err(error),
            }
        }
        let object = self.core_event(event, now);
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        let api: kube::Api<CoreEvent> = kube::Api::namespaced(client.clone(), &namespace);
        api.create(&PostParams::default(), &object).await?;
        self.remember(
            key,
            Written {
                namespace,
                name,
                count: 1,
                at: now,
            },
        );
        Ok(())
    }

    fn remember(&mut self, key: &str, written: Written) {
        if self.written.len() >= MEMORY_MAX {
            let oldest = self.written.iter().min_by_key(|(_, written)| written.at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.written.remove(&oldest);
            }
        }
        self.written.insert(key.to_owned(), written);
    }

    fn core_event(&mut self, event: &Event, now: Timestamp) -> CoreEvent {
        let object = &event.object;
        // Events of objects without a namespace are in the default one.
        let namespace = object
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let name = object.name.as_deref().unwrap_or("unknown");
        CoreEvent {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:016x}", self.names.next_u64())),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            involved_object: object.clone(),
            reason: Some(event.reason.to_owned()),
            message: Some(event.message.clone()),
            type_: Some(event.kind.as_str().to_owned()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some(self.component.to_owned()),
                host: None,
            }),
            reporting_component: Some(self.component.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..CoreEvent::default()
        }
    }
}

/// Events with equal keys are one object with a count, as client-go's correlator has it.
fn series_key(event: &Event) -> String {
    let object = &event.object;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let parts = [
        part(&object.kind),
        part(&object.namespace),
        part(&object.name),
        part(&object.uid),
        event.kind.as_str().to_owned(),
        event.reason.to_owned(),
        event.message.clone(),
    ];
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &'static str, uid: &str) -> Event {
        let object = ObjectReference {
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        Event::new(object, EventKind::Normal, reason, "text")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn the_same_event_is_said_once_per_window() {
        let mut memory = Memory::default();
        assert!(memory.admits(&event("Drifted", "1"), at(0)));
        assert!(!memory.admits(&event("Drifted", "1"), at(119)));
        assert!(memory.admits(&event("Drifted", "2"), at(119)));
        assert!(memory.admits(&event("Launched", "1"), at(119)));
        assert!(memory.admits(&event("Drifted", "1"), at(120)));
        let never_same = event("Finalized", "1").dedupe([]);
        assert!(memory.admits(&never_same, at(0)) && memory.admits(&never_same, at(0)));
    }

    #[test]
    fn a_reason_may_be_limited() {
        let mut memory = Memory::default();
        let limit = RateLimit {
            per_second: 5.0,
            burst: 10.0,
        };
        let nominated = event("Nominated", "").dedupe([]).limit(limit);
        let n_at = |memory: &mut Memory, time| {
            (0..20)
                .filter(|_| memory.admits(&nominated, at(time)))
                .count()
        };
        assert_eq!(n_at(&mut memory, 0), 10);
        assert_eq!(n_at(&mut memory, 1), 5);
        assert_eq!(n_at(&mut memory, 60), 10);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let mut message = "ü".repeat(MESSAGE_MAX);
        truncate(&mut message);
        assert!(message.len() <= MESSAGE_MAX && message.ends_with("ü..."));
    }
}
