//! A claim being changed by the steps of one reconcile.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_api::conditions::{ConditionSet, Conditioned, NodeClaimCondition, READY};
use controller_api::karpenter::v1::{NodeClaim, NodeClaimStatus};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::events::Note;
use crate::writes::Guard;

/// The claim as read, and as it should be.
#[derive(Debug)]
pub(crate) struct Draft {
    before: Arc<NodeClaim>,
    pub(crate) claim: NodeClaim,
    now: Timestamp,
}

impl Draft {
    pub(crate) fn new(before: Arc<NodeClaim>, now: Timestamp) -> Self {
        let claim = NodeClaim::clone(&before);
        Self { before, claim, now }
    }

    pub(crate) fn name(&self) -> &str {
        claim_name(&self.claim)
    }

    /// The claim's conditions, missing ones filled in.
    pub(crate) fn conditions(&mut self) -> ConditionSet<'_> {
        self.claim.condition_set(self.now)
    }

    pub(crate) fn is_true(&self, type_: &str) -> bool {
        self.claim.is_condition_true(type_)
    }

    /// When a condition last changed its status; a missing one counts from the creation.
    pub(crate) fn changed_at(&self, type_: &str) -> Timestamp {
        let created = self
            .claim
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(self.now, |t| t.0);
        self.claim
            .condition(type_)
            .map_or(created, |c| c.last_transition_time.0)
    }

    pub(crate) fn status(&mut self) -> &mut NodeClaimStatus {
        self.claim.status.get_or_insert_default()
    }

    /// Writes what changed: metadata first, then status. `None`: the claim is gone.
    pub(crate) async fn save(self, ctx: &Context) -> Result<Option<Arc<NodeClaim>>, Error> {
        let mut current = Arc::clone(&self.before);
        if let Some(patch) = metadata_patch(&self.before, &self.claim) {
            match ctx.patch_claim(&current, patch, Guard::None).await? {
                Some(claim) => current = claim,
                None => return Ok(None),
            }
        }
        if let Some(patch) = status_patch(&self.before, &self.claim) {
            match ctx.patch_claim_status(&current, patch).await? {
                Some(claim) => current = claim,
                None => return Ok(None),
            }
            for transition in transitions(&self.before, &self.claim) {
                ctx.events.publish(&*current, transition);
            }
        }
        Ok(Some(current))
    }
}

/// The claim's name; objects from the API always have one.
pub(crate) fn claim_name(claim: &NodeClaim) -> &str {
    claim.metadata.name.as_deref().unwrap_or_default()
}

fn metadata_patch(before: &NodeClaim, after: &NodeClaim) -> Option<Value> {
    let mut metadata = Map::new();
    let pairs = [
        ("labels", &before.metadata.labels, &after.metadata.labels),
        (
            "annotations",
            &before.metadata.annotations,
            &after.metadata.annotations,
        ),
    ];
    for (field, before, after) in pairs {
        if let Some(changes) = map_changes(before.as_ref(), after.as_ref()) {
            metadata.insert(field.to_owned(), changes);
        }
    }
    (!metadata.is_empty()).then(|| json!({ "metadata": metadata }))
}

/// The keys that were set; steps never take one away.
fn map_changes(
    before: Option<&BTreeMap<String, String>>,
    after: Option<&BTreeMap<String, String>>,
) -> Option<Value> {
    let changes: Map<String, Value> = after
        .into_iter()
        .flatten()
        .filter(|(key, value)| before.and_then(|map| map.get(*key)) != Some(*value))
        .map(|(key, value)| (key.clone(), Value::String(value.clone())))
        .collect();
    (!changes.is_empty()).then_some(Value::Object(changes))
}

/// The fields of the status that differ; lists whole, as a merge patch replaces them.
fn status_patch(before: &NodeClaim, after: &NodeClaim) -> Option<Value> {
    if before.status == after.status {
        return None;
    }
    let to_map = |status: Option<&NodeClaimStatus>| match status.map(serde_json::to_value) {
        Some(Ok(Value::Object(map))) => map,
        _ => Map::new(),
    };
    let old = to_map(before.status.as_ref());
    let new = to_map(after.status.as_ref());
    let changes: Map<String, Value> = new
        .into_iter()
        .filter(|(field, value)| old.get(field) != Some(value))
        .collect();
    (!changes.is_empty()).then_some(Value::Object(changes))
}

/// Events for conditions that changed their status (`awslabs/operatorpkg`
/// `status/controller.go`).
fn transitions(before: &NodeClaim, after: &NodeClaim) -> Vec<Note> {
    let mut notes = Vec::new();
    for condition in after.conditions() {
        let old = before
            .condition(&condition.type_)
            .map_or("Unknown", |c| c.status.as_str());
        if old == condition.status {
            continue;
        }
        let mut message = format!(
            "Status condition transitioned, Type: {}, Status: {} -> {}, Reason: {}",
            condition.type_, old, condition.status, condition.reason
        );
        if !condition.message.is_empty() {
            message.push_str(", Message: ");
            message.push_str(&condition.message);
        }
        notes.push(Note::normal(event_reason(&condition.type_), message));
    }
    notes
}

/// A condition's type as an event's reason.
fn event_reason(type_: &str) -> &'static str {
    let known = NodeClaimCondition::ALL
        .iter()
        .map(|condition| condition.as_str());
    known
        .chain([READY])
        .find(|known| *known == type_)
        .unwrap_or("StatusConditionTransitioned")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> NodeClaim {
        let mut claim = NodeClaim::default();
        claim.metadata.name = Some("general-x7k2p".to_owned());
        claim.metadata.labels = Some(BTreeMap::from([(
            "karpenter.sh/nodepool".to_owned(),
            "general".to_owned(),
        )]));
        claim
    }

    #[test]
    fn only_differences_are_written() {
        let before = claim();
        assert_eq!(metadata_patch(&before, &before), None);
        assert_eq!(status_patch(&before, &before), None);
        let mut draft = Draft::new(Arc::new(before.clone()), Timestamp::UNIX_EPOCH);
        draft
            .claim
            .metadata
            .labels
            .get_or_insert_default()
            .insert("a".to_owned(), "b".to_owned());
        draft.status().provider_id = Some("azure:///x".to_owned());
        insta::assert_snapshot!(
            metadata_patch(&before, &draft.claim).expect("a change"),
            @r#"{"metadata":{"labels":{"a":"b"}}}"#
        );
        insta::assert_snapshot!(
            status_patch(&before, &draft.claim).expect("a change"),
            @r#"{"providerID":"azure:///x"}"#
        );
    }

    #[test]
    fn a_changed_condition_is_an_event() {
        let before = claim();
        let mut draft = Draft::new(Arc::new(before.clone()), Timestamp::UNIX_EPOCH);
        draft.conditions().set_true("Launched");
        let notes = transitions(&before, &draft.claim);
        assert_eq!(notes.len(), 1);
        insta::assert_snapshot!(
            notes[0].message,
            @"Status condition transitioned, Type: Launched, Status: Unknown -> True, Reason: Launched"
        );
    }
}
