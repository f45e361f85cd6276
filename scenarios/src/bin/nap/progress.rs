//! How far a campaign is: a bar on a terminal, one line per phase elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use scenarios::sweep::Event;

use crate::exit::talk;

/// A bar is drawn at most this often.
const PERIOD: Duration = Duration::from_millis(100);

/// Cells of a bar.
const WIDTH: usize = 24;

/// Shows events of a campaign on stderr.
pub(crate) struct Progress {
    terminal: bool,
    began: real_time::Instant,
    drawn: Option<real_time::Instant>,
    name: &'static str,
    runs: usize,
    done: usize,
    failed: usize,
}

/// Real time, for the rate only.
mod real_time {
    #[expect(
        clippy::disallowed_types,
        reason = "how fast a campaign goes is shown to people"
    )]
    pub(super) type Instant = std::time::Instant;

    #[expect(
        clippy::disallowed_methods,
        reason = "how fast a campaign goes is shown to people"
    )]
    pub(super) fn now() -> Instant {
        Instant::now()
    }
}

impl Progress {
    /// Nothing has begun.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            began: real_time::now(),
            drawn: None,
            name: "",
            runs: 0,
            done: 0,
            failed: 0,
        }
    }

    /// Takes note of an event.
    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Phase { name, runs } => {
                (self.name, self.runs) = (name, *runs);
                (self.done, self.failed, self.drawn) = (0, 0, None);
                self.began = real_time::now();
            }
            Event::Ran { failure } => {
                self.done += 1;
                self.failed += usize::from(failure.is_some());
                self.draw();
            }
            Event::Ended => {
                if self.terminal {
                    clear();
                }
                talk(&self.line());
            }
        }
    }

    fn draw(&mut self) {
        let now = real_time::now();
        let fresh = self.drawn.is_some_and(|at| now.duration_since(at) < PERIOD);
        if !self.terminal || fresh {
            return;
        }
        self.drawn = Some(now);
        let filled = WIDTH * self.done / self.runs.max(1);
        let bar: String = (0..WIDTH)
            .map(|cell| if cell < filled { '█' } else { '░' })
            .collect();
        let mut stderr = std::io::stderr().lock();
        drop(write!(stderr, "\r\x1b[K{bar} {}", self.line()));
        drop(stderr.flush());
    }

    fn line(&self) -> String {
        let elapsed = real_time::now().duration_since(self.began);
        let (name, done, runs, failed) = (self.name, self.done, self.runs, self.failed);
        let rate = per_minute(done, elapsed);
        let seconds = elapsed.as_secs();
        format!("{name}: {done} of {runs} runs, {failed} failed, {rate} per minute, {seconds} s")
    }
}

/// Whole runs per minute.
pub(crate) fn per_minute(runs: usize, elapsed: Duration) -> u128 {
    let runs = u128::try_from(runs).unwrap_or_default();
    runs * 60_000 / elapsed.as_millis().max(1)
}

fn clear() {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(b"\r\x1b[K"));
}
