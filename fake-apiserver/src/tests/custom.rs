use super::*;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GADGETS: &str = "/apis/toys.example.org/v1/namespaces/default/gadgets";

/// A CRD this crate has never heard of.
fn definition() -> Value {
    let schema = json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["color"],
                "x-kubernetes-validations": [
                    {"rule": "self.replicas <= self.limit", "message": "replicas over limit", "fieldPath": ".replicas"},
                    {"rule": "!has(self.serial_no) || self.serial_no.startsWith('S')", "messageExpression": "'bad serial ' + self.serial_no"},
                ],
                "properties": {
                    "color": {
                        "type": "string", "enum": ["red", "green"],
                        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "color is immutable", "reason": "FieldValueForbidden"}],
                    },
                    "replicas": {"type": "integer", "minimum": 0, "default": 1},
                    "limit": {"type": "integer", "default": 10},
                    "serial_no": {"type": "string", "maxLength": 8},
                    "memory": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^[0-9]+(Mi|Gi)?$"},
                    "window": {"type": "string", "pattern": "^([0-9]+(s|m|h))+$|^(Never)$"},
                    "requirements": {"type": "array", "items": {"type": "object", "required": ["key"], "properties": {
                        "key": {"type": "string"}, "operator": {"type": "string", "enum": ["In", "NotIn"]},
                    }}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
            "additionalPrinterColumns": [
                {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            ],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.toys.example.org"},
        "spec": {
            "group": "toys.example.org", "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget", "shortNames": ["gd"], "categories": ["all"]},
            "versions": [version("v1beta1", false), version("v1", true)],
        },
    })
}

fn gadget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "toys.example.org/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": spec})
}

