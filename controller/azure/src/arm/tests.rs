use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use controller_ports::{Clock, Entropy};
use futures::executor::block_on;
use http::Method;
use serde_json::{Value, json};

use super::{Arm, ArmError, lock};
use crate::options::Credential;
use crate::testing::{Reply, Seen, Server, World, options, token, world};

const URL: &str =
    "https://arm.test/subscriptions/s/providers/Microsoft.Compute/things?api-version=1";

fn arm(world: &World) -> Arm {
    arm_with(world, options().credential)
}

fn arm_with(world: &World, credential: Credential) -> Arm {
    Arm::new(
        world.ports.arm.clone(),
        Arc::clone(&world.ports.clock),
        &Entropy::from_seed(1),
        &options().endpoints,
        credential,
    )
}

/// Answers in turn; the last one for ever.
fn in_turn(replies: Vec<Reply>) -> Arc<Server> {
    let mut replies = replies.into_iter().peekable();
    let mut last = None;
    Server::new(move |seen| {
        token(seen).or_else(|| {
            last = replies.next().or_else(|| last.take());
            last.clone()
        })
    })
}

#[test]
fn a_token_is_asked_for_once_and_renewed_before_it_ends() {
    let server = in_turn(vec![Reply::ok(json!({}))]);
    let world = world(&server);
    let arm = arm(&world);
    block_on(async {
        for minutes in [0, 1, 53, 2] {
            world.clock.sleep(Duration::from_secs(60 * minutes)).await;
            arm.get::<Value>(URL).await.expect("answered");
        }
    });
    let log = lock(&server.log);
    let tokens: Vec<&Seen> = log
        .iter()
        .filter(|seen| seen.path == "/t/oauth2/v2.0/token")
        .collect();
    assert_eq!(
        tokens.len(),
        2,
        "an hour's token is renewed after 55 minutes"
    );
    insta::assert_snapshot!(tokens[0].body, @"grant_type=client_credentials&client_id=c&scope=https%3A%2F%2Fmanagement.core.windows.net%2F%2F.default&client_secret=x%26y");
    assert_eq!(
        log[1].headers.get("authorization").map(String::as_str),
        Some("Bearer T")
    );
    assert_eq!(
        log[1]
            .headers
            .get("x-ms-client-request-id")
            .map(String::len),
        Some(36)
    );
}

#[test]
fn managed_identity_asks_the_machine() {
    let server = Server::new(|seen| {
        Some(if seen.path.ends_with("/token") {
            Reply::ok(json!({"access_token": "M", "expires_in": "86399", "expires_on": "1"}))
        } else {
            Reply::ok(json!({}))
        })
    });
    let world = world(&server);
    let credential = Credential::ManagedIdentity {
        client_id: Some("c".to_owned()),
        endpoint: "http://imds".to_owned(),
    };
    block_on(arm_with(&world, credential).get::<Value>(URL)).expect("answered");
    let log = lock(&server.log);
    assert_eq!(log[0].path, "/metadata/identity/oauth2/token");
    insta::assert_snapshot!(log[0].query, @"api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.core.windows.net%2F&client_id=c");
    assert_eq!(
        log[0].headers.get("metadata").map(String::as_str),
        Some("true")
    );
    assert_eq!(
        log[1].headers.get("authorization").map(String::as_str),
        Some("Bearer M")
    );
}

#[test]
fn a_refused_token_is_replaced_once() {
    let refused = || Reply::error(401, "ExpiredAuthenticationToken", "expired");
    let server = in_turn(vec![refused(), Reply::ok(json!({}))]);
    let there = world(&server);
    block_on(arm(&there).get::<Value>(URL)).expect("the second token is good");
    assert_eq!(lock(&server.log).len(), 4);

    let server = in_turn(vec![refused()]);
    let there = world(&server);
    let error = block_on(arm(&there).get::<Value>(URL)).expect_err("never good");
    assert_eq!(error.service().map(|error| error.status), Some(401));
    assert_eq!(server.calls().len(), 2);
}

