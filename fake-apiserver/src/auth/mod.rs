//! Who is asking, and whether they may.

pub(crate) mod bootstrap;
pub mod ca;
pub(crate) mod rbac;
pub(crate) mod tokens;
