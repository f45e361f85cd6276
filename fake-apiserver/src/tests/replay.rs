//! Probes of a real server, sent to ours: the same code and the same answer, or a known reason.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PROBES: &str = include_str!("../../data/probes-1.36.jsonl");

/// Probes that are answered otherwise, each with its reason.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "cr-enum",
        "the real server walks the properties of a schema in random order",
    ),
    (
        "cr-immediately",
        "a definition is served at once, not within 50 ms",
    ),
    (
        "cr-protobuf-accept",
        "the Status of this 406 is JSON; only protobuf requests are read, no answers written",
    ),
    (
        "list-continue-badtoken",
        "the JSON parser has words of its own",
    ),
    (
        "log",
        "kubelets serve no logs here, and the message says so",
    ),
    (
        "oidc",
        "tokens are signed with a secret, so there is no key to publish",
    ),
    (
        "pod-update-immutable",
        "the message lacks the diff of the two specs",
    ),
    (
        "proxy",
        "kubelets serve no proxy here, and the message says so",
    ),
    ("ssa-dupkey", "the YAML parser has words of its own"),
];

/// Fields whose values belong to one run.
const VOLATILE: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "lastTransitionTime",
    "managedFields",
    "continue",
    "token",
    "expirationTimestamp",
    "time",
    // trimmed in the recording
    "description",
];

struct Replay {
    server: ApiServer,
    /// Uids, revisions and tokens of the recording, and ours.
    known: BTreeMap<String, String>,
}

impl Replay {
    /// Puts ours in the place of what the recording named.
    fn translate(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (theirs, ours) in self.known.iter().rev() {
            let quoted = (format!("\"{theirs}\""), format!("\"{ours}\""));
            text = text.replace(&quoted.0, &quoted.1);
            for separator in ["&", ""] {
                let theirs = format!("={theirs}{separator}");
                if separator == "&" || text.ends_with(&theirs) {
                    text = text.replace(&theirs, &format!("={ours}{separator}"));
                }
            }
        }
        text
    }

    fn learn(&mut self, theirs: &Value, ours: &Value) {
        for field in ["uid", "resourceVersion", "continue"] {
            let pair = (&theirs["metadata"][field], &ours["metadata"][field]);
            if let (Some(theirs), Some(ours)) = (pair.0.as_str(), pair.1.as_str())
                && !theirs.is_empty()
            {
                self.known.insert(theirs.to_owned(), ours.to_owned());
            }
        }
    }

