//! Rows of figures, one JSON object per line, and how they are measured.

/// Whether more or less is better than the goal.
#[derive(Clone, Copy)]
pub(crate) enum Better {
    More,
    Less,
}

/// Runs something and says how much processor time this thread spent on it, so that a busy machine
/// does not make figures worse; where that is not known, how long it took.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures real time"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let (start, before) = (std::time::Instant::now(), processor_seconds());
    let result = work();
    let seconds = match (before, processor_seconds()) {
        (Some(before), Some(after)) if after > before => after - before,
        _ => start.elapsed().as_secs_f64(),
    };
    (seconds, result)
}

/// Processor time of this thread (Linux).
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

/// The best of several runs: what else the machine does only makes a run slower.
pub(crate) fn best_of<T>(runs: usize, mut work: impl FnMut() -> T) -> (f64, T) {
    let mut best = timed(&mut work);
    for _ in 1..runs {
        let next = timed(&mut work);
        if next.0 < best.0 {
            best = next;
        }
    }
    best
}

/// A word to whoever looks on.
#[expect(clippy::print_stderr, reason = "talk of a program")]
pub(crate) fn talk(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "rows are what the program is for")]
pub(crate) fn row(figure: &str, value: f64, unit: &str, goal: f64, better: Better) {
    let met = match better {
        Better::More => value >= goal,
        Better::Less => value <= goal,
    };
    println!(
        "{{\"area\":\"scheduling\",\"figure\":\"{figure}\",\"value\":{value:.4},\
         \"unit\":\"{unit}\",\"goal\":{goal},\"met\":{met}}}"
    );
}

#[expect(clippy::print_stdout, reason = "rows are what the program is for")]
pub(crate) fn plain(figure: &str, value: f64, unit: &str) {
    println!(
        "{{\"area\":\"scheduling\",\"figure\":\"{figure}\",\"value\":{value:.4},\
         \"unit\":\"{unit}\",\"goal\":null,\"met\":null}}"
    );
}

#[expect(clippy::cast_precision_loss, reason = "figures are small")]
pub(crate) fn as_f64(count: usize) -> f64 {
    count as f64
}

/// Peak resident set of this process in megabytes (Linux); zero where nobody says.
pub(crate) fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0 / 1e6
}
