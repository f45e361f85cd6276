use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use controller_api::labels;
use controller_core::model::{Effect, NodeClaimName, ProviderId, Taint};
use controller_core::quantity::Resources;
use controller_core::requirements::{Operator, RequirementSpec};
use controller_ports::{
    Clock, CloudProvider, CreateError, LaunchRequest, NodeClass, ProviderError,
};
use futures::executor::block_on;
use serde_json::{Value, json};

use crate::arm::lock;
use crate::testing::{Reply, SUBNET, Seen, Server, World, options, token, world};
use crate::{AzureProvider, ClusterVersion};

/// Resources by path; machines are created by an operation that ends as told.
#[derive(Default)]
struct Azure {
    resources: BTreeMap<String, Value>,
    /// Answers to the next PUTs of machines; `None` loses the answer.
    puts: Vec<Option<Reply>>,
    /// What operations say.
    outcome: Value,
}

impl Azure {
    fn answer(&mut self, seen: &Seen) -> Option<Reply> {
        if let Some(reply) = token(seen).or_else(|| fixed(&seen.path)) {
            return Some(reply);
        }
        let is_vm = seen.path.contains("/virtualMachines/");
        match seen.method.as_str() {
            "PUT" => {
                let mut body = seen.json();
                body["id"] = json!(seen.path);
                body["name"] = json!(seen.path.rsplit('/').next());
                body["properties"]["provisioningState"] =
                    json!(if is_vm { "Creating" } else { "Succeeded" });
                if is_vm && !self.puts.is_empty() {
                    match self.puts.remove(0) {
                        Some(refusal) => return Some(refusal),
                        None => {
                            self.resources.insert(seen.path.clone(), body);
                            return None;
                        }
                    }
                }
                self.resources.insert(seen.path.clone(), body.clone());
                let reply = Reply(201, Vec::new(), body);
                Some(if is_vm {
                    reply.header("azure-asyncoperation", "https://arm.test/operations/1")
                } else {
                    reply
                })
            }
            "DELETE" => {
                let status = if self.resources.remove(&seen.path).is_some() {
                    200
                } else {
                    204
                };
                Some(Reply(status, Vec::new(), Value::Null))
            }
            _ if seen.path == "/operations/1" => Some(Reply::ok(self.outcome.clone())),
            _ => Some(self.read(&seen.path)),
        }
    }

    fn read(&self, path: &str) -> Reply {
        if let Some(found) = self.resources.get(path) {
            return Reply::ok(found.clone());
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        if ["virtualMachines", "networkInterfaces", "disks"].contains(&last) {
            let prefix = format!("{path}/");
            let found = self
                .resources
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix));
            return Reply::ok(json!({"value": found.map(|(_, value)| value).collect::<Vec<_>>()}));
        }
        Reply::error(404, "ResourceNotFound", "not found")
    }
}

fn fixed(path: &str) -> Option<Reply> {
    let list = |items: Value| Some(Reply::ok(json!({"value": items})));
    let capability = |name: &str, value: &str| json!({"name": name, "value": value});
    match path.rsplit('/').next().unwrap_or_default() {
        "skus" => list(json!([2, 4].map(|cores: u32| json!({
            "resourceType": "virtualMachines", "name": format!("Standard_D{cores}s_v5"),
            "size": format!("D{cores}s_v5"), "family": "standardDSv5Family",
            "locationInfo": [{"location": "westeurope", "zones": ["1", "2"]}],
            "capabilities": [
                capability("vCPUs", &cores.to_string()), capability("MemoryGB", &(cores * 4).to_string()),
                capability("LowPriorityCapable", "True"), capability("AcceleratedNetworkingEnabled", "True"),
                capability("HyperVGenerations", "V1,V2"), capability("CpuArchitectureType", "x64"),
            ],
        })))),
        "usages" => list(json!([])),
        "loadBalancers" => list(json!([{"name": "kubernetes", "properties": {"backendAddressPools": [
            {"id": "/pools/kubernetes", "name": "kubernetes"}]}}])),
        "networkSecurityGroups" => list(json!([{"id": "/nsg", "name": "aks-agentpool-12345678-nsg"}])),
        "versions" => list(json!([{"name": "202601.01.0", "properties": {"publishedDate": "2026-01-01T00:00:00Z"}}])),
        "prices" => Some(Reply::ok(json!({"Items": []}))),
        "aks-subnet" => Some(Reply::ok(json!({"id": SUBNET}))),
        _ => None,
    }
}

struct Fixture {
    azure: Arc<Mutex<Azure>>,
    server: Arc<Server>,
    world: World,
    provider: AzureProvider,
    class: NodeClass,
}

