//! Real broker processes on loopback, driven by clients that are not ours (librdkafka) and, where the wire itself is the
//! subject, by bytes. Belongs to the package `flotilla-cli`, whose binary carries the broker.

#![allow(missing_docs, clippy::unwrap_used)]

mod administration;
mod bench;
mod chain;
mod compacting;
mod contract;
mod corruption;
mod elsewhere;
mod eventually;
mod failover;
mod fleet;
mod follow;
mod heal;
mod kafka;
mod manifests;
mod moving;
#[allow(dead_code)]
mod on_disk;
mod quotas;
mod racks;
mod raw;
mod records;
mod roll;
mod security;
mod settings;
mod share_groups;
mod startup;
mod throttle;
mod topics;
mod transactions;
mod up;
mod wire;
mod writer;
