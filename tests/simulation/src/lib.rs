//! Brokers on simulated disks, networks and clocks. One seed decides everything that happens: which messages are lost,
//! who crashes when, what a disk keeps. The same seed gives the same history, to the byte; the hash of the trace says so.
//!
//! Two levels. [`partitions`] drives the log, the replicas and the pure rooms on a scheduler of ours, with the metadata
//! log behind its seam (propose, committed, leadership changed): most seeds go here. The second, the quorum itself with
//! `openraft`, finds what that seam hides.
//!
//! [`dice`], [`trace`] and [`outcome`] are what both levels share; [`run`] runs many seeds, [`report`] keeps count of them.

pub mod dice;
pub mod level;
pub mod outcome;
pub mod partitions;
#[cfg(feature = "quorum")]
pub mod quorum;
pub mod report;
pub mod run;
pub mod trace;
