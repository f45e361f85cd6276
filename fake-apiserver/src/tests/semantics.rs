use super::crud::{MAPS, map};
use super::*;

#[tokio::test(start_paused = true)]
async fn lists_page_select_and_read_the_past() {
    let server = server();
    for index in 0..5 {
        let mut item = map(&format!("k{index}"));
        item["metadata"]["labels"] = json!({"odd": (index % 2).to_string()});
        post(&server, MAPS, item).await.ok();
    }
    let names = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let odd = get(&server, &format!("{MAPS}?&labelSelector=odd%3D1&limit=1"))
        .await
        .ok();
    assert_eq!(names(&odd), ["k1"]);
    assert_eq!(odd["metadata"].get("remainingItemCount"), None);
    let first = get(
        &server,
        &format!("{MAPS}?limit=2&fieldSelector=metadata.name!%3Dkube-root-ca.crt"),
    )
    .await
    .ok();
    assert_eq!(names(&first), ["k0", "k1"]);
    send(&server, Method::DELETE, &format!("{MAPS}/k3"), Value::Null)
        .await
        .ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = get(&server, &format!("{MAPS}?limit=2&continue={token}"))
        .await
        .ok();
    assert_eq!(
        names(&second),
        ["k2", "k3"],
        "the second page is of the first page's revision"
    );
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    server.compact();
    let stale = get(&server, &format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(stale.code, 410);
    let fresh = stale.body["metadata"]["continue"].as_str().unwrap();
    let rest = get(&server, &format!("{MAPS}?continue={fresh}")).await.ok();
    assert_eq!(names(&rest), ["k2", "k4", "kube-root-ca.crt"]);
    let zero = get(&server, &format!("{MAPS}?limit=1&resourceVersion=0"))
        .await
        .ok();
    assert_eq!(names(&zero).len(), 5);
    let future = get(&server, &format!("{MAPS}?resourceVersion=99999")).await;
    assert_eq!(
        (
            future.code,
            future.body["details"]["retryAfterSeconds"].as_u64()
        ),
        (504, Some(1))
    );
}

#[tokio::test(start_paused = true)]
async fn apply_shares_conflicts_forces_and_lets_go() {
    let server = server();
    let path = format!("{MAPS}/s");
    let config = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data});
    let one = format!("{path}?fieldManager=m1");
    let two = format!("{path}?fieldManager=m2");
    let created = patch(&server, &one, "apply", config(json!({"a": "1", "b": "2"}))).await;
    assert_eq!(created.code, 201);
    assert_eq!(
        created.body["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {"f:a": {}, "f:b": {}}})
    );
    let before = server.revision();
    patch(&server, &one, "apply", config(json!({"a": "1", "b": "2"})))
        .await
        .ok();
    assert_eq!(
        server.revision(),
        before,
        "applying the same again changes nothing"
    );
    let conflict = patch(&server, &two, "apply", config(json!({"a": "9"}))).await;
    assert_eq!(conflict.code, 409);
    assert_eq!(
        conflict.message(),
        "Apply failed with 1 conflict: conflict with \"m1\": .data.a"
    );
    assert_eq!(conflict.body["details"]["causes"][0]["field"], ".data.a");
    patch(
        &server,
        &format!("{two}&force=true"),
        "apply",
        config(json!({"a": "9"})),
    )
    .await
    .ok();
    let dropped = patch(&server, &one, "apply", config(json!({}))).await.ok();
    assert_eq!(dropped["data"], json!({"a": "9"}));
    let missing = patch(&server, &path, "apply", config(json!({}))).await;
    assert_eq!(missing.code, 422);
}

