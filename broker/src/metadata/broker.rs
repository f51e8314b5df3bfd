//! A broker as it registered last, and its state.

use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::{BrokerEpoch, BrokerId, Uuid};

use super::{BrokerPlacement, Endpoint, fold::UnknownRecord};

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Who it is.
    pub id: BrokerId,
    /// New with each registration (KIP-903).
    pub epoch: BrokerEpoch,
    /// Drawn when its process started.
    pub incarnation: Uuid,
    /// Drawn when its data directory was formatted: another one means that what it stored is gone.
    pub directory_id: Uuid,
    /// The listeners for clients, as the broker itself advertises them.
    pub endpoints: Vec<Endpoint>,
    /// The reserved listener where replicas fetch, if it has told one.
    pub replication: Option<Endpoint>,
    /// `host:port` of its gRPC services.
    pub control_address: String,
    /// As its own configuration says; [`Broker::rack`] is what holds.
    pub own_rack: String,
    /// `broker`, `coordinator`.
    pub roles: Vec<String>,
    /// Whether it has lost its session, or has not caught up since it registered. A fenced broker leads nothing and is
    /// in no in-sync replica set (KIP-841).
    pub fenced: bool,
    /// Whether it has asked to stop. It gives up its leaderships and in-sync places, then goes.
    pub in_controlled_shutdown: bool,
    /// Whether one of its volumes is full: no records are taken there. It says so itself, with its heartbeats.
    pub storage_full: bool,
    /// Of the binary.
    pub version: String,
    /// The highest `flotilla.version` that it supports.
    pub flotilla_version_max: i32,
    /// What the operator knows better than the broker.
    pub(super) placement: Option<Arc<BrokerPlacement>>,
}

impl Broker {
    /// Its rack: the one that the operator placed it in, else its own; `None` where neither says.
    #[must_use]
    pub fn rack(&self) -> Option<&str> {
        let placed = self
            .placement
            .as_ref()
            .map_or("", |placement| placement.rack.as_str());
        [placed, self.own_rack.as_str()]
            .into_iter()
            .find(|rack| !rack.is_empty())
    }

    /// Where clients reach it on a listener: the operator's external address wins over its own. `None` for a listener
    /// that it does not have, and for one whose address nobody has set yet (an empty host): that is not advertised.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        let own = self
            .endpoints
            .iter()
            .find(|endpoint| endpoint.listener == listener)?;
        let placed = self
            .placement
            .iter()
            .flat_map(|placement| placement.endpoints.iter())
            .find(|endpoint| endpoint.listener == listener);
        [placed, Some(own)]
            .into_iter()
            .flatten()
            .find(|endpoint| !endpoint.host.is_empty())
    }

    /// Whether it has a role, such as `coordinator`.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }

    /// Whether it may lead partitions and be in in-sync replica sets (KIP-841).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// As a record. A placement is a record of its own.
    #[must_use]
    pub fn to_record(&self) -> proto::Broker {
        proto::Broker {
            broker_id: self.id.0,
            broker_epoch: self.epoch.0,
            incarnation_id: self.incarnation.0.to_vec(),
            directory_id: self.directory_id.0.to_vec(),
            endpoints: self.endpoints.clone(),
            replication: self.replication.clone(),
            control_address: self.control_address.clone(),
            rack: self.own_rack.clone(),
            roles: self.roles.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            version: self.version.clone(),
            flotilla_version_max: self.flotilla_version_max,
            storage_full: self.storage_full,
        }
    }

    /// From a record, with the placement that holds for it.
    ///
    /// # Errors
    /// When an id has not 16 bytes, a port not 16 bits, or a security protocol is not known.
    pub fn from_record(
        record: &proto::Broker,
        placement: Option<Arc<BrokerPlacement>>,
    ) -> Result<Self, UnknownRecord> {
        record
            .endpoints
            .iter()
            .chain(&record.replication)
            .try_for_each(check_endpoint)?;
        Ok(Self {
            id: BrokerId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation: uuid(&record.incarnation_id, "incarnation id")?,
            directory_id: uuid(&record.directory_id, "directory id")?,
            endpoints: record.endpoints.clone(),
            replication: record.replication.clone(),
            control_address: record.control_address.clone(),
            own_rack: record.rack.clone(),
            roles: record.roles.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            version: record.version.clone(),
            flotilla_version_max: record.flotilla_version_max,
            storage_full: record.storage_full,
            placement,
        })
    }
}

/// A port that is none or a security protocol that is not known would surface much later, in a client's answer.
pub(super) fn check_endpoint(endpoint: &Endpoint) -> Result<(), UnknownRecord> {
    if u16::try_from(endpoint.port).is_err() {
        return Err(UnknownRecord("a port above 65535"));
    }
    match proto::SecurityProtocol::try_from(endpoint.security_protocol) {
        Ok(_) => Ok(()),
        Err(_) => Err(UnknownRecord("security protocol")),
    }
}

/// An id of 16 bytes.
pub(super) fn uuid(bytes: &[u8], what: &'static str) -> Result<Uuid, UnknownRecord> {
    Uuid::from_slice(bytes).ok_or(UnknownRecord(what))
}
