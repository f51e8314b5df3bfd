//! All requests that both brokers are sent: one file for each group of APIs.

mod cluster;
mod configs;
mod consumer_groups;
pub mod data;
mod groups;
mod offsets;
mod quotas;
mod security;
mod share_groups;
mod share_records;
mod share_states;
mod streams_groups;
mod telemetry;
mod tokens;
mod topics;
mod transactions;
mod versions;

use crate::case::Case;

pub fn all() -> Vec<Case> {
    [
        versions::cases(),
        topics::cases(),
        data::cases(),
        groups::cases(),
        offsets::cases(),
        consumer_groups::cases(),
        share_groups::cases(),
        share_records::cases(),
        share_states::cases(),
        streams_groups::cases(),
        transactions::cases(),
        configs::cases(),
        telemetry::cases(),
        security::cases(),
        tokens::cases(),
        quotas::cases(),
        cluster::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
