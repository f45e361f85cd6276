//! The controller's ports in a simulation.

mod clock;
mod cpu;
mod incarnation;
mod spawner;
mod transport;

pub use clock::SimClock;
pub use cpu::InlinePool;
pub use incarnation::{Finding, Findings, Incarnation};
pub use spawner::FencedSpawner;
pub(crate) use spawner::message_of;
pub use transport::{ActorTransport, CrashPoint, Moment, Rewrite, Shared, Target, Wire, WriteGate};
