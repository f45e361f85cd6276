//! What watches and lists of the past promise.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _};
use proptest::prelude::*;

use super::crud::{MAPS, map};
use super::*;
use crate::AsOf;

type Stream = futures::stream::Fuse<axum::body::BodyDataStream>;

async fn open(server: &ApiServer, path: &str, as_of: Option<u64>) -> Stream {
    let mut request = Request::builder()
        .uri(path)
        .header(header::AUTHORIZATION, "Bearer admin")
        .body(Body::empty())
        .unwrap();
    if let Some(revision) = as_of {
        request.extensions_mut().insert(AsOf(revision));
    }
    let response = server.router().oneshot(request).await.unwrap();
    futures::StreamExt::fuse(response.into_body().into_data_stream())
}

/// What a stream has for its reader now; `None` when it has ended.
fn ready(stream: &mut Stream) -> Option<Vec<Value>> {
    let mut text = Vec::new();
    let mut ended = false;
    while let Some(next) = stream.next().now_or_never() {
        match next {
            Some(chunk) => text.extend(chunk.unwrap()),
            None => {
                ended = true;
                break;
            }
        }
    }
    let lines: Vec<Value> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    (!ended || !lines.is_empty()).then_some(lines)
}

async fn read(server: &ApiServer, path: &str, as_of: u64) -> Value {
    let mut stream = open(server, path, Some(as_of)).await;
    let mut text = Vec::new();
    while let Some(chunk) = stream.next().await {
        text.extend(chunk.unwrap());
    }
    serde_json::from_slice(&text).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .filter(|name| *name != "kube-root-ca.crt")
        .collect()
}

#[tokio::test(start_paused = true)]
async fn reads_that_accept_any_state_can_be_answered_from_the_past() {
    let server = server();
    post(&server, MAPS, map("a")).await.ok();
    let past = server.revision();
    post(&server, MAPS, map("b")).await.ok();
    send(&server, Method::DELETE, &format!("{MAPS}/a"), Value::Null)
        .await
        .ok();
    let any = format!("{MAPS}?resourceVersion=0");
    let list = read(&server, &any, past).await;
    assert_eq!(names(&list), ["a"]);
    assert_eq!(list["metadata"]["resourceVersion"], past.to_string());
    let one = |name: &str| format!("{MAPS}/{name}?resourceVersion=0");
    assert_eq!(read(&server, &one("a"), past).await["data"]["k"], "v");
    assert_eq!(read(&server, &one("b"), past).await["code"], 404);

    // everything else is as ever: consistent reads, reads not older than now
    assert_eq!(names(&read(&server, MAPS, past).await), ["b"]);
    let fresh = format!(
        "{MAPS}?resourceVersion={}&resourceVersionMatch=NotOlderThan",
        server.revision()
    );
    assert_eq!(names(&read(&server, &fresh, past).await), ["b"]);
    let query = format!("{MAPS}?watch=true&resourceVersion=0");
    let mut watch = open(&server, &query, Some(past)).await;
    let seen: Vec<_> = ready(&mut watch)
        .unwrap()
        .iter()
        .map(|line| format!("{} {}", line["type"], line["object"]["metadata"]["name"]))
        .filter(|line| !line.contains("kube-root-ca"))
        .collect();
    assert_eq!(
        seen,
        ["\"ADDED\" \"a\"", "\"ADDED\" \"b\"", "\"DELETED\" \"a\""]
    );
    server.compact();
    assert_eq!(server.compacted(), server.revision());
    assert_eq!(names(&read(&server, &any, past).await), ["b"], "forgotten");
}

