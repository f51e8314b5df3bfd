//! A fleet's metadata in memory, decided by the real controller: for simulation and for tests of what stands on it.

use std::sync::Arc;

use flotilla_control::proto::coordination::{
    DescribeQuorumResponse, LeaderHint, SubmitRequest, SubmitResponse, Voter,
};
use flotilla_protocol::BrokerId;
use futures::future::BoxFuture;

use super::client::{Controller, Local, Remote};
use super::driver::Driver;
use super::latest::{Indexed, Metadata, Publisher};
use super::options::Options;
use super::quorum::{Quorum as _, Solo};
use crate::metadata::Image;

/// Nobody else is there.
struct Alone;

impl Remote for Alone {
    fn brokers(&self) -> Vec<BrokerId> {
        Vec::new()
    }

    fn submit(&self, to: BrokerId, _: SubmitRequest) -> BoxFuture<'_, Result<SubmitResponse, String>> {
        Box::pin(async move { Err(format!("broker {to} does not exist")) })
    }

    fn describe_quorum(&self, to: BrokerId) -> BoxFuture<'_, Result<DescribeQuorumResponse, String>> {
        Box::pin(async move { Err(format!("broker {to} does not exist")) })
    }
}

/// The controller over an in-memory quorum of one on `broker`, beginning with `first`. It runs on the current runtime
/// until all that is returned is dropped.
#[must_use]
pub fn solo(broker: BrokerId, first: Image, options: Options) -> (Metadata, Controller, Arc<Solo>) {
    let (publisher, metadata) = Publisher::new(Indexed {
        index: 0,
        image: Arc::new(first.clone()),
    });
    let quorum = Arc::new(Solo::new(broker, first, publisher));
    let (driver, task) = Driver::new(quorum.clone(), Arc::default(), options);
    tokio::spawn(task);
    let describe = move || DescribeQuorumResponse {
        leader: Some(LeaderHint {
            broker_id: broker.0,
            ..LeaderHint::default()
        }),
        voters: vec![Voter {
            broker_id: broker.0,
            ..Voter::default()
        }],
        ..DescribeQuorumResponse::default()
    };
    let local = Some(Local {
        driver,
        leadership: quorum.leadership(),
        describe: Arc::new(describe),
    });
    let controller = Controller::new(broker, String::new(), metadata.clone(), local, Arc::new(Alone));
    (metadata, controller, quorum)
}
