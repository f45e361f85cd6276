use super::*;

pub(super) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(super) fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

#[tokio::test(start_paused = true)]
async fn a_created_pod_has_upstreams_defaults() {
    let server = server();
    let created = post(&server, PODS, pod("a")).await.ok();
    let spec = &created["spec"];
    assert_eq!(
        created["status"],
        json!({"phase": "Pending", "qosClass": "Burstable"})
    );
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(
        spec["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}})
    );
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["tolerations"][1]["tolerationSeconds"], 300);
    assert_eq!(spec["schedulerName"], "default-scheduler");
}

#[tokio::test(start_paused = true)]
async fn errors_have_the_codes_and_texts_of_the_real_server() {
    let server = server();
    post(&server, MAPS, map("c1")).await.ok();
    let cases = [
        (
            get(&server, &format!("{MAPS}/nope")).await,
            404,
            "configmaps \"nope\" not found",
        ),
        (
            get(&server, "/api/v1/namespaces/default/flurbs").await,
            404,
            "the server could not find the requested resource",
        ),
        (
            post(&server, MAPS, map("c1")).await,
            409,
            "configmaps \"c1\" already exists",
        ),
        (
            post(&server, "/api/v1/namespaces/no/configmaps", map("c1")).await,
            404,
            "namespaces \"no\" not found",
        ),
        (
            post(
                &server,
                PODS,
                json!({"metadata": {"name": "x"}, "spec": {}}),
            )
            .await,
            422,
            "Pod \"x\" is invalid: spec.containers: Required value",
        ),
        (
            post(
                &server,
                MAPS,
                json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": 1}}),
            )
            .await,
            400,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            send(
                &server,
                Method::PUT,
                &format!("{MAPS}/c1"),
                json!({"metadata": {"name": "c1", "resourceVersion": "1"}}),
            )
            .await,
            409,
            "Operation cannot be fulfilled on configmaps \"c1\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            post(
                &server,
                &format!("{MAPS}?fieldValidation=Strict"),
                json!({"metadata": {"name": "x"}, "foo": 1}),
            )
            .await,
            400,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\"",
        ),
    ];
    for (answer, code, message) in cases {
        assert_eq!((answer.code, answer.message()), (code, message));
    }
    assert_eq!(
        get(&server, "/apis/nope/v1/x").await.body,
        "404 page not found\n"
    );
}

