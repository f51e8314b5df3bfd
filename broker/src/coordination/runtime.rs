//! The seam between the quorum and what it runs on: its tasks, its clock, its randomness, and the waiting for disks. One
//! side is tokio's threads, the other simulated machines that share one thread, virtual time and a seed.

#[cfg(not(feature = "simulation"))]
mod real;
#[cfg(feature = "simulation")]
mod simulated;

#[cfg(not(feature = "simulation"))]
pub use real::{Runtime, blocking, spawn};
#[cfg(feature = "simulation")]
pub use simulated::{Machine, Runtime, blocking, spawn};
