//! Worlds: the fakes, what drives them, and the controller between them.
//!
//! ```text
//!               Site: fake-arm ── bridge ── fake-apiserver + components
//!                       ▲                         ▲
//!                 transport (ARM)          transport (Kubernetes)      trace, fence, faults
//!                       └──────── controller::run ────────┘
//! ```
//!
//! A [`Site`] is the same in every world; worlds differ in what carries requests and in what time
//! is. [`discrete`] jumps from timer to timer on one thread, [`live`] uses sockets and real time.

pub mod bridge;
pub mod client;
pub mod controller;
pub mod discrete;
pub mod hooks;
pub mod live;
pub mod outcome;
pub mod ports;
pub mod process;
mod run;
pub mod setup;
pub mod site;
mod steps;

pub use outcome::{Ending, Outcome};
pub use site::{Site, SiteOptions};