#[tokio::test(start_paused = true)]
async fn malformed_pods_are_refused_with_field_paths() {
    let server = server();
    let mut bad = pod("x");
    bad["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}});
    bad["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Like", "values": ["x"]}]}],
    }}});
    bad["spec"]["tolerations"] = json!([{"key": "k", "operator": "Maybe"}]);
    let answer = post(&server, PODS, bad).await;
    assert_eq!(answer.code, 422);
    let fields: Vec<&str> = answer.body["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.containers[0].resources.requests",
            "spec.tolerations[0].operator",
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator",
        ]
    );
    let mut quantity = pod("x");
    quantity["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1 core".into();
    let answer = post(&server, PODS, quantity).await;
    assert_eq!(answer.code, 400);
    assert_eq!(
        answer.message(),
        "Pod in version \"v1\" cannot be handled as a Pod: quantities must match the regular \
         expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': \
         spec.containers[0].resources.limits.cpu: \"1 core\""
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_without_effect_makes_no_revision() {
    let server = server();
    let created = post(&server, MAPS, map("c")).await.ok();
    let before = server.revision();
    let path = format!("{MAPS}/c");
    send(&server, Method::PUT, &path, created.clone())
        .await
        .ok();
    patch(&server, &path, "merge-patch", json!({"data": {"k": "v"}}))
        .await
        .ok();
    let dry = format!("{path}?dryRun=All");
    let dry = patch(&server, &dry, "merge-patch", json!({"data": {"k": "w"}}))
        .await
        .ok();
    assert_eq!(dry["data"]["k"], "w");
    assert_eq!(server.revision(), before);
    let changed = patch(&server, &path, "merge-patch", json!({"data": {"k": "w"}}))
        .await
        .ok();
    assert_eq!(
        changed["metadata"]["resourceVersion"],
        (before + 1).to_string()
    );
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_a_deleted_object_and_the_last_one_lets_it_go() {
    let server = server();
    let mut held = map("f");
    held["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    post(&server, MAPS, held).await.ok();
    let path = format!("{MAPS}/f");
    let marked = send(&server, Method::DELETE, &path, Value::Null).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = send(&server, Method::DELETE, &path, Value::Null).await.ok();
    assert_eq!(
        again["metadata"]["resourceVersion"],
        marked["metadata"]["resourceVersion"]
    );
    let more =
        json!({"metadata": {"finalizers": ["example.com/a", "example.com/b", "example.com/c"]}});
    let answer = patch(&server, &path, "merge-patch", more).await;
    assert_eq!(answer.code, 422);
    assert!(
        answer
            .message()
            .contains("found new finalizers []string{\"example.com/c\"}")
    );
    patch(
        &server,
        &path,
        "merge-patch",
        json!({"metadata": {"finalizers": ["example.com/a"]}}),
    )
    .await
    .ok();
    patch(
        &server,
        &path,
        "merge-patch",
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .ok();
    assert_eq!(get(&server, &path).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn kubes_finalizer_patch_passes_on_an_object_without_finalizers() {
    let server = server();
    post(&server, MAPS, map("f")).await.ok();
    let add = json!([
        {"op": "test", "path": "/metadata/finalizers", "value": null},
        {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/a"]},
    ]);
    let path = format!("{MAPS}/f");
    let added = patch(&server, &path, "json-patch", add).await.ok();
    assert_eq!(added["metadata"]["finalizers"], json!(["example.com/a"]));
}

#[tokio::test(start_paused = true)]
async fn a_bound_pod_is_deleted_gracefully_and_a_pending_one_at_once() {
    let server = server();
    post(&server, PODS, pod("pending")).await.ok();
    post(&server, PODS, pod("bound")).await.ok();
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    post(&server, &format!("{PODS}/bound/binding"), binding.clone())
        .await
        .ok();
    let again = post(&server, &format!("{PODS}/bound/binding"), binding).await;
    assert_eq!(
        again.message(),
        "Operation cannot be fulfilled on pods/binding \"bound\": pod bound is already assigned to node \"n\""
    );
    let gone = send(
        &server,
        Method::DELETE,
        &format!("{PODS}/pending"),
        Value::Null,
    )
    .await
    .ok();
    assert_eq!(gone["status"], "Success");
    let path = format!("{PODS}/bound");
    let marked = send(&server, Method::DELETE, &path, Value::Null).await.ok();
    assert_eq!(
        marked["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:30Z"
    );
    assert_eq!(marked["metadata"]["generation"], 2);
    let short = send(
        &server,
        Method::DELETE,
        &path,
        json!({"gracePeriodSeconds": 5}),
    )
    .await
    .ok();
    assert_eq!(
        short["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:05Z"
    );
    let long = send(
        &server,
        Method::DELETE,
        &path,
        json!({"gracePeriodSeconds": 50}),
    )
    .await
    .ok();
    assert_eq!(long["metadata"]["deletionGracePeriodSeconds"], 5);
    let uid = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}});
    assert_eq!(send(&server, Method::DELETE, &path, uid).await.code, 409);
    send(
        &server,
        Method::DELETE,
        &path,
        json!({"gracePeriodSeconds": 0}),
    )
    .await
    .ok();
    assert_eq!(get(&server, &path).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn status_and_spec_do_not_leak_into_each_other() {
    let server = server();
    post(&server, PODS, pod("p")).await.ok();
    let path = format!("{PODS}/p");
    let main = patch(
        &server,
        &path,
        "merge-patch",
        json!({"status": {"phase": "Failed"}}),
    )
    .await
    .ok();
    assert_eq!(main["status"]["phase"], "Pending");
    let body = json!({"metadata": {"labels": {"z": "z"}}, "spec": {"nodeName": "x"}, "status": {"phase": "Running"}});
    let status = patch(&server, &format!("{path}/status"), "merge-patch", body)
        .await
        .ok();
    assert_eq!(status["status"]["phase"], "Running");
    assert_eq!(status["metadata"]["labels"]["z"], "z");
    assert_eq!(status["spec"]["nodeName"], Value::Null);
    let frozen = patch(
        &server,
        &path,
        "merge-patch",
        json!({"spec": {"nodeName": "x"}}),
    )
    .await;
    assert_eq!(frozen.code, 422);
    assert_eq!(frozen.body["details"]["causes"][0]["field"], "spec");
}

#[tokio::test(start_paused = true)]
async fn an_eviction_spends_the_budget_and_is_refused_when_it_is_spent() {
    let server = server();
    for name in ["a", "b"] {
        post(&server, PODS, pod(name)).await.ok();
        post(
            &server,
            &format!("{PODS}/{name}/binding"),
            json!({"target": {"name": "n"}}),
        )
        .await
        .ok();
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        patch(
            &server,
            &format!("{PODS}/{name}/status"),
            "merge-patch",
            ready,
        )
        .await
        .ok();
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    post(&server, budgets, budget).await.ok();
    let evict = |name: &str| {
        let path = format!("{PODS}/{name}/eviction");
        let body = json!({"delete_options": null, "metadata": {"name": name}});
        let server = server.clone();
        async move { post(&server, &path, body).await }
    };
    let lagging = evict("a").await;
    assert_eq!(lagging.code, 429);
    assert_eq!(lagging.body["details"]["retryAfterSeconds"], 10);
    let status = json!({"status": {"observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 2}});
    patch(
        &server,
        &format!("{budgets}/web/status"),
        "merge-patch",
        status,
    )
    .await
    .ok();
    assert_eq!(evict("a").await.code, 201);
    let spent = get(&server, &format!("{budgets}/web")).await.ok();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert_eq!(
        spent["status"]["disruptedPods"]["a"],
        "2026-01-01T00:00:00Z"
    );
    let evicted = get(&server, &format!("{PODS}/a")).await.ok();
    assert!(evicted["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(
        evicted["status"]["conditions"][1]["reason"],
        "EvictionByEvictionAPI"
    );
    let blocked = evict("b").await;
    assert_eq!(blocked.code, 429);
    assert_eq!(
        blocked.message(),
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(blocked.body["details"]["retryAfterSeconds"], Value::Null);
    assert_eq!(
        evict("a").await.code,
        201,
        "a terminating pod is past its budget"
    );
}
