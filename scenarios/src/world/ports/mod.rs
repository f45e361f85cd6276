//! The controller's ports in a simulation.

mod clock;
mod cpu;
mod gate;
mod incarnation;
mod spawner;
mod transport;

pub use clock::SimClock;
pub use cpu::InlinePool;
pub(crate) use gate::is_write;
pub use gate::{CrashPoint, Moment, WriteGate};
pub use incarnation::{Finding, Findings, Incarnation};
pub use spawner::FencedSpawner;
pub(crate) use spawner::message_of;
pub use transport::{ActorTransport, Acts, Rewrite, Shared, Target, Wire};
