//! An in-memory connection: two lanes of bytes, each of which takes its time.
//!
//! A lane keeps what was written until it is read, as a sender keeps what is not acknowledged. A
//! client gives a connection up when its bytes get through to nobody, as its operating system
//! would; a server is never told before somebody resets.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use controller_ports::Entropy;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Legacy};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::world::net::{Condition, Cut, Flow, Links, Obeys, Then, Toward, Way};
use crate::world::net::{GIVE_UP, GIVE_UP_SILENT};
use crate::world::ports::Target;

/// Bytes under way in one direction, beyond which a writer waits: the receive window that Linux
/// reaches on a long-lived connection in a data centre is about this large.
const WINDOW: usize = 256 << 10;

/// One end of a connection.
pub(crate) struct Pipe {
    end: End,
    shared: Arc<Shared>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Whose end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

impl End {
    fn reads(self) -> Toward {
        match self {
            Self::Client => Toward::Client,
            Self::Server => Toward::Server,
        }
    }

    fn writes(self) -> Toward {
        match self {
            Self::Client => Toward::Server,
            Self::Server => Toward::Client,
        }
    }
}

struct Shared {
    id: u64,
    links: Links,
    /// Where this connection's draws come from.
    entropy: Entropy,
    state: Mutex<State>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.id).finish()
    }
}

#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
struct State {
    condition: Condition,
    /// Whether it counts as broken.
    broken: bool,
    /// Since when something does not pass.
    blocked: Option<Instant>,
    /// Dead, and nobody was told.
    vanished: bool,
    /// Reset: both ends get an error.
    reset: bool,
    /// The client has given up; the server hears of it when something passes again.
    given_up: bool,
    to_server: Lane,
    to_client: Lane,
    ends: u8,
}

#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
struct Lane {
    queue: VecDeque<Segment>,
    queued: usize,
    /// When the last segment arrives: order is kept.
    last: Instant,
    /// When the line is free for the next byte.
    free: Instant,
    /// When a slow reader reads again.
    ready: Instant,
    /// The writer has ended.
    closed: bool,
    /// What the reader gets after the last byte is a reset.
    ends_in_reset: bool,
    /// The reader has gone.
    abandoned: bool,
    /// Bytes that still pass, and what then.
    budget: Option<(u64, Then)>,
    /// A segment was lost: nothing after it arrives.
    stalled: bool,
    random: Option<ChaCha8Rng>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    sent: Instant,
    at: Instant,
    bytes: Bytes,
}

/// What a reader gets.
enum Taken {
    Bytes(Bytes),
    End,
    Reset,
    Later(Option<Instant>),
}

/// A new connection: the client's end and the server's.
pub(crate) fn connect(
    links: &Links,
    entropy: Entropy,
    (life, target): (&str, Target),
) -> (Pipe, Pipe) {
    let now = Instant::now();
    let (id, condition, cut) = links.open(life, target);
    let lane = || Lane {
        queue: VecDeque::new(),
        queued: 0,
        last: now,
        free: now,
        ready: now,
        closed: false,
        ends_in_reset: false,
        abandoned: false,
        budget: None,
        stalled: false,
        random: None,
        reader: None,
        writer: None,
    };
    let shared = Arc::new(Shared {
        id,
        links: links.clone(),
        entropy,
        state: Mutex::new(State {
            condition,
            broken: false,
            blocked: None,
            vanished: false,
            reset: false,
            given_up: false,
            to_server: lane(),
            to_client: lane(),
            ends: 2,
        }),
    });
    links.join(id, (life, target), Arc::clone(&shared) as Arc<dyn Obeys>);
    if let Some(cut) = cut {
        shared.cut(cut);
    }
    let pipe = |end| Pipe {
        end,
        shared: Arc::clone(&shared),
        timer: None,
    };
    (pipe(End::Client), pipe(End::Server))
}

impl Lane {
    /// How many of `wanted` bytes may be written now.
    fn room(&self, wanted: usize) -> usize {
        let room = wanted.min(WINDOW.saturating_sub(self.queued));
        match self.budget {
            Some((left, _)) => room.min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => room,
        }
    }

