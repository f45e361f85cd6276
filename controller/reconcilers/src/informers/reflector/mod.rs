//! List, then watch, for ever: a kind as its server shows it.
//!
//! One loop for all kinds: what arrives stays text until the sink of its kind decodes it, so each
//! type has a single decoder and an object that cannot be decoded costs nobody but itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use controller_ports::{Clock, Entropy, timeout};
use futures::{AsyncBufRead, AsyncBufReadExt};
use kube::core::Status;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::known::{Identity, Known};
use crate::backoff::Backoff;
use crate::error::{chain, code};

/// Waits after a failure; the bounds of client-go's reflector.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(800),
    max: Duration::from_secs(30),
};
/// Objects per page of a list, as client-go's pager asks for.
const PAGE: u32 = 500;
/// Shortest time a watch is asked to last; the longest is twice that. As long as an API server keeps
/// one open that names no time (kube-apiserver `--min-request-timeout`); that the other end has gone
/// is noticed by the connection's keep-alive.
const WATCH_MIN: Duration = Duration::from_mins(30);
/// How much later than asked a server may end a watch, before its connection is given up.
const WATCH_GRACE: Duration = Duration::from_secs(10);
/// A watch that ended sooner and said nothing is a failure: without a wait it would be a hot loop
/// (client-go `VeryShortWatchError`).
const WATCH_SHORT: Duration = Duration::from_secs(1);

/// Why a list or a watch ended before its time.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("connection of the watch broke")]
    Connection(#[source] std::io::Error),
    #[error("server sent what is no {what}")]
    Malformed {
        what: &'static str,
        source: serde_json::Error,
    },
    #[error("watch was answered with an error: {0}")]
    Refused(Box<Status>),
    #[error("server neither sent an event nor kept the watch open")]
    Short,
}

