//! Order, single flight, back-off, and the shell around them.

use super::*;

const SETTINGS: QueueSettings = QueueSettings {
    concurrency: 2,
    backoff_min: Duration::from_secs(1),
    backoff_max: Duration::from_mins(1),
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn queue() -> Queue<&'static str> {
    Queue::new(SETTINGS, Entropy::from_seed(1).stream("test"))
}

#[test]
fn runs_by_time_then_priority_then_arrival() {
    let mut queue = queue();
    for (key, due, priority) in [("late", 5, -9), ("b", 1, 0), ("a", 1, 0), ("first", 1, -1)] {
        queue.add(key, at(due), priority);
    }
    assert_eq!(queue.pop(at(0)), None);
    let mut order = Vec::new();
    while let Some(key) = queue.pop(at(9)) {
        order.push(key);
        queue.finish(&key, Outcome::Done, at(9));
    }
    assert_eq!(order, ["first", "b", "a", "late"]);
    assert!(queue.is_empty());
}

#[test]
fn a_key_runs_once_at_a_time_and_again_when_added_meanwhile() {
    let mut queue = queue();
    queue.add("a", at(0), 0);
    queue.add("a", at(0), 0);
    assert_eq!(queue.pop(at(0)), Some("a"));
    assert_eq!(queue.pop(at(0)), None);
    queue.add("a", at(1), 0);
    queue.finish(&"a", Outcome::Done, at(3));
    assert_eq!(queue.pop(at(3)), Some("a"));
    queue.finish(&"a", Outcome::Done, at(3));
    assert!(queue.is_empty());
}

#[test]
fn the_earlier_of_two_times_counts() {
    let mut queue = queue();
    queue.add("a", at(50), 0);
    queue.add("a", at(10), 0);
    queue.add("a", at(90), 0);
    assert_eq!(queue.next_due(), Some(at(10)));
    assert_eq!(queue.len(), 1);
}

#[test]
fn failures_back_off_and_success_forgets_them() {
    let mut queue = queue();
    let mut now = at(0);
    queue.add("a", now, 0);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let key = queue.pop(now).expect("is due");
        queue.finish(&key, Outcome::Retry, now);
        let wait = queue.next_due().expect("waits").saturating_sub(now);
        assert!(
            wait >= at(expected) / 2 && wait <= at(expected),
            "{wait:?} {expected}"
        );
        now += wait;
    }
    let key = queue.pop(now).expect("is due");
    queue.finish(&key, Outcome::RequeueAfter(at(7)), now);
    assert_eq!(queue.next_due(), Some(now + at(7)));
}

#[test]
fn concurrency_is_capped() {
    let mut queue = queue();
    for key in ["a", "b", "c"] {
        queue.add(key, at(0), 0);
    }
    assert_eq!((queue.pop(at(0)), queue.pop(at(0))), (Some("a"), Some("b")));
    assert_eq!(queue.pop(at(0)), None);
    queue.finish(&"b", Outcome::Done, at(0));
    assert_eq!(queue.pop(at(0)), Some("c"));
}

#[test]
fn the_shell_waits_runs_and_drains() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(crate::real::TokioClock::for_tests());
        let entropy = Entropy::from_seed(1);
        let queue = WorkQueue::new("test", SETTINGS, Arc::clone(&clock), &entropy);
        let shutdown = Shutdown::new();
        let log = Mutex::new(Vec::new());
        queue.add_after("b", at(20));
        queue.add("a");
        let handler = |key: &'static str| {
            let (clock, log, shutdown) = (&clock, &log, &shutdown);
            async move {
                clock.sleep(at(5)).await;
                log.lock()
                    .expect("not poisoned")
                    .push((key, clock.monotonic().as_secs()));
                if key == "b" {
                    shutdown.trigger();
                }
                if key == "a" {
                    Outcome::RequeueAfter(at(17))
                } else {
                    Outcome::Done
                }
            }
        };
        queue.run(shutdown.clone(), handler).await;
        assert_eq!(
            *log.lock().expect("not poisoned"),
            [("a", 5), ("b", 25), ("a", 27)]
        );
    });
}
