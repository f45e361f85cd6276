//! The router in process, and over TLS.

use std::time::Duration;

use axum::body::Body;
use fake_arm_cloud::{CloudConfig, CloudEvent};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{Arm, Authority, Clock, serve};

const VM: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/\
                  MC_nap-dev_nap-dev_westeurope/providers/Microsoft.Compute/virtualMachines/aks-a\
                  ?api-version=2025-04-01";

fn arm(scale: f64) -> Arm {
    let epoch = "2026-01-05T08:00:00Z".parse().expect("a time");
    let clock = Clock::new(epoch, tokio::time::Instant::now(), scale);
    Arm::new(CloudConfig::default(), 1, clock).expect("defaults are right")
}

async fn send(arm: &Arm, request: Request<Body>) -> (StatusCode, Value) {
    let answer = arm
        .router()
        .oneshot(request)
        .await
        .expect("the router never fails");
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn call(arm: &Arm, method: &str, uri: &str, token: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "localhost:8443")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(body.to_string()))
        .expect("a request");
    send(arm, request).await
}

async fn sign_in(arm: &Arm) -> String {
    let form = "grant_type=client_credentials&client_id=00000000-0000-0000-0000-0000000000c2\
                &client_secret=x&scope=https%3A%2F%2Fmanagement.core.windows.net%2F%2F.default";
    let request = Request::post("/00000000-0000-0000-0000-0000000000aa/oauth2/v2.0/token")
        .body(Body::from(form))
        .expect("a request");
    let (_, body) = send(arm, request).await;
    body["access_token"].as_str().expect("a token").to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_control_request_sells_out_a_size() {
    let arm = arm(1.0);
    let sell = "/_control/capacity?size=Standard_D4as_v5&available=0";
    let (status, pools) = call(&arm, "PUT", sell, "", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(pools, json!([{"size": "Standard_D4as_v5", "available": 0}]));
    let open = "/_control/capacity?size=Standard_D4as_v5&available=unlimited";
    assert_eq!(call(&arm, "PUT", open, "", Value::Null).await.1, json!([]));
    let unknown = "/_control/capacity?size=Standard_X&available=0";
    assert_eq!(call(&arm, "PUT", unknown, "", Value::Null).await.0, 400);
    let quota = "/_control/quota?name=standardDASv5Family&limit=8";
    let (_, quotas) = call(&arm, "PUT", quota, "", Value::Null).await;
    assert!(
        quotas
            .as_array()
            .into_iter()
            .flatten()
            .any(|it| it["limit"] == 8)
    );
    assert_eq!(
        call(&arm, "POST", "/_control/evict?vm=none", "", Value::Null)
            .await
            .0,
        404
    );
    let (_, state) = call(&arm, "GET", "/_control/state", "", Value::Null).await;
    assert_eq!(state["region"], "westeurope");
}

#[tokio::test(start_paused = true)]
async fn events_come_exactly_when_they_are_due() {
    let arm = arm(1.0);
    let first = arm.next_events().await;
    assert!(matches!(first.as_slice(), [CloudEvent::VmStarted(vm)] if vm.agent_pool.is_some()));
    let token = sign_in(&arm).await;
    let subnet = arm.with_cloud(|cloud, _| cloud.clusters()[0].subnet_id.clone());
    let nic = VM.replace("Compute/virtualMachines", "Network/networkInterfaces");
    let body = json!({"location": "westeurope", "properties": {"ipConfigurations": [
        {"name": "a", "properties": {"subnet": {"id": subnet}}}]}});
    assert_eq!(call(&arm, "PUT", &nic, &token, body).await.0, 201);
    let body = json!({"location": "westeurope", "zones": ["1"], "properties": {
        "hardwareProfile": {"vmSize": "Standard_D4as_v5"},
        "storageProfile": {"imageReference": {
            "publisher": "Canonical", "offer": "ubuntu", "sku": "server", "version": "latest"}},
        "networkProfile": {"networkInterfaces": [{"id": nic.split('?').next()}]},
        "osProfile": {"computerName": "aks-a"}}});
    // The driver already waits when the request comes.
    let driver = async { (arm.next_events().await, arm.now()) };
    let client = async { call(&arm, "PUT", VM, &token, body).await.0 };
    let ((events, at), status) = tokio::join!(driver, client);
    assert_eq!(status, 201);
    assert!(matches!(events.as_slice(), [CloudEvent::VmStarted(vm)] if vm.host_name == "aks-a"));
    let running = arm.with_cloud(|cloud, _| cloud.vms()[0].running_since.expect("it runs"));
    assert!(at.duration_since(running).as_millis() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_scaled_clock_passes_faster() {
    let epoch = "2026-01-05T08:00:00Z".parse().expect("a time");
    let clock = Clock::new(epoch, tokio::time::Instant::now(), 20.0);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(clock.now().duration_since(epoch).as_secs(), 60);
    let at = "2026-01-05T08:02:00Z".parse().expect("a time");
    let before = tokio::time::Instant::now();
    clock.sleep_until(at).await;
    assert!(clock.now() >= at);
    assert_eq!(before.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn it_speaks_tls_to_clients_that_trust_its_authority() {
    let arm = arm(1.0);
    let authority = Authority::new().expect("a CA");
    let tls = authority.issue(&[]).expect("a certificate");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut authority.pem().as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .build();
    let executor = hyper_util::rt::TokioExecutor::new();
    let client = hyper_util::client::legacy::Client::builder(executor).build(connector);
    let exchange = async {
        let uri = format!("https://localhost:{port}/metadata/endpoints?api-version=2022-09-01");
        let request = Request::get(uri).body(Body::empty()).expect("a request");
        let answer = client.request(request).await.expect("an answer");
        assert!(answer.headers().get("date").is_none());
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a whole body")
            .to_bytes();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            body["resourceManager"],
            format!("https://localhost:{port}/")
        );
    };
    let mut served = std::pin::pin!(serve(listener, arm, tls));
    let mut exchange = std::pin::pin!(exchange);
    std::future::poll_fn(|context| {
        assert!(
            served.as_mut().poll(context).is_pending(),
            "the server ended"
        );
        exchange.as_mut().poll(context)
    })
    .await;
}
