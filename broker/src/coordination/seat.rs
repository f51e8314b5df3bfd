//! What a broker has of the coordination service apart from its listener: its member of the quorum, its controller, and
//! what follows the metadata while it does not vote.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use flotilla_protocol::Uuid;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::carrier::Carrier;
use super::client::{Controller, Local};
use super::connections::Connections;
use super::driver::Driver;
use super::latest::{Metadata, Publisher};
use super::observer::Observer;
use super::options::Options;
use super::quorum::Quorum as _;
use super::raft::{self, Member};
use super::runtime;
use super::service::{LogEnds, Service};
use super::voter::{VoterId, VoterNode};
use crate::log::Disk;

/// What a seat is taken with.
pub struct Place<'a> {
    /// Kafka's id of the cluster.
    pub cluster_id: Uuid,
    /// This broker and its directory.
    pub id: VoterId,
    /// Where the metadata log and its snapshots are; it is made where there is none.
    pub dir: &'a Path,
    /// What holds that directory.
    pub disk: Arc<dyn Disk>,
    /// Where images go.
    pub publisher: Publisher,
    /// What has been put out.
    pub metadata: Metadata,
    /// What the controller goes by.
    pub options: Options,
    /// The connections from other brokers.
    pub connections: Arc<Connections>,
    /// Reaches the other brokers.
    pub carrier: Arc<dyn Carrier>,
}

/// A broker's seat in the coordination service, while it is taken.
pub struct Seat {
    /// The member of the quorum.
    pub member: Member,
    /// What other brokers are answered with.
    pub service: Service,
    /// The way to the controller.
    pub controller: Controller,
    /// What the broker must stop for.
    pub failure: watch::Sender<Option<String>>,
    /// Where the logs begin and end that this broker leads.
    pub log_ends: Arc<OnceLock<LogEnds>>,
    /// Ends what runs for it.
    pub stop: CancellationToken,
    /// What runs for it.
    pub tasks: Vec<JoinHandle<()>>,
}

impl Seat {
    /// Opens what is stored, and takes part.
    ///
    /// # Errors
    /// When what is stored cannot be used.
    pub async fn take(place: Place<'_>) -> Result<Self, raft::Error> {
        let Place {
            cluster_id,
            id,
            dir,
            disk,
            publisher,
            metadata,
            options,
            connections,
            carrier,
        } = place;
        let (failure, _) = watch::channel(None);
        let member = Member::start(raft::Options {
            id,
            dir,
            disk,
            publisher: publisher.clone(),
            failure: failure.clone(),
            cluster_id,
            carrier: carrier.clone(),
        })
        .await?;
        let (driver, driving) = Driver::new(Arc::new(member.clone()), connections, options);
        let log_ends = Arc::new(OnceLock::new());
        let stop = CancellationToken::new();
        let service = Service {
            cluster_id,
            member: member.clone(),
            driver: driver.clone(),
            metadata: metadata.clone(),
            log_ends: log_ends.clone(),
            stop: stop.clone(),
        };
        let described = service.clone();
        let local = Local {
            driver,
            leadership: member.leadership(),
            describe: Arc::new(move || described.describe()),
        };
        let controller = Controller::new(
            id.broker,
            cluster_id.to_string(),
            metadata.clone(),
            Some(local),
            carrier.clone(),
        );
        let observer = Observer {
            broker: id.broker,
            member: member.clone(),
            cluster_id,
            carrier,
            publisher,
            metadata,
            controller: controller.clone(),
            failure: failure.clone(),
        };
        let tasks = vec![until(&stop, driving), until(&stop, observer.run())];
        Ok(Self {
            member,
            service,
            controller,
            failure,
            log_ends,
            stop,
            tasks,
        })
    }

    /// Founds the quorum where this broker is one of its first voters and nobody has founded it yet.
    ///
    /// # Errors
    /// When Raft refuses, or has stopped.
    pub async fn found(
        &self,
        voters: &BTreeMap<VoterId, VoterNode>,
        bootstrapped: bool,
    ) -> Result<(), raft::Error> {
        if bootstrapped || !voters.contains_key(&self.member.id()) {
            return Ok(());
        }
        self.member.found(voters.clone()).await
    }
}

/// Runs something until a broker stops.
pub fn until(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let stop = stop.clone();
    runtime::spawn(async move {
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    })
}