    fn push(&mut self, now: Instant, way: &Way, bytes: Bytes, random: impl FnOnce() -> ChaCha8Rng) {
        let length = bytes.len();
        let mut late = way.delay;
        if !way.spread.is_zero() || way.lost_per_mille > 0 {
            let random = self.random.get_or_insert_with(random);
            self.stalled |= random.next_u64() % 1000 < u64::from(way.lost_per_mille);
            let spread = u64::try_from(way.spread.as_nanos()).unwrap_or(u64::MAX);
            late += Duration::from_nanos(random.next_u64() % spread.saturating_add(1).max(1));
        }
        self.free = self.free.max(now) + span(length, way.bandwidth);
        self.last = self.last.max(self.free + late);
        self.queued += length;
        self.queue.push_back(Segment {
            sent: now,
            at: self.last,
            bytes,
        });
        if let Some((left, then)) = &mut self.budget {
            *left -= (length as u64).min(*left);
            if *left == 0 {
                let then = *then;
                self.end(then);
            }
        }
    }

    fn end(&mut self, then: Then) {
        self.closed = true;
        self.ends_in_reset |= then == Then::Reset;
    }

    fn take(&mut self, now: Instant, room: usize, pace: Option<u32>) -> Taken {
        let Some(front) = self.queue.front_mut() else {
            return match (self.closed, self.ends_in_reset) {
                (true, true) => Taken::Reset,
                (true, false) => Taken::End,
                (false, _) => Taken::Later(None),
            };
        };
        let at = front.at.max(self.ready);
        if at > now {
            return Taken::Later(Some(at));
        }
        // A slow reader takes a tenth of a second's worth at a time.
        let most = pace.map_or(room, |pace| room.min(pace as usize / 10 + 1));
        let length = front.bytes.len().min(most);
        let taken = front.bytes.split_to(length);
        if !front.bytes.has_remaining() {
            self.queue.pop_front();
        }
        self.queued -= length;
        self.ready = now + span(length, pace);
        Taken::Bytes(taken)
    }

