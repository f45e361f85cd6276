//! Every decision of the controller, as pure functions over snapshots.
