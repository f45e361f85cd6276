//! The front door, sign-in, lists.

use super::*;

#[test]
fn a_token_is_needed_and_expires() {
    let mut world = World::default();
    let target = "/subscriptions?api-version=2022-12-01";
    let anonymous = world
        .cloud
        .handle(world.now, &ArmRequest::new(Method::Get, BASE, target));
    assert_eq!(anonymous.status, 401);
    assert_eq!(anonymous.json()["error"]["code"], "AuthenticationFailed");
    assert!(
        anonymous
            .header("www-authenticate")
            .is_some_and(|it| it.contains("authorization_uri"))
    );
    assert_eq!(world.get(target).status, 200);
    world.pass(86_400);
    let expired = world.get(target);
    assert_eq!(
        expired.json()["error"]["code"],
        "ExpiredAuthenticationToken"
    );
    world.token.push('x');
    assert_eq!(
        world.get(target).json()["error"]["code"],
        "InvalidAuthenticationToken"
    );
}

#[test]
fn sign_in_refuses_strangers_and_wrong_secrets() {
    let mut config = CloudConfig::default();
    config.applications[1].client_secret = Some("right".to_owned());
    let mut world = World::new(config, 1);
    let mut ask = |client: &str, secret: &str| {
        let body = format!(
            "grant_type=client_credentials&client_id=00000000-0000-0000-0000-0000000000{client}\
             &client_secret={secret}&scope=x%2F.default"
        );
        let target = format!("/{TENANT}/oauth2/v2.0/token");
        let answer = world.cloud.handle(
            world.now,
            &ArmRequest::new(Method::Post, BASE, &target).body(body),
        );
        (answer.status, answer.json()["error_codes"][0].as_u64())
    };
    assert_eq!(ask("c2", "right"), (200, None));
    assert_eq!(ask("c2", "wrong"), (401, Some(7_000_215)));
    assert_eq!(ask("ff", "right"), (400, Some(700_016)));
}

#[test]
fn api_versions_are_required_and_dates() {
    let mut world = World::default();
    let code = |answer: ArmResponse| answer.json()["error"]["code"].to_string();
    assert_eq!(
        code(world.get("/subscriptions")),
        "\"MissingApiVersionParameter\""
    );
    assert_eq!(
        code(world.get("/subscriptions?api-version=latest")),
        "\"InvalidApiVersionParameter\""
    );
    assert_eq!(
        world
            .get("/subscriptions?api-version=2015-06-15-preview")
            .status,
        200
    );
    assert_eq!(
        code(world.get("/subscriptions/x/locations?api-version=2022-12-01")),
        "\"SubscriptionNotFound\""
    );
    let stranger = format!("{SUBSCRIPTION}/providers/Contoso.Web?api-version=2022-12-01");
    assert_eq!(code(world.get(&stranger)), "\"InvalidResourceNamespace\"");
    let kind =
        format!("{SUBSCRIPTION}/providers/Microsoft.Compute/toasters?api-version=2022-12-01");
    assert_eq!(code(world.get(&kind)), "\"InvalidResourceType\"");
}

#[test]
fn the_region_is_sold_as_a_whole() {
    let mut world = World::default();
    let target = format!(
        "{SUBSCRIPTION}/providers/Microsoft.Compute/skus?api-version=2021-07-01\
         &$filter=location%20eq%20'westeurope'"
    );
    let skus = world.get(&target).json();
    let skus = skus["value"].as_array().expect("a list");
    assert!(skus.len() > 1200, "{}", skus.len());
    let of = |name: &str| {
        skus.iter()
            .find(|sku| sku["name"] == name)
            .expect("a size")
            .clone()
    };
    let capability = |sku: &Value, name: &str| {
        let list = sku["capabilities"].as_array().into_iter().flatten();
        list.into_iter()
            .find(|it| it["name"] == name)
            .map(|it| it["value"].as_str().unwrap_or_default().to_owned())
    };
    let d4 = of("Standard_D4as_v5");
    assert_eq!(
        (d4["family"].as_str(), d4["size"].as_str()),
        (Some("standardDASv5Family"), Some("D4as_v5"))
    );
    assert_eq!(capability(&d4, "vCPUs").as_deref(), Some("4"));
    assert_eq!(capability(&d4, "MemoryGB").as_deref(), Some("16"));
    assert_eq!(d4["locationInfo"][0]["zones"], json!(["1", "2", "3"]));
    let gpu = of("Standard_NC24ads_A100_v4");
    assert_eq!(capability(&gpu, "GPUs").as_deref(), Some("1"));
    assert_eq!(
        capability(&of("Standard_D4ps_v5"), "CpuArchitectureType").as_deref(),
        Some("Arm64")
    );
}