fn class_object(status: &Value) -> Value {
    json!({
        "apiVersion": "karpenter.azure.com/v1beta1", "kind": "AKSNodeClass",
        "metadata": {"name": "default", "generation": 1},
        "spec": {"imageFamily": "Ubuntu", "osDiskSizeGB": 128, "tags": {"team/name": "a"}},
        "status": status,
    })
}

fn fixture() -> Fixture {
    let azure = Arc::new(Mutex::new(Azure {
        outcome: json!({"status": "Succeeded"}),
        ..Azure::default()
    }));
    let shared = Arc::clone(&azure);
    let server = Server::new(move |seen| lock(&shared).answer(seen));
    let world = world(&server);
    let version = ClusterVersion::default();
    version.set("v1.34.2");
    let provider = AzureProvider::new(options(), &world.ports, version);
    let bare = NodeClass {
        name: "default".into(),
        object: Arc::new(class_object(&json!({}))),
    };
    let resolved = block_on(provider.resolve_node_class(&bare)).expect("resolved");
    assert!(resolved.ready, "{}", resolved.status);
    let class = NodeClass {
        name: "default".into(),
        object: Arc::new(class_object(&resolved.status)),
    };
    lock(&server.log).clear();
    Fixture {
        azure,
        server,
        world,
        provider,
        class,
    }
}

impl Fixture {
    fn request(&self, claim: &str) -> LaunchRequest {
        LaunchRequest {
            claim: claim.into(),
            pool: Some("general".into()),
            node_class: self.class.clone(),
            requirements: vec![
                RequirementSpec::new(labels::CAPACITY_TYPE, Operator::In, ["on-demand".into()]),
                RequirementSpec::new("team", Operator::In, ["blue".into()]),
            ],
            requests: Resources {
                cpu_milli: 1000,
                ..Resources::default()
            },
            labels: BTreeMap::from([(labels::NODEPOOL.into(), "general".into())]),
            taints: vec![Taint {
                key: "dedicated".into(),
                value: "x".into(),
                effect: Effect::NoSchedule,
            }],
            startup_taints: Vec::new(),
        }
    }

    fn create(&self, claim: &str) -> Result<controller_ports::Instance, CreateError> {
        block_on(self.provider.create(self.request(claim)))
    }

