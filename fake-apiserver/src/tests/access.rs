use fake_apiserver_components::api::{Identity, Operation, Request as ApiRequest, Resource};

use super::*;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn as_alice(server: &ApiServer, method: Method, path: &str, body: Value) -> Answer {
    send_as(server, "alice", (method, path), "application/json", body).await
}

#[tokio::test(start_paused = true)]
async fn what_no_rule_grants_is_forbidden_in_upstreams_words() {
    let server = server();
    let cases = [
        (
            as_alice(&server, Method::GET, PODS, Value::Null).await,
            "pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
        ),
        (
            as_alice(&server, Method::GET, "/api/v1/nodes/n", Value::Null).await,
            "nodes \"n\" is forbidden: User \"alice\" cannot get resource \"nodes\" in API group \"\" at the cluster scope",
        ),
        (
            as_alice(
                &server,
                Method::POST,
                &format!("{PODS}/x/eviction"),
                json!({}),
            )
            .await,
            "pods \"x\" is forbidden: User \"alice\" cannot create resource \"pods/eviction\" in API group \"\" in the namespace \"default\"",
        ),
        (
            as_alice(&server, Method::GET, "/metrics", Value::Null).await,
            "forbidden: User \"alice\" cannot get path \"/metrics\"",
        ),
    ];
    for (answer, message) in cases {
        assert_eq!((answer.code, answer.message()), (403, message));
    }
    assert_eq!(
        as_alice(&server, Method::GET, "/version", Value::Null)
            .await
            .code,
        200
    );
    let nobody = send_as(&server, "wrong", (Method::GET, PODS), "", Value::Null).await;
    assert_eq!((nobody.code, nobody.message()), (401, "Unauthorized"));
}

#[tokio::test(start_paused = true)]
async fn a_role_grants_exactly_what_it_says_and_nothing_once_it_is_gone() {
    let server = server();
    let role = json!({"metadata": {"name": "r"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"], "resourceNames": []},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["kube-root-ca.crt"]},
    ]});
    post(&server, &format!("{RBAC}/namespaces/default/roles"), role)
        .await
        .ok();
    let binding = json!({
        "metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "User", "name": "alice"}],
    });
    post(
        &server,
        &format!("{RBAC}/namespaces/default/rolebindings"),
        binding,
    )
    .await
    .ok();
    assert_eq!(
        as_alice(&server, Method::GET, PODS, Value::Null).await.code,
        200
    );
    assert_eq!(
        as_alice(&server, Method::GET, "/api/v1/pods", Value::Null)
            .await
            .code,
        403
    );
    assert_eq!(
        as_alice(
            &server,
            Method::GET,
            &format!("{PODS}?watch=true"),
            Value::Null
        )
        .await
        .code,
        403
    );
    let maps = "/api/v1/namespaces/default/configmaps";
    assert_eq!(
        as_alice(
            &server,
            Method::GET,
            &format!("{maps}/kube-root-ca.crt"),
            Value::Null
        )
        .await
        .code,
        200
    );
    assert_eq!(
        as_alice(&server, Method::GET, &format!("{maps}/other"), Value::Null)
            .await
            .code,
        403
    );
    let named = format!("{maps}?fieldSelector=metadata.name%3Dkube-root-ca.crt");
    assert_eq!(
        as_alice(&server, Method::GET, &named, Value::Null)
            .await
            .code,
        403,
        "get is not list"
    );
    send(
        &server,
        Method::DELETE,
        &format!("{RBAC}/namespaces/default/roles/r"),
        Value::Null,
    )
    .await
    .ok();
    assert_eq!(
        as_alice(&server, Method::GET, PODS, Value::Null).await.code,
        403
    );
}