    fn wake(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// How long bytes take at this many a second.
fn span(length: usize, pace: Option<u32>) -> Duration {
    pace.map_or(Duration::ZERO, |pace| {
        let nanos = length as u64 * 1_000_000_000;
        Duration::from_nanos(nanos / u64::from(pace.max(1)))
    })
}

impl State {
    fn lane(&mut self, toward: Toward) -> &mut Lane {
        match toward {
            Toward::Server => &mut self.to_server,
            Toward::Client => &mut self.to_client,
        }
    }

    fn is_blocked(&self, toward: Toward) -> bool {
        let lane = match toward {
            Toward::Server => &self.to_server,
            Toward::Client => &self.to_client,
        };
        self.vanished || lane.stalled || self.condition.way(toward).flow != Flow::Open
    }

    /// Takes note of whether everything passes.
    fn note(&mut self, now: Instant) {
        // An answer that does not arrive acknowledges nothing either: one direction is enough.
        if self.is_blocked(Toward::Server) || self.is_blocked(Toward::Client) {
            self.blocked.get_or_insert(now);
        } else {
            self.blocked = None;
            // What the client sent last was a reset.
            self.reset |= self.given_up;
        }
    }

    /// When the client gives up.
    fn gives_up_at(&self) -> Option<Instant> {
        let blocked = self.blocked?;
        Some(match self.to_server.queue.front() {
            Some(oldest) => blocked.max(oldest.sent) + GIVE_UP,
            None => blocked + GIVE_UP_SILENT,
        })
    }

    fn error(&self, end: End) -> Option<io::Error> {
        if self.reset {
            return Some(io::ErrorKind::ConnectionReset.into());
        }
        (self.given_up && end == End::Client).then(|| io::ErrorKind::TimedOut.into())
    }

    fn wake(&mut self) {
        self.to_server.wake();
        self.to_client.wake();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that carries nothing any more, once.
    fn count(&self, state: &mut State) {
        let is_broken = state.reset
            || state.vanished
            || state.given_up
            || state.to_server.stalled
            || state.to_client.stalled;
        if is_broken && !std::mem::replace(&mut state.broken, true) {
            self.links.count(|traffic| traffic.broken += 1);
        }
    }

    /// What a read gives; pending until that instant, if there is one.
    fn read(
        &self,
        end: End,
        context: &Context<'_>,
        buffer: &mut ReadBufCursor<'_>,
    ) -> Result<io::Result<()>, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(error) = state.error(end) {
            return Ok(Err(error));
        }
        let toward = end.reads();
        let pace = state.condition.way(toward).read_pace;
        let mut due = None;
        if !state.is_blocked(toward) {
            let lane = state.lane(toward);
            match lane.take(now, buffer.remaining(), pace) {
                Taken::Bytes(bytes) => {
                    lane.wake_writer();
                    drop(state);
                    buffer.put_slice(&bytes);
                    self.received(toward, bytes.len());
                    return Ok(Ok(()));
                }
                Taken::End => return Ok(Ok(())),
                Taken::Reset => return Ok(Err(io::ErrorKind::ConnectionReset.into())),
                Taken::Later(at) => due = at,
            }
        }
        if end == End::Client
            && let Some(at) = state.gives_up_at()
        {
            if at <= now {
                state.given_up = true;
                state.to_server.wake_writer();
                self.count(&mut state);
                return Ok(Err(io::ErrorKind::TimedOut.into()));
            }
            due = Some(due.map_or(at, |due: Instant| due.min(at)));
        }
        state.lane(toward).reader = Some(context.waker().clone());
        Err(due)
    }

    fn received(&self, toward: Toward, length: usize) {
        self.links.count(|traffic| match toward {
            Toward::Server => traffic.bytes_to_server += length as u64,
            Toward::Client => traffic.bytes_to_client += length as u64,
        });
    }

    fn write(&self, end: End, context: &Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(error) = state.error(end) {
            return Poll::Ready(Err(error));
        }
        let toward = end.writes();
        let way = *state.condition.way(toward);
        let is_blocked = state.is_blocked(toward);
        let lane = state.lane(toward);
        if lane.closed || (lane.abandoned && !is_blocked) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = lane.room(data.len());
        if room == 0 && !data.is_empty() {
            lane.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let was_idle = lane.queue.is_empty();
        lane.push(now, &way, Bytes::copy_from_slice(&data[..room]), || {
            self.entropy.stream(match toward {
                Toward::Server => "to-server",
                Toward::Client => "to-client",
            })
        });
        lane.wake_reader();
        state.note(now);
        self.count(&mut state);
        // A client that waits for an answer now waits for less: its bytes are not acknowledged.
        if state.blocked.is_some() && was_idle && end == End::Client {
            state.to_client.wake_reader();
        }
        Poll::Ready(Ok(room))
    }

    fn close(&self, end: End) {
        let mut state = self.lock();
        let lane = state.lane(end.writes());
        lane.closed = true;
        lane.wake_reader();
    }
}

impl Obeys for Shared {
    fn set(&self, condition: Condition) {
        let mut state = self.lock();
        state.condition = condition;
        let is_lost = |way: &Way| way.flow == Flow::Lost;
        state.vanished |= is_lost(&condition.to_server) || is_lost(&condition.to_client);
        state.note(Instant::now());
        self.count(&mut state);
        state.wake();
    }

    fn cut(&self, cut: Cut) {
        let now = Instant::now();
        let mut state = self.lock();
        match cut {
            Cut::Reset => state.reset = true,
            Cut::HalfClose(toward) => state.lane(toward).end(Then::Close),
            Cut::Vanish => state.vanished = true,
            Cut::After {
                toward,
                bytes: 0,
                then,
            } => state.lane(toward).end(then),
            Cut::After {
                toward,
                bytes,
                then,
            } => state.lane(toward).budget = Some((bytes, then)),
        }
        state.note(now);
        self.count(&mut state);
        state.wake();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("end", &self.end)
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}

impl Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = self.get_mut();
        loop {
            let due = match pipe.shared.read(pipe.end, context, &mut buffer) {
                Ok(result) => return Poll::Ready(result),
                Err(None) => return Poll::Pending,
                Err(Some(due)) => due,
            };
            let timer = pipe.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            pipe.timer = None;
        }
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared.write(self.end, context, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.close(self.end);
        Poll::Ready(Ok(()))
    }
}

impl Legacy for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shared.close(self.end);
        let mut state = self.shared.lock();
        let lane = state.lane(self.end.reads());
        lane.abandoned = true;
        lane.queue.clear();
        lane.queued = 0;
        lane.wake_writer();
        state.ends -= 1;
        let is_over = state.ends == 0;
        drop(state);
        if is_over {
            self.shared.links.leave(self.shared.id);
        }
    }
}
