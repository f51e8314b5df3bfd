//! What a fleet promises under faults and crowds, measured over minutes: `just test-endurance`, or one recipe for each promise. Each prints
//! its progress and a verdict, and adds a line to `docs/endurance.md` where it is told to.

#![allow(missing_docs, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../process/contract.rs"]
mod contract;
mod crowd;
#[path = "../process/eventually.rs"]
mod eventually;
mod failover;
mod false_alarms;
mod figures;
#[allow(dead_code)]
#[path = "../process/fleet.rs"]
mod fleet;
mod full_disk;
mod groups;
mod hundred;
#[allow(dead_code)]
#[path = "../process/kafka.rs"]
mod kafka;
mod member;
mod modern_member;
mod power_cut;
mod probe;
#[allow(dead_code)]
#[path = "../process/raw.rs"]
mod raw;
#[allow(dead_code)]
#[path = "../process/reading.rs"]
mod reading;
mod recovery;
mod report;
mod restart;
mod sight;
mod volumes;
mod wire;