#[test]
fn prices_are_paged_and_filtered() {
    let mut world = World::default();
    let filter = "priceType eq 'Consumption' and currencyCode eq 'USD' and serviceFamily eq 'Compute' and \
                  serviceName eq 'Virtual Machines' and armRegionName eq 'westeurope'";
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("api-version", "2023-01-01-preview")
        .append_pair("$filter", filter)
        .finish();
    let mut target = format!("/api/retail/prices?{query}");
    let mut items = Vec::new();
    loop {
        let page = world
            .cloud
            .handle(world.now, &ArmRequest::new(Method::Get, BASE, &target))
            .json();
        items.extend(page["Items"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["NextPageLink"].as_str() else {
            break;
        };
        target = next.replace(BASE, "");
    }
    assert!(items.len() > 2000, "{}", items.len());
    let of = |spot: bool| {
        let found = items.iter().find(|item| {
            item["armSkuName"] == "Standard_D4as_v5"
                && item["skuName"]
                    .as_str()
                    .is_some_and(|name| name.ends_with(" Spot"))
                    == spot
        });
        found.expect("a row").clone()
    };
    insta::assert_json_snapshot!(of(false)["retailPrice"], @"0.208");
    assert_eq!(of(true)["meterName"], "D4as v5 Spot");
    let bad = "/api/retail/prices?$filter=year(x)%20gt%201";
    assert_eq!(
        world
            .cloud
            .handle(world.now, &ArmRequest::new(Method::Get, BASE, bad))
            .status,
        400
    );
}

#[test]
fn az_finds_what_it_reads_at_sign_in() {
    let mut world = World::default();
    let mut open = |target: &str| {
        world
            .cloud
            .handle(world.now, &ArmRequest::new(Method::Get, BASE, target))
            .json()
    };
    let metadata = open("//metadata/endpoints?api-version=2022-09-01");
    assert_eq!(metadata["resourceManager"], format!("{BASE}/"));
    assert!(open("/metadata/endpoints?api-version=2019-05-01").is_array());
    let oidc = open(&format!("/{TENANT}/v2.0/.well-known/openid-configuration"));
    assert_eq!(
        oidc["token_endpoint"],
        format!("{BASE}/{TENANT}/oauth2/v2.0/token")
    );
    let subscriptions = world.get("/subscriptions?api-version=2022-12-01").json();
    assert_eq!(subscriptions["value"][0]["state"], "Enabled");
    let locations = world
        .get(&format!("{SUBSCRIPTION}/locations?api-version=2022-12-01"))
        .json();
    let here = locations["value"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|it| it["name"] == "westeurope");
    assert_eq!(
        here.expect("the region")["availabilityZoneMappings"][1]["physicalZone"],
        "westeurope-az3"
    );
}

#[test]
fn long_lists_are_paged() {
    let mut world = World::default();
    for index in 0..201 {
        world.put_nic(&format!("nic-{index:03}"));
    }
    let target = format!(
        "{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/networkInterfaces?api-version=2024-05-01"
    );
    let first = world.get(&target).json();
    assert_eq!(first["value"].as_array().map(Vec::len), Some(200));
    let next = first["nextLink"]
        .as_str()
        .expect("a second page")
        .replace(BASE, "");
    let second = world.get(&next).json();
    assert_eq!(second["value"].as_array().map(Vec::len), Some(1));
    assert!(second.get("nextLink").is_none());
}
