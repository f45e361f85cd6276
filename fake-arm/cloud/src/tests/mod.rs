//! Whole exchanges against the state machine.

mod accounting;
mod front;
mod machines;
mod recordings;
mod refusals;

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{ArmRequest, ArmResponse, Cloud, CloudConfig, CloudEvent, Method};

const BASE: &str = "https://localhost:8443";
const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";
const TENANT: &str = "00000000-0000-0000-0000-0000000000aa";
const GROUP: &str = "MC_nap-dev_nap-dev_westeurope";

/// A cloud, the time, a signed-in client, and everything that was exchanged.
struct World {
    cloud: Cloud,
    now: Timestamp,
    token: String,
    events: Vec<CloudEvent>,
    /// Every answer, for comparing runs.
    log: String,
}

impl World {
    fn new(config: CloudConfig, seed: u64) -> Self {
        let now: Timestamp = "2026-01-05T08:00:00Z".parse().expect("a time");
        let mut world = Self {
            cloud: Cloud::new(config, seed, now).expect("the configuration is right"),
            now,
            token: String::new(),
            events: Vec::new(),
            log: String::new(),
        };
        world.token = world.sign_in();
        world.events = world.cloud.advance(now);
        world
    }

    fn default() -> Self {
        Self::new(CloudConfig::default(), 7)
    }

    fn sign_in(&mut self) -> String {
        let body = "grant_type=client_credentials&client_id=00000000-0000-0000-0000-0000000000c1\
                    &client_secret=x&scope=https%3A%2F%2Fmanagement.core.windows.net%2F%2F.default";
        let request = ArmRequest::new(Method::Post, BASE, &format!("/{TENANT}/oauth2/v2.0/token"));
        let answer = self.cloud.handle(self.now, &request.body(body));
        answer.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    fn send(&mut self, request: ArmRequest) -> ArmResponse {
        let request = request.header("authorization", &format!("Bearer {}", self.token));
        let answer = self.cloud.handle(self.now, &request);
        writeln!(self.log, "{} {:?} {:?}", self.now, request.path, answer).expect("a String");
        answer
    }

    fn get(&mut self, target: &str) -> ArmResponse {
        self.send(ArmRequest::new(Method::Get, BASE, target))
    }

    fn delete(&mut self, target: &str) -> ArmResponse {
        self.send(ArmRequest::new(Method::Delete, BASE, target))
    }

    fn put(&mut self, target: &str, body: &Value) -> ArmResponse {
        self.send(ArmRequest::new(Method::Put, BASE, target).body(body.to_string()))
    }

    fn post(&mut self, target: &str, body: &Value) -> ArmResponse {
        self.send(ArmRequest::new(Method::Post, BASE, target).body(body.to_string()))
    }

    /// Lets seconds pass, waking exactly when the cloud asks for it.
    fn pass(&mut self, seconds: i64) {
        let until = self.now + SignedDuration::from_secs(seconds);
        while let Some(at) = self.cloud.wake_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.events.extend(self.cloud.advance(self.now));
        }
        self.now = until;
        self.events.extend(self.cloud.advance(until));
    }

    /// Polls the operation of an answer once.
    fn poll(&mut self, answer: &ArmResponse) -> Value {
        let url = answer
            .header("azure-asyncoperation")
            .expect("an operation")
            .to_owned();
        let target = url
            .strip_prefix(BASE)
            .expect("an absolute URL of ours")
            .to_owned();
        let answer = self.get(&target);
        assert_eq!(answer.status, 200);
        answer.json()
    }

    fn put_nic(&mut self, name: &str) -> ArmResponse {
        let subnet = self.cloud.clusters()[0].subnet_id.clone();
        self.put(
            &nic(name),
            &json!({"location": "westeurope", "tags": {"karpenter.sh_nodepool": "default"}, "properties": {
                "ipConfigurations": [{"name": name, "properties": {
                    "primary": true, "privateIPAllocationMethod": "Dynamic", "subnet": {"id": subnet}}}],
            }}),
        )
    }

    /// An interface and a machine of the same name.
    fn create(&mut self, name: &str, want: &Want) -> ArmResponse {
        let answer = self.put_nic(name);
        assert!(answer.status < 300, "{:?}", answer.json());
        self.put(&vm(name), &vm_body(name, want))
    }

    fn usage(&mut self, counter: &str) -> u64 {
        let target = format!(
            "{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope/usages?api-version=2025-04-01"
        );
        let usages = self.get(&target).json();
        let found = usages["value"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|usage| usage["name"]["value"].as_str() == Some(counter));
        found
            .and_then(|usage| usage["currentValue"].as_u64())
            .expect("a counter")
    }
}

/// What a test asks for in a machine.
#[derive(Clone)]
struct Want {
    size: &'static str,
    zone: Option<&'static str>,
    spot: bool,
    eviction: &'static str,
}

impl Default for Want {
    fn default() -> Self {
        Self {
            size: "Standard_D4as_v5",
            zone: Some("1"),
            spot: false,
            eviction: "Delete",
        }
    }
}

impl Want {
    fn spot() -> Self {
        Self {
            spot: true,
            ..Self::default()
        }
    }
}

fn nic(name: &str) -> String {
    format!(
        "{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/networkInterfaces/{name}\
         ?api-version=2024-05-01"
    )
}

fn vm(name: &str) -> String {
    format!(
        "{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}\
         ?api-version=2025-04-01"
    )
}

fn disk(name: &str) -> String {
    format!(
        "{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/disks/{name}\
         ?api-version=2025-01-02"
    )
}

/// The body the controller sends.
fn vm_body(name: &str, want: &Want) -> Value {
    let nic = nic(name);
    let nic = nic.split('?').next().expect("a path");
    let mut body = json!({
        "location": "westeurope",
        "zones": want.zone.into_iter().collect::<Vec<_>>(),
        "tags": {"karpenter.sh_nodepool": "default"},
        "properties": {
            "hardwareProfile": {"vmSize": want.size},
            "priority": if want.spot { "Spot" } else { "Regular" },
            "storageProfile": {
                "imageReference": {"communityGalleryImageId":
                    "/CommunityGalleries/AKSUbuntu-38d80f77-467a-481f-a8d4-09b6d4220bd2/images/\
                     2204gen2containerd/versions/202601.07.0"},
                "osDisk": {"name": name, "diskSizeGB": 128, "createOption": "FromImage",
                    "deleteOption": "Delete"},
            },
            "networkProfile": {"networkInterfaces": [
                {"id": nic, "properties": {"primary": true, "deleteOption": "Delete"}}]},
            "osProfile": {"adminUsername": "azureuser", "computerName": name, "customData": "IyEvYmluL3No"},
        },
    });
    if want.spot {
        body["properties"]["evictionPolicy"] = json!(want.eviction);
        body["properties"]["billingProfile"] = json!({"maxPrice": -1});
    }
    body
}
