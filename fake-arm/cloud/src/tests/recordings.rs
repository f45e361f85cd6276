//! What real `az` asks must be answered with the members it was content with.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Exchange {
    command: String,
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Value,
    status: u16,
    answer: Value,
    answer_headers: Vec<String>,
}

/// What the stub made up (`resourceGroup_`), facts that no source of ours holds, and what only the
/// recording session's interface had asked for.
const NOT_OURS: [&str; 6] = [
    "latitude",
    "longitude",
    "physicalLocation",
    "resourceGroup_",
    "publicIPAddress",
    "networkSecurityGroup",
];

/// The paths of members of `wanted` that `given` lacks.
fn missing(wanted: &Value, given: &Value, at: &str, found: &mut Vec<String>) {
    match (wanted, given) {
        (Value::Object(wanted), Value::Object(given)) => {
            for (name, value) in wanted
                .iter()
                .filter(|(name, value)| !NOT_OURS.contains(&name.as_str()) && !value.is_null())
            {
                match given.get(name) {
                    Some(other) => missing(value, other, &format!("{at}/{name}"), found),
                    None => found.push(format!("{at}/{name}")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(given)) => {
            let Some(wanted) = wanted.first() else { return };
            // The item of the same name, if both sides have it.
            let named = given
                .iter()
                .find(|it| it["name"].is_string() && it["name"] == wanted["name"]);
            if let Some(given) = named.or_else(|| given.first()) {
                missing(wanted, given, &format!("{at}[]"), found);
            }
        }
        (Value::Object(_) | Value::Array(_), _) => found.push(at.to_owned()),
        _ => {}
    }
}

/// A group `rg` with the spot machine `vm1`, as the recording session had them.
fn prepare() -> World {
    let config = CloudConfig {
        region: "eastus".to_owned(),
        ..CloudConfig::default()
    };
    let mut world = World::new(config, 1);
    let subnet = world.cloud.clusters()[0].subnet_id.clone();
    let group = format!("{SUBSCRIPTION}/resourceGroups/rg");
    world.put(
        &format!("{group}?api-version=2024-11-01"),
        &json!({"location": "eastus"}),
    );
    let nic = format!("{group}/providers/Microsoft.Network/networkInterfaces/vm1VMNic");
    let body = json!({"location": "eastus", "properties": {"ipConfigurations": [
        {"name": "ipconfigvm1", "properties": {"subnet": {"id": subnet}}}]}});
    assert_eq!(
        world
            .put(&format!("{nic}?api-version=2023-11-01"), &body)
            .status,
        201
    );
    let mut body = vm_body(
        "vm1",
        &Want {
            size: "Standard_D2s_v3",
            eviction: "Deallocate",
            ..Want::spot()
        },
    );
    body["location"] = json!("eastus");
    body["properties"]["networkProfile"]["networkInterfaces"] =
        json!([{"id": nic, "properties": {"deleteOption": null}}]);
    body["properties"]["storageProfile"] = json!({
        "imageReference": {
            "publisher": "Canonical", "offer": "0001-com-ubuntu-server-jammy", "sku": "22_04-lts-gen2",
            "version": "latest"},
        "osDisk": {"createOption": "fromImage", "name": null, "caching": null}});
    body["properties"]["osProfile"]["linuxConfiguration"] = json!({
        "disablePasswordAuthentication": true,
        "ssh": {"publicKeys": [{"keyData": "ssh-rsa x", "path": "/home/azureuser/.ssh/authorized_keys"}]}});
    let machine = format!("{group}/providers/Microsoft.Compute/virtualMachines/vm1");
    assert_eq!(
        world
            .put(&format!("{machine}?api-version=2026-04-01"), &body)
            .status,
        201
    );
    world.pass(20);
    world
}

#[test]
fn az_is_content() {
    let mut world = prepare();
    let mut urls: BTreeMap<&str, String> = BTreeMap::new();
    let mut problems = Vec::new();
    let lines = include_str!("recordings/az-2.91.0.jsonl").lines();
    for exchange in
        lines.map(|line| serde_json::from_str::<Exchange>(line).expect("a recorded line"))
    {
        let polled = ["operations", "operationresults"]
            .into_iter()
            .find(|kind| exchange.path.to_lowercase().contains(&format!("/{kind}/")));
        let target = match polled {
            Some(kind) => urls.get(kind).cloned().unwrap_or_default(),
            None => format!("{}?{}", exchange.path, query(&exchange.query)),
        };
        // The recorded answers tell how often the client had to poll; ours are ready when asked.
        // Long enough for the reservation of the interface to pass.
        world.pass(190);
        let mut request = ArmRequest::new(Method::parse(&exchange.method), BASE, &target);
        for (name, value) in &exchange.headers {
            request = request.header(name, value);
        }
        let body = match &exchange.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let answer = world.send(request.body(body));
        for (kind, header) in [
            ("operations", "azure-asyncoperation"),
            ("operationresults", "location"),
        ] {
            if let Some(url) = answer.header(header) {
                urls.insert(kind, url.replace(BASE, ""));
            }
        }
        let mut lacks = Vec::new();
        missing(&exchange.answer, &answer.json(), "", &mut lacks);
        let polling = polled.is_some();
        for header in exchange
            .answer_headers
            .iter()
            .filter(|it| *it != "etag" && !polling)
        {
            if answer.header(header).is_none() {
                lacks.push(format!("header {header}"));
            }
        }
        if answer.status / 100 != exchange.status / 100 || !lacks.is_empty() {
            problems.push(format!(
                "{} {} {}: {} for {}, lacks {lacks:?}",
                exchange.command, exchange.method, exchange.path, answer.status, exchange.status
            ));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn query(pairs: &BTreeMap<String, String>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}
