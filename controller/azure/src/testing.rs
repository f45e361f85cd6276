//! A clock that never waits, a spawner that keeps tasks, and a server made of a closure.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use controller_ports::{
    Body, BoxError, Clock, CpuPool, Entropy, HttpService, Job, Ports, Spawner, TaskHandle,
    Transport, full_body,
};
use futures::future::{AbortHandle, BoxFuture};
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::arm::lock;
use crate::options::{Cluster, Credential, Endpoints, Machines, Network, Options};

/// Sleeping moves it.
#[derive(Debug, Default)]
pub(crate) struct TestClock(Mutex<Duration>);

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        start + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *lock(&self.0)
    }

    async fn sleep(&self, duration: Duration) {
        *lock(&self.0) += duration;
    }
}

/// Keeps tasks until they are run.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<BoxFuture<'static, ()>>>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl Kept {
    /// Runs all tasks to their end.
    pub(crate) fn run(&self) {
        let tasks = std::mem::take(&mut *lock(&self.0));
        for task in tasks {
            futures::executor::block_on(task);
        }
    }
}

impl Spawner for Kept {
    fn spawn(&self, _: &str, task: BoxFuture<'static, ()>) -> TaskHandle {
        lock(&self.0).push(task);
        TaskHandle::new(AbortHandle::new_pair().0)
    }
}

#[derive(Debug)]
struct Inline;

impl CpuPool for Inline {
    fn execute(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        job();
        Box::pin(std::future::ready(()))
    }
}

/// A request as the server sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path without query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// An answer: status, headers, body.
#[derive(Clone, Debug)]
pub(crate) struct Reply(
    pub(crate) u16,
    pub(crate) Vec<(&'static str, String)>,
    pub(crate) Value,
);

impl Reply {
    pub(crate) fn ok(body: Value) -> Self {
        Self(200, Vec::new(), body)
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self(
            status,
            Vec::new(),
            json!({"error": {"code": code, "message": message}}),
        )
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.1.push((name, value.into()));
        self
    }
}

type Answers = dyn FnMut(&Seen) -> Option<Reply> + Send;

/// A server; `None` loses the answer after the request was acted on.
pub(crate) struct Server {
    answer: Mutex<Box<Answers>>,
    pub(crate) log: Mutex<Vec<Seen>>,
}

impl Server {
    pub(crate) fn new(answer: impl FnMut(&Seen) -> Option<Reply> + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(Box::new(answer)),
            log: Mutex::default(),
        })
    }

    /// `METHOD path` of every request but those for tokens.
    pub(crate) fn calls(&self) -> Vec<String> {
        let log = lock(&self.log);
        log.iter()
            .filter(|seen| !seen.path.ends_with("/token"))
            .map(|seen| format!("{} {}", seen.method, short(&seen.path)))
            .collect()
    }
}

/// The last two segments.
fn short(path: &str) -> String {
    let mut last: Vec<&str> = path.rsplit('/').take(2).collect();
    last.reverse();
    last.join("/")
}

struct Wire(Arc<Server>);

impl HttpService for Wire {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
        let server = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let headers = head.headers.iter();
            let seen = Seen {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                headers: headers
                    .map(|(name, value)| {
                        (
                            name.to_string(),
                            String::from_utf8_lossy(value.as_bytes()).into_owned(),
                        )
                    })
                    .collect(),
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            lock(&server.log).push(seen.clone());
            let reply = (lock(&server.answer))(&seen);
            let Some(Reply(status, headers, body)) = reply else {
                return Err("connection reset".into());
            };
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(full_body(body.to_string()))?)
        })
    }
}

/// Answers requests for tokens; anything else is for the test.
pub(crate) fn token(seen: &Seen) -> Option<Reply> {
    seen.path.ends_with("/token").then(|| {
        Reply::ok(json!({"access_token": "T", "expires_in": 3600, "token_type": "Bearer"}))
    })
}

/// Everything a provider stands on.
pub(crate) struct World {
    pub(crate) ports: Ports,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) tasks: Arc<Kept>,
}

pub(crate) fn world(server: &Arc<Server>) -> World {
    let (clock, tasks) = (Arc::new(TestClock::default()), Arc::new(Kept::default()));
    let transport = Transport::new(Wire(Arc::clone(server)));
    let ports = Ports {
        clock: Arc::<TestClock>::clone(&clock),
        entropy: Entropy::from_seed(1),
        kube: transport.clone(),
        arm: transport,
        spawner: Arc::<Kept>::clone(&tasks),
        cpu: Arc::new(Inline),
    };
    World {
        ports,
        clock,
        tasks,
    }
}

pub(crate) const SUBNET: &str = "/subscriptions/s/resourceGroups/MC_rg/providers/Microsoft.Network/virtualNetworks/aks-vnet-12345678/subnets/aks-subnet";

pub(crate) fn options() -> Options {
    Options {
        endpoints: Endpoints::single("https://arm.test"),
        credential: Credential::ClientSecret {
            tenant_id: "t".to_owned(),
            client_id: "c".to_owned(),
            client_secret: "x&y".to_owned(),
        },
        subscription_id: "s".to_owned(),
        tenant_id: "t".to_owned(),
        region: "westeurope".to_owned(),
        cluster_resource_group: "rg".to_owned(),
        node_resource_group: "MC_rg".to_owned(),
        cluster: Cluster {
            name: "nap".to_owned(),
            endpoint: "https://127.0.0.1:6443".to_owned(),
            ca_pem: "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n".to_owned(),
            bootstrap_token: "abcdef.0123456789abcdef".to_owned(),
        },
        network: Network {
            vnet_guid: "guid".to_owned(),
            ..Network::overlay(SUBNET)
        },
        machines: Machines::with_key("ssh-ed25519 A"),
    }
}
