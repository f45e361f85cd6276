//! Foreign clients against `nap dev`, in real time.

mod cli;
mod imperative;
mod journey;
mod manifests;
mod refusals;
