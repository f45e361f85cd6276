//! Two candidates and one lease, over an API server of a few lines.

use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::real::TokioClock;

/// One lease, with optimistic locking; `down` makes every request hang.
#[derive(Debug, Default)]
struct Server {
    lease: Option<Value>,
    version: u64,
    down: bool,
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    });
    (code, body)
}

impl Server {
    fn answer(&mut self, method: &Method, mut body: Value) -> (u16, Value) {
        match (method, self.lease.clone()) {
            (&Method::GET, None) => status(404, "NotFound"),
            (&Method::GET, Some(lease)) => (200, lease),
            (&Method::POST, Some(_)) => status(409, "AlreadyExists"),
            (&Method::PUT, Some(lease))
                if lease["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] =>
            {
                status(409, "Conflict")
            }
            _ => {
                self.version += 1;
                body["metadata"]["resourceVersion"] = json!(self.version.to_string());
                self.lease = Some(body.clone());
                (200, body)
            }
        }
    }
}

fn client(server: &Arc<Mutex<Server>>) -> kube::Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a body in memory").to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            if server.lock().expect("not poisoned").down {
                std::future::pending::<()>().await;
            }
            let (code, body) = server
                .lock()
                .expect("not poisoned")
                .answer(&head.method, body);
            let response = Response::builder().status(code);
            let body = Full::new(bytes::Bytes::from(body.to_string()));
            Ok::<_, Infallible>(response.body(body).expect("a response"))
        }
    });
    kube::Client::new(service, "kube-system")
}

fn elector(server: &Arc<Mutex<Server>>, clock: &Arc<dyn Clock>, identity: &str) -> Elector {
    let settings = LeaseSettings::new("kube-system", "lease", identity);
    let entropy = Entropy::from_seed(1).child(identity);
    Elector::new(
        client(server),
        settings,
        Arc::clone(clock),
        &entropy,
        Metrics::new(),
    )
}

fn run<F: Future>(test: impl FnOnce(Arc<dyn Clock>, Arc<Mutex<Server>>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::for_tests());
        Box::pin(test(clock, Arc::default())).await;
    });
}

#[test]
fn the_lease_is_given_back_at_the_end() {
    run(|clock, server| async move {
        let first = elector(&server, &clock, "a");
        let work = clock.sleep(Duration::from_secs(30));
        first
            .lead(&Shutdown::new(), work)
            .await
            .expect("keeps the lease");
        let lease = server
            .lock()
            .expect("not poisoned")
            .lease
            .clone()
            .expect("exists");
        assert_eq!(lease["spec"]["holderIdentity"], "");
        let before = clock.monotonic();
        let second = elector(&server, &clock, "b");
        second
            .lead(&Shutdown::new(), async {})
            .await
            .expect("gets it at once");
        assert_eq!(clock.monotonic(), before);
        let lease = server
            .lock()
            .expect("not poisoned")
            .lease
            .clone()
            .expect("exists");
        assert_eq!(lease["spec"]["leaseTransitions"], 1);
    });
}

#[test]
fn a_dead_leader_is_followed_after_its_lease() {
    run(|clock, server| async move {
        let mut dead = elector(&server, &clock, "dead");
        dead.acquire().await;
        let next = elector(&server, &clock, "next");
        next.lead(&Shutdown::new(), async {})
            .await
            .expect("takes over");
        let waited = clock.monotonic().as_secs();
        assert!((15..20).contains(&waited), "waited {waited} s");
    });
}

#[test]
fn silence_of_the_server_ends_leadership_within_the_deadline() {
    run(|clock, server| async move {
        let leader = elector(&server, &clock, "a");
        let break_it = async {
            clock.sleep(Duration::from_mins(1)).await;
            server.lock().expect("not poisoned").down = true;
            std::future::pending::<()>().await;
        };
        let lost = leader.lead(&Shutdown::new(), break_it).await;
        assert!(lost.is_err());
        let at = clock.monotonic().as_secs();
        assert!((68..=72).contains(&at), "lost after {at} s");
    });
}

fn steal(server: &Mutex<Server>) {
    let mut server = server.lock().expect("not poisoned");
    let lease = server.lease.as_mut().expect("held");
    lease["spec"]["holderIdentity"] = json!("thief");
    lease["metadata"]["resourceVersion"] = json!("999");
}

#[test]
fn a_stolen_lease_ends_leadership() {
    run(|clock, server| async move {
        let leader = elector(&server, &clock, "a");
        let stolen = async {
            clock.sleep(Duration::from_secs(5)).await;
            steal(&server);
            std::future::pending::<()>().await;
        };
        assert!(leader.lead(&Shutdown::new(), stolen).await.is_err());
    });
}
