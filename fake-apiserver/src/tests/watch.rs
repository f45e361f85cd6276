use futures::StreamExt as _;

use super::*;

/// Lines of a watch until `count` have come, or as many as come before it ends.
async fn lines(server: &ApiServer, path: &str, count: usize) -> Vec<Value> {
    let request = Request::builder()
        .uri(path)
        .header(header::AUTHORIZATION, "Bearer admin")
        .body(Body::empty())
        .unwrap();
    let response = server.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut stream = response.into_body().into_data_stream();
    let mut lines = Vec::new();
    while lines.len() < count
        && let Some(chunk) = stream.next().await
    {
        let text = String::from_utf8(chunk.unwrap().to_vec()).unwrap();
        lines.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    lines
}

fn kinds(lines: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .iter()
        .map(|line| {
            (
                text(&line["type"]),
                text(&line["object"]["metadata"]["name"]),
            )
        })
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_watch_delivers_the_past_and_the_future_in_order() {
    let server = server();
    let start = server.revision();
    post(&server, PODS, pod("a")).await.ok();
    let query = format!("{PODS}?watch=true&resourceVersion={start}");
    let watched = lines(&server, &query, 3);
    let written = async {
        tokio::task::yield_now().await;
        post(&server, PODS, pod("b")).await.ok();
        send(&server, Method::DELETE, &format!("{PODS}/a"), Value::Null)
            .await
            .ok();
    };
    let (watched, ()) = tokio::join!(watched, written);
    assert_eq!(
        kinds(&watched),
        pairs(&[("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")])
    );
    let version = |line: &Value| {
        line["object"]["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(
        watched
            .windows(2)
            .all(|pair| version(&pair[0]) < version(&pair[1]))
    );
}

#[tokio::test(start_paused = true)]
async fn a_selector_turns_changes_into_arrivals_and_departures() {
    let server = server();
    let start = server.revision();
    post(&server, PODS, pod("a")).await.ok();
    let label = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    let path = format!("{PODS}/a");
    patch(&server, &path, "merge-patch", label("other"))
        .await
        .ok();
    patch(&server, &path, "merge-patch", label("web"))
        .await
        .ok();
    let query = format!("{PODS}?watch=true&resourceVersion={start}&labelSelector=app%3Dweb");
    let seen = lines(&server, &query, 3).await;
    assert_eq!(
        kinds(&seen),
        pairs(&[("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")])
    );
    assert_eq!(
        seen[1]["object"]["metadata"]["labels"]["app"], "web",
        "the old content"
    );
    assert_eq!(
        seen[1]["object"]["metadata"]["resourceVersion"],
        (start + 2).to_string(),
        "the new revision"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_list_ends_its_list_with_an_annotated_bookmark() {
    let server = server();
    post(&server, PODS, pod("a")).await.ok();
    let query = format!(
        "{PODS}?&watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let seen = lines(&server, &query, 2).await;
    assert_eq!(kinds(&seen), pairs(&[("ADDED", "a"), ("BOOKMARK", "")]));
    assert_eq!(seen[1]["object"]["kind"], "Pod");
    assert_eq!(
        seen[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let bad = get(
        &server,
        &format!("{PODS}?watch=true&sendInitialEvents=true"),
    )
    .await;
    assert_eq!(bad.code, 422);
}

#[tokio::test(start_paused = true)]
async fn a_compacted_revision_ends_with_410_inside_the_stream() {
    let server = server();
    post(&server, PODS, pod("a")).await.ok();
    server.compact();
    let seen = lines(&server, &format!("{PODS}?watch=true&resourceVersion=1"), 9).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["type"], "ERROR");
    assert_eq!(
        (&seen[0]["object"]["code"], &seen[0]["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
}

#[tokio::test(start_paused = true)]
async fn bookmarks_tell_progress_of_other_kinds_and_the_time_is_kept() {
    let server = server();
    let begin = tokio::time::Instant::now();
    let start = server.revision();
    let query = format!(
        "{PODS}?watch=true&resourceVersion={start}&allowWatchBookmarks=true&timeoutSeconds=90"
    );
    let watched = lines(&server, &query, 9);
    let written = post(&server, "/api/v1/nodes", json!({"metadata": {"name": "n"}}));
    let (seen, _) = tokio::join!(watched, written);
    assert_eq!(kinds(&seen), pairs(&[("BOOKMARK", "")]));
    assert_eq!(
        seen[0]["object"]["metadata"]["resourceVersion"],
        server.revision().to_string()
    );
    assert_eq!(begin.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_table_watch_sends_its_columns_once() {
    let server = server();
    post(&server, PODS, pod("a")).await.ok();
    post(&server, PODS, pod("b")).await.ok();
    let request = Request::builder()
        .uri(format!("{PODS}?watch=true"))
        .header(header::AUTHORIZATION, "Bearer admin")
        .header(
            header::ACCEPT,
            "application/json;as=Table;v=v1;g=meta.k8s.io",
        )
        .body(Body::empty())
        .unwrap();
    let response = server.router().oneshot(request).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    let text = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
    let seen: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(seen[0]["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(seen[1]["object"]["columnDefinitions"], Value::Null);
    assert_eq!(
        seen[1]["object"]["rows"][0]["cells"],
        json!([
            "b", "0/1", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"
        ])
    );
}