impl Error {
    /// Whether the version asked for is no longer there.
    fn is_expired(&self) -> bool {
        match self {
            Self::Api(error) => code(error) == Some(410),
            Self::Refused(status) => status.code == 410,
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct ListMeta<'a> {
    #[serde(rename = "resourceVersion", default, borrow)]
    version: Cow<'a, str>,
    #[serde(rename = "continue", default, borrow)]
    next: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    metadata: ListMeta<'a>,
    #[serde(default, borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    change: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// A kind at its server.
pub(super) struct Reflector {
    kube: kube::Client,
    clock: Arc<dyn Clock>,
    /// Path of the collection.
    url: String,
    random: ChaCha8Rng,
    failures: u32,
}

impl Reflector {
    pub(super) fn new(
        kube: kube::Client,
        clock: Arc<dyn Clock>,
        url: String,
        entropy: &Entropy,
    ) -> Self {
        let random = entropy.child("watch").stream(&url);
        Self {
            kube,
            clock,
            url,
            random,
            failures: 0,
        }
    }

    /// Feeds `known` for ever; calls `listed` when the first list is through.
    pub(super) async fn run(mut self, mut known: Known<'_>, listed: impl FnOnce()) -> ! {
        let mut listed = Some(listed);
        let mut version: Option<String> = None;
        loop {
            let ended = match &mut version {
                Some(version) => self.follow(version, &mut known).await,
                None => match self.list(&mut known).await {
                    Ok(at) => {
                        version = Some(at);
                        if let Some(listed) = listed.take() {
                            listed();
                        }
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            let Err(error) = ended else { continue };
            if error.is_expired() {
                version = None;
            }
            self.failures += 1;
            let wait = BACKOFF.wait(self.failures, &mut self.random);
            tracing::warn!(
                url = self.url, error = %chain(&error), failures = self.failures, "watch failed"
            );
            self.clock.sleep(wait).await;
        }
    }

    /// Reads the whole collection; answers the version that a watch goes on from.
    async fn list(&mut self, known: &mut Known<'_>) -> Result<String, Error> {
        known.begin();
        let mut next = String::new();
        let mut limit = Some(PAGE);
        loop {
            let request = self.list_request(limit, &next);
            let text = match self.kube.request_text(request?).await {
                Ok(text) => text,
                // The list took longer than its version lives: in one piece it cannot.
                Err(error) if code(&error) == Some(410) && !next.is_empty() => {
                    next.clear();
                    limit = None;
                    known.begin();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let page: Page<'_> = parse(&text, "list")?;
            for item in page.items {
                known.listed(identity(item)?, item.get());
            }
            if page.metadata.next.is_empty() {
                known.end();
                self.failures = 0;
                return Ok(page.metadata.version.into_owned());
            }
            next = page.metadata.next.into_owned();
        }
    }

    /// Takes changes since `version`, and moves it on, until the server ends the watch.
    async fn follow(&mut self, version: &mut String, known: &mut Known<'_>) -> Result<(), Error> {
        let extra = self.random.next_u64() % WATCH_MIN.as_secs();
        let lasts = WATCH_MIN + Duration::from_secs(extra);
        let started = self.clock.monotonic();
        let request = self.watch_request(version, lasts)?;
        let mut lines = self.kube.request_stream(request).await?;
        let clock = Arc::clone(&self.clock);
        let frames = self.frames(&mut lines, version, known);
        // Longer than that nothing is alive at the other end: start over from what was seen.
        let Ok(ended) = timeout(&*clock, lasts + WATCH_GRACE, frames).await else {
            return Ok(());
        };
        let count = ended?;
        if count == 0 && clock.monotonic().saturating_sub(started) < WATCH_SHORT {
            return Err(Error::Short);
        }
        Ok(())
    }

    /// Takes frames, one per line, until the server closes; answers how many.
    async fn frames(
        &mut self,
        lines: &mut (impl AsyncBufRead + Unpin),
        version: &mut String,
        known: &mut Known<'_>,
    ) -> Result<u64, Error> {
        let mut line = String::new();
        let mut count = 0;
        loop {
            line.clear();
            let read = lines.read_line(&mut line).await;
            if read.map_err(Error::Connection)? == 0 {
                return Ok(count);
            }
            if line.trim().is_empty() {
                continue;
            }
            let frame: Frame<'_> = parse(&line, "watch event")?;
            if frame.change == "ERROR" {
                let status = parse(frame.object.get(), "Status")?;
                return Err(Error::Refused(Box::new(status)));
            }
            let identity = identity(frame.object)?;
            if !identity.version.is_empty() {
                version.clear();
                version.push_str(&identity.version);
            }
            match &*frame.change {
                "DELETED" => known.deleted(identity),
                "BOOKMARK" => {}
                _ => known.changed(identity, frame.object.get()),
            }
            self.failures = 0;
            count += 1;
        }
    }

    fn list_request(
        &self,
        limit: Option<u32>,
        next: &str,
    ) -> Result<http::Request<Vec<u8>>, kube::Error> {
        let params = kube::api::ListParams {
            limit,
            continue_token: (!next.is_empty()).then(|| next.to_owned()),
            ..Default::default()
        };
        kube::core::Request::new(&*self.url)
            .list(&params)
            .map_err(kube::Error::BuildRequest)
    }

    fn watch_request(
        &self,
        version: &str,
        lasts: Duration,
    ) -> Result<http::Request<Vec<u8>>, kube::Error> {
        let seconds = lasts.as_secs();
        // The crate's own builder allows no more than 295 seconds. Encoding is asked to be plain,
        // as a frame must not wait for the next to fill a block.
        http::Request::get(format!(
            "{}?watch=true&timeoutSeconds={seconds}&allowWatchBookmarks=true&resourceVersion={version}",
            self.url
        ))
        .header(http::header::ACCEPT_ENCODING, "identity")
        .body(Vec::new())
        .map_err(|error| kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error)))
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, what: &'static str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Malformed { what, source })
}

fn identity(object: &RawValue) -> Result<Identity, Error> {
    #[derive(Deserialize)]
    struct Partial {
        metadata: Identity,
    }
    let partial: Partial = parse(object.get(), "object")?;
    Ok(partial.metadata)
}

#[cfg(test)]
mod tests;
