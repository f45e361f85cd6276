use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::known::Feed;
use super::*;
use crate::testing::TestClock;

/// What the server answers, request by request.
type Script = Vec<(u16, String)>;

#[derive(Clone)]
struct Server {
    script: Arc<Mutex<VecDeque<(u16, String)>>>,
    log: Arc<Mutex<Vec<String>>>,
    /// Told of the first request that the script has no answer to: all before it is worked through.
    through: Arc<Notify>,
    started: tokio::time::Instant,
}

impl tower_service::Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let next = self.script.lock().expect("not poisoned").pop_front();
        let (status, body) = next.unwrap_or_else(|| {
            self.through.notify_one();
            (500, status(500).to_string())
        });
        let at = self.started.elapsed().as_secs();
        // How long a watch lasts is drawn; the tests do not name it.
        let query: Vec<&str> = (request.uri().query().unwrap_or_default().split('&'))
            .filter(|pair| !pair.starts_with("timeoutSeconds=") && !pair.starts_with("allow"))
            .collect();
        let line = format!("{at} s: GET {}", query.join(" "));
        self.log.lock().expect("not poisoned").push(line);
        let response = Response::builder().status(status);
        ready(Ok(response
            .body(Body::from(body.into_bytes()))
            .expect("a response")))
    }
}

/// Writes down what it is fed; decodes an object only when it has no `bad` field.
struct Notes(Arc<Mutex<Vec<String>>>);

impl Feed for Notes {
    fn apply(&mut self, object: &str) -> serde_json::Result<()> {
        #[derive(Deserialize)]
        struct Good {
            metadata: Value,
            #[serde(default)]
            bad: Option<u8>,
        }
        let good: Good = serde_json::from_str(object)?;
        assert_eq!(good.bad, None);
        let line = format!("apply {}", good.metadata["name"]);
        self.0.lock().expect("not poisoned").push(line);
        Ok(())
    }

    fn delete(&mut self, namespace: &str, name: &str) {
        let line = format!("delete {namespace}/{name}");
        self.0.lock().expect("not poisoned").push(line);
    }
}

/// Requests and what was fed, in order, until the script is through.
fn run(script: Script) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Server {
            script: Arc::new(Mutex::new(script.into())),
            log: Arc::clone(&log),
            through: Arc::default(),
            started: tokio::time::Instant::now(),
        };
        let through = Arc::clone(&server.through);
        let mut notes = Notes(Arc::clone(&log));
        let reflector = Reflector::new(
            kube::Client::new(server, "default"),
            Arc::new(TestClock::default()),
            "/api/v1/pods".to_owned(),
            &Entropy::from_seed(1),
        );
        let listed = Arc::clone(&log);
        let listed = move || {
            listed
                .lock()
                .expect("not poisoned")
                .push("listed".to_owned());
        };
        let mut runs = std::pin::pin!(reflector.run(Known::new(&mut notes), listed).fuse());
        let mut through = std::pin::pin!(through.notified().fuse());
        futures::select_biased! {
            never = runs => never,
            () = through => {}
        }
        let lines = log.lock().expect("not poisoned");
        lines.join("\n")
    })
}

fn object(name: &str, version: u32) -> Value {
    json!({"metadata": {"namespace": "default", "name": name, "resourceVersion": version.to_string()}})
}

fn list(version: &str, next: &str, items: &[Value]) -> (u16, String) {
    let metadata = json!({"resourceVersion": version, "continue": next});
    let list = json!({"kind": "PodList", "metadata": metadata, "items": items});
    (200, list.to_string())
}

fn frames(frames: &[(&str, Value)]) -> (u16, String) {
    let lines = frames
        .iter()
        .map(|(change, object)| format!("{}\n", json!({"type": change, "object": object})));
    (200, lines.collect())
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "status": "Failure", "message": "m", "reason": "Expired", "code": code})
}

#[test]
fn a_list_comes_in_pages_and_a_watch_goes_on_from_it() {
    insta::assert_snapshot!(run(vec![
        list("7", "more", &[object("a", 3)]),
        list("7", "", &[object("b", 4)]),
        frames(&[
            ("ADDED", object("c", 8)),
            ("DELETED", object("a", 9)),
            ("BOOKMARK", json!({"metadata": {"resourceVersion": "12"}})),
        ]),
        frames(&[("MODIFIED", object("b", 13))]),
    ]));
}

#[test]
fn a_list_that_outlives_its_version_is_read_in_one_piece() {
    insta::assert_snapshot!(run(vec![
        list("7", "more", &[object("a", 3)]),
        (410, status(410).to_string()),
        list("9", "", &[object("b", 4)]),
    ]));
}

#[test]
fn an_expired_watch_lists_again_and_finds_what_is_gone() {
    insta::assert_snapshot!(run(vec![
        list("7", "", &[object("a", 3), object("b", 4)]),
        frames(&[("MODIFIED", object("a", 8)), ("ERROR", status(410))]),
        list("20", "", &[object("b", 4)]),
        (410, status(410).to_string()),
        list("30", "", &[object("b", 4)]),
    ]));
}

#[test]
fn failures_and_watches_that_end_at_once_are_waited_out() {
    insta::assert_snapshot!(run(vec![
        (500, status(500).to_string()),
        (500, status(500).to_string()),
        list("7", "", &[]),
        frames(&[]),
        frames(&[]),
        frames(&[]),
        (200, "{\"type\":\"ADDED\"".to_owned()),
        frames(&[("ERROR", status(500))]),
        frames(&[("ADDED", object("a", 8))]),
    ]));
}

#[test]
fn an_object_that_cannot_be_decoded_costs_only_itself() {
    let mut bad = object("bad", 4);
    bad["bad"] = json!("text");
    insta::assert_snapshot!(run(vec![
        list("7", "", &[object("a", 3), bad.clone(), object("b", 4)]),
        frames(&[("MODIFIED", bad), ("MODIFIED", object("b", 9))]),
    ]));
}
