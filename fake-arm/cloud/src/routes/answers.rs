//! Long answers to reads, kept until something changes: an idle controller lists the same machines
//! for days.

use std::collections::BTreeMap;

use super::Reply;
use crate::exchange::{ArmRequest, Method};

/// Answers below this are made as fast as they are found.
const KEPT_FROM: usize = 2048;
/// Lists that clients repeat between two changes: a few kinds, a few pages each.
const KEPT_MAX: usize = 32;

/// The answers that hold for one revision of the cloud.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    revision: u64,
    kept: BTreeMap<String, Reply>,
}

impl Answers {
    pub(super) fn find(&self, revision: u64, request: &ArmRequest) -> Option<Reply> {
        if revision != self.revision || self.kept.is_empty() {
            return None;
        }
        self.kept.get(&key(request)?).cloned()
    }

    pub(super) fn keep(&mut self, revision: u64, request: &ArmRequest, reply: &Reply) {
        if revision != self.revision {
            self.revision = revision;
            self.kept.clear();
        }
        let worthwhile = reply.status == 200 && reply.body.len() >= KEPT_FROM;
        if worthwhile
            && self.kept.len() < KEPT_MAX
            && let Some(key) = key(request)
        {
            self.kept.insert(key, reply.clone());
        }
    }
}

/// Everything an answer to a read depends on, beside the cloud.
fn key(request: &ArmRequest) -> Option<String> {
    let body = match request.method {
        Method::Get => "",
        Method::Post if is_query(request) => std::str::from_utf8(&request.body).ok()?,
        _ => return None,
    };
    Some(format!(
        "{}{}?{}\n{body}",
        request.base, request.path, request.query
    ))
}

/// A Resource Graph query reads, though it is a POST.
pub(super) fn is_query(request: &ArmRequest) -> bool {
    request.method == Method::Post
        && request
            .path
            .to_ascii_lowercase()
            .ends_with("/microsoft.resourcegraph/resources")
}