#[test]
fn a_refused_credential_says_why() {
    let server = Server::new(|_| {
        Some(Reply(
            401,
            Vec::new(),
            json!({"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret"}),
        ))
    });
    let world = world(&server);
    let error = block_on(arm(&world).get::<Value>(URL)).expect_err("no token");
    insta::assert_snapshot!(error, @"no access token: invalid_client (401): AADSTS7000215: Invalid client secret");
}

#[test]
fn throttling_is_waited_out_or_reported() {
    let throttled = |seconds: &str| {
        Reply::error(429, "TooManyRequests", "slow down").header("retry-after", seconds)
    };
    let server = in_turn(vec![throttled("7"), Reply::ok(json!({}))]);
    let there = world(&server);
    block_on(arm(&there).get::<Value>(URL)).expect("answered at last");
    assert_eq!(there.clock.monotonic(), Duration::from_secs(7));

    let server = in_turn(vec![throttled("600"), Reply::ok(json!({}))]);
    let there = world(&server);
    let arm = arm(&there);
    for _ in 0..2 {
        let error = block_on(arm.get::<Value>(URL)).expect_err("too long to wait");
        let wait = error.service().and_then(|error| error.retry_after);
        assert_eq!(wait, Some(Duration::from_mins(10)));
    }
    assert_eq!(
        server.calls().len(),
        1,
        "nothing is sent while the bucket is closed"
    );
    block_on(arm.write(Method::PUT, URL, None)).expect("writes have a bucket of their own");
}

