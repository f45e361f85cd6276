//! Test doubles: an API server in memory, bootstrap data, a small world to drive.

mod api;
pub(crate) mod bootstrap;
mod world;

pub(crate) use api::MemoryApi;
pub(crate) use world::{World, at, host, node, pod};
