//! HTTP in, HTTP out. What a path means is the cloud's business.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use fake_arm_cloud::{ArmRequest, ArmResponse, Method};
use http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt as _, Limited};

use crate::{arm::Arm, control, error};

/// ARM refuses bodies above 4 MiB.
const BODY_MAX: usize = 4 << 20;

pub(crate) fn router(arm: Arm) -> Router {
    control::routes().fallback(answer).with_state(arm)
}

async fn answer(State(arm): State<Arm>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(failure) => return error::unreadable_body(failure.as_ref()),
    };
    let request = ArmRequest {
        method: Method::parse(parts.method.as_str()),
        base: base(&parts.uri, &parts.headers),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers(&parts.headers),
        body,
    };
    encode(arm.handle(&request))
}

/// What the client calls us; always `https`, since ARM's clients accept nothing else.
fn base(uri: &Uri, headers: &HeaderMap) -> String {
    let named = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = uri
        .authority()
        .map(http::uri::Authority::as_str)
        .or(named)
        .unwrap_or("localhost");
    format!("https://{}", host.to_ascii_lowercase())
}

/// Header values that are not text cannot mean anything to ARM.
fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

fn encode(answer: ArmResponse) -> Response {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    // A header value made from a request's text may be no legal header; the answer then is.
    response
        .body(Body::from(answer.body))
        .unwrap_or_else(|failure| error::bad_answer(&failure))
}