#[tokio::test(start_paused = true)]
async fn an_expired_position_is_410_as_status_and_as_event() {
    let server = server();
    for name in ["a", "b", "c"] {
        post(&server, MAPS, map(name)).await.ok();
    }
    let page = get(&server, &format!("{MAPS}?limit=1")).await.ok();
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    let past = server.revision() - 1;
    post(&server, MAPS, map("d")).await.ok();
    server.compact_to(past + 1);
    let exact = format!("{MAPS}?resourceVersion={past}&resourceVersionMatch=Exact");
    let answer = get(&server, &exact).await;
    assert_eq!(
        (answer.code, &answer.body["reason"]),
        (410, &"Expired".into())
    );
    let kept = format!("{MAPS}?limit=1&continue={token}");
    assert_eq!(get(&server, &kept).await.code, 200, "not yet compacted");
    server.compact();
    let answer = get(&server, &kept).await;
    assert_eq!(
        (answer.code, &answer.body["reason"]),
        (410, &"Expired".into())
    );
    let rest = answer.body["metadata"]["continue"].as_str().unwrap();
    let rest = get(&server, &format!("{MAPS}?continue={rest}")).await.ok();
    assert_eq!(names(&rest), ["b", "c", "d"]);
    let query = format!("{MAPS}?watch=true&resourceVersion={past}");
    let mut watch = open(&server, &query, None).await;
    let lines = ready(&mut watch).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["type"], "ERROR");
    assert_eq!(lines[0]["object"]["code"], 410);
    assert_eq!(ready(&mut watch), None);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_too_long_is_cut_and_can_resume() {
    let server = server();
    post(&server, MAPS, map("a")).await.ok();
    let start = server.revision();
    let query = format!("{MAPS}?watch=true&resourceVersion={start}");
    let mut watch = open(&server, &query, None).await;
    assert_eq!(ready(&mut watch), Some(Vec::new()));
    let changes = 10_001;
    server.run(|machine| {
        let space = machine.registry.space("", "configmaps");
        let item = machine.store.get(space, "default/a").unwrap().value.clone();
        for _ in 0..changes {
            let expect = fake_apiserver_store::Expect::Any;
            let written = machine.store.put(space, "default/a", expect, item.clone());
            written.unwrap();
        }
        machine.wake(space);
    });
    assert_eq!(
        ready(&mut watch),
        None,
        "a clean end, as of the real server"
    );
    let mut watch = open(&server, &query, None).await;
    assert_eq!(ready(&mut watch).unwrap().len(), changes, "in many chunks");
    let path = format!("{MAPS}/a");
    let change = json!({"data": {"k": "w"}});
    patch(&server, &path, "merge-patch", change).await.ok();
    assert_eq!(ready(&mut watch).unwrap().len(), 1);
}

#[derive(Clone, Debug)]
enum Op {
    /// Create, or give this label.
    Write(u8, u8),
    Delete(u8),
    /// A write of another kind.
    Other,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0u8..5, 0u8..3).prop_map(|(name, label)| Op::Write(name, label)),
        2 => (0u8..5).prop_map(Op::Delete),
        1 => Just(Op::Other),
    ];
    proptest::collection::vec(op, 1..25)
}

async fn perform(server: &ApiServer, op: &Op) {
    match op {
        Op::Write(name, label) => {
            let mut body = map(&format!("k{name}"));
            body["metadata"]["labels"] = json!({"l": label.to_string()});
            if post(server, MAPS, body.clone()).await.code == 409 {
                let path = format!("{MAPS}/k{name}");
                send(server, Method::PUT, &path, body).await.ok();
            }
        }
        Op::Delete(name) => {
            let path = format!("{MAPS}/k{name}");
            send(server, Method::DELETE, &path, Value::Null).await;
        }
        Op::Other => {
            let body = json!({"metadata": {"generateName": "n-"}});
            post(server, "/api/v1/nodes", body).await.ok();
        }
    }
}

fn by_name(list: &Value) -> BTreeMap<String, Value> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .map(|item| {
            let name = item["metadata"]["name"].as_str().unwrap().to_owned();
            (name, item["metadata"]["labels"].clone())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A list at any revision and the watch events after it give the list now, with and without a
    /// selector; a watch list gives it too.
    #[test]
    fn a_list_and_the_events_after_it_give_the_present(
        ops in ops(),
        selector in prop_oneof![Just(""), Just("labelSelector=l%3D1&"), Just("labelSelector=l!%3D2&")],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = server();
            let start = server.revision();
            for op in &ops {
                perform(&server, op).await;
            }
            let now = by_name(&get(&server, &format!("{MAPS}?{selector}")).await.ok());
            for revision in start..=server.revision() {
                let exact = format!("{MAPS}?{selector}resourceVersion={revision}&resourceVersionMatch=Exact");
                let mut state = by_name(&get(&server, &exact).await.ok());
                let query = format!("{MAPS}?{selector}watch=true&resourceVersion={revision}");
                let mut last = revision;
                for line in ready(&mut open(&server, &query, None).await).unwrap() {
                    let metadata = &line["object"]["metadata"];
                    let name = metadata["name"].as_str().unwrap().to_owned();
                    let version = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
                    assert!(version > last, "revisions grow");
                    last = version;
                    let known = match line["type"].as_str().unwrap() {
                        "DELETED" => state.remove(&name).is_some(),
                        _ => state.insert(name, metadata["labels"].clone()).is_some(),
                    };
                    assert_eq!(line["type"] != "ADDED", known, "{line}");
                }
                assert_eq!(&state, &now, "from {revision}");
            }
        });
    }
}
