//! Watches: streams of events out of the store's history.
//!
//! A watcher holds no queue. It remembers a revision, reads what came after it, and sleeps until
//! its kind changes, a bookmark is due or its time is up. What it holds is bounded: one chunk of
//! text, and the shared objects of its initial list. A reader that is too slow is cut off, and one
//! whose revision was compacted meanwhile gets 410.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use fake_apiserver_store::Change;
use futures::FutureExt as _;
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::negotiate::{self, Format};
use super::resource::Request;
use super::respond;
use crate::item::{Item, with_type};
use crate::machine::Machine;
use crate::meta;
use crate::ops::list::{ListOptions, list_options, parse_version};
use crate::registry::View;
use crate::selectors::Selection;
use crate::server::ApiServer;
use crate::status::{Fault, FieldError, Result, Status};
use crate::table::{self, Include};

/// The real server's bookmark period.
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);

/// How far the period grows while the client knows the newest revision anyway.
const BOOKMARK_PERIOD_MAX: Duration = Duration::from_mins(16);

/// A last bookmark this long before the end of a watch.
const BOOKMARK_LEAD: Duration = Duration::from_secs(2);

/// The shortest watch of clients that do not say (`--min-request-timeout`); upstream draws from
/// this up to twice as much, to spread reconnections that do not exist here.
const TIMEOUT: Duration = Duration::from_mins(30);

/// Text encoded ahead of the reader. Hundreds of events for one wake-up, little for a hundred
/// watchers that do not read.
const CHUNK_MAX: usize = 256 * 1024;

/// Changes of a kind during one pause of the reader after which the stream ends, as the real
/// server ends it when the watcher's buffer is full (`…/storage/cacher/cache_watcher.go`). Its
/// buffers hold up to 1,000 events; ten times as many let a whole cluster's pods start at once.
const LAG_MAX: usize = 10_000;

const INITIAL_END: &str = "k8s.io/initial-events-end";

#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one stream"
)]
struct Watch {
    server: ApiServer,
    view: View,
    prefix: String,
    selection: Selection,
    format: Format,
    include: Include,
    /// Every change up to here was delivered or did not match.
    since: u64,
    /// Whether `since` is the client's claim, not yet ours.
    claimed: bool,
    /// The newest revision the client was told.
    told: u64,
    bookmarks: bool,
    next_bookmark: Instant,
    /// Time between two bookmarks; longer while there is nothing to tell.
    bookmark_period: Duration,
    deadline: Instant,
    /// Objects of the initial list that are still to be sent.
    initial: VecDeque<Item>,
    /// Whether a bookmark tells the end of the initial list.
    ends_list: bool,
    /// The newest revision when the reader last came.
    seen: u64,
    columns_sent: bool,
    waiter: Arc<Notify>,
    done: bool,
}

/// Starts a watch; authorization is done.
pub(super) fn start(request: &Request<'_>, view: &View, selection: Selection) -> Result<Response> {
    let query = request.query;
    let initial = query.flag("sendInitialEvents");
    check(
        query.get("resourceVersionMatch").unwrap_or_default(),
        initial,
    )?;
    let format = negotiate::format(request.headers)?;
    let version = query.text("resourceVersion");
    let revision = parse_version(&version).map_err(|status| Status::plain_error(status.message))?;
    let clock = request.server.clock();
    let seconds = query
        .get("timeoutSeconds")
        .and_then(|text| text.parse::<u64>().ok());
    let timeout = seconds
        .filter(|seconds| *seconds > 0)
        .map_or(TIMEOUT, Duration::from_secs);
    let deadline = clock.instant_after(timeout);
    let bookmarks = query.flag("allowWatchBookmarks") == Some(true);
    let mut machine = request.server.lock();
    let namespace = &request.path.namespace;
    let prefix = if namespace.is_empty() {
        String::new()
    } else {
        format!("{namespace}/")
    };
    let mut watch = Watch {
        server: request.server.clone(),
        view: view.clone(),
        prefix,
        selection,
        format,
        include: request.include(),
        since: revision.unwrap_or(0),
        claimed: true,
        told: revision.unwrap_or(0),
        bookmarks,
        next_bookmark: clock.instant_after(BOOKMARK_PERIOD),
        bookmark_period: BOOKMARK_PERIOD,
        deadline,
        initial: VecDeque::new(),
        ends_list: false,
        seen: machine.store.revision(),
        columns_sent: false,
        waiter: machine.waiter(view.resource.space),
        done: false,
    };
    if initial == Some(true) || (initial.is_none() && revision.unwrap_or(0) == 0) {
        let as_of = request.as_of.filter(|_| version == "0");
        watch.list(&machine, namespace, as_of)?;
        watch.ends_list = initial == Some(true) && watch.bookmarks;
    }
    drop(machine);
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), watch))
    });
    let content = HeaderValue::from_static("application/json");
    Ok(respond::bytes(200, content, Body::from_stream(stream)))
}

