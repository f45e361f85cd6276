//! Bytes cross, and what the real HTTP client makes of it when they do not.

use std::time::Duration;

use axum::body::{Body as AxumBody, Bytes};
use axum::routing::get;
use controller_ports::{BoxError, Transport, empty_body};
use http::Request;
use http_body_util::BodyExt;

use super::*;
use crate::world::net::Way as LinkWay;
use crate::world::net::{Condition, Cut, GIVE_UP, GIVE_UP_SILENT, Route, Then, Toward, Traffic};

/// A client and its links.
struct Rig {
    links: Links,
    transport: Transport,
    pipes: Pipes,
    life: Arc<Incarnation>,
}

const LARGE: usize = 100_000;

fn router() -> axum::Router {
    axum::Router::new()
        .route("/small", get(|| async { "hello" }))
        .route("/large", get(|| async { "x".repeat(LARGE) }))
        .route(
            "/watch",
            // One line now, one a minute.
            get(|| async {
                let lines = futures::stream::unfold(0_u32, |line| async move {
                    if line > 0 {
                        tokio::time::sleep(Duration::from_mins(1)).await;
                    }
                    Some((Ok::<_, BoxError>(Bytes::from("line\n")), line + 1))
                });
                AxumBody::from_stream(lines)
            }),
        )
}

impl Rig {
    fn new(http: HttpVersion) -> Self {
        let links = Links::default();
        let entropy = Entropy::from_seed(1);
        let pipes = Pipes::between(links.clone(), (router(), router()), http, entropy);
        let life = Incarnation::new("controller", 1);
        let transport = pipes.transport(&life, Target::Kube);
        Self {
            links,
            transport,
            pipes,
            life,
        }
    }

    async fn open(&self, path: &str) -> Result<controller_ports::Body, BoxError> {
        let request = Request::get(path).body(empty_body()).expect("a request");
        let answer = self.transport.send(request).await?;
        assert_eq!(answer.status(), 200);
        Ok(answer.into_body())
    }

    async fn get(&self, path: &str) -> Result<usize, BoxError> {
        let body = self.open(path).await?;
        Ok(body.collect().await?.to_bytes().len())
    }

    fn traffic(&self) -> Traffic {
        self.links.traffic()
    }
}

/// Runs in virtual time, with either version of HTTP, and gives how long it took with each.
fn run<F: Future<Output = ()>>(test: impl Fn(Rig) -> F) -> [Duration; 2] {
    [HttpVersion::Http1, HttpVersion::Http2].map(|http| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let began = Instant::now();
            test(Rig::new(http)).await;
            began.elapsed()
        })
    })
}

fn toward_client(way: LinkWay) -> Condition {
    Condition {
        to_client: way,
        ..Condition::default()
    }
}

#[test]
fn requests_share_one_connection_and_take_no_time() {
    let took = run(|rig| async move {
        for _ in 0..3 {
            assert_eq!(rig.get("/small").await.expect("answers"), 5);
        }
        assert_eq!(rig.get("/large").await.expect("answers"), LARGE);
        let traffic = rig.traffic();
        assert_eq!((traffic.connections, traffic.broken), (1, 0));
        assert!(traffic.bytes_to_client > LARGE as u64, "{traffic:?}");
        assert!(traffic.bytes_to_server > 100, "{traffic:?}");
    });
    assert_eq!(took, [Duration::ZERO; 2]);
}

#[test]
fn a_truncated_answer_is_an_error_and_the_next_request_recovers() {
    for then in [Then::Close, Then::Reset] {
        run(|rig| async move {
            let cut = Cut::After {
                toward: Toward::Client,
                bytes: 1_000,
                then,
            };
            rig.links.arm(&Route::to(Target::Kube), cut);
            rig.get("/large")
                .await
                .expect_err("the answer is cut short");
            assert_eq!(rig.get("/large").await.expect("answers"), LARGE);
            assert_eq!(rig.traffic().connections, 2);
        });
    }
}

#[test]
fn half_a_watch_line_ends_the_watch() {
    run(|rig| async move {
        let mut lines = rig.open("/watch").await.expect("a watch");
        lines.frame().await.expect("a line").expect("bytes");
        let cut = Cut::After {
            toward: Toward::Client,
            bytes: 2,
            then: Then::Close,
        };
        assert_eq!(rig.links.cut(&Route::all(), cut), 1);
        while let Some(frame) = lines.frame().await {
            if frame.is_err() {
                return;
            }
        }
        panic!("a cut stream must not look like one that has ended");
    });
}

#[test]
fn a_dead_connection_of_the_pool_does_not_hang_its_next_request() {
    let [first, second] = run(|rig| async move {
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        assert_eq!(rig.links.cut(&Route::all(), Cut::Vanish), 1);
        rig.get("/small").await.expect_err("nobody answers");
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        assert_eq!(rig.traffic().connections, 2);
    });
    // The kernel gives up what is not acknowledged; HTTP/2 is asked for a sign of life earlier.
    assert_eq!(first, GIVE_UP);
    assert!(second <= GIVE_UP, "{second:?}");
}

