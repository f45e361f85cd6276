//! Foreign clients against `nap dev`, in real time.

mod cli;
mod journey;
mod manifests;
mod refusals;