fn check(version_match: &str, initial: Option<bool>) -> Result<()> {
    let at = "resourceVersionMatch";
    let mut errors = Vec::new();
    match (initial, version_match) {
        (None, "") | (Some(_), "NotOlderThan") => {}
        (None, _) => errors.push(FieldError::forbidden(
            at,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )),
        (Some(_), other) => {
            errors.push(FieldError::forbidden(
                at,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
            if !other.is_empty() {
                let detail = "supported values: \"NotOlderThan\"";
                errors.push(FieldError::value(
                    at,
                    Fault::NotSupported,
                    &other.into(),
                    detail,
                ));
            }
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(list_options(&errors))
    }
}

impl Watch {
    /// Takes the present state, or that of an earlier revision, to be sent as ADDED events.
    fn list(&mut self, machine: &Machine, namespace: &str, as_of: Option<u64>) -> Result<()> {
        let options = ListOptions {
            selection: self.selection.clone(),
            resource_version: as_of.map_or_else(String::new, |_| "0".to_owned()),
            as_of,
            ..ListOptions::default()
        };
        let page = machine.page(&self.view, namespace, &options)?;
        let items = page.items.iter();
        let items: Result<_> = items
            .map(|item| crate::machine::present(&self.view, item))
            .collect();
        self.initial = items?;
        self.since = page.revision;
        self.claimed = false;
        self.told = page.revision;
        Ok(())
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let waiter = Arc::clone(&self.waiter);
        loop {
            let changed = waiter.notified();
            let mut changed = std::pin::pin!(changed);
            // registered before the history is read, so that no change is missed in between
            changed.as_mut().enable();
            match self.pull() {
                Ok(lines) if !lines.is_empty() => return Some(lines.into()),
                Ok(_) if self.done => return None,
                Ok(_) => {}
                Err(status) => {
                    self.done = true;
                    return Some(error_line(&status));
                }
            }
            let now = Instant::now();
            if now >= self.deadline {
                return None;
            }
            if self.bookmarks && now >= self.next_bookmark {
                if let Some(line) = self.due_bookmark(now) {
                    return Some(line);
                }
                continue;
            }
            let wake = if self.bookmarks {
                self.next_bookmark.min(self.deadline)
            } else {
                self.deadline
            };
            let timer = tokio::time::sleep_until(wake).fuse();
            let mut timer = std::pin::pin!(timer);
            futures::select_biased! {
                () = changed.fuse() => {}
                () = timer => {}
            }
        }
    }

    /// A bookmark, unless the client knows the newest revision already.
    fn due_bookmark(&mut self, now: Instant) -> Option<Bytes> {
        let clock = self.server.clock();
        let last = self
            .deadline
            .checked_sub(clock.real(BOOKMARK_LEAD))
            .unwrap_or(self.deadline);
        let is_known = self.since <= self.told;
        self.bookmark_period = if is_known {
            BOOKMARK_PERIOD_MAX.min(self.bookmark_period * 2)
        } else {
            BOOKMARK_PERIOD
        };
        let regular = now + clock.real(self.bookmark_period);
        // one more just before the end, then none
        self.next_bookmark = if now < last {
            regular.min(last)
        } else {
            self.deadline
        };
        if is_known {
            return None;
        }
        let mut line = Vec::new();
        self.bookmark(&mut line, false);
        Some(line.into())
    }

    /// The next lines for this watcher, at most a chunk of them.
    fn pull(&mut self) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        while lines.len() < CHUNK_MAX
            && let Some(item) = self.initial.pop_front()
        {
            self.event(&mut lines, "ADDED", &item);
        }
        if self.initial.is_empty() && std::mem::take(&mut self.ends_list) {
            self.bookmark(&mut lines, true);
        }
        if !lines.is_empty() {
            return Ok(lines);
        }
        let server = self.server.clone();
        let machine = server.lock();
        let current = machine.store.revision();
        if self.since >= current {
            return Ok(lines);
        }
        let space = self.view.resource.space;
        if machine.store.count_since(space, self.seen) > LAG_MAX {
            self.done = true;
            return Ok(lines);
        }
        self.seen = current;
        let prefix = std::mem::take(&mut self.prefix);
        let result = self.read(&machine, &prefix, &mut lines);
        self.prefix = prefix;
        self.since = result?.unwrap_or(current);
        self.claimed = false;
        Ok(lines)
    }

    /// Writes the events after `since`; answers where it stopped when there are more.
    fn read(
        &mut self,
        machine: &Machine,
        prefix: &str,
        lines: &mut Vec<u8>,
    ) -> Result<Option<u64>> {
        let since = self.since;
        let (store, space) = (&machine.store, self.view.resource.space);
        if self.claimed && since < store.floor() {
            return Err(too_old(since, store.floor()));
        }
        let changes = store.resume(space, prefix, since);
        let changes = changes.map_err(|compacted| too_old(since, compacted.floor))?;
        for change in changes {
            if let Some((kind, item)) = self.judge(change) {
                let item = crate::machine::present(&self.view, &item)?;
                self.event(lines, kind, &item);
                self.told = change.revision;
                if lines.len() >= CHUNK_MAX {
                    return Ok(Some(change.revision));
                }
            }
        }
        Ok(None)
    }

    /// What a change is to a watcher with a selector.
    fn judge(&self, change: &Change<Item>) -> Option<(&'static str, Item)> {
        let everything = self.selection.is_empty();
        let matches = |item: &Item| everything || self.selection.matches(item.value());
        let before = change.before.as_ref().map(|before| &before.value);
        let was = before.is_some_and(matches);
        if change.deleted {
            return was.then(|| ("DELETED", change.value.clone()));
        }
        match (was, matches(&change.value)) {
            (true, true) => Some(("MODIFIED", change.value.clone())),
            (false, true) => Some(("ADDED", change.value.clone())),
            // the old content under the new revision
            (true, false) => before.map(|before| {
                let mut old = before.value().clone();
                meta::set(&mut old, "resourceVersion", change.revision.to_string());
                ("DELETED", Item::new(old))
            }),
            (false, false) => None,
        }
    }

    fn event(&mut self, lines: &mut Vec<u8>, kind: &str, item: &Item) {
        lines.extend_from_slice(b"{\"type\":\"");
        lines.extend_from_slice(kind.as_bytes());
        lines.extend_from_slice(b"\",\"object\":");
        match self.format {
            Format::Json | Format::Yaml => {
                let (kind, version) = (&self.view.resource.kind, self.view.api_version());
                lines.extend(with_type(kind, version, &item.encoded()));
            }
            Format::Partial => {
                lines.extend_from_slice(table::partial(item.value()).to_string().as_bytes());
            }
            Format::Table => {
                let version = &item.value()["metadata"]["resourceVersion"];
                let metadata = json!({"resourceVersion": version});
                let now = self.server.clock().now();
                let items = std::slice::from_ref(item);
                let mut table = table::table(&self.view, items, &metadata, (self.include, now));
                if self.columns_sent {
                    table["columnDefinitions"] = Value::Null;
                }
                self.columns_sent = true;
                lines.extend_from_slice(table.to_string().as_bytes());
            }
        }
        lines.extend_from_slice(b"}\n");
    }

    fn bookmark(&mut self, lines: &mut Vec<u8>, ends_list: bool) {
        self.told = self.since;
        let mut metadata = json!({
            "resourceVersion": self.since.to_string(), "creationTimestamp": null,
        });
        if ends_list {
            metadata["annotations"] = json!({INITIAL_END: "true"});
        }
        let object = match self.format {
            Format::Json | Format::Yaml => json!({
                "kind": self.view.resource.kind, "apiVersion": self.view.api_version(),
                "metadata": metadata,
            }),
            Format::Partial => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }),
            Format::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": self.since.to_string()},
                "columnDefinitions": null,
                "rows": [{"cells": [""], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                }}],
            }),
        };
        let line = json!({"type": "BOOKMARK", "object": object});
        lines.extend_from_slice(line.to_string().as_bytes());
        lines.push(b'\n');
    }
}

fn too_old(since: u64, floor: u64) -> Status {
    Status::expired(format!("too old resource version: {since} ({floor})"))
}

fn error_line(status: &Status) -> Bytes {
    let mut line = json!({"type": "ERROR", "object": status.body()}).to_string();
    line.push('\n');
    line.into()
}
