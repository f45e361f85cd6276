//! What the schema cannot check.

use controller_api::conditions::Conditioned;
use controller_api::karpenter::v1::NodePool;
use controller_api::validation::validate_node_pool;
use jiff::Timestamp;

/// Sets `ValidationSucceeded`.
pub(super) fn validate(pool: &mut NodePool, now: Timestamp) {
    let errors = validate_node_pool(pool);
    let mut conditions = pool.condition_set(now);
    if errors.is_empty() {
        conditions.set_true("ValidationSucceeded");
    } else {
        let message = errors.join("; ");
        conditions.set_false("ValidationSucceeded", "NodePoolValidationFailed", &message);
    }
}