#[tokio::test(start_paused = true)]
async fn cluster_roles_aggregate_by_label() {
    let server = server();
    let part = json!({
        "metadata": {"name": "part", "labels": {"agg": "yes"}},
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["*"]}],
    });
    post(&server, &format!("{RBAC}/clusterroles"), part)
        .await
        .ok();
    let whole = json!({
        "metadata": {"name": "whole"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"agg": "yes"}}]},
    });
    post(&server, &format!("{RBAC}/clusterroles"), whole)
        .await
        .ok();
    let binding = json!({
        "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "whole", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "Group", "name": "system:authenticated"}],
    });
    post(&server, &format!("{RBAC}/clusterrolebindings"), binding)
        .await
        .ok();
    assert_eq!(
        as_alice(&server, Method::GET, "/api/v1/nodes", Value::Null)
            .await
            .code,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_of_service_accounts_and_bootstrap_secrets_are_users() {
    let server = server();
    let path = "/api/v1/namespaces/kube-system/serviceaccounts/default/token";
    let issued = post(&server, path, json!({"spec": {}})).await.ok();
    let user = server
        .authenticate(issued["status"]["token"].as_str().unwrap())
        .unwrap();
    assert_eq!(&*user.name, "system:serviceaccount:kube-system:default");
    assert!(user.has_group("system:serviceaccounts:kube-system"));
    let secret = json!({
        "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true", "expiration": "2026-01-01T01:00:00Z",
        },
    });
    post(&server, "/api/v1/namespaces/kube-system/secrets", secret)
        .await
        .ok();
    let user = server.authenticate("abcdef.0123456789abcdef").unwrap();
    assert_eq!(
        (&*user.name, user.has_group("system:bootstrappers")),
        ("system:bootstrap:abcdef", true)
    );
    assert!(server.authenticate("abcdef.0000000000000000").is_none());
    tokio::time::advance(std::time::Duration::from_hours(1)).await;
    assert!(
        server.authenticate("abcdef.0123456789abcdef").is_none(),
        "expired"
    );
}

#[tokio::test(start_paused = true)]
async fn components_pass_the_same_gates_as_clients() {
    let server = server();
    post(&server, PODS, pod("p")).await.ok();
    let pods = Resource {
        group: "",
        version: "v1",
        plural: "pods",
    };
    let request = |user: &str, subresource: &'static str, operation: Operation| ApiRequest {
        id: 1,
        identity: Identity::new(user, &[]),
        resource: pods,
        namespace: "default".into(),
        name: "p".into(),
        subresource,
        operation,
    };
    let now = server.clock().now();
    let binding = Operation::Create(json!({"target": {"name": "n"}}));
    let (refused, bound, listed, changes) = server.with_api(|api| {
        let refused = api.call(now, &request("system:stranger", "binding", binding.clone()));
        let before = api.revision();
        let bound = api.call(
            now,
            &request("system:kube-scheduler", "binding", binding.clone()),
        );
        let scheduler = Identity::new("system:kube-scheduler", &[]);
        (
            refused,
            bound,
            api.list(&scheduler, pods),
            api.changes(&scheduler, pods, before),
        )
    });
    assert_eq!(refused.unwrap_err().code, 403);
    bound.unwrap();
    let (objects, _) = listed.unwrap();
    assert_eq!(objects[0].value()["spec"]["nodeName"], "n");
    assert_eq!(changes.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn reviews_answer_what_requests_would() {
    let server = server();
    let body = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let admin = post(&server, path, body.clone()).await.ok();
    assert_eq!(admin["status"]["allowed"], true);
    let alice = as_alice(&server, Method::POST, path, body).await.ok();
    assert_eq!(alice["status"]["allowed"], false);
}

#[test]
fn two_servers_of_one_seed_are_equal_to_the_byte() {
    let epoch = "2026-01-01T00:00:00Z".parse().unwrap();
    let dump = || {
        let clock = Clock::new(epoch, tokio::time::Instant::now(), 1.0);
        let server = ApiServer::new(Options::new(clock, 3));
        let who = Identity::new("x", &["system:masters"]);
        let secrets = Resource {
            group: "",
            version: "v1",
            plural: "configmaps",
        };
        let (objects, revision) = server.with_api(|api| api.list(&who, secrets)).unwrap();
        let text: Vec<String> = objects
            .iter()
            .map(|object| object.value().to_string())
            .collect();
        (text, revision, server.ca().pem().to_owned())
    };
    assert_eq!(dump(), dump());
}