    async fn send(&mut self, probe: &Value) -> (u16, Value) {
        let name = text(&probe["name"]);
        let mut request = Request::builder()
            .method(text(&probe["method"]))
            .uri(self.translate(text(&probe["path"])));
        let token = match name {
            "401-bad-token" => "bad",
            "403" | "403-cluster" | "403-sub" | "403-nonres" | "impersonate-forbidden" | "ssar" => {
                "alice"
            }
            _ if name.starts_with("nr-") => "kubelet",
            _ => "admin",
        };
        if !name.starts_with("anon-") && name != "401-anonymous-api" {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request = request.header(header::USER_AGENT, "probe");
        for (header, value) in probe["headers"].as_object().into_iter().flatten() {
            request = request.header(header, text(value));
        }
        let body = match &probe["body"] {
            Value::Null => String::new(),
            Value::String(body) => self.translate(body),
            other => self.translate(&other.to_string()),
        };
        let request = request.body(Body::from(body)).unwrap();
        let response = self.server.router().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        if text(&probe["path"]).contains("watch") && code == 200 {
            return (code, Value::Null);
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = || String::from_utf8_lossy(&body).into();
        (
            code,
            serde_json::from_slice(&body).unwrap_or_else(|_| text()),
        )
    }

    /// What stood in the cluster of the recording before a probe.
    async fn prepare(&self, probe: &Value) {
        let server = &self.server;
        let name = text(&probe["name"]);
        let namespace = |name: &str| json!({"metadata": {"name": name}});
        match name {
            "401-bad-token" => {
                for node in ["node-1", "node-2", "node-3"] {
                    let node = json!({"metadata": {"name": node, "labels": {
                        "topology.kubernetes.io/region": "eastus",
                        "topology.kubernetes.io/zone": "eastus-1",
                    }}});
                    post(server, "/api/v1/nodes", node).await.ok();
                }
                let path = "/api/v1/namespaces/default/configmaps";
                post(server, path, namespace("kube-root-ca.crt")).await;
                for name in ["default", "ev", "sch"] {
                    if name != "default" {
                        let body = namespace(name);
                        post(server, "/api/v1/namespaces", body).await.ok();
                    }
                    let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
                    post(server, &path, namespace("default")).await;
                }
            }
            "list-limit" => {
                post(server, "/api/v1/namespaces", namespace("lw"))
                    .await
                    .ok();
                let path = "/api/v1/namespaces/lw/configmaps";
                post(server, path, namespace("kube-root-ca.crt")).await;
                post(server, path, namespace("trust")).await;
                server.compact_to(10);
                for index in 0..5 {
                    let labels = json!({"p": (index % 2).to_string()});
                    let metadata = json!({"name": format!("k{index}"), "labels": labels});
                    let body = json!({"metadata": metadata, "data": {"i": index.to_string()}});
                    post(server, path, body).await.ok();
                }
            }
            "bind-ok" => {
                for name in ["b1", "b2", "b3"] {
                    let mut body = pod(name);
                    body["spec"] = json!({"containers": [{"name": "c", "image": "x"}]});
                    body["spec"]["schedulerName"] = "none".into();
                    body["metadata"] = json!({"name": name, "annotations": {"sim/hold": "1"}});
                    if name == "b3" {
                        body["spec"]["schedulingGates"] = json!([{"name": "example.com/g"}]);
                    }
                    post(server, "/api/v1/namespaces/ev/pods", body).await.ok();
                }
            }
            // what kubelets and controllers had written by then
            "smp-taints" | "smp-delete-directive" => {
                let (path, theirs) = (text(&probe["path"]), &probe["answer"]);
                let metadata = &theirs["metadata"];
                let mut main = json!({"metadata": {
                    "labels": metadata["labels"], "annotations": metadata["annotations"],
                }});
                if name == "smp-taints" {
                    main["spec"] = json!({"providerID": theirs["spec"]["providerID"]});
                }
                patch(server, path, "merge-patch", main).await.ok();
                let status = json!({"status": theirs["status"]});
                let path = format!("{path}/status");
                patch(server, &path, "merge-patch", status).await.ok();
            }
            "deletecollection2" => {
                for (name, label) in [("k0", "1"), ("k1", "0"), ("k2", "1")] {
                    let path = format!("/api/v1/namespaces/lw/configmaps/{name}");
                    let change = json!({"metadata": {"labels": {"p": label}}});
                    patch(server, &path, "merge-patch", change).await.ok();
                }
            }
            _ => {}
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Paths at which two answers differ.
fn differences(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            for key in keys {
                if VOLATILE.contains(&key.as_str()) {
                    continue;
                }
                let (theirs, ours) = (theirs.get(key), ours.get(key));
                let null = Value::Null;
                let (theirs, ours) = (theirs.unwrap_or(&null), ours.unwrap_or(&null));
                differences(&format!("{path}.{key}"), theirs, ours, found);
            }
        }
        (Value::Array(theirs), Value::Array(ours))
            if theirs.len() == ours.len() || is_trimmed(theirs.last()) =>
        {
            let theirs = theirs.iter().filter(|item| !is_trimmed(Some(item)));
            for (index, (theirs, ours)) in theirs.zip(ours).enumerate() {
                differences(&format!("{path}[{index}]"), theirs, ours, found);
            }
        }
        _ => {
            if normal(theirs) != normal(ours) {
                found.push(format!("{path}: {theirs} here {ours}"));
            }
        }
    }
}

fn is_trimmed(item: Option<&Value>) -> bool {
    item.is_some_and(|item| text(item).ends_with("more trimmed>"))
}

/// Takes the token volume away, which pods have only where something reads tokens.
fn without_token(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if answer["kind"] == "Pod" {
        let spec = &mut answer["spec"];
        drop(spec.as_object_mut().unwrap().remove("volumes"));
        for container in spec["containers"].as_array_mut().unwrap() {
            drop(container.as_object_mut().unwrap().remove("volumeMounts"));
        }
    }
    if answer["metadata"]["generateName"].is_string() {
        answer["metadata"]["name"] = Value::Null;
    }
    answer
}

/// A text without numbers, uids and generated endings.
fn normal(value: &Value) -> String {
    let text = value.to_string();
    let mut normal = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let core = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_uid = core.len() == 36 && core.matches('-').count() == 4;
        let is_number = core.len() > 1
            && core
                .trim_end_matches('s')
                .bytes()
                .all(|byte| byte.is_ascii_digit());
        if is_uid || is_number {
            normal.push('#');
            normal.push_str(word.strip_prefix(core).unwrap_or_default());
        } else {
            normal.push_str(word);
        }
    }
    normal
}

#[tokio::test(start_paused = true)]
async fn a_real_servers_answers_are_ours() {
    let epoch = "2026-11-22T05:00:00Z".parse().unwrap();
    let clock = Clock::new(epoch, tokio::time::Instant::now(), 1.0);
    let mut options = Options::new(clock, 7)
        .with_token("admin", "admin", &["system:masters"])
        .with_token("alice", "alice", &[])
        .with_token("kubelet", "system:node:node-1", &["system:nodes"]);
    options.anonymous = true;
    let mut replay = Replay {
        server: ApiServer::new(options),
        known: BTreeMap::new(),
    };
    let mut different = BTreeMap::new();
    for line in PROBES.lines() {
        let probe: Value = serde_json::from_str(line).unwrap();
        let name = text(&probe["name"]);
        replay.prepare(&probe).await;
        let (code, answer) = replay.send(&probe).await;
        let mut found = Vec::new();
        if probe["status"] != code {
            found.push(format!("code {} here {code} {answer}", probe["status"]));
        } else if !probe["answer"].is_null() && !answer.is_null() {
            let (theirs, ours) = (without_token(&probe["answer"]), without_token(&answer));
            differences("", &theirs, &ours, &mut found);
        }
        replay.learn(&probe["answer"], &answer);
        if !found.is_empty() {
            different.insert(name.to_owned(), found);
        }
    }
    let known: BTreeSet<&str> = DIFFERENT.iter().map(|(name, _)| *name).collect();
    for (name, found) in &different {
        if !known.contains(name.as_str()) {
            eprintln!("{name}");
            for difference in found {
                eprintln!("    {difference}");
            }
        }
    }
    let found: BTreeSet<&str> = different.keys().map(String::as_str).collect();
    assert_eq!(found, known, "the list of differences is not right");
}