    fn paths(&self) -> Vec<String> {
        let azure = lock(&self.azure);
        azure
            .resources
            .keys()
            .map(|path| path.rsplit('/').take(2).collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn later(&self, seconds: u64) {
        block_on(self.world.clock.sleep(Duration::from_secs(seconds)));
    }
}

#[test]
fn a_claim_becomes_an_interface_and_a_machine() {
    let fixture = fixture();
    let instance = fixture.create("general-abcde").expect("accepted");
    assert_eq!(
        instance.provider_id.as_str(),
        "azure:///subscriptions/s/resourceGroups/mc_rg/providers/Microsoft.Compute/virtualMachines/aks-general-abcde"
    );
    assert_eq!(instance.instance_type.as_str(), "Standard_D2s_v5");
    assert_eq!(
        instance
            .pool
            .as_ref()
            .map(controller_core::model::NodePoolName::as_str),
        Some("general")
    );
    let label = |key: &str| {
        instance
            .labels
            .get(key)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    assert!(label(labels::ZONE).starts_with("westeurope-"));
    assert_eq!(label(labels::CAPACITY_TYPE), "on-demand");
    assert_eq!(label(labels::SKU_CPU), "2");
    assert!(instance.price.0 > 0 && instance.allocatable.cpu_milli == 1900);

    let calls = fixture.server.calls();
    insta::assert_snapshot!(calls.join("\n"));
    let azure = lock(&fixture.azure);
    let mut machine = azure
        .resources
        .iter()
        .find(|(path, _)| path.contains("virtualMachines"))
        .expect("made")
        .1
        .clone();
    machine["properties"]["osProfile"]["customData"] = json!("<script>");
    machine["zones"] = json!("<drawn>");
    insta::assert_snapshot!(serde_json::to_string_pretty(&machine).expect("JSON"));
    drop(azure);
    fixture.world.tasks.run();
    assert!(block_on(fixture.provider.launch_failure(&"general-abcde".into())).is_none());
}

#[test]
fn a_machine_that_exists_is_adopted() {
    let fixture = fixture();
    lock(&fixture.azure).puts = vec![None, None, None, None];
    let error = fixture.create("a").expect_err("the answer was lost");
    assert!(matches!(error, CreateError::Transport(_)), "{error}");
    lock(&fixture.server.log).clear();
    let instance = fixture.create("a").expect("adopted");
    assert_eq!(instance.claim.as_str(), "a");
    assert!(
        !fixture
            .server
            .calls()
            .iter()
            .any(|call| call.starts_with("PUT")),
        "{:?}",
        fixture.server.calls()
    );
}

#[test]
fn the_next_offering_is_tried_within_one_call() {
    let fixture = fixture();
    lock(&fixture.azure).puts = vec![Some(Reply::error(409, "SkuNotAvailable", "sold out"))];
    let instance = fixture.create("a").expect("another offering is accepted");
    // The size is blocked in every zone, and with it the larger ones of its family; what is left
    // is the placement without a zone.
    assert_eq!(
        instance
            .labels
            .get(labels::ZONE)
            .map(ToString::to_string)
            .as_deref(),
        Some("0")
    );
}

#[test]
fn nothing_left_is_insufficient_capacity() {
    let fixture = fixture();
    let quota =
        "exceeding approved standardDSv5Family Cores quota. Current Limit: 0, Current Usage: 0,";
    lock(&fixture.azure).puts = vec![Some(Reply::error(409, "OperationNotAllowed", quota))];
    let error = fixture.create("a").expect_err("no family left");
    assert!(
        matches!(error, CreateError::InsufficientCapacity(_)),
        "{error}"
    );
    assert!(error.to_string().contains("Cores quota"), "{error}");
    assert_eq!(
        fixture.paths(),
        Vec::<String>::new(),
        "the interface was removed"
    );
}

#[test]
fn a_refusal_for_good_names_its_reason() {
    let fixture = fixture();
    lock(&fixture.azure).puts = vec![Some(Reply::error(
        403,
        "RequestDisallowedByPolicy",
        "no such machines here",
    ))];
    match fixture.create("a").expect_err("refused") {
        CreateError::Refused { reason, message } => {
            assert_eq!(reason, "RequestDisallowedByPolicy");
            assert!(message.contains("no such machines here"), "{message}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_failed_allocation_is_reported_once_and_remembered() {
    let fixture = fixture();
    lock(&fixture.azure).outcome =
        json!({"status": "Failed", "error": {"code": "AllocationFailed", "message": "no room"}});
    fixture.create("a").expect("accepted");
    assert!(
        block_on(fixture.provider.launch_failure(&"a".into())).is_none(),
        "under way"
    );
    fixture.world.tasks.run();
    let failure = block_on(fixture.provider.launch_failure(&"a".into())).expect("failed");
    assert!(
        matches!(failure, CreateError::InsufficientCapacity(_)),
        "{failure}"
    );
    assert!(
        block_on(fixture.provider.launch_failure(&"a".into())).is_none(),
        "told once"
    );
    let types = block_on(fixture.provider.instance_types(&fixture.class)).expect("listed");
    let zonal = types
        .iter()
        .flat_map(|it| &it.offerings)
        .filter(|o| o.zone.as_str() != "0" && o.available);
    assert_eq!(zonal.count(), 0);
}

#[test]
fn a_guest_that_cannot_join_lands_on_the_claim() {
    let fixture = fixture();
    fixture.create("a").expect("accepted");
    fixture.world.tasks.run();
    for vm in lock(&fixture.azure).resources.values_mut() {
        vm["properties"]["provisioningState"] = json!("Failed");
        vm["properties"]["instanceView"] = json!({"statuses": [{
            "code": "ProvisioningState/failed/InvalidLabel",
            "message": "kubelet refused label x=y",
        }]});
        let statuses = vm["properties"]["instanceView"]["statuses"].clone();
        vm["properties"]["instanceView"]["extensions"] =
            json!([{"name": "vmssCSE", "statuses": statuses}]);
    }
    let told = || match block_on(fixture.provider.launch_failure(&"a".into())).expect("failed") {
        CreateError::Refused { reason, message } => {
            assert_eq!(
                (reason, message.as_str()),
                ("BootstrapFailed", "InvalidLabel: kubelet refused label x=y")
            );
        }
        other => panic!("{other}"),
    };
    told();
    // Whoever was told may have crashed before it was written down.
    told();
    fixture
        .create("a")
        .expect("it is launched, and nothing is made twice");
    told();
    assert_eq!(fixture.paths().len(), 2, "its claim's deletion removes it");
    let claim = NodeClaimName::from("a");
    block_on(fixture.provider.delete(&claim, None)).expect("under way");
    block_on(fixture.provider.delete(&claim, None)).expect_err("gone");
    assert_eq!(fixture.paths(), Vec::<String>::new());
}

#[test]
fn deleting_is_by_name_and_ends_with_not_found() {
    let fixture = fixture();
    let instance = fixture.create("a").expect("accepted");
    let claim = NodeClaimName::from("a");
    block_on(fixture.provider.delete(&claim, Some(&instance.provider_id))).expect("under way");
    let gone = block_on(fixture.provider.delete(&claim, None)).expect_err("gone");
    assert!(matches!(gone, ProviderError::NotFound), "{gone}");
    assert_eq!(fixture.paths(), Vec::<String>::new());
    let log = lock(&fixture.server.log);
    let delete = log
        .iter()
        .find(|seen| seen.method == "DELETE")
        .expect("deleted");
    assert!(
        delete.query.contains("forceDeletion=true"),
        "{}",
        delete.query
    );
}

#[test]
fn orphans_go_after_their_time() {
    let fixture = fixture();
    fixture.create("kept").expect("accepted");
    fixture.create("lost").expect("accepted");
    lock(&fixture.azure)
        .resources
        .retain(|path, _| !path.ends_with("virtualMachines/aks-lost"));
    let collect = |claims: &[NodeClaimName]| {
        let older_than = fixture.world.clock.now() - Duration::from_mins(5);
        block_on(fixture.provider.collect_orphans(claims, older_than)).expect("listed")
    };
    assert_eq!(collect(&[]), []);
    fixture.later(300);
    assert_eq!(collect(&["lost".into()]), [], "its claim may still want it");
    assert_eq!(collect(&[]), [], "the time starts anew");
    fixture.later(300);
    let orphans = collect(&[]);
    assert_eq!(
        orphans
            .iter()
            .map(|orphan| orphan.claim.as_str())
            .collect::<Vec<_>>(),
        ["lost"]
    );
    assert_eq!(fixture.paths().len(), 2);
}

#[test]
fn a_vanished_spot_machine_is_an_interruption() {
    let fixture = fixture();
    let mut request = fixture.request("spot");
    request.requirements = vec![RequirementSpec::new(
        labels::CAPACITY_TYPE,
        Operator::In,
        ["spot".into()],
    )];
    let instance = block_on(fixture.provider.create(request)).expect("accepted");
    assert_eq!(
        block_on(fixture.provider.interruptions()).expect("listed"),
        []
    );
    lock(&fixture.azure).resources.clear();
    let announced = block_on(fixture.provider.interruptions()).expect("listed");
    assert_eq!(
        announced
            .iter()
            .map(|i| i.provider_id.clone())
            .collect::<Vec<_>>(),
        [instance.provider_id]
    );
    assert_eq!(
        block_on(fixture.provider.interruptions()).expect("listed"),
        [],
        "told once"
    );
}

#[test]
fn tags_change_in_place_and_foreign_machines_are_left_alone() {
    let fixture = fixture();
    let instance = fixture.create("a").expect("accepted");
    let listed = block_on(fixture.provider.list()).expect("listed");
    assert_eq!(
        listed
            .iter()
            .map(|instance| instance.claim.as_str())
            .collect::<Vec<_>>(),
        ["a"]
    );
    for resource in lock(&fixture.azure).resources.values_mut() {
        resource["tags"]["karpenter.azure.com_cluster"] = json!("another");
    }
    assert_eq!(block_on(fixture.provider.list()).expect("listed"), []);
    let missing = block_on(
        fixture
            .provider
            .get(&ProviderId::from("azure:///x/virtualMachines/aks-b")),
    );
    assert!(matches!(missing, Err(ProviderError::NotFound)));
    assert!(block_on(fixture.provider.get(&instance.provider_id)).is_ok());
}

#[test]
fn drift_follows_hash_version_and_image() {
    let fixture = fixture();
    let instance = fixture.create("a").expect("accepted");
    let drift = |object: Value| {
        let class = NodeClass {
            name: "default".into(),
            object: Arc::new(object),
        };
        let answer = block_on(fixture.provider.is_drifted(
            &instance.provider_id,
            &instance.annotations,
            &class,
        ));
        answer.expect("answered").map(|reason| reason.0)
    };
    let object = (*fixture.class.object).clone();
    assert_eq!(drift(object.clone()), None);
    let mut newer = object.clone();
    newer["status"]["kubernetesVersion"] = json!("1.34.3");
    assert_eq!(drift(newer), Some("K8sVersionDrift"));
    let mut older = object.clone();
    older["status"]["kubernetesVersion"] = json!("1.33.9");
    assert_eq!(
        drift(older),
        None,
        "a node ahead of its control plane stays"
    );
    let mut image = object.clone();
    for entry in image["status"]["images"].as_array_mut().expect("images") {
        entry["id"] = json!(format!("{}1", entry["id"].as_str().expect("an id")));
    }
    assert_eq!(drift(image), Some("ImageDrift"));
    let mut hash = object;
    hash["metadata"]["annotations"] = json!({
        labels::AKS_NODE_CLASS_HASH: "1", labels::AKS_NODE_CLASS_HASH_VERSION: "v3",
    });
    assert_eq!(drift(hash), Some("NodeClassDrift"));
}

#[test]
fn an_unready_class_makes_no_nodes() {
    let mut fixture = fixture();
    fixture.class.object = Arc::new(class_object(&json!({})));
    let error = fixture.create("a").expect_err("not ready");
    assert!(
        matches!(error, CreateError::NodeClassNotReady(_)),
        "{error}"
    );
}