async fn with_gadgets() -> ApiServer {
    let server = server();
    post(&server, CRDS, definition()).await.ok();
    server
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_established_served_and_discovered_at_once() {
    let server = with_gadgets().await;
    let crd = get(&server, &format!("{CRDS}/gadgets.toys.example.org"))
        .await
        .ok();
    let conditions: Vec<_> = crd["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["type"].clone(), c["status"].clone()))
        .collect();
    assert_eq!(
        conditions,
        [
            (json!("NamesAccepted"), json!("True")),
            (json!("Established"), json!("True"))
        ]
    );
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(crd["spec"]["names"]["listKind"], "GadgetList");
    let group = get(&server, "/apis/toys.example.org").await.ok();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let list = get(&server, "/apis/toys.example.org/v1").await.ok();
    let names: Vec<&str> = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["gadgets", "gadgets/scale", "gadgets/status"]);
    let openapi = get(&server, "/openapi/v3/apis/toys.example.org/v1")
        .await
        .ok();
    assert!(openapi["components"]["schemas"]["org.example.toys.v1.Gadget"].is_object());
}

#[tokio::test(start_paused = true)]
async fn objects_are_pruned_defaulted_and_shown_in_every_served_version() {
    let server = with_gadgets().await;
    let spec = json!({"color": "red", "bogus": 1, "free": {"x": {"y": 1}}});
    let mut body = gadget("g", spec);
    body["status"] = json!({"replicas": 5});
    let created = post(&server, GADGETS, body).await.ok();
    assert_eq!(
        created["spec"],
        json!({"color": "red", "replicas": 1, "limit": 10, "free": {"x": {"y": 1}}})
    );
    assert_eq!(created["status"], Value::Null);
    let old = get(
        &server,
        "/apis/toys.example.org/v1beta1/namespaces/default/gadgets/g",
    )
    .await
    .ok();
    assert_eq!(old["apiVersion"], "toys.example.org/v1beta1");
    let stored = get(&server, &format!("{GADGETS}/g")).await.ok();
    assert_eq!(stored["apiVersion"], "toys.example.org/v1");
}

#[tokio::test(start_paused = true)]
async fn violations_are_reported_with_path_reason_and_text() {
    let server = with_gadgets().await;
    let cases = [
        (
            json!({}),
            vec![
                ("FieldValueRequired", "spec.color", "Required value"),
                (
                    "FieldValueInvalid",
                    "<nil>",
                    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
                ),
            ],
        ),
        (
            json!({"color": "red", "memory": "1 GB"}),
            vec![(
                "FieldValueInvalid",
                "spec.memory",
                "Invalid value: \"1 GB\": spec.memory in body should match '^[0-9]+(Mi|Gi)?$'",
            )],
        ),
        (
            json!({"color": "red", "requirements": [{"key": "a", "operator": "Like"}]}),
            vec![
                (
                    "FieldValueNotSupported",
                    "spec.requirements[0].operator",
                    "Unsupported value: \"Like\": supported values: \"In\", \"NotIn\"",
                ),
                (
                    "FieldValueInvalid",
                    "<nil>",
                    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
                ),
            ],
        ),
        (
            json!({"color": "red", "replicas": 11}),
            vec![(
                "FieldValueInvalid",
                "spec.replicas",
                "Invalid value: replicas over limit",
            )],
        ),
        (
            json!({"color": "red", "serial_no": "X1"}),
            vec![("FieldValueInvalid", "spec", "Invalid value: bad serial X1")],
        ),
        (
            json!({"color": "red", "requirements": [{"key": "a"}, {"key": "a"}]}),
            vec![(
                "FieldValueDuplicate",
                "spec.requirements[1]",
                "Duplicate value: {\"key\":\"a\"}",
            )],
        ),
    ];
    for (spec, expected) in cases {
        let answer = post(&server, GADGETS, gadget("x", spec.clone())).await;
        assert_eq!(answer.code, 422, "{spec}");
        let causes = answer.body["details"]["causes"].as_array().unwrap();
        let found: Vec<_> = causes
            .iter()
            .map(|cause| {
                let text = |field: &str| cause[field].as_str().unwrap_or_default();
                (text("reason"), text("field"), text("message"))
            })
            .collect();
        let without_hint = |list: &[(&str, &str, &str)]| {
            list.iter()
                .filter(|c| c.1 != "<nil>")
                .map(|c| format!("{c:?}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(without_hint(&found), without_hint(&expected), "{spec}");
    }
}

#[tokio::test(start_paused = true)]
async fn transition_rules_compare_and_tightened_schemas_ratchet() {
    let server = with_gadgets().await;
    post(
        &server,
        GADGETS,
        gadget("g", json!({"color": "red", "serial_no": "S1"})),
    )
    .await
    .ok();
    let path = format!("{GADGETS}/g");
    let changed = patch(
        &server,
        &path,
        "merge-patch",
        json!({"spec": {"color": "green"}}),
    )
    .await;
    assert_eq!(
        changed.message(),
        "Gadget.toys.example.org \"g\" is invalid: spec.color: Forbidden: color is immutable"
    );
    let mut tighter = get(&server, &format!("{CRDS}/gadgets.toys.example.org"))
        .await
        .ok();
    for index in 0..2 {
        tighter["spec"]["versions"][index]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            ["serial_no"]["minLength"] = 5.into();
    }
    send(
        &server,
        Method::PUT,
        &format!("{CRDS}/gadgets.toys.example.org"),
        tighter,
    )
    .await
    .ok();
    patch(
        &server,
        &path,
        "merge-patch",
        json!({"spec": {"replicas": 2}}),
    )
    .await
    .ok();
    let touched = patch(
        &server,
        &path,
        "merge-patch",
        json!({"spec": {"serial_no": "S2"}}),
    )
    .await;
    assert_eq!(touched.code, 422);
}

#[tokio::test(start_paused = true)]
async fn status_is_isolated_and_generation_counts_the_spec() {
    let server = with_gadgets().await;
    post(&server, GADGETS, gadget("g", json!({"color": "red"})))
        .await
        .ok();
    let path = format!("{GADGETS}/g");
    let main = patch(&server, &path, "merge-patch", json!({"status": {"x": 1}}))
        .await
        .ok();
    assert_eq!(
        (&main["status"], &main["metadata"]["generation"]),
        (&Value::Null, &json!(1))
    );
    let body =
        json!({"metadata": {"labels": {"z": "z"}}, "spec": {"replicas": 7}, "status": {"x": 1}});
    let status = patch(&server, &format!("{path}/status"), "merge-patch", body)
        .await
        .ok();
    assert_eq!(
        (&status["status"]["x"], &status["spec"]["replicas"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(status["metadata"].get("labels"), None);
    let scaled = patch(
        &server,
        &format!("{path}/scale"),
        "merge-patch",
        json!({"spec": {"replicas": 3}}),
    )
    .await
    .ok();
    assert_eq!(scaled["spec"]["replicas"], 3);
    let now = get(&server, &path).await.ok();
    assert_eq!(
        (&now["spec"]["replicas"], &now["metadata"]["generation"]),
        (&json!(3), &json!(2))
    );
    let smp = patch(&server, &path, "strategic-merge-patch", json!({})).await;
    assert_eq!(smp.code, 415);
}

#[tokio::test(start_paused = true)]
async fn an_update_needs_a_revision_and_a_table_has_the_declared_columns() {
    let server = with_gadgets().await;
    post(&server, GADGETS, gadget("g", json!({"color": "red"})))
        .await
        .ok();
    let blind = send(
        &server,
        Method::PUT,
        &format!("{GADGETS}/g"),
        gadget("g", json!({"color": "red"})),
    )
    .await;
    assert_eq!(
        blind.message(),
        "gadgets.toys.example.org \"g\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    );
    let request = Request::builder()
        .uri(GADGETS)
        .header(header::AUTHORIZATION, "Bearer admin")
        .header(
            header::ACCEPT,
            "application/json;as=Table;v=v1;g=meta.k8s.io",
        )
        .body(Body::empty())
        .unwrap();
    let response = server.router().oneshot(request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let table: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(table["rows"][0]["cells"], json!(["g", "red", null, "0s"]));
}

#[tokio::test(start_paused = true)]
async fn broken_definitions_are_refused_where_they_break() {
    let server = server();
    let mut untyped = definition();
    untyped["spec"]["versions"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    untyped["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({"properties": {}});
    let answer = post(&server, CRDS, untyped).await;
    assert_eq!(answer.code, 422);
    assert_eq!(
        answer.body["details"]["causes"][0]["field"],
        "spec.validation.openAPIV3Schema.properties[spec].type"
    );
    let mut named = definition();
    named["metadata"]["name"] = "wrong".into();
    let answer = post(&server, CRDS, named).await;
    assert!(answer.message().contains(
        "metadata.name: Invalid value: \"wrong\": must be spec.names.plural+\".\"+spec.group"
    ));
    let mut rule = definition();
    rule["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{"rule": "self."}]);
    let answer = post(&server, CRDS, rule).await;
    assert!(
        answer.message().contains("compilation failed"),
        "{}",
        answer.message()
    );
}

#[tokio::test(start_paused = true)]
async fn rules_over_fields_that_do_not_exist_are_refused_with_the_definition() {
    let server = server();
    let with_rule = |rule: &str| {
        let mut crd = definition();
        crd["metadata"]["name"] = "gadgets.toys.example.org".into();
        let spec =
            &mut crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec["x-kubernetes-validations"] = json!([{"rule": rule}]);
        crd
    };
    let path = format!("{CRDS}?dryRun=All");
    for (rule, field) in [
        ("self.colour == 'x'", "colour"),
        ("self.requirements.all(r, r.name != '')", "name"),
        ("self.requirements[0].kee == 'x'", "kee"),
    ] {
        let answer = post(&server, &path, with_rule(rule)).await;
        assert_eq!(answer.code, 422, "{rule}");
        let expected = format!("undefined field '{field}'");
        assert!(answer.message().contains(&expected), "{}", answer.message());
    }
    for rule in [
        "self.requirements.all(r, r.key != '')",
        "has(self.free) && self.free.anything == 1",
        "self.requirements.filter(r, r.key == 'a').size() < 2",
        "oldSelf.color == self.color",
    ] {
        let answer = post(&server, &path, with_rule(rule)).await;
        assert_eq!(answer.code, 201, "{rule}: {}", answer.message());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_definition_takes_its_objects_with_it() {
    let server = with_gadgets().await;
    let mut held = gadget("held", json!({"color": "red"}));
    held["metadata"]["finalizers"] = json!(["toys.example.org/x"]);
    post(&server, GADGETS, held).await.ok();
    post(&server, GADGETS, gadget("free", json!({"color": "red"})))
        .await
        .ok();
    let crd = format!("{CRDS}/gadgets.toys.example.org");
    send(&server, Method::DELETE, &crd, Value::Null).await.ok();
    assert_eq!(get(&server, &format!("{GADGETS}/free")).await.code, 404);
    assert!(get(&server, &crd).await.ok()["metadata"]["deletionTimestamp"].is_string());
    patch(
        &server,
        &format!("{GADGETS}/held"),
        "merge-patch",
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .ok();
    assert_eq!(get(&server, &crd).await.code, 404);
    assert_eq!(
        get(&server, "/apis/toys.example.org/v1/gadgets").await.body,
        "404 page not found\n"
    );
}
