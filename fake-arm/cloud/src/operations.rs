//! Long-running operations, as clients poll them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::error::ArmError;

/// Azure keeps the outcome of an operation for a day.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Operations remembered at most: a day of the busiest subscription-wide write bucket (10 per
/// second) would be more, but nobody polls an operation that old among so many.
const REMEMBERED: usize = 20_000;

/// Which provider's URLs an operation is polled at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Compute,
    Network,
    ContainerService,
    /// Polled by `Location` alone.
    Resources,
}

impl Owner {
    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::Compute => "Microsoft.Compute",
            Self::Network => "Microsoft.Network",
            Self::ContainerService => "Microsoft.ContainerService",
            Self::Resources => "Microsoft.Resources",
        }
    }
}

/// How an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Running,
    Succeeded,
    Failed(ArmError),
    Canceled(ArmError),
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    pub(crate) started: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) progress: Progress,
    /// Key of the resource whose body is the result; `None` for deletions.
    pub(crate) result: Option<String>,
}

impl Operation {
    /// The status document.
    pub(crate) fn document(&self) -> Value {
        let (status, error) = match &self.progress {
            Progress::Running => ("InProgress", None),
            Progress::Succeeded => ("Succeeded", None),
            Progress::Failed(error) => ("Failed", Some(error)),
            Progress::Canceled(error) => ("Canceled", Some(error)),
        };
        let mut body = json!({
            "name": self.id,
            "status": status,
            "startTime": crate::render::time(self.started),
        });
        if let Some(ended) = self.ended {
            body["endTime"] = json!(crate::render::time(ended));
        }
        if let Some(error) = error {
            body["error"] = error.members();
        }
        body
    }
}

/// All operations that can still be asked for.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    by_id: BTreeMap<String, Operation>,
    /// Ids in the order of their start, for forgetting.
    order: std::collections::VecDeque<String>,
}

impl Operations {
    pub(crate) fn start(&mut self, now: Timestamp, operation: Operation) {
        self.forget(now);
        self.order.push_back(operation.id.clone());
        self.by_id.insert(operation.id.clone(), operation);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Operation> {
        self.by_id.get(&id.to_ascii_lowercase())
    }

    /// Ends a running operation; one that has ended stays as it is.
    pub(crate) fn end(&mut self, id: &str, at: Timestamp, progress: Progress) {
        if let Some(operation) = self.by_id.get_mut(id)
            && operation.progress == Progress::Running
        {
            operation.progress = progress;
            operation.ended = Some(at);
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.order.front() {
            let old = self.by_id.get(oldest).and_then(|operation| operation.ended);
            let stale = old.is_some_and(|ended| now.duration_since(ended) > KEPT);
            if !stale && self.order.len() < REMEMBERED {
                return;
            }
            let id = self.order.pop_front().expect("front exists");
            self.by_id.remove(&id);
        }
    }
}
