//! A cluster that outlives its process.

use std::path::Path;

use super::crud::{MAPS, map};
use super::*;

fn reopen(path: &Path) -> ApiServer {
    let epoch = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Clock::new(epoch, tokio::time::Instant::now(), 1.0);
    let options = Options::new(clock, 7).with_token("admin", "admin", &["system:masters"]);
    ApiServer::persistent(options, path).unwrap()
}

async fn everything(server: &ApiServer) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/api/v1/namespaces",
        "/api/v1/configmaps",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/example.com/v1/kettles",
    ] {
        all.push(get(server, path).await.ok());
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_restart_changes_nothing_and_gives_no_uid_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.jsonl");
    let server = reopen(&path);
    let definition = json!({
        "metadata": {"name": "kettles.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"kind": "Kettle", "plural": "kettles"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    post(&server, definitions, definition).await.ok();
    let kettle =
        json!({"apiVersion": "example.com/v1", "kind": "Kettle", "metadata": {"name": "k"}});
    post(&server, "/apis/example.com/v1/kettles", kettle)
        .await
        .ok();
    post(&server, MAPS, map("gone")).await.ok();
    let past = server.revision();
    let first = post(&server, MAPS, map("kept")).await.ok();
    send(
        &server,
        Method::DELETE,
        &format!("{MAPS}/gone"),
        Value::Null,
    )
    .await
    .ok();
    let before = everything(&server).await;
    let revision = server.revision();
    // as by kill -9 in the middle of a write
    drop(server);
    let mut text = std::fs::read(&path).unwrap();
    let whole = text.len();
    text.extend_from_slice(b"{\"revision\":");
    std::fs::write(&path, &text).unwrap();

    let server = reopen(&path);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole as u64);
    assert_eq!(server.revision(), revision);
    assert_eq!(everything(&server).await, before);
    let exact = format!("{MAPS}?resourceVersion={past}&resourceVersionMatch=Exact");
    let old = get(&server, &exact).await.ok();
    assert_eq!(
        old["items"][0]["metadata"]["name"], "gone",
        "history is kept"
    );
    let second = post(&server, MAPS, map("new")).await.ok();
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
}

#[tokio::test(start_paused = true)]
async fn history_gives_way_to_a_snapshot_and_damage_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.jsonl");
    let server = reopen(&path);
    post(&server, MAPS, map("c")).await.ok();
    for number in 0..1500 {
        let change = json!({"data": {"n": number.to_string()}});
        patch(&server, &format!("{MAPS}/c"), "merge-patch", change)
            .await
            .ok();
    }
    let (before, revision) = (get(&server, MAPS).await.ok(), server.revision());
    drop(server);
    let long = std::fs::metadata(&path).unwrap().len();
    let server = reopen(&path);
    assert!(std::fs::metadata(&path).unwrap().len() < long / 2);
    post(&server, MAPS, map("d")).await.ok();
    drop(server);
    let server = reopen(&path);
    assert_eq!(server.revision(), revision + 1);
    assert_eq!(server.compacted(), revision);
    let after = get(&server, MAPS).await.ok();
    assert_eq!(after["items"][0], before["items"][0]);
    drop(server);

    std::fs::write(&path, "kind: Pod\n").unwrap();
    let epoch = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Clock::new(epoch, tokio::time::Instant::now(), 1.0);
    let error = ApiServer::persistent(Options::new(clock, 7), &path).unwrap_err();
    assert!(
        error.to_string().contains("journal.jsonl:1: not a line"),
        "{error}"
    );
}
