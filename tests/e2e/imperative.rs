//! Commands of `kubectl` that send protobuf, and questions on behalf of others.

use acceptance::Dev;

#[test]
fn imperative_commands_create_what_their_manifests_would() {
    let dev = Dev::start(&["--no-controller"]);
    let commands: [&[&str]; 12] = [
        &["create", "namespace", "team"],
        &["create", "configmap", "settings", "--from-literal=a=b"],
        &["create", "secret", "generic", "s", "--from-literal=x=y"],
        &[
            "create",
            "deployment",
            "web",
            "--image=nginx:1",
            "--replicas=0",
        ],
        &["create", "serviceaccount", "robot"],
        &["create", "role", "reader", "--verb=get", "--resource=pods"],
        &[
            "create",
            "rolebinding",
            "reads",
            "--role=reader",
            "--user=bob",
        ],
        &["create", "quota", "few", "--hard=count/configmaps=3"],
        &["create", "job", "once", "--image=busybox:1"],
        &[
            "create",
            "cronjob",
            "often",
            "--image=busybox:1",
            "--schedule=*/1 * * * *",
        ],
        &[
            "create",
            "pdb",
            "web",
            "--selector=app=web",
            "--min-available=50%",
        ],
        &["create", "token", "robot"],
    ];
    for command in commands {
        dev.kubectl(command);
    }
    assert_eq!(dev.get(&["cm", "settings"])["data"]["a"], "b");
    assert_eq!(dev.get(&["secret", "s"])["data"]["x"], "eQ==");
    let web = dev.get(&["deployment", "web"]);
    assert_eq!(web["spec"]["replicas"], 0, "a pointer keeps its zero");
    assert_eq!(web["spec"]["selector"]["matchLabels"]["app"], "web");
    assert_eq!(dev.get(&["pdb", "web"])["spec"]["minAvailable"], "50%");
    let may = |verb: &str| dev.run("kubectl", &["auth", "can-i", verb, "pods", "--as", "bob"]);
    assert!(may("get").status.success());
    assert!(!may("delete").status.success());
    // kube-root-ca.crt and settings are there
    dev.kubectl(&["create", "configmap", "third"]);
    let refused = dev.fails("kubectl", &["create", "configmap", "fourth"]);
    assert!(refused.contains("exceeded quota: few"), "{refused}");
    dev.kubectl(&["delete", "secret", "s"]);
}
