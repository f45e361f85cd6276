//! Faults in front of a server's router, for clients that live in a process of their own.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use controller_ports::{Body, BoxError};
use futures::stream;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::draw::Injector;
use super::layer::Faulty;
use crate::world::ports::{SimClock, Target, Wire};

/// Whose requests suffer.
pub type Victim = Arc<dyn Fn(&HeaderMap) -> bool + Send + Sync>;

/// A router before which requests of one client go wrong.
///
/// A server behind a socket cannot take back its connection here: where a client inside this
/// process sees a connection break, one outside sees an answer that breaks off in its body. Either
/// way it does not know what the server did.
pub fn in_front(
    router: Router,
    (actor, target): (&str, Target),
    injector: Arc<Injector>,
    clock: SimClock,
    victim: Victim,
) -> Router {
    let inner = Wire::new(router.clone()).transport();
    let faulty = Faulty::new(inner, actor, target, injector, clock).transport();
    let plain = Wire::new(router).transport();
    Router::new().fallback(move |request: Request| {
        let via = if victim(request.headers()) {
            faulty.clone()
        } else {
            plain.clone()
        };
        async move {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            match via.send(request).await {
                Ok(answer) => answer.map(axum::body::Body::new),
                Err(error) => broken(error),
            }
        }
    })
}

/// An answer that breaks off.
fn broken(error: BoxError) -> Response {
    let body = StreamBody::new(stream::iter([Err::<Frame<bytes::Bytes>, BoxError>(error)]));
    let body: Body = body.boxed_unsync();
    let mut answer = Response::new(axum::body::Body::new(body));
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use controller_ports::empty_body;

    use super::super::kind::FaultKind;
    use super::super::plan::{FaultPlan, Rule};
    use super::*;

    #[test]
    fn only_the_victims_requests_break() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut plan = FaultPlan::none(1);
            plan.rules.push(Rule::new(FaultKind::ResetBefore, 1000));
            let router = Router::new().route("/version", get(|| async { "1" }));
            let clock = SimClock::start("2026-01-05T08:00:00Z".parse().expect("a time"), 1.0);
            let victim: Victim = Arc::new(|headers| headers.contains_key("authorization"));
            let injector = Arc::new(Injector::new(plan));
            let front = in_front(router, ("them", Target::Kube), injector, clock, victim);
            let wire = Wire::new(front).transport();
            let ask = |authorized: bool| {
                let mut request = http::Request::builder().uri("/version");
                if authorized {
                    request = request.header("authorization", "Bearer x");
                }
                let request = request.body(empty_body()).expect("a request");
                let wire = wire.clone();
                async move {
                    let answer = wire.send(request).await.expect("a head");
                    answer.into_body().collect().await.is_ok()
                }
            };
            assert!(ask(false).await);
            assert!(!ask(true).await);
        });
    }
}