#[tokio::test(start_paused = true)]
async fn a_scale_changes_replicas_and_generation() {
    let server = server();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let body = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let created = post(&server, deployments, body).await.ok();
    assert_eq!(
        created["spec"]["strategy"]["rollingUpdate"]["maxSurge"],
        "25%"
    );
    let scale = format!("{deployments}/d/scale");
    let scaled = patch(
        &server,
        &scale,
        "merge-patch",
        json!({"spec": {"replicas": 5}}),
    )
    .await
    .ok();
    assert_eq!(scaled["kind"], "Scale");
    assert_eq!(scaled["status"]["selector"], "a=b");
    let now = get(&server, &format!("{deployments}/d")).await.ok();
    assert_eq!(
        (&now["spec"]["replicas"], &now["metadata"]["generation"]),
        (&json!(5), &json!(2))
    );
}

#[tokio::test(start_paused = true)]
async fn both_event_apis_show_one_event() {
    let server = server();
    let event = json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "R", "note": "text",
        "action": "A", "type": "Normal", "reportingController": "c", "reportingInstance": "i",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    let created = post(
        &server,
        "/apis/events.k8s.io/v1/namespaces/default/events",
        event,
    )
    .await
    .ok();
    assert_eq!(created["note"], "text");
    let path = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,reason%3DR";
    let core = get(&server, path).await.ok();
    assert_eq!(core["items"][0]["message"], "text");
    assert_eq!(core["items"][0]["involvedObject"]["kind"], "Pod");
}

#[tokio::test(start_paused = true)]
async fn a_new_node_is_tainted_until_it_is_ready() {
    let server = server();
    let node = post(
        &server,
        "/api/v1/nodes",
        json!({"metadata": {"name": "n"}, "status": {"phase": "x"}}),
    )
    .await
    .ok();
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
    assert_eq!(node["status"]["phase"], "x");
}

#[tokio::test(start_paused = true)]
async fn components_learn_which_of_their_resources_changed() {
    use fake_apiserver_components::api::{Identity, Resource};

    const fn of(group: &'static str, plural: &'static str) -> Resource {
        let version = "v1";
        Resource {
            group,
            version,
            plural,
        }
    }
    let server = server();
    let who = Identity::new("admin", &["system:masters"]);
    let touched = |since| server.with_api(|api| api.touched(since));
    let start = server.revision();
    post(&server, MAPS, map("a")).await.ok();
    assert_eq!(touched(start), Some(Vec::new()), "nobody follows it yet");
    let followed = [
        of("", "events"),
        of("events.k8s.io", "events"),
        of("", "configmaps"),
        of("", "pods"),
    ];
    for resource in followed {
        server.with_api(|api| api.list(&who, resource)).unwrap();
    }
    assert_eq!(touched(start), Some(vec![of("", "configmaps")]));
    let path = "/api/v1/namespaces/default/events";
    let event = json!({
        "metadata": {"name": "e"}, "reason": "R", "message": "m", "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "x"},
    });
    let before = server.revision();
    post(&server, path, event).await.ok();
    let both = vec![of("", "events"), of("events.k8s.io", "events")];
    assert_eq!(touched(before), Some(both));
    assert_eq!(touched(server.revision()), Some(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn limit_ranges_fill_in_and_bound_what_containers_ask_for() {
    let server = server();
    let range = json!({
        "metadata": {"name": "range"},
        "spec": {"limits": [{
            "type": "Container", "max": {"cpu": "2"}, "min": {"memory": "16Mi"},
            "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
        }]},
    });
    let path = "/api/v1/namespaces/default/limitranges";
    post(&server, path, range).await.ok();
    let ask = |resources: Value| {
        let mut body = pod("p");
        body["spec"]["containers"][0]["resources"] = resources;
        body
    };
    let made = post(&server, PODS, ask(json!({}))).await.ok();
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m", "memory": "16Mi"}})
    );
    let too_much = ask(json!({"limits": {"cpu": "3"}, "requests": {"memory": "1Mi"}}));
    let refused = post(&server, PODS, too_much).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "pods \"p\" is forbidden: [minimum memory usage per Container is 16Mi, but request is \
         1Mi, maximum cpu usage per Container is 2, but limit is 3]"
    );
}