#[test]
fn server_errors_are_retried_and_refusals_are_not() {
    let server = in_turn(vec![Reply::error(503, "ServerBusy", "")]);
    let there = world(&server);
    block_on(arm(&there).get::<Value>(URL)).expect_err("busy for ever");
    assert_eq!(server.calls().len(), 4);
    assert!(there.clock.monotonic() >= Duration::from_millis(800 * 8 / 10 * 7));

    let server = in_turn(vec![Reply::error(409, "OperationNotAllowed", "no")]);
    let there = world(&server);
    block_on(arm(&there).get::<Value>(URL)).expect_err("refused");
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn lost_answers_are_retried() {
    let count = AtomicU32::new(0);
    let server = Server::new(move |seen| {
        token(seen)
            .or_else(|| (count.fetch_add(1, Ordering::Relaxed) > 0).then(|| Reply::ok(json!({}))))
    });
    let world = world(&server);
    block_on(arm(&world).write(Method::PUT, URL, Some(&json!({}))))
        .expect("the second try is answered");
    assert_eq!(server.calls().len(), 2);
}

#[test]
fn pages_are_followed_to_the_end_but_not_elsewhere() {
    let page =
        |items: &[u32], next: Option<&str>| Reply::ok(json!({"value": items, "nextLink": next}));
    let server = in_turn(vec![
        page(&[1, 2], Some("https://arm.test/next?a=b")),
        page(&[3], Some("")),
    ]);
    let there = world(&server);
    assert_eq!(
        block_on(arm(&there).list::<u32>(URL)).expect("two pages"),
        [1, 2, 3]
    );
    assert_eq!(
        lock(&server.log)
            .last()
            .map(|seen| seen.query.clone())
            .as_deref(),
        Some("a=b")
    );

    let server = in_turn(vec![page(&[1], Some("https://elsewhere.test/next"))]);
    let there = world(&server);
    let error = block_on(arm(&there).list::<u32>(URL)).expect_err("another host");
    assert!(matches!(error, ArmError::Unreadable { .. }), "{error}");
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn a_list_that_is_the_same_is_not_decoded_again() {
    let page =
        |items: &[u32], next: Option<&str>| Reply::ok(json!({"value": items, "nextLink": next}));
    let next = Some("https://arm.test/next?a=b");
    let server = in_turn(vec![
        page(&[1], None),
        page(&[1], None),
        page(&[2], None),
        // Of two pages the first says nothing about the second.
        page(&[3], next),
        page(&[4], None),
        page(&[3], next),
        page(&[5], None),
        page(&[2], None),
    ]);
    let there = world(&server);
    let arm = arm(&there);
    let mut seen = None;
    let mut read = || block_on(arm.list_unless_same::<u32>(URL, &mut seen)).expect("a list");
    assert_eq!(read(), Some(vec![1]));
    assert_eq!(read(), None);
    assert_eq!(read(), Some(vec![2]));
    assert_eq!(read(), Some(vec![3, 4]));
    assert_eq!(read(), Some(vec![3, 5]));
    assert_eq!(read(), Some(vec![2]));
    assert_eq!(read(), None);
}

fn follow(replies: Vec<Reply>) -> (Result<(), ArmError>, Vec<String>, Duration) {
    let server = in_turn(replies);
    let world = world(&server);
    let result = block_on(arm(&world).write_and_wait(Method::PUT, URL, Some(&json!({}))));
    let calls = server.calls();
    (result, calls, world.clock.monotonic())
}

#[test]
fn operations_are_followed_by_their_status() {
    let started = Reply(
        201,
        Vec::new(),
        json!({"properties": {"provisioningState": "Creating"}}),
    )
    .header(
        "azure-asyncoperation",
        "https://arm.test/x/operations/1?t=sig",
    )
    .header("retry-after", "10");
    let running = Reply::ok(json!({"status": "InProgress"}));
    let (result, calls, waited) = follow(vec![
        started.clone(),
        running.clone(),
        running.clone(),
        Reply::ok(json!({"status": "Succeeded"})),
    ]);
    result.expect("succeeded");
    assert_eq!(
        calls,
        [
            "PUT Microsoft.Compute/things",
            "GET operations/1",
            "GET operations/1",
            "GET operations/1"
        ]
    );
    assert_eq!(waited, Duration::from_secs(10 + 3 + 3));

    let failed = json!({"status": "Failed", "error": {"code": "ZonalAllocationFailed", "message": "no room"}});
    let (result, ..) = follow(vec![started.clone(), running, Reply::ok(failed)]);
    let error = result.expect_err("failed");
    assert_eq!(
        error.service().map(|error| error.code.as_str()),
        Some("ZonalAllocationFailed")
    );

    let (result, ..) = follow(vec![started, Reply::ok(json!({"status": "Canceled"}))]);
    assert_eq!(
        result
            .expect_err("canceled")
            .service()
            .map(|error| error.code.clone())
            .as_deref(),
        Some("OperationCanceled")
    );
}

#[test]
fn operations_are_followed_by_location_or_state() {
    let accepted = |location: &str| Reply(202, Vec::new(), json!({})).header("location", location);
    let (result, calls, _) = follow(vec![
        accepted("https://arm.test/x/results/1"),
        accepted("https://arm.test/x/results/2"),
        Reply(204, Vec::new(), json!({})),
    ]);
    result.expect("done");
    assert_eq!(calls[1..], ["GET results/1", "GET results/2"]);

    let state = |state: &str| Reply::ok(json!({"properties": {"provisioningState": state}}));
    let (result, calls, _) = follow(vec![
        state("Updating"),
        state("Updating"),
        state("Succeeded"),
    ]);
    result.expect("done");
    assert_eq!(calls.len(), 3);
    let (result, calls, _) = follow(vec![state("Succeeded")]);
    result.expect("done at once");
    assert_eq!(calls.len(), 1);
}

#[test]
fn errors_are_read_wrapped_and_flat() {
    let flat = json!({"code": "OperationNotAllowed", "message": "too many", "details": [{"code": "TooManyRequests"}]});
    let wrapped = json!({"error": {"code": "A", "message": "b"}});
    for (body, code) in [
        (flat, "OperationNotAllowed"),
        (wrapped, "A"),
        (json!("?"), "Http400"),
    ] {
        let server = in_turn(vec![Reply(400, Vec::new(), body)]);
        let there = world(&server);
        let error = block_on(arm(&there).get::<Value>(URL)).expect_err("refused");
        assert_eq!(error.service().map(|error| error.code.as_str()), Some(code));
    }
}