#[test]
fn a_watch_on_a_dead_connection_ends() {
    let [first, second] = run(|rig| async move {
        let mut lines = rig.open("/watch").await.expect("a watch");
        lines.frame().await.expect("a line").expect("bytes");
        rig.links.cut(&Route::all(), Cut::Vanish);
        let next = lines.frame().await.expect("no silent end");
        next.expect_err("nobody is there");
    });
    assert_eq!(first, GIVE_UP_SILENT);
    assert!(second <= GIVE_UP_SILENT, "{second:?}");
}

#[test]
fn a_short_partition_only_delays() {
    let took = run(|rig| async move {
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        let links = rig.links.clone();
        links.set(&Route::of("controller"), Condition::partitioned());
        let heal = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            links.heal();
        };
        let (answer, ()) = futures::join!(rig.get("/small"), heal);
        assert_eq!(answer.expect("answers"), 5);
        assert_eq!(rig.traffic().connections, 1);
    });
    assert_eq!(took, [Duration::from_secs(7); 2]);
}

#[test]
fn a_black_hole_outlives_its_link() {
    run(|rig| async move {
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        rig.links.set(&Route::all(), Condition::black_hole());
        rig.links.heal();
        rig.get("/small").await.expect_err("the connection is dead");
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        assert_eq!((rig.traffic().connections, rig.traffic().broken), (2, 1));
    });
}

#[test]
fn refused_fails_at_once_and_silence_after_the_limit() {
    let refused = run(|rig| async move {
        rig.links.set_down(Target::Kube, true);
        rig.get("/small").await.expect_err("refused");
        rig.links.set_down(Target::Kube, false);
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        assert_eq!(rig.traffic().refused, 1);
    });
    assert_eq!(refused, [Duration::ZERO; 2]);
    let silent = run(|rig| async move {
        rig.links.set(&Route::all(), Condition::partitioned());
        rig.get("/small").await.expect_err("no answer");
    });
    assert_eq!(silent, [CONNECT_TIMEOUT; 2]);
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_replaced() {
    let took = run(|rig| async move {
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        rig.links.cut(&Route::all(), Cut::HalfClose(Toward::Client));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
        assert_eq!(rig.traffic().connections, 2);
    });
    assert_eq!(took, [Duration::from_millis(1); 2]);
}

#[test]
fn delay_and_bandwidth_take_their_time() {
    let [first, _] = run(|rig| async move {
        rig.links
            .set(&Route::all(), Condition::delayed(Duration::from_millis(20)));
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
    });
    // Two round trips: one to connect, one to ask.
    assert_eq!(first, Duration::from_millis(80));
    let narrow = run(|rig| async move {
        let way = LinkWay {
            bandwidth: Some(10_000),
            ..LinkWay::default()
        };
        rig.links.set(&Route::all(), toward_client(way));
        assert_eq!(rig.get("/large").await.expect("answers"), LARGE);
    });
    for took in narrow {
        assert!((10..12).contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn a_slow_reader_still_gets_everything() {
    let took = run(|rig| async move {
        let way = LinkWay {
            read_pace: Some(20_000),
            ..LinkWay::default()
        };
        rig.links.set(&Route::all(), toward_client(way));
        assert_eq!(rig.get("/large").await.expect("answers"), LARGE);
    });
    for took in took {
        assert!((4..7).contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn a_lost_segment_stalls_its_connection_until_the_client_gives_up() {
    let [first, second] = run(|rig| async move {
        let way = LinkWay {
            lost_per_mille: 1_000,
            ..LinkWay::default()
        };
        rig.links.set(&Route::all(), toward_client(way));
        rig.get("/small").await.expect_err("the answer is lost");
        rig.links.heal();
        assert_eq!(rig.get("/small").await.expect("answers"), 5);
    });
    assert_eq!(first, GIVE_UP_SILENT);
    assert!(second <= GIVE_UP_SILENT, "{second:?}");
}

#[test]
fn a_dead_process_leaves_no_connection_open() {
    run(|rig| async move {
        let mut lines = rig.open("/watch").await.expect("a watch");
        lines.frame().await.expect("a line").expect("bytes");
        rig.pipes.died(&rig.life);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(rig.links.cut(&Route::all(), Cut::Reset), 0);
        lines.frame().await.expect("an error").expect_err("reset");
    });
}

#[test]
fn jitter_is_drawn_from_the_seed() {
    let jittery = |rig: Rig| async move {
        let way = LinkWay {
            spread: Duration::from_secs(5),
            ..LinkWay::default()
        };
        rig.links.set(&Route::all(), toward_client(way));
        for _ in 0..4 {
            assert_eq!(rig.get("/small").await.expect("answers"), 5);
        }
    };
    let took = run(jittery);
    assert_eq!(took, run(jittery));
    assert!(took[0] > Duration::from_secs(1), "{took:?}");
}
