//! Watches that are cut, late, or read haltingly.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use controller_ports::{Body, BoxError};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::draw::{Injector, Stream};
use crate::world::ports::SimClock;

/// Late frames that are kept; beyond, the stream is not read, and the server's events wait there.
const LATE_MAX: usize = 1_000;

type Polled = Option<Result<Frame<Bytes>, BoxError>>;

/// The body of a watch under faults. Events keep their order, and none is lost.
pub(super) struct FaultyStream {
    inner: Body,
    injector: Arc<Injector>,
    clock: SimClock,
    delay: Option<Duration>,
    hold: Option<Duration>,
    cut: Option<Duration>,
    /// What has arrived and is not due, with the end of the stream at the end.
    late: VecDeque<(Duration, Polled)>,
    /// Nobody reads before this.
    held_until: Duration,
    ended: bool,
    timer: Pin<Box<Sleep>>,
}

impl FaultyStream {
    pub(super) fn new(
        inner: Body,
        faults: Stream,
        injector: Arc<Injector>,
        clock: SimClock,
    ) -> Self {
        let now = clock.elapsed();
        Self {
            inner,
            injector,
            clock,
            delay: faults.delay,
            hold: faults.hold,
            cut: faults.cut_after.map(|after| now + after),
            late: VecDeque::new(),
            held_until: Duration::ZERO,
            ended: false,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Once faults are over, the stream flows as it would without them.
    fn heal(&mut self) {
        self.delay = None;
        self.hold = None;
        self.cut = None;
        self.held_until = Duration::ZERO;
        for (due, _) in &mut self.late {
            *due = Duration::ZERO;
        }
    }

    /// Reads what has arrived, as far as it may be read now.
    fn read(&mut self, now: Duration, context: &mut Context<'_>) {
        let Some(delay) = self.delay else { return };
        while !self.ended && self.late.len() < LATE_MAX {
            match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Ready(frame) => {
                    self.ended = frame.is_none();
                    self.late.push_back((now + delay, frame));
                }
                Poll::Pending => return,
            }
        }
    }

    /// When something is due that no event of the stream wakes us for.
    fn wake_at(&self, now: Duration) -> Option<Duration> {
        let next = if self.held_until > now {
            Some(self.held_until)
        } else {
            self.late.front().map(|(due, _)| *due)
        };
        next.into_iter().chain(self.cut).min()
    }
}

impl http_body::Body for FaultyStream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Polled> {
        let this = &mut *self;
        let now = this.clock.elapsed();
        if this.injector.is_stopped() {
            this.heal();
        }
        if this.cut.is_some_and(|at| at <= now) {
            return Poll::Ready(None);
        }
        if this.held_until <= now {
            this.read(now, context);
            let due = this.late.front().is_some_and(|(due, _)| *due <= now);
            let polled = if due {
                let late = this.late.pop_front();
                late.map_or(Poll::Pending, |(_, frame)| Poll::Ready(frame))
            } else if this.late.is_empty() && this.delay.is_none() {
                Pin::new(&mut this.inner).poll_frame(context)
            } else {
                Poll::Pending
            };
            if polled.is_ready() {
                this.held_until = this.hold.map_or(Duration::ZERO, |hold| now + hold);
                return polled;
            }
        }
        if let Some(at) = this.wake_at(now) {
            this.timer.as_mut().reset(this.clock.instant_of(at));
            if this.timer.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use http_body_util::{BodyExt, StreamBody};

    use super::super::plan::FaultPlan;
    use super::*;

    fn source() -> Body {
        let chunks = futures::stream::unfold(0_u8, |count| async move {
            if count == 3 {
                return None;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let frame = Frame::data(Bytes::from(vec![b'a' + count]));
            Some((Ok::<_, BoxError>(frame), count + 1))
        });
        StreamBody::new(chunks).boxed_unsync()
    }

    /// What arrives, and in which second.
    fn arrivals(faults: Stream, stop_after: Option<u64>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let clock = SimClock::start("2026-01-05T08:00:00Z".parse().expect("a time"), 1.0);
            let injector = Arc::new(Injector::new(FaultPlan::none(1)));
            let mut body = FaultyStream::new(source(), faults, Arc::clone(&injector), clock);
            let mut text = String::new();
            loop {
                if stop_after.is_some_and(|after| clock.elapsed().as_secs() >= after) {
                    injector.stop();
                }
                let Some(frame) = body.frame().await else {
                    write!(text, "end@{}", clock.elapsed().as_secs()).expect("a string");
                    return text;
                };
                let data = frame.expect("a frame").into_data().expect("data");
                let word = String::from_utf8_lossy(&data).into_owned();
                write!(text, "{word}@{} ", clock.elapsed().as_secs()).expect("a string");
            }
        })
    }

    #[test]
    fn streams_are_late_halting_or_cut_but_never_reordered() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let late = Stream {
            delay: seconds(10),
            ..Stream::default()
        };
        let halting = Stream {
            hold: seconds(5),
            ..Stream::default()
        };
        let both = Stream {
            delay: seconds(2),
            hold: seconds(5),
            ..Stream::default()
        };
        let cut = Stream {
            cut_after: seconds(2),
            delay: seconds(0),
            ..Stream::default()
        };
        insta::assert_snapshot!(arrivals(Stream::default(), None), @"a@1 b@2 c@3 end@3");
        insta::assert_snapshot!(arrivals(late, None), @"a@11 b@12 c@13 end@13");
        insta::assert_snapshot!(arrivals(halting, None), @"a@1 b@7 c@13 end@18");
        insta::assert_snapshot!(arrivals(both, None), @"a@3 b@8 c@13 end@18");
        insta::assert_snapshot!(arrivals(cut, None), @"a@1 end@2");
        insta::assert_snapshot!(arrivals(late, Some(11)), @"a@11 b@11 c@11 end@11");
    }
}
